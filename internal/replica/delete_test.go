package replica

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/record"
	"github.com/leat-stream/leat/internal/schema"
)

// deletion is a DeleteRecords request on its way.
type deletion struct {
	answered int
	results  []Deleted
}

func (d *deletion) String() string {
	if d.answered == 0 {
		return "waiting"
	}
	var s []string
	for _, r := range d.results {
		if r.Err != nil {
			s = append(s, fmt.Sprintf("%s %d", r.Err.Message, r.LowWatermark))
			continue
		}
		s = append(s, fmt.Sprint(r.LowWatermark))
	}
	return strings.Join(s, " ")
}

func deleteRecords(m *Manager, timeout time.Duration, parts ...DeletePart) *deletion {
	d := &deletion{}
	m.DeleteRecords(parts, timeout, func(op *DeleteOp) {
		d.answered++
		d.results = op.Results
	})
	return d
}

func (w *world) deleteRecords(topic string, index int32, before int64) *deletion {
	return deleteRecords(w.m, time.Minute, DeletePart{w.part(topic, index), before})
}

func (b *broker) deleteRecords(topic string, i int32, before int64, timeout time.Duration) *deletion {
	return deleteRecords(b.m, timeout, DeletePart{b.part(topic, i), before})
}

func (c *cluster) expectDeletion(d *deletion, want string) {
	c.t.Helper()
	if got := d.String(); got != want {
		c.t.Fatalf("the deletion is %q, want %q\n%s", got, want, c.dump())
	}
}

func TestDeletionIsRefused(t *testing.T) {
	w := newWorld(t)
	s := durable()
	w.create("t", 1, s)
	s.Deletes = false
	w.create("compacted", 1, s)
	w.send("t", 0, 1, "a", "b")
	w.mustSync()
	w.expect(w.deleteRecords("t", 0, 3), kerr.OffsetOutOfRange.Message+" -1")
	w.expect(w.deleteRecords("t", 0, -2), kerr.OffsetOutOfRange.Message+" -1")
	w.expect(w.deleteRecords("compacted", 0, 0), kerr.PolicyViolation.Message+" -1")
	w.expect(deleteRecords(w.m, 0, DeletePart{w.part("t", 0), 1}), "1") // alone there is nothing to wait for
	w.expect(w.deleteRecords("t", 0, 0), "1")
}

// TestDeletionWaitsForEveryReplica: the answer waits until each has moved its start, tells
// the low watermark, and comes without waiting out a long poll.
func TestDeletionWaitsForEveryReplica(t *testing.T) {
	c := trio(t, "2")
	c.acked("t", 0, "a", "b", "c")
	c.run(5 * time.Second) // followers are in their long polls, which are long by now
	slow := c.others()[0]
	l := c.leader("t", 0)
	d := l.deleteRecords("t", 0, 2, time.Minute)
	c.expectDeletion(d, "waiting")
	c.run(100 * time.Millisecond)
	c.expectDeletion(d, "2")
	c.isolate(slow.id, false)
	d = l.deleteRecords("t", 0, -1, time.Minute)
	c.run(time.Second)
	c.expectDeletion(d, "waiting")
	clear(c.cut)
	c.until("it is answered", func() bool { return d.answered > 0 })
	c.expectDeletion(d, "3")
	for _, b := range c.nodes {
		c.expectEnds(b, "3-3 hw 3")
	}
}

func TestDeletionTimesOut(t *testing.T) {
	c := trio(t, "2")
	c.acked("t", 0, "a", "b", "c")
	c.isolate(c.others()[0].id, false)
	l := c.leader("t", 0)
	d := l.deleteRecords("t", 0, 2, time.Second)
	now := l.deleteRecords("t", 0, 1, 0)
	c.expectDeletion(now, kerr.RequestTimedOut.Message+" 0")
	c.run(1100 * time.Millisecond)
	c.expectDeletion(d, kerr.RequestTimedOut.Message+" 0")
	clear(c.cut)
	c.until("every start has moved all the same", func() bool {
		for _, b := range c.nodes {
			if b.part("t", 0).log.StartOffset() != 2 {
				return false
			}
		}
		return true
	})
	if n := l.m.deleting.Load(); d.answered != 1 || n != 0 {
		t.Fatalf("%d answers, %d left", d.answered, n)
	}
}

