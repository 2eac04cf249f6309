package metadata

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// model drives a cluster by random requests and keeps beside it what the replicas
// of each partition would hold, to check that no clean election loses anything.
type model struct {
	*cluster
	rt *rapid.T
	// data is by topic id and partition.
	data         map[TopicPartition]*replicas
	brokerEpochs map[int64]bool
	incarnation  int
	// disks are the directories that brokers run on now.
	disks map[int32][16]byte
	// events counts what rarely happens, which the test must have seen.
	events map[string]int
}

// replicas is an abstract partition: offsets are counts of acknowledged batches.
type replicas struct {
	hw int
	// holds is by log directory, of which each broker has one at a time.
	holds map[[16]byte]int
	// leader is who led uncleanly when that was last seen.
	leader int32
	// target is what a reassignment on its way must leave, and origin what was there
	// before; nil when there is none, or when that is not told.
	target, origin []int32
}

// disk is where a partition's replica is.
func (m *model) disk(p *Partition, broker int32) [16]byte {
	if d := p.Directory(broker); d != [16]byte{} {
		return d
	}
	return m.disks[broker]
}

// TestModel: invariants of the state under random requests (see the package comment).
func TestModel(t *testing.T) {
	for _, elr := range []int16{0, 1} {
		t.Run(fmt.Sprintf("elr %d", elr), func(t *testing.T) {
			events := map[string]int{}
			defer func() { t.Log(events) }()
			rapid.Check(t, func(rt *rapid.T) {
				k := newClusterWith(rt, map[string]int16{"metadata.version": 33, featureELR: elr}, 3)
				m := &model{cluster: k, rt: rt, data: map[TopicPartition]*replicas{},
					brokerEpochs: map[int64]bool{1: true, 2: true, 3: true}, disks: map[int32][16]byte{}, events: events}
				for b := range int32(5) {
					m.disks[b] = id(200 + byte(b))
				}
				k.mustCreate(assigned("a", []int32{1, 2, 3}), assigned("b.c", []int32{2, 3}, []int32{3, 1}), topicAsk("d", 1, 1))
				m.after = m.observe
				m.observe()
				m.rt.Repeat(m.actions())
			})
		})
	}
}

