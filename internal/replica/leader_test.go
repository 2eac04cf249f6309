package replica

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/schema"
)

// lead is a world whose broker 1 leads partition t-0 of brokers 1, 2 and 3, with what it
// asks of the controller in asked.
type lead struct {
	*world
	asked []*kmsg.AlterPartitionRequest
	done  []func(*kmsg.AlterPartitionResponse, error)
}

func newLead(t *testing.T, minISR int, isr ...int32) *lead {
	l := &lead{world: newWorld(t)}
	l.m.opt.BrokerEpoch = func() int64 { return 11 }
	l.m.opt.AlterISR = func(req *kmsg.AlterPartitionRequest, done func(*kmsg.AlterPartitionResponse, error)) {
		l.asked = append(l.asked, req)
		l.done = append(l.done, done)
	}
	for id := int32(1); id <= 3; id++ {
		l.broker(id, int64(10+id))
	}
	s := durable()
	s.MinISR = minISR
	l.topics["t"] = s
	l.record(&schema.Topic{TopicID: topicID("t"), Name: "t"})
	l.record(&schema.Partition{TopicID: topicID("t"), Leader: self, Replicas: []int32{1, 2, 3}, ISR: isr})
	l.must(l.apply())
	return l
}

func (l *lead) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// broker registers a broker, unfenced.
func (l *lead) broker(id int32, epoch int64) {
	r := schema.NewRegisterBroker()
	r.BrokerID, r.Epoch, r.IncarnationID = id, epoch, [16]byte{byte(id), byte(epoch)}
	rack := string(rune('a' + id))
	r.Rack = &rack
	l.record(r)
}

// change is a committed change of the partition.
func (l *lead) change(leader int32, isr ...int32) {
	l.t.Helper()
	c := schema.NewPartitionChange()
	c.TopicID, c.ISR = topicID("t"), isr
	if leader != -2 {
		c.Leader = leader
	}
	l.record(c)
	l.must(l.apply())
}

// fetch is a follower's fetch, which does not wait.
func (l *lead) fetch(id int32, epoch, offset int64, more ...func(*FetchPart)) Fetched {
	l.t.Helper()
	part := from("t", 0, offset)
	part.LeaderEpoch = l.part("t", 0).Leadership().LeaderEpoch
	for _, f := range more {
		f(&part)
	}
	var out Fetched
	l.m.Fetch([]FetchPart{part}, FetchLimits{Replica: id, ReplicaEpoch: epoch, MaxBytes: 1 << 20}, func(op *FetchOp) { out = op.Collect()[0] })
	out.Release()
	return out
}

func (l *lead) expectHW(want int64) {
	l.t.Helper()
	if hw := l.part("t", 0).HighWatermark(); hw != want {
		l.t.Fatalf("high watermark %d, want %d", hw, want)
	}
}

// answer answers the oldest request of the controller with a code and a state.
func (l *lead) answer(code int16, partitionEpoch int32) {
	l.t.Helper()
	done := l.done[0]
	l.done = l.done[1:]
	resp := l.asked[len(l.asked)-1].ResponseKind().(*kmsg.AlterPartitionResponse)
	t := kmsg.NewAlterPartitionResponseTopic()
	t.TopidID = topicID("t")
	p := kmsg.NewAlterPartitionResponseTopicPartition()
	p.ErrorCode, p.PartitionEpoch = code, partitionEpoch
	t.Partitions = append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
	done(resp, nil)
}

func TestWatermarkWaitsForEachMember(t *testing.T) {
	l := newLead(t, 2, 1, 2, 3)
	a := l.send("t", 0, -1, "a")
	l.mustSync()
	l.expectHW(0) // nothing is known of the others in this epoch
	l.fetch(2, 12, 1)
	l.expectHW(0)
	l.fetch(3, 13, 0)
	l.expectHW(0)
	l.fetch(3, 13, 1)
	l.expectHW(1)
	l.expect(a, "0-0")
	l.change(1, 1, 2, 3) // a new epoch of the same leader
	l.send("t", 0, 1, "b")
	l.mustSync()
	l.fetch(2, 12, 2)
	l.expectHW(1)
}