// TestDeletionDoesNotWaitForTheDead: as with Kafka. It catches up before it is in sync.
func TestDeletionDoesNotWaitForTheDead(t *testing.T) {
	c := trio(t, "2")
	c.acked("t", 0, "a", "b", "c")
	dead := c.others()[0]
	l := c.leader("t", 0)
	dead.crash(true)
	d := l.deleteRecords("t", 0, 2, time.Minute)
	c.run(time.Second)
	c.expectDeletion(d, "waiting") // it is not known to be dead
	c.until("it is answered", func() bool { return d.answered > 0 })
	c.expectDeletion(d, "2")
	if c.img().Active(dead.id) {
		t.Fatal("answered before the broker was fenced")
	}
	dead.open()
	c.until("it is in sync", func() bool {
		in := len(c.img().Partition("t", 0).ISR) == 3
		if p := dead.part("t", 0); in && p.log.StartOffset() != 2 {
			t.Fatalf("it is in sync and starts at %d", p.log.StartOffset())
		}
		return in
	})
}

// TestDeletionWaitsForTheEligible: who may be elected next counts, dead or not.
func TestDeletionWaitsForTheEligible(t *testing.T) {
	c := trio(t, "2")
	c.acked("t", 0, "a", "b", "c")
	l, others := c.leader("t", 0), c.others()
	for _, b := range others {
		b.crash(true)
		c.until("it is out of sync", func() bool { return !slices.Contains(c.img().Partition("t", 0).ISR, b.id) })
	}
	elr := c.img().Partition("t", 0).ELR()
	if len(elr) != 1 {
		t.Fatal(c.dump())
	}
	d := l.deleteRecords("t", 0, 2, time.Minute)
	c.run(10 * time.Second)
	c.expectDeletion(d, "waiting")
	c.nodes[elr[0]-1].open()
	c.until("it is answered", func() bool { return d.answered > 0 })
	c.expectDeletion(d, "2")
}

// TestDeletionSurvivesAnElection: whoever leads next starts no lower.
func TestDeletionSurvivesAnElection(t *testing.T) {
	c := trio(t, "2")
	c.acked("t", 0, "a", "b", "c")
	old := c.leader("t", 0)
	d := old.deleteRecords("t", 0, 2, time.Minute)
	c.until("it is answered", func() bool { return d.answered > 0 })
	c.expectDeletion(d, "2")
	for _, b := range c.nodes {
		b.crash(true)
	}
	for _, b := range c.nodes {
		if b != old {
			b.open()
		}
	}
	c.until("another leads", func() bool {
		l := c.leader("t", 0)
		return l != nil && l != old && l.part("t", 0) != nil && l.part("t", 0).Leading()
	})
	if start := c.leader("t", 0).part("t", 0).log.StartOffset(); start != 2 {
		t.Fatalf("it starts at %d", start)
	}
}

// TestDeletionEndsWithTheLeader: a deposed leader does not know what the others have.
func TestDeletionEndsWithTheLeader(t *testing.T) {
	c := trio(t, "2")
	c.acked("t", 0, "a", "b", "c")
	old := c.leader("t", 0)
	c.isolate(old.id, true)
	d := old.deleteRecords("t", 0, 2, time.Minute)
	c.until("another leads", func() bool { l := c.leader("t", 0); return l != nil && l != old })
	c.expectDeletion(d, "waiting")
	clear(c.cut)
	c.until("it is answered", func() bool { return d.answered > 0 })
	c.expectDeletion(d, notLeader+" 0")
}