func (m *model) actions() map[string]func(*rapid.T) {
	names := rapid.SampledFrom([]string{"a", "b.c", "b_c", "d", "e"})
	brokers := rapid.Int32Range(1, 4)
	return map[string]func(*rapid.T){
		"": func(*rapid.T) { m.check() },
		"create": func(rt *rapid.T) {
			m.send(createRequest(topicAsk(names.Draw(rt, "name"), rapid.Int32Range(-1, 3).Draw(rt, "partitions"),
				rapid.Int16Range(-1, 4).Draw(rt, "replicas"), [2]string{"min.insync.replicas", rapid.SampledFrom([]string{"1", "2", "3"}).Draw(rt, "min")})))
		},
		"assigned": func(rt *rapid.T) {
			list := rapid.SliceOfN(brokers, 1, 3).Draw(rt, "replicas")
			m.send(createRequest(assigned(names.Draw(rt, "name"), list)))
		},
		"delete": func(rt *rapid.T) { m.send(deleteRequest(6, names.Draw(rt, "name"))) },
		"partitions": func(rt *rapid.T) {
			req := kmsg.NewPtrCreatePartitionsRequest()
			ask := kmsg.NewCreatePartitionsRequestTopic()
			ask.Topic, ask.Count = names.Draw(rt, "name"), rapid.Int32Range(1, 5).Draw(rt, "count")
			req.Topics = append(req.Topics, ask)
			m.send(req)
		},
		"config": func(rt *rapid.T) {
			res := rapid.SampledFrom([]Resource{{ResourceTopic, "a"}, {ResourceTopic, "b.c"}, {ResourceBroker, ""}}).Draw(rt, "resource")
			req := kmsg.NewPtrIncrementalAlterConfigsRequest()
			value := strconv.Itoa(rapid.IntRange(1, 3).Draw(rt, "value"))
			o := op{"min.insync.replicas", opSet, &value}
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				o.op, o.value = opDelete, nil
			case 1:
				o.key, o.value = "unclean.leader.election.enable", str(strconv.FormatBool(value == "1"))
			}
			req.Resources = append(req.Resources, incremental(res, o))
			m.send(req)
		},
		"restart": func(rt *rapid.T) {
			m.restartBroker(brokers.Draw(rt, "broker"), rapid.IntRange(0, 3).Draw(rt, "lost") == 0, rapid.IntRange(0, 5).Draw(rt, "disk") == 0)
		},
		"reassign": func(rt *rapid.T) { m.reassignSome(rt) },
		"cancel":   func(rt *rapid.T) { m.cancelSome(rt) },
		"elect": func(rt *rapid.T) {
			kind := electPreferred
			if rapid.IntRange(0, 3).Draw(rt, "unclean") == 0 {
				kind = electUnclean
			}
			m.send(electRequest(kind))
		},
		"damage": func(rt *rapid.T) { m.damage(rt) },
		"controller": func(rt *rapid.T) {
			m.do(controllerNode(m.cluster, brokers.Draw(rt, "node"), byte(rapid.IntRange(0, 2).Draw(rt, "incarnation"))))
		},
		"clock": func(rt *rapid.T) {
			m.now = m.now.Add(time.Duration(rapid.IntRange(-60, 60).Draw(rt, "step")) * time.Second)
		},
		"heartbeat": func(rt *rapid.T) {
			b := m.img().Broker(brokers.Draw(rt, "broker"))
			if b == nil {
				return
			}
			req := kmsg.NewPtrBrokerHeartbeatRequest()
			req.Version = 1
			req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = b.ID, b.Epoch, m.img().Index()-int64(rapid.IntRange(0, 1).Draw(rt, "behind"))
			switch rapid.IntRange(0, 9).Draw(rt, "wish") {
			case 0:
				req.WantFence = true
			case 1:
				req.WantShutdown = true
			case 2:
				req.OfflineLogDirs = b.Directories
			}
			m.send(req)
		},
		"wait": func(rt *rapid.T) {
			m.wait(time.Duration(rapid.IntRange(1, 10).Draw(rt, "seconds")) * time.Second)
		},
		"isr":     func(rt *rapid.T) { m.changeISR(rt) },
		"produce": func(*rapid.T) { m.produce() },
		"unregister": func(rt *rapid.T) {
			if rapid.IntRange(0, 4).Draw(rt, "really") == 0 {
				req := kmsg.NewPtrUnregisterBrokerRequest()
				req.BrokerID = brokers.Draw(rt, "broker")
				m.send(req)
			}
		},
		"new controller": func(rt *rapid.T) { m.newController(rt) },
		"producer ids": func(rt *rapid.T) {
			if b := m.img().Broker(1); b != nil {
				req := kmsg.NewPtrAllocateProducerIDsRequest()
				req.BrokerID, req.BrokerEpoch = 1, b.Epoch
				m.send(req)
			}
		},
	}
}

func (m *model) send(req kmsg.Request) { m.ask(req) }

// restartBroker registers the next incarnation of a broker; some of what it held may
// be gone, or it runs on its other disk.
func (m *model) restartBroker(id int32, loses, otherDisk bool) {
	var lost []TopicPartition
	for tp, d := range m.data {
		if _, holds := d.holds[m.disks[id]]; holds && loses && !otherDisk && (int(tp.Partition)+m.incarnation)%2 == 0 {
			lost = append(lost, tp)
			d.holds[m.disks[id]] = 0
		}
	}
	m.incarnation++
	req := registrationRequest(m.img(), id, 0)
	if otherDisk {
		d := m.disks[id]
		d[0] ^= 1
		m.disks[id] = d
	}
	req.LogDirs[0] = m.disks[id]
	req.IncarnationID = [16]byte{byte(m.incarnation >> 8), byte(m.incarnation), byte(id)}
	delete(m.c.sessions, id)
	resp := m.do(&RegisterBroker{Req: req, Lost: lost}).(*kmsg.BrokerRegistrationResponse)
	if resp.ErrorCode != 0 || m.brokerEpochs[resp.BrokerEpoch] {
		m.rt.Fatalf("registration: %+v", resp)
	}
	m.brokerEpochs[resp.BrokerEpoch] = true
}

