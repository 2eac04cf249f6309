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
}

// replicas is an abstract partition: offsets are counts of acknowledged batches.
type replicas struct {
	hw    int
	holds map[int32]int
}

// TestModel: invariants of the state under random requests (see the package comment).
func TestModel(t *testing.T) {
	for _, elr := range []int16{0, 1} {
		t.Run(fmt.Sprintf("elr %d", elr), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				k := newClusterWith(rt, map[string]int16{"metadata.version": 33, featureELR: elr}, 3)
				m := &model{cluster: k, rt: rt, data: map[TopicPartition]*replicas{},
					brokerEpochs: map[int64]bool{1: true, 2: true, 3: true}}
				k.mustCreate(assigned("a", []int32{1, 2, 3}), assigned("b.c", []int32{2, 3}, []int32{3, 1}), topicAsk("d", 1, 1))
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
			m.restartBroker(brokers.Draw(rt, "broker"), rapid.IntRange(0, 3).Draw(rt, "lost") == 0)
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
			m.observe()
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

func (m *model) send(req kmsg.Request) {
	m.ask(req)
	m.observe()
}

// restartBroker registers the next incarnation of a broker; some of what it held may be gone.
func (m *model) restartBroker(id int32, loses bool) {
	var lost []TopicPartition
	for tp, d := range m.data {
		if _, holds := d.holds[id]; holds && loses && (int(tp.Partition)+m.incarnation)%2 == 0 {
			lost = append(lost, tp)
			d.holds[id] = 0
		}
	}
	m.incarnation++
	req := registrationRequest(m.img(), id, 0)
	req.IncarnationID = [16]byte{byte(m.incarnation >> 8), byte(m.incarnation), byte(id)}
	delete(m.c.sessions, id)
	resp := m.do(&RegisterBroker{Req: req, Lost: lost}).(*kmsg.BrokerRegistrationResponse)
	if resp.ErrorCode != 0 || m.brokerEpochs[resp.BrokerEpoch] {
		m.rt.Fatalf("registration: %+v", resp)
	}
	m.brokerEpochs[resp.BrokerEpoch] = true
	m.observe()
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
						d.holds[r] = d.holds[p.Leader]
					}
				}
			}
			m.alterPartition(alterRequest(m.img(), p.Leader, t.Name, p.Index, isr...))
			m.observe()
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
				d.holds[r] = d.hw
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
		d = &replicas{holds: map[int32]int{}}
		m.data[tp] = d
	}
	for _, r := range p.Replicas {
		d.holds[r] += 0
	}
	if p.Recovering() {
		// An unclean election is a loss that was allowed.
		d.hw = min(d.hw, d.holds[p.Leader])
	}
	for _, r := range p.ISR {
		if d.holds[r] < d.hw {
			m.rt.Fatalf("%s-%d: broker %d is in sync with %d of %d: %s, holds %v", t.Name, p.Index, r, d.holds[r], d.hw, m.state(t.Name, p.Index), d.holds)
		}
	}
	for _, r := range p.ELR() {
		if d.holds[r] < d.hw {
			m.rt.Fatalf("%s-%d: broker %d is eligible with %d of %d: %s, holds %v", t.Name, p.Index, r, d.holds[r], d.hw, m.state(t.Name, p.Index), d.holds)
		}
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
