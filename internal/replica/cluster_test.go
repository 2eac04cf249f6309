package replica

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/record"
	"github.com/leat-stream/leat/internal/schema"
)

// cluster is some brokers with a real controller that decides at once and commits for
// good, on one goroutine, one virtual clock and one seed. Messages between them take
// time and get lost as the test says.
type cluster struct {
	t     *testing.T
	rng   *rand.Rand
	clock *env.VirtualClock
	ctl   *metadata.Controller
	// timers are the controller's.
	timers  map[string]env.Timer
	records []schema.Record
	nodes   []*broker // by id - 1
	topics  map[string]func(*Settings)
	tuning  Tuning

	quiet bool // nothing is lost, and all is fast
	deaf  bool // no report of damage arrives
	cut   map[[2]int32]bool
	model *model // nil: nothing is checked
	racks map[int32]string
	calls map[string]int // what was sent, by kind
	// mangle, if not nil, may change an answer to a follower's fetch.
	mangle func(to int32, resp *kmsg.FetchResponse)
	asked  func(from, to int32, req *kmsg.FetchRequest)
	events []string // that brokers told, with their types
}

// broker is one incarnation after the other.
type broker struct {
	c           *cluster
	id          int32
	disk        *env.Disk
	boot        int
	up          bool
	incarnation int
	epoch       int64

	dir      *log.Dir
	scrubber *log.Scrubber
	m        *Manager
	builder  *metadata.Builder
	applied  int
	pulling  bool
	sessions map[int32]*testSession
}

var errLost = errors.New("no answer")

const controllerID = 0 // as a place of the network

func newCluster(t *testing.T, seed uint64, n int) *cluster {
	t.Helper()
	cfg, _, err := config.Load(config.Sources{Sets: []string{"broker.session.timeout.ms=2000"}})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), clock: env.NewClock(time.UnixMilli(1_700_000_000_000)),
		timers: map[string]env.Timer{}, topics: map[string]func(*Settings){}, cut: map[[2]int32]bool{},
		tuning: DefaultTuning(), quiet: true, racks: map[int32]string{}, calls: map[string]int{},
	}
	c.ctl = metadata.NewController(nil, metadata.Options{Config: cfg, NodeID: -1, Features: clusterFeatures})
	c.decide(&metadata.Bootstrap{Features: map[string]int16{"metadata.version": 33, "eligible.leader.replicas.version": 1}})
	for id := int32(1); id <= int32(n); id++ {
		c.nodes = append(c.nodes, &broker{c: c, id: id, disk: env.NewDisk(seed + uint64(id))})
	}
	return c
}

var clusterFeatures = []metadata.FeatureRange{{Name: "metadata.version", Min: 7, Max: 33}, {Name: "eligible.leader.replicas.version", Min: 0, Max: 1}}

// start starts every broker and waits until all are active.
func (c *cluster) start() {
	c.t.Helper()
	for _, b := range c.nodes {
		b.open()
	}
	c.until("every broker is active", func() bool {
		return !slices.ContainsFunc(c.nodes, func(b *broker) bool { return !c.img().Active(b.id) })
	})
}

func (c *cluster) img() *metadata.Image { return c.ctl.View() }