func TestFollowersSeeTheLogsEndAndWakeByAppends(t *testing.T) {
	l := newLead(t, 1, 1, 2)
	l.send("t", 0, 1, "a")
	var op *FetchOp
	wait := func() {
		l.m.Fetch([]FetchPart{from("t", 0, 1)}, FetchLimits{Replica: 2, ReplicaEpoch: 12, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Minute}, func(o *FetchOp) { op = o })
	}
	if wait(); op == nil || !op.Collect()[0].News {
		t.Fatal("the high watermark was no news")
	}
	op = nil
	wait()
	if op != nil {
		t.Fatal("it did not wait")
	}
	l.send("t", 0, 1, "b")
	if op == nil {
		t.Fatal("the append did not wake it")
	}
	got := op.Collect()
	if got[0].Run == nil {
		t.Fatal("it got no record above the high watermark")
	}
	got[0].Release()
}

func TestWhoMayFetchAsAReplica(t *testing.T) {
	l := newLead(t, 1, 1, 2)
	for _, c := range []struct {
		id    int32
		epoch int64
		want  *kerr.Error
	}{{2, 12, nil}, {2, 11, kerr.NotLeaderForPartition}, {2, -1, kerr.NotLeaderForPartition}, {2, 15, nil}, {2, 14, kerr.NotLeaderForPartition}, {4, 14, kerr.UnknownLeaderEpoch}} {
		if f := l.fetch(c.id, c.epoch, 0); f.Err != c.want {
			t.Errorf("broker %d in epoch %d: %v", c.id, c.epoch, f.Err)
		}
	}
	if f := l.fetch(2, 15, 0, func(p *FetchPart) { p.LeaderEpoch++ }); f.Err != kerr.UnknownLeaderEpoch {
		t.Error(f.Err)
	}
	if f := l.fetch(2, 15, 7); f.Err != kerr.OffsetOutOfRange || f.LogStart != 0 || f.HighWatermark != 0 {
		t.Errorf("%+v", f)
	}
	l.send("t", 0, 1, "a")
	l.change(1, 1, 2)
	l.send("t", 0, 1, "b")
	if f := l.fetch(2, 15, 2, func(p *FetchPart) { p.LastFetchedEpoch = 0 }); !f.Diverging || f.DivergingEpoch != 0 || f.DivergingEnd != 1 {
		t.Errorf("%+v", f)
	}
	if end := l.part("t", 0).Followers()[0].End; end != -1 {
		t.Errorf("a fetch that diverged was counted: %d", end)
	}
}

func TestExpansion(t *testing.T) {
	l := newLead(t, 1, 1, 2)
	l.send("t", 0, 1, "a")
	l.mustSync()
	l.fetch(2, 12, 1)
	l.expectHW(1)
	l.change(1, 1, 2) // the epoch begins at 1
	l.send("t", 0, 1, "b")
	l.mustSync()
	l.fetch(3, 13, 0)
	l.fetch(3, 14, 1) // its incarnation is another than the metadata knows
	if len(l.asked) != 0 {
		t.Fatal("a follower was taken in that is not to be")
	}
	l.broker(3, 14)
	l.must(l.apply())
	l.fetch(3, 14, 1)
	if len(l.asked) != 1 {
		t.Fatal("the controller was not asked")
	}
	ask := l.asked[0].Topics[0].Partitions[0]
	if l.asked[0].BrokerEpoch != 11 || ask.LeaderEpoch != 1 || ask.PartitionEpoch != 1 || len(ask.NewEpochISR) != 3 ||
		ask.NewEpochISR[0].BrokerEpoch != 11 || ask.NewEpochISR[1].BrokerEpoch != 12 || ask.NewEpochISR[2].BrokerEpoch != 14 {
		t.Fatalf("%+v", ask)
	}
	l.fetch(2, 12, 2) // the set is 1 and 2, and will be 1, 2 and 3
	l.expectHW(1)
	l.answer(0, 2)
	l.fetch(2, 12, 2)
	l.expectHW(1) // the metadata has not said it yet
	l.change(-2, 1, 2, 3)
	l.expectHW(1)
	l.fetch(3, 14, 2)
	l.expectHW(2)
	if len(l.asked) != 1 {
		t.Fatal("it was asked again")
	}
}