func TestDeletionOfADeletedTopic(t *testing.T) {
	c := trio(t, "2")
	c.acked("t", 0, "a")
	l := c.leader("t", 0)
	c.isolate(c.others()[0].id, false)
	d := l.deleteRecords("t", 0, 1, time.Minute)
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version = 6
	rt := kmsg.NewDeleteTopicsRequestTopic()
	rt.Topic = kmsg.StringPtr("t")
	req.Topics = append(req.Topics, rt)
	c.decide(&metadata.Request{Req: req})
	c.until("it is answered", func() bool { return d.answered > 0 })
	c.expectDeletion(d, unknown+" 0")
}

// TestRetentionDoesNotStandForADeletion: what retention moved in memory only would be back
// after a crash, so a follower does not state it.
func TestRetentionDoesNotStandForADeletion(t *testing.T) {
	c := trio(t, "2")
	big := strings.Repeat("x", 3000)
	c.acked("t", 0, big)
	c.acked("t", 0, big)
	c.acked("t", 0, big)
	c.run(time.Second)
	for _, b := range c.others() {
		if err := b.dir.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		p := b.part("t", 0)
		cfg := p.Settings().Log
		cfg.RetentionBytes = 1
		p.log.SetConfig(cfg)
		if got, err := p.log.Retain(c.clock.Now(), p.HighWatermark()); err != nil || got.Segments == 0 {
			t.Fatal(got, err)
		}
		if p.log.RecordedStart() != 0 || p.log.StartOffset() == 0 {
			t.Fatal(b.ends())
		}
	}
	c.acked("t", 0, "z") // they fetch, and state where they start
	c.run(time.Second)
	l := c.leader("t", 0)
	d := l.deleteRecords("t", 0, 1, time.Minute)
	c.until("it is answered", func() bool { return d.answered > 0 })
	c.expectDeletion(d, "1")
	for _, b := range c.nodes {
		b.crash(true)
	}
	b := c.nodes[l.id%3] // a follower
	b.open()
	c.until("it is open", func() bool { return b.part("t", 0) != nil })
	if start := b.part("t", 0).log.StartOffset(); start < 1 {
		t.Fatalf("broker %d starts at %d", b.id, start)
	}
}

// TestStartWithinABatchIsToldAgain: a replica that begins anew within a batch takes the
// whole batch, and has to be told where it starts once more.
func TestStartWithinABatchIsToldAgain(t *testing.T) {
	c := trio(t, "2")
	c.acked("t", 0, "a")
	slow := c.others()[0]
	slow.crash(false)
	c.until("it is out of sync", func() bool { return !slices.Contains(c.img().Partition("t", 0).ISR, slow.id) })
	c.acked("t", 0, "b", "c", "d")
	l := c.leader("t", 0)
	d := l.deleteRecords("t", 0, 3, time.Minute)
	c.until("it is answered", func() bool { return d.answered > 0 })
	slow.open()
	c.until("all are in sync", c.inSync)
	c.expectEnds(slow, "3-4 hw 4")
}