// changeISR asks for a random ISR as a leader; who joins has caught up.
func (m *model) changeISR(rt *rapid.T) {
	for t := range m.img().Topics() {
		for _, p := range t.Partitions {
			b := m.img().Broker(p.Leader)
			if !b.Active() || rapid.IntRange(0, 2).Draw(rt, "skip") == 0 {
				continue
			}
			isr := []int32{p.Leader}
			d := m.data[TopicPartition{t.ID, p.Index}]
			for _, r := range p.Replicas {
				if r != p.Leader && rapid.Bool().Draw(rt, "member") {
					isr = append(isr, r)
					if !slices.Contains(p.ISR, r) {
						d.holds[m.disks[r]] = d.holds[m.disk(p, p.Leader)]
					}
				}
			}
			req := alterRequest(m.img(), p.Leader, t.Name, p.Index, isr...)
			full := rapid.IntRange(0, 2).Draw(rt, "full") == 0
			if full {
				SetHandOver(&req.Topics[0].Partitions[0])
			}
			m.alterPartition(req)
			now := m.img().Partition(t.Name, p.Index)
			switch {
			case now.Leader == NoLeader:
				m.rt.Fatalf("%s-%d: a leader's wish left none: %s", t.Name, p.Index, m.state(t.Name, p.Index))
			case full && now.Leader != p.Leader:
				m.events["handed over"]++
			}
			return
		}
	}
}

// produce acknowledges a batch on each partition where that is possible.
func (m *model) produce() {
	for t := range m.img().Topics() {
		for _, p := range t.Partitions {
			if !m.img().Active(p.Leader) || len(p.ISR) < min(m.img().MinISR(t.Name), len(p.Replicas)) {
				continue
			}
			d := m.data[TopicPartition{t.ID, p.Index}]
			d.hw++
			for _, r := range p.ISR {
				if m.disk(p, r) != m.disks[r] {
					m.rt.Fatalf("%s-%d: broker %d is in sync on a disk that it does not have", t.Name, p.Index, r)
				}
				d.holds[m.disks[r]] = d.hw
			}
		}
	}
}

// newController replays the log into a new controller, from a snapshot or from nothing.
func (m *model) newController(rt *rapid.T) {
	loaded, err := LoadSnapshot(m.img().Snapshot())
	if err != nil {
		rt.Fatal(err)
	}
	base, _ := loaded.Image()
	if !base.Equal(m.img()) {
		rt.Fatal("the image of the snapshot differs")
	}
	if rapid.Bool().Draw(rt, "snapshot") {
		m.c = NewController(base, m.opts)
	} else {
		m.c = NewController(nil, m.opts)
		for i, rec := range m.logged {
			if err := m.c.Apply(int64(i+1), 0, rec); err != nil {
				rt.Fatal(err)
			}
		}
	}
	m.timers = map[string]time.Time{}
	m.settle(m.c.Resume(m.now))
}

// observe compares every partition's state with what its replicas hold.
func (m *model) observe() {
	for t := range m.img().Topics() {
		for _, p := range t.Partitions {
			m.observePartition(t, p)
		}
	}
}

func (m *model) observePartition(t *Topic, p *Partition) {
	tp := TopicPartition{t.ID, p.Index}
	d := m.data[tp]
	if d == nil {
		d = &replicas{holds: map[[16]byte]int{}, leader: NoLeader}
		m.data[tp] = d
	}
	for _, r := range p.Replicas {
		d.holds[m.disk(p, r)] += 0
	}
	if p.Recovering() && d.leader != p.Leader {
		// An unclean election is a loss that was allowed; what others have is another history.
		m.events["unclean"]++
		d.hw = min(d.hw, d.holds[m.disk(p, p.Leader)])
		for dir := range d.holds {
			if dir != m.disk(p, p.Leader) {
				d.holds[dir] = 0
			}
		}
	}
	if d.leader = NoLeader; p.Recovering() {
		d.leader = p.Leader
	}
	for what, list := range map[string][]int32{"in sync": p.ISR, "eligible": p.ELR()} {
		for _, r := range list {
			if d.holds[m.disk(p, r)] < d.hw {
				m.rt.Fatalf("%s-%d: broker %d is %s with %d of %d: %s, holds %v", t.Name, p.Index, r, what, d.holds[m.disk(p, r)], d.hw, m.state(t.Name, p.Index), d.holds)
			}
		}
	}
	m.observeAssignment(t, p, d)
}