// TestRecoveryOfALoneReplicaIsToldAgain: the controller refuses the first time, as it may a
// broker that it has not heard from for a while.
func TestRecoveryOfALoneReplicaIsToldAgain(t *testing.T) {
	l := newLead(t, 1, 1)
	l.record(&schema.Topic{TopicID: topicID("alone"), Name: "alone"})
	l.topics["alone"] = durable()
	l.record(&schema.Partition{TopicID: topicID("alone"), Leader: self, Replicas: []int32{1}, ISR: []int32{1}, Recovering: true})
	l.must(l.apply())
	for try := 1; try <= 3; try++ {
		if len(l.asked) != try || l.asked[try-1].Topics[0].TopicID != topicID("alone") {
			t.Fatalf("the controller was asked %d times, of %d", len(l.asked), try)
		}
		resp := l.asked[try-1].ResponseKind().(*kmsg.AlterPartitionResponse)
		topic := kmsg.NewAlterPartitionResponseTopic()
		topic.TopidID = topicID("alone")
		part := kmsg.NewAlterPartitionResponseTopicPartition()
		part.ErrorCode = kerr.IneligibleReplica.Code
		topic.Partitions = append(topic.Partitions, part)
		resp.Topics = append(resp.Topics, topic)
		l.done[try-1](resp, nil)
		l.clock.Advance(l.m.tuning().LagMax)
	}
}