// TestWhatWentAnotherWayEndsAtTheStart: a former leader's log ends where the leader's starts
// now, within a batch. That its last records went another way is not known to the leader any
// more, which has deleted its own, so nothing of the log stays, not even for the duplicates of
// a producer (seed 110000487 of the simulation).
func TestWhatWentAnotherWayEndsAtTheStart(t *testing.T) {
	c := trio(t, "2")
	c.acked("t", 0, "a")
	old := c.leader("t", 0)
	c.isolate(old.id, true)
	h := record.NewHeader(0)
	h.ProducerID, h.ProducerEpoch, h.BaseSequence = 9, 0, 0
	old.m.Produce([]ProducePart{{old.part("t", 0), headed(h, c.clock.Now(), "w", "x", "y", "z")}}, -1, time.Minute, func(*ProduceOp) {})
	c.until("another leads", func() bool { l := c.leader("t", 0); return l != nil && l != old && l.part("t", 0).Leading() })
	l := c.leader("t", 0)
	c.acked("t", 0, "b", "c")
	a := l.send("t", 0, -1, "d", "e", "f", "g") // one batch, from 3 to 6
	c.until("the write is answered", func() bool { return a.answered })
	d := l.deleteRecords("t", 0, 5, time.Minute)
	c.until("it is answered", func() bool { return d.answered > 0 })
	clear(c.cut)
	c.until("all are in sync", c.inSync)
	c.run(time.Second)
	c.expectEnds(old, "5-7 hw 7")
	if c.told("StartedAnew") != 1 {
		t.Fatal(c.events)
	}
	if list := old.part("t", 0).log.Producers(); len(list) != 0 {
		t.Fatalf("it remembers %+v", list)
	}
}

// TestManyWentAnotherWayAndEndAtTheStart: of partitions that a follower has to start anew, an
// answer tells the producers of one. The others hear nothing by that answer which they could
// take for theirs, and start anew as well.
func TestManyWentAnotherWayAndEndAtTheStart(t *testing.T) {
	const parts = 12
	c := newCluster(t, 1, 3)
	c.tuning.LagMax = 4 * time.Second
	c.start()
	c.create("t", parts, "2")
	from := func(producer int64) record.BatchHeader {
		h := record.NewHeader(0)
		h.ProducerID, h.ProducerEpoch, h.BaseSequence = producer, 0, 0
		return h
	}
	old := c.leader("t", 0)
	var led []int32
	for i := range int32(parts) {
		c.acked("t", i, "a")
		if c.leader("t", i) == old {
			led = append(led, i)
		}
	}
	c.until("all are in sync", c.inSync)
	c.isolate(old.id, true)
	for _, i := range led {
		old.m.Produce([]ProducePart{{old.part("t", i), headed(from(9), c.clock.Now(), "w", "x", "y", "z")}}, -1, time.Minute, func(*ProduceOp) {})
	}
	followed := map[*broker]int{}
	for _, i := range led {
		c.until("another leads", func() bool { l := c.leader("t", i); return l != nil && l != old && l.part("t", i).Leading() })
		c.acked("t", i, "b", "c")
		l, answered := c.leader("t", i), false
		l.m.Produce([]ProducePart{{l.part("t", i), headed(from(8), c.clock.Now(), "d", "e", "f", "g")}}, -1, time.Minute, func(*ProduceOp) { answered = true }) // from 3 to 6
		c.until("the write is answered", func() bool { return answered })
		d := l.deleteRecords("t", i, 5, time.Minute)
		c.until("it is answered", func() bool { return d.answered > 0 })
		followed[l]++
	}
	if slices.Max(slices.Collect(maps.Values(followed))) < 2 {
		t.Fatal("every leader has one of them")
	}
	clear(c.cut)
	c.until("all are in sync", c.inSync)
	for _, i := range led {
		list := old.part("t", i).log.Producers()
		if len(list) != 1 || list[0].ProducerID != 8 {
			t.Errorf("t-%d: it remembers %+v", i, list)
		}
	}
	if n := c.told("StartedAnew"); n != len(led) {
		t.Errorf("%d of %d have started anew", n, len(led))
	}
}

// starting states where a follower's log starts.
func starting(at int64) func(*FetchPart) { return func(p *FetchPart) { p.LogStart = at } }