// observeAssignment holds a reassignment to the replicas that it was made for. A
// replica that is removed is deleted.
func (m *model) observeAssignment(t *Topic, p *Partition, d *replicas) {
	if d.target != nil && !sameMembers(p.target(), d.target) {
		m.rt.Fatalf("%s-%d: %s, not to %v", t.Name, p.Index, m.assignmentOf(t.Name, p.Index), d.target)
	}
	if d.target != nil && !p.reassigning() {
		if !sameMembers(p.Replicas, d.target) {
			m.rt.Fatalf("%s-%d: %v after a reassignment to %v", t.Name, p.Index, p.Replicas, d.target)
		}
		m.events["reassigned"]++
		d.target, d.origin = nil, nil
	}
	for b, dir := range m.disks {
		if _, held := d.holds[dir]; held && !slices.Contains(p.Replicas, b) {
			delete(d.holds, dir)
		}
	}
}

func sameMembers(a, b []int32) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// some is a partition, of those that ok admits, and its topic; nil without one.
func (m *model) some(rt *rapid.T, ok func(*Partition) bool) (*Topic, *Partition) {
	for t := range m.img().Topics() {
		for _, p := range t.Partitions {
			if ok(p) && rapid.IntRange(0, 2).Draw(rt, "skip") > 0 {
				return t, p
			}
		}
	}
	return nil, nil
}

func (m *model) reassignSome(rt *rapid.T) {
	t, p := m.some(rt, func(*Partition) bool { return true })
	if t == nil {
		return
	}
	target := rapid.SliceOfNDistinct(rapid.Int32Range(1, 4), 1, 3, rapid.ID[int32]).Draw(rt, "target")
	if slices.ContainsFunc(target, func(b int32) bool { return m.img().Broker(b) == nil }) {
		return
	}
	d := m.data[TopicPartition{t.ID, p.Index}]
	origin := d.origin
	if !p.reassigning() {
		origin = p.Replicas
	} else if len(without(p.ISR, without(p.Adding(), target...)...)) == 0 {
		origin = nil // one that was only added has to stay
	}
	if d.target, d.origin = target, origin; m.cluster.reassign(t.Name, p.Index, target...) != 0 {
		m.rt.Fatal("a reassignment to registered brokers is refused")
	}
}

func (m *model) cancelSome(rt *rapid.T) {
	t, p := m.some(rt, func(p *Partition) bool { return p.reassigning() })
	if t == nil {
		return
	}
	d := m.data[TopicPartition{t.ID, p.Index}]
	before := *d
	if d.target, d.origin = nil, nil; m.cluster.cancel(t.Name, p.Index) != 0 {
		d.target, d.origin = before.target, before.origin
		return
	}
	m.events["cancelled"]++
	if now := m.img().Partition(t.Name, p.Index); now.reassigning() || before.origin != nil && !sameMembers(now.Replicas, before.origin) {
		m.rt.Fatalf("%s-%d: cancelled to %s, from %v", t.Name, p.Index, m.assignmentOf(t.Name, p.Index), before.origin)
	}
}

// damage takes records from a replica of a broker that notices.
func (m *model) damage(rt *rapid.T) {
	t, p := m.some(rt, func(*Partition) bool { return true })
	if t == nil {
		return
	}
	b := m.img().Broker(rapid.SampledFrom(p.Replicas).Draw(rt, "broker"))
	if b == nil || m.disk(p, b.ID) != m.disks[b.ID] {
		return
	}
	tp := TopicPartition{t.ID, p.Index}
	m.data[tp].holds[m.disks[b.ID]] = 0
	m.data[tp].leader = NoLeader // damaged once more
	r := m.lose(b.ID, tp)
	if len(r.Kept) > 0 {
		m.events["damaged and kept"]++
	}
	if after := m.img().Partition(t.Name, p.Index); after.Leader == b.ID && !after.Recovering() {
		m.rt.Fatalf("%s-%d: a damaged replica leads: %s", t.Name, p.Index, m.state(t.Name, p.Index))
	}
}

func (m *model) check() {
	m.checkInvariants()
	img := m.img()
	for name, topic := range map[string]*Topic{"b.c": img.Topic("b.c"), "b_c": img.Topic("b_c")} {
		if topic != nil && img.Topic(map[string]string{"b.c": "b_c", "b_c": "b.c"}[name]) != nil {
			m.rt.Fatal("two topics collide")
		}
	}
}