func TestOutcomesOfAChange(t *testing.T) {
	setup := func(t *testing.T) *lead {
		l := newLead(t, 1, 1, 2)
		l.fetch(3, 13, 0)
		if len(l.asked) != 1 {
			t.Fatal("the controller was not asked")
		}
		l.send("t", 0, 1, "a")
		l.mustSync()
		l.fetch(2, 12, 1)
		l.expectHW(0)
		return l
	}
	lost := errors.New("lost")
	t.Run("refused", func(t *testing.T) {
		l := setup(t)
		l.answer(kerr.IneligibleReplica.Code, 0)
		l.expectHW(1)
		l.fetch(3, 13, 1)
		if len(l.asked) != 1 {
			t.Fatal("it was asked again at once")
		}
		l.clock.Advance(time.Second)
		l.fetch(3, 13, 1)
		if len(l.asked) != 2 {
			t.Fatal("it was not asked again")
		}
	})
	t.Run("made void", func(t *testing.T) {
		for _, code := range []*kerr.Error{kerr.InvalidUpdateVersion, kerr.FencedLeaderEpoch, kerr.NewLeaderElected} {
			l := setup(t)
			l.answer(code.Code, 0)
			l.expectHW(0) // which set holds is not known
			l.clock.Advance(time.Minute)
			if len(l.asked) != 1 {
				t.Fatal("it was sent again")
			}
			l.change(-2, 1, 2)
			l.expectHW(1)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		l := setup(t)
		l.done[0](nil, lost)
		l.done = l.done[1:]
		l.expectHW(0)
		l.clock.Advance(isrPause)
		if len(l.asked) != 2 {
			t.Fatal("it was not sent again")
		}
		// The first one may yet be carried out.
		l.answer(kerr.IneligibleReplica.Code, 0)
		l.expectHW(0)
		l.clock.Advance(doubtTime)
		l.answer(kerr.IneligibleReplica.Code, 0)
		l.expectHW(1)
	})
	t.Run("unknown, and of an earlier incarnation", func(t *testing.T) {
		l := setup(t)
		l.done[0](nil, lost)
		l.done = l.done[1:]
		l.clock.Advance(isrPause)
		l.broker(3, 14) // it has started again: whoever decides from now on refuses
		l.must(l.apply())
		l.expectHW(0)
		l.answer(kerr.IneligibleReplica.Code, 0)
		l.expectHW(1)
		l.clock.Advance(isrRefused)
		l.fetch(3, 14, 1)
		if n := len(l.asked); n != 3 || l.asked[2].Topics[0].Partitions[0].NewEpochISR[2].BrokerEpoch != 14 {
			t.Fatalf("asked %d times", n)
		}
	})
	t.Run("not the controller", func(t *testing.T) {
		l := setup(t)
		resp := l.asked[0].ResponseKind().(*kmsg.AlterPartitionResponse)
		resp.ErrorCode = kerr.NotController.Code
		l.done[0](resp, nil)
		l.done = l.done[1:]
		l.expectHW(0)
		l.clock.Advance(isrPause)
		l.answer(0, 0) // it is so already
		l.expectHW(1)
	})
	t.Run("another wish while the one before waits to be sent again", func(t *testing.T) {
		l := newLead(t, 1, 1)
		l.fetch(2, 12, 0)
		l.done[0](nil, lost)
		l.change(-2, 1, 2) // it was carried out
		l.fetch(3, 13, 0)
		l.clock.Advance(isrPause)
		if len(l.asked) != 2 {
			t.Fatalf("%d requests", len(l.asked))
		}
		// Twice, it would be carried out once and refused once.
		if list := l.asked[1].Topics[0].Partitions; len(list) != 1 || len(list[0].NewEpochISR) != 3 {
			t.Fatalf("%+v", list)
		}
	})
	t.Run("leadership lost", func(t *testing.T) {
		l := setup(t)
		l.change(2, 1, 2)
		l.answer(0, 5)
		l.change(1, 1, 2)
		if l.part("t", 0).tenure.change != nil {
			t.Fatal("a wish outlived its epoch")
		}
	})
}

func TestLatestIsNotToldBeforeItIsKnown(t *testing.T) {
	l := newLead(t, 1, 1, 2)
	l.send("t", 0, 1, "a", "b")
	l.mustSync()
	l.fetch(2, 12, 1)
	l.change(1, 1, 2)
	p := l.part("t", 0)
	for _, ts := range []int64{Latest, MaxTimestamp, l.clock.Now().UnixMilli() + 1} {
		if at := p.ListOffset(ts, -1, false); at.Err != kerr.OffsetNotAvailable {
			t.Errorf("%d: %+v", ts, at)
		}
	}
	if at := p.ListOffset(Earliest, -1, false); at.Err != nil || at.Offset != 0 {
		t.Errorf("%+v", at)
	}
	l.fetch(2, 12, 2)
	if at := p.ListOffset(Latest, -1, false); at.Err != nil || at.Offset != 2 {
		t.Errorf("%+v", at)
	}
}

func TestNearestReplica(t *testing.T) {
	l := newLead(t, 1, 1, 2)
	tuning := DefaultTuning()
	tuning.RackAware = true
	l.m.opt.Tuning = func(*metadata.Image) Tuning { return tuning }
	l.broker(1, 11)
	l.must(l.apply())
	l.send("t", 0, 1, "a")
	l.mustSync()
	l.fetch(2, 12, 1)
	read := func(rack string, offset int64) Fetched {
		var out Fetched
		l.m.Fetch([]FetchPart{from("t", 0, offset)}, FetchLimits{Replica: Consumer, Rack: rack, MinBytes: 1, MaxWait: time.Minute, MaxBytes: 1 << 20}, func(op *FetchOp) { out = op.Collect()[0] })
		out.Release()
		return out
	}
	if f := read("c", 0); f.PreferredReplica != 2 || f.Run != nil || f.Err != nil {
		t.Errorf("a consumer in the rack of broker 2: %+v", f)
	}
	for _, rack := range []string{"b", "d", "z", ""} { // the leader's, that of a replica out of sync, nobody's
		if f := read(rack, 0); f.PreferredReplica != -1 || f.HighWatermark != 1 {
			t.Errorf("rack %q: %+v", rack, f)
		}
	}
	l.send("t", 0, 1, "b")
	if f := read("c", 2); f.PreferredReplica > 0 {
		t.Errorf("broker 2 does not have it: %+v", f)
	}
	l.change(2, 1, 2)
	if f := read("b", 0); f.Err != nil || f.HighWatermark != 1 {
		t.Errorf("as a follower, own rack: %+v", f)
	}
	for _, rack := range []string{"c", ""} {
		if f := read(rack, 0); f.Err != kerr.NotLeaderForPartition {
			t.Errorf("as a follower, rack %q: %+v", rack, f)
		}
	}
	late := from("t", 0, 5)
	late.LeaderEpoch, late.LastFetchedEpoch = 1, 1
	var out Fetched
	l.m.Fetch([]FetchPart{late}, FetchLimits{Replica: Consumer, Rack: "b", MaxBytes: 1}, func(op *FetchOp) { out = op.Collect()[0] })
	if out.Err != kerr.OffsetNotAvailable || out.Diverging {
		t.Errorf("ahead of the follower: %+v", out)
	}
	late.Offset = 2
	l.m.Fetch([]FetchPart{late}, FetchLimits{Replica: Consumer, Rack: "b", MaxBytes: 1}, func(op *FetchOp) { out = op.Collect()[0] })
	if out.Err != nil || out.Diverging || out.Run != nil {
		t.Errorf("above the follower's high watermark: %+v", out)
	}
}

func TestThrottledFollowerWaits(t *testing.T) {
	l := newLead(t, 1, 1, 2)
	tuning := DefaultTuning()
	tuning.LeaderRate = 10
	l.m.tuned.Store(&tuning)
	s := l.topics["t"]
	s.LeaderThrottled = ParseThrottled("7:1, 0:1,nonsense")
	l.topics["t"] = s
	l.change(-2, 1, 2)
	if !s.LeaderThrottled.Has(0, 1) || s.LeaderThrottled.Has(0, 2) {
		t.Fatal("parsed wrongly")
	}
	l.send("t", 0, 1, "a")
	l.send("t", 0, 1, "b")
	got := func(id int32, epoch int64) bool {
		part := from("t", 0, 0)
		var out Fetched
		l.m.Fetch([]FetchPart{part}, FetchLimits{Replica: id, ReplicaEpoch: epoch, MaxBytes: 80}, func(op *FetchOp) { out = op.Collect()[0] })
		defer out.Release()
		return out.Run != nil
	}
	if !got(3, 13) || got(3, 13) || !got(2, 12) { // who is in sync never waits
		t.Fatal("the rate was not kept")
	}
	l.clock.Advance(time.Minute)
	if !got(3, 13) {
		t.Fatal("it waits for ever")
	}
}

// TestWaitersKeepTheirOrder: what is woken in which order follows from the history alone.
func TestWaitersKeepTheirOrder(t *testing.T) {
	var ws waiters
	list := make([]waiter, 5)
	for i := range list {
		list[i].op = &FetchOp{}
		ws.add(&list[i])
	}
	list[1].remove()
	list[4].remove()
	if got := ws.all(); !slices.Equal(got, []*FetchOp{list[0].op, list[3].op, list[2].op}) {
		t.Fatal(got)
	}
	list[0].remove()
	list[2].remove()
	list[3].remove()
	if len(ws) != 0 {
		t.Fatal(ws)
	}
}

func TestStoppingLeaderLetsFollowersGoOn(t *testing.T) {
	l := newLead(t, 1, 1, 2)
	l.fetch(2, 12, 0)
	l.clock.Advance(time.Minute)
	l.m.Stop()
	answered := false
	ask := func(id int32) {
		answered = false
		l.m.Fetch([]FetchPart{from("t", 0, 0)}, FetchLimits{Replica: id, ReplicaEpoch: 12, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Minute}, func(op *FetchOp) {
			answered = true
			op.Collect()
		})
	}
	if ask(Consumer); !answered {
		t.Fatal("a consumer waits")
	}
	if ask(2); answered {
		t.Fatal("a follower is sent round and round")
	}
	l.send("t", 0, 1, "a")
	if !answered {
		t.Fatal("the append did not wake it")
	}
	l.fetch(2, 12, 1)
	ask(2)
	if l.clock.Advance(unrestPoll); !answered {
		t.Fatal("it waits long")
	}
}