// TestLowWatermark: who counts towards it.
func TestLowWatermark(t *testing.T) {
	l := newLead(t, 1, 1, 2)
	l.send("t", 0, 1, "a", "b", "c")
	l.mustSync()
	l.fetch(2, 12, 3)
	d := l.deleteRecords("t", 0, 3)
	l.fetch(2, 12, 3, starting(3))
	l.expect(d, "waiting") // for 3, which is out of sync, and alive
	l.record(&schema.BrokerChange{BrokerID: 3, Epoch: 13, Fence: 1})
	l.must(l.apply())
	l.expect(d, "3")

	// One that is to be in sync counts, dead or not.
	l.fetch(3, 13, 3, starting(3))
	l.record(&schema.BrokerChange{BrokerID: 3, Epoch: 13, Fence: -1})
	l.must(l.apply())
	l.fetch(3, 13, 3, starting(3))
	if len(l.asked) != 1 {
		t.Fatal("the controller was not asked")
	}
	l.record(&schema.BrokerChange{BrokerID: 3, Epoch: 13, Fence: 1})
	l.must(l.apply())
	l.send("t", 0, 1, "d")
	l.mustSync()
	l.fetch(2, 12, 4, starting(3))
	l.expectHW(3)
	l.fetch(3, 13, 4, starting(3))
	d = l.deleteRecords("t", 0, 4)
	l.fetch(2, 12, 4, starting(4))
	l.expect(d, "waiting")
	l.fetch(3, 13, 4, starting(4))
	l.expect(d, "4")

	// So does one that is in sync, as far as is known here.
	l.record(&schema.BrokerChange{BrokerID: 2, Epoch: 12, Fence: 1})
	l.must(l.apply())
	l.fetch(2, 12, 4, starting(3))
	d = l.deleteRecords("t", 0, 4)
	l.expect(d, "waiting")
	l.fetch(2, 12, 4, starting(4))
	l.expect(d, "4")

	// A new leader knows of nobody where it starts.
	l.change(1, 1, 2)
	d = l.deleteRecords("t", 0, 4)
	l.expect(d, "waiting")
	l.fetch(2, 12, 4, starting(4))
	l.expect(d, "4")
}

// TestExpansionOnlyFromTheStart: elected, it would show again what is deleted.
func TestExpansionOnlyFromTheStart(t *testing.T) {
	l := newLead(t, 1, 1, 2)
	l.send("t", 0, 1, "a", "b", "c")
	l.mustSync()
	l.fetch(2, 12, 3)
	l.deleteRecords("t", 0, 2)
	l.fetch(3, 13, 3, starting(1))
	if len(l.asked) != 0 {
		t.Fatal("a follower was taken in that starts below its leader")
	}
	l.fetch(3, 13, 3, starting(2))
	if len(l.asked) != 1 {
		t.Fatal("the controller was not asked")
	}
}

// TestStartIsNews: a follower that starts elsewhere is told so at once, and once, unless it
// may not have heard it or had to begin anew.
func TestStartIsNews(t *testing.T) {
	l := newLead(t, 1, 1, 2)
	l.send("t", 0, 1, "a", "b", "c")
	l.mustSync()
	news := func(start int64, session int32) bool {
		part := from("t", 0, 3)
		part.LeaderEpoch, part.LogStart = 0, start
		answered := false
		op := l.m.Fetch([]FetchPart{part}, FetchLimits{
			Replica: 2, ReplicaEpoch: 12, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Minute, Session: FetchSession{ID: 1, Epoch: session},
		}, func(*FetchOp) { answered = true })
		was := answered
		op.Cancel()
		if f := op.Collect()[0]; f.Err != nil || f.LogStart != l.part("t", 0).log.StartOffset() {
			t.Fatalf("%+v", f)
		}
		return was
	}
	if !news(0, 1) || news(0, 2) {
		t.Fatal("the high watermark is news, once")
	}
	l.deleteRecords("t", 0, 2)
	for i, c := range []struct {
		start   int64
		session int32
		news    bool
	}{{0, 3, true}, {0, 4, false}, {0, 0, true}, {0, 1, false}, {2, 2, false}, {1, 3, true}, {1, 4, false}} {
		if got := news(c.start, c.session); got != c.news {
			t.Errorf("%d: news %v", i, got)
		}
	}
}