// decide has the controller decide and tells everybody.
func (c *cluster) decide(req any) any {
	in := machine.Input{Now: c.clock.Now(), Rand: c.rng, Token: 7, Request: req}
	if _, timer := req.(machine.TimerFired); timer {
		in.Token = 0
	}
	d := c.ctl.Decide(in)
	for _, rec := range d.Records {
		r, err := schema.Decode(rec.Value)
		if err != nil {
			c.t.Fatal(err)
		}
		c.records = append(c.records, r)
		if err := c.ctl.Apply(int64(len(c.records)), c.clock.Now().UnixMilli(), rec); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, tm := range d.Timers {
		if old := c.timers[tm.Key]; old != nil {
			old.Stop()
		}
		delete(c.timers, tm.Key)
		if !tm.At.IsZero() {
			c.timers[tm.Key] = c.clock.AfterFunc(tm.At.Sub(c.clock.Now()), func() { c.decide(machine.TimerFired{Key: tm.Key}) })
		}
	}
	for _, b := range c.nodes {
		b.pull()
	}
	if in.Token == 0 || len(d.Replies) != 1 {
		return nil
	}
	return d.Replies[0].Body
}

// delay is the time of one message.
func (c *cluster) delay() time.Duration {
	if c.quiet || c.rng.IntN(10) > 0 {
		return time.Duration(100+c.rng.IntN(900)) * time.Microsecond
	}
	return time.Duration(c.rng.IntN(300)) * time.Millisecond
}

// carry takes a message from one place to another, or not.
func (c *cluster) carry(from, to int32, deliver func(), lost func()) {
	if c.cut[[2]int32{from, to}] || (!c.quiet && c.rng.IntN(50) == 0) {
		c.clock.AfterFunc(time.Second, lost)
		return
	}
	c.clock.AfterFunc(c.delay(), deliver)
}

// call is a request and its answer; answer is called exactly once, unless the caller
// is gone.
func (c *cluster) call(b *broker, to int32, serve func(reply func(any)), answer func(any, error)) {
	alive, answered := b.alive(), false
	done := func(v any, err error) {
		if alive() && !answered {
			answered = true
			answer(v, err)
		}
	}
	c.clock.AfterFunc(3*time.Second, func() { done(nil, errLost) }) // longer than a long poll
	lost := func() { done(nil, errLost) }
	c.carry(b.id, to, func() {
		serve(func(v any) { c.carry(to, b.id, func() { done(v, nil) }, lost) })
	}, lost)
}

// alive tells later whether this incarnation still runs.
func (b *broker) alive() func() bool {
	n := b.incarnation
	return func() bool { return b.up && b.incarnation == n }
}

// open starts a new incarnation on the broker's disk.
func (b *broker) open() {
	c := b.c
	c.t.Helper()
	b.incarnation++
	b.up, b.epoch, b.applied, b.builder, b.pulling = true, -1, 0, metadata.NewBuilder(nil), false
	b.sessions = map[int32]*testSession{}
	b.disk.SetClock(c.clock)
	dir, err := log.OpenDir(log.DirOptions{
		FS: b.disk, Clock: c.clock, Path: "data", Rand: env.NewRand(uint64(b.id)<<32 + uint64(b.incarnation)), ClusterID: "cluster", NodeID: b.id,
		BootID: fmt.Sprint(b.boot), SyncParallel: 1, RecoveryThreads: 1, JournalBytes: 1 << 20, Failed: func(error) {}, Events: b.found,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	b.dir, b.scrubber = dir, dir.NewScrubber()
	alive := b.alive()
	b.m = New(Options{
		NodeID: b.id, FS: b.disk, Dir: dir, Clock: c.clock, Logger: slog.New(slog.NewTextHandler((*eventWriter)(c), nil)),
		Config: func(img *metadata.Image, topic string) Settings {
			s := durable()
			s.Log.SegmentBytes, s.MinISR = 4000, img.MinISR(topic)
			s.Unclean = img.Config(metadata.ResourceTopic, topic)["unclean.leader.election.enable"] == "true"
			if change := c.topics[topic]; change != nil {
				change(&s)
			}
			return s
		},
		Led: func(*Partition, int32) {}, Resigned: func(*Partition, int32) {}, Committed: func(*Partition, int64) {},
		BrokerEpoch: func() int64 { return b.epoch },
		Tuning:      func(*metadata.Image) Tuning { return c.tuning },
		Fetch: func(leader int32, req *kmsg.FetchRequest, done func(*kmsg.FetchResponse, error)) {
			if !alive() { // a timer of an earlier incarnation
				return
			}
			c.calls["fetch"]++
			if c.asked != nil {
				c.asked(b.id, leader, req)
			}
			c.call(b, leader, func(reply func(any)) { c.nodes[leader-1].serveFetch(req, reply) }, func(v any, err error) {
				resp, _ := v.(*kmsg.FetchResponse)
				if resp != nil && c.mangle != nil {
					c.mangle(b.id, resp)
				}
				done(resp, err)
			})
		},
		Lost: func(parts []Ref, done func([]Ref, error)) {
			c.calls["lost"]++
			if c.deaf {
				c.clock.AfterFunc(time.Second, func() { done(nil, errLost) })
				return
			}
			c.call(b, controllerID, func(reply func(any)) {
				reply(c.decide(&metadata.ReplicasLost{BrokerID: b.id, BrokerEpoch: b.epoch, Partitions: lostParts(parts)}))
			}, func(v any, err error) {
				var kept []Ref
				if r, _ := v.(*metadata.ReplicasLostReply); err == nil {
					err = kerr.ErrorForCode(r.ErrorCode)
					for _, tp := range r.Kept {
						kept = append(kept, Ref{TopicID: tp.TopicID, Index: tp.Partition})
					}
				}
				done(kept, err)
			})
		},
		AlterISR: func(req *kmsg.AlterPartitionRequest, done func(*kmsg.AlterPartitionResponse, error)) {
			if !alive() {
				return
			}
			c.calls["alter"]++
			c.call(b, controllerID, func(reply func(any)) { reply(c.decide(&metadata.Request{Req: req})) }, func(v any, err error) {
				resp, _ := v.(*kmsg.AlterPartitionResponse)
				done(resp, err)
			})
		},
	})
	for _, id := range dir.Damaged() {
		b.m.Damaged(id)
	}
	var sync func()
	sync = func() {
		if alive() {
			if _, err := dir.SyncRound(); err != nil && (!log.IsFull(err) || dir.Failed() != nil) {
				c.t.Fatal(err)
			}
			c.clock.AfterFunc(time.Duration(1+c.rng.IntN(5))*time.Millisecond, sync)
		}
	}
	sync()
	b.register()
}

// register registers until it succeeds, and beats from then on.
func (b *broker) register() {
	c := b.c
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.Version, req.BrokerID, req.ClusterID = 4, b.id, c.img().ClusterID()
	req.IncarnationID = [16]byte{byte(b.id), byte(b.incarnation), 1}
	req.Features = metadata.RegistrationFeatures(clusterFeatures)
	req.LogDirs = [][16]byte{{200, byte(b.id), 9}}
	if rack := c.racks[b.id]; rack != "" {
		req.Rack = &rack
	}
	l := kmsg.NewBrokerRegistrationRequestListener()
	l.Name, l.Host, l.Port = "PLAINTEXT", "127.0.0.1", 9092
	req.Listeners = append(req.Listeners, l)
	c.call(b, controllerID, func(reply func(any)) { reply(c.decide(&metadata.RegisterBroker{Req: req, Lost: b.lost()})) }, func(v any, err error) {
		if resp, _ := v.(*kmsg.BrokerRegistrationResponse); err == nil && resp.ErrorCode == 0 {
			b.epoch = resp.BrokerEpoch
			b.beat()
			b.pull()
			return
		}
		b.later(500*time.Millisecond, b.register)
	})
}

func (b *broker) later(d time.Duration, f func()) {
	alive := b.alive()
	b.c.clock.AfterFunc(d, func() {
		if alive() {
			f()
		}
	})
}

func (b *broker) beat() {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.Version, req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = 1, b.id, b.epoch, int64(b.applied)
	b.c.call(b, controllerID, func(reply func(any)) { reply(b.c.decide(&metadata.Request{Req: req})) }, func(any, error) {})
	b.later(500*time.Millisecond, b.beat)
}

// pull applies what the controller committed, a while later. A broker learns nothing
// before it is registered, as one that starts.
func (b *broker) pull() {
	if !b.up || b.pulling || b.epoch < 0 || b.applied == len(b.c.records) {
		return
	}
	b.pulling = true
	d := b.c.delay()
	if b.c.cut[[2]int32{b.id, controllerID}] || b.c.cut[[2]int32{controllerID, b.id}] {
		d = 500 * time.Millisecond
	}
	b.later(d, func() {
		b.pulling = false
		if b.c.cut[[2]int32{b.id, controllerID}] || b.c.cut[[2]int32{controllerID, b.id}] {
			b.pull()
			return
		}
		b.apply(len(b.c.records))
	})
}

// apply applies the records up to n.
func (b *broker) apply(n int) {
	for b.applied < n {
		b.applied++
		if err := b.builder.Apply(int64(b.applied), b.c.records[b.applied-1]); err != nil {
			b.c.t.Fatal(err)
		}
	}
	img, delta := b.builder.Image()
	if err := b.m.Apply(img, delta); err != nil {
		b.c.t.Fatal(err)
	}
}

// crash ends the broker; with power it loses what is not synced.
func (b *broker) crash(power bool) {
	b.up = false
	old := b.disk
	if power {
		b.boot++
		b.disk = old.CrashClone(b.c.rng)
	} else {
		b.disk = old.KillClone()
	}
	old.PowerOff()
	if b.c.model != nil {
		b.c.model.forget(b.id)
	}
}

// testSession is a leader's fetch session.
type testSession struct {
	epoch int32
	parts []FetchPart
	hw    map[Ref][2]int64 // high watermark and start last told
}

// serveFetch answers a follower's fetch as the API does.
func (b *broker) serveFetch(req *kmsg.FetchRequest, reply func(any)) {
	if !b.up {
		return // the caller's wait ends some other way
	}
	alive := b.alive()
	fail := func(e *kerr.Error) {
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		resp.ErrorCode = e.Code
		reply(resp)
	}
	var s *testSession
	id := req.SessionID
	if req.SessionEpoch == 0 {
		delete(b.sessions, id)
		id = b.c.rng.Int32N(1<<30) + 1
		s = &testSession{hw: map[Ref][2]int64{}}
		b.sessions[id] = s
	} else if s = b.sessions[id]; s == nil {
		fail(kerr.FetchSessionIDNotFound)
		return
	} else if s.epoch != req.SessionEpoch {
		fail(kerr.InvalidFetchSessionEpoch)
		return
	}
	s.epoch++
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			part := FetchPart{Ref{TopicID: t.TopicID, Index: p.Partition}, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch, p.LogStartOffset, SaysNoRoom(&p)}
			if i := slices.IndexFunc(s.parts, func(o FetchPart) bool { return o.Ref == part.Ref }); i >= 0 {
				s.parts[i] = part
			} else {
				s.parts = append(s.parts, part)
				s.hw[part.Ref] = [2]int64{-1, -1}
			}
		}
	}
	for _, t := range req.ForgottenTopics {
		for _, i := range t.Partitions {
			s.parts = slices.DeleteFunc(s.parts, func(o FetchPart) bool { return o.Ref == Ref{TopicID: t.TopicID, Index: i} })
		}
	}
	parts := slices.Clone(s.parts)
	b.m.Fetch(parts, FetchLimits{
		MinBytes: req.MinBytes, MaxBytes: req.MaxBytes, MaxWait: time.Duration(req.MaxWaitMillis) * time.Millisecond,
		Replica: req.ReplicaState.ID, ReplicaEpoch: req.ReplicaState.Epoch,
	}, func(op *FetchOp) {
		b.c.clock.AfterFunc(0, func() {
			if !alive() {
				return
			}
			got := op.Collect()
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			resp.SessionID = id
			handedOver := 0
			for i := range got {
				if len(got[i].Producers) > 0 {
					handedOver++
				}
				b.c.fill(resp, s, req.SessionEpoch == 0, parts[i].Ref, &got[i])
			}
			if handedOver > 1 {
				b.c.t.Errorf("an answer has the producers of %d partitions", handedOver)
			}
			reply(resp)
		})
	})
}

func (c *cluster) fill(resp *kmsg.FetchResponse, s *testSession, full bool, ref Ref, f *Fetched) {
	if !full && f.Err == nil && !f.Diverging && f.Run == nil && !f.News && s.hw[ref] == [2]int64{f.HighWatermark, f.LogStart} {
		return
	}
	s.hw[ref] = [2]int64{f.HighWatermark, f.LogStart}
	p := kmsg.NewFetchResponseTopicPartition()
	p.Partition, p.HighWatermark, p.LogStartOffset = ref.Index, f.HighWatermark, f.LogStart
	if f.Err != nil {
		p.ErrorCode, s.hw[ref] = f.Err.Code, [2]int64{-1, -1}
	}
	if f.Diverging {
		p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = f.DivergingEpoch, f.DivergingEnd
	}
	if len(f.Producers) > 0 {
		p.UnknownTags.Set(ProducersTag, f.Producers)
	}
	if f.Run != nil {
		p.RecordBatches = make([]byte, f.Run.Len())
		if _, err := f.Run.ReadAt(p.RecordBatches, 0); err != nil && err != io.EOF {
			c.t.Fatal(err)
		}
		f.Release()
	}
	t := kmsg.NewFetchResponseTopic()
	t.TopicID = ref.TopicID
	t.Partitions = append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
}

// create makes a topic with as many replicas as there are brokers.
func (c *cluster) create(name string, partitions int32, minISR string, more ...[2]string) {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, int16(len(c.nodes))
	cfg := kmsg.NewCreateTopicsRequestTopicConfig()
	cfg.Name, cfg.Value = "min.insync.replicas", &minISR
	t.Configs = append(t.Configs, cfg)
	for _, kv := range more {
		cfg := kmsg.NewCreateTopicsRequestTopicConfig()
		cfg.Name, cfg.Value = kv[0], &kv[1]
		t.Configs = append(t.Configs, cfg)
	}
	req.Topics = append(req.Topics, t)
	resp := c.decide(&metadata.Request{Req: req}).(*kmsg.CreateTopicsResponse)
	if resp.Topics[0].ErrorCode != 0 {
		c.t.Fatalf("creating %s: %v", name, kerr.ErrorForCode(resp.Topics[0].ErrorCode))
	}
	c.until("every broker has the topic", func() bool {
		for _, b := range c.nodes {
			if b.up && b.part(name, partitions-1) == nil {
				return false
			}
		}
		return true
	})
}

func (b *broker) part(topic string, i int32) *Partition {
	p, _ := b.m.Find(Ref{Topic: topic, Index: i})
	return p
}

// run lets time pass.
func (c *cluster) run(d time.Duration) {
	c.t.Helper()
	for end := c.clock.Now().Add(d); ; {
		at, ok := c.clock.Next()
		if !ok || at.After(end) {
			c.clock.Advance(end.Sub(c.clock.Now()))
			return
		}
		c.clock.Step()
		if c.model != nil {
			c.model.check()
		}
	}
}

// until lets time pass until something is so.
func (c *cluster) until(what string, so func() bool) {
	c.t.Helper()
	for end := c.clock.Now().Add(3 * time.Minute); !so(); {
		if c.clock.Now().After(end) {
			c.t.Fatalf("never: %s\n%s", what, c.dump())
		}
		c.clock.Step()
		if c.model != nil {
			c.model.check()
		}
	}
}

// dump shows every partition.
func (c *cluster) dump() (s string) {
	for t := range c.img().Topics() {
		for _, mp := range t.Partitions {
			s += fmt.Sprintf("%s-%d leader %d epoch %d/%d isr %v elr %v\n", t.Name, mp.Index, mp.Leader, mp.LeaderEpoch, mp.PartitionEpoch, mp.ISR, mp.ELR())
			for _, b := range c.nodes {
				if p := b.part(t.Name, mp.Index); b.up && p != nil {
					r := p.st.Load()
					s += fmt.Sprintf("   %d: leader %d epoch %d/%d isr %v  start %d hw %d synced %d end %d", b.id, r.leader, r.leaderEpoch, r.partitionEpoch, r.isr, p.log.StartOffset(), p.HighWatermark(), p.log.SyncedOffset(), p.log.EndOffset())
					if p.tenure != nil && p.tenure.change != nil {
						s += fmt.Sprintf(" change %+v", *p.tenure.change)
					}
					s += "\n"
				}
			}
		}
	}
	for _, b := range c.nodes {
		s += fmt.Sprintf("%d: up %v active %v applied %d of %d\n", b.id, b.up, c.img().Active(b.id), b.applied, len(c.records))
	}
	return s
}

// inSync tells whether all replicas of all partitions are in sync and equal.
func (c *cluster) inSync() bool {
	for t := range c.img().Topics() {
		for _, mp := range t.Partitions {
			if len(mp.ISR) < len(mp.Replicas) || mp.Leader < 0 {
				return false
			}
			lead := c.nodes[mp.Leader-1].part(t.Name, mp.Index)
			for _, id := range mp.Replicas {
				p := c.nodes[id-1].part(t.Name, mp.Index)
				if p == nil || lead == nil || p.HighWatermark() != lead.log.EndOffset() || p.log.EndOffset() != lead.log.EndOffset() ||
					p.st.Load().partitionEpoch != mp.PartitionEpoch {
					return false
				}
			}
		}
	}
	return true
}

// leader is the broker that leads by what the controller knows; nil when none does.
func (c *cluster) leader(topic string, i int32) *broker {
	if l := c.img().Partition(topic, i).Leader; l > 0 {
		return c.nodes[l-1]
	}
	return nil
}

// send produces values to a broker.
func (b *broker) send(topic string, i int32, acks int16, values ...string) *produced {
	a := &produced{}
	b.m.Produce([]ProducePart{{b.part(topic, i), batchAt(b.c.clock.Now(), values...)}}, acks, 10*time.Second, func(op *ProduceOp) {
		a.answered, a.results = true, op.Results
	})
	return a
}

func batchAt(now time.Time, values ...string) []byte {
	var rb record.Builder
	rb.Reset(record.NewHeader(0), record.Compression{})
	for _, v := range values {
		rb.Append(now.UnixMilli(), nil, []byte(v))
	}
	out, err := rb.Build(nil)
	if err != nil {
		panic(err)
	}
	return out
}

// stored is one record.
type stored struct {
	offset int64
	epoch  int32
	value  string
}

// stored reads a log from an offset up to another.
func (p *Partition) stored(from, to int64) (all []stored, err error) {
	for from < to {
		run, err := p.log.Read(from, 1<<20, to, true)
		if err != nil {
			return nil, err
		}
		if run.Len() == 0 {
			run.Release()
			return all, nil
		}
		buf := make([]byte, run.Len())
		_, err = run.ReadAt(buf, 0)
		next := run.NextOffset()
		run.Release()
		if err != nil && err != io.EOF {
			return nil, err
		}
		for b, err := range record.Split(buf) {
			if err != nil {
				return nil, err
			}
			for r, err := range b.Records(1 << 20) {
				if err != nil {
					return nil, err
				}
				if r.Offset >= from && r.Offset < to {
					all = append(all, stored{r.Offset, b.LeaderEpoch(), string(r.Value)})
				}
			}
		}
		from = next
	}
	return all, nil
}

// eventWriter keeps what brokers log.
type eventWriter cluster

func (w *eventWriter) Write(line []byte) (int, error) {
	if w.model == nil {
		w.events = append(w.events, string(line))
	}
	return len(line), nil
}

// told counts the events of a type.
func (c *cluster) told(event string) (n int) {
	for _, e := range c.events {
		if strings.HasSuffix(strings.TrimSpace(e), "event="+event) {
			n++
		}
	}
	return n
}

// isolate cuts a broker off from every other one, and from the controller if all.
func (c *cluster) isolate(id int32, all bool) {
	for to := range int32(len(c.nodes) + 1) {
		if to != id && (all || to != controllerID) {
			c.cut[[2]int32{id, to}], c.cut[[2]int32{to, id}] = true, true
		}
	}
}

// acked sends to the leader and waits for the answer.
func (c *cluster) acked(topic string, i int32, values ...string) {
	c.t.Helper()
	a := c.leader(topic, i).send(topic, i, -1, values...)
	c.until("the write is answered", func() bool { return a.answered })
	if a.results[0].Err != nil {
		c.t.Fatalf("the write: %v\n%s", a.results[0].Err, c.dump())
	}
}
