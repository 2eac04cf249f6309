package replica

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/record"
)

// trio is three brokers, and a topic of one partition.
func trio(t *testing.T, minISR string, more ...[2]string) *cluster {
	t.Helper()
	c := newCluster(t, 1, 3)
	c.tuning.LagMax = 4 * time.Second
	c.start()
	c.create("t", 1, minISR, more...)
	return c
}

// others are the brokers that do not lead the partition.
func (c *cluster) others() (all []*broker) {
	l := c.leader("t", 0)
	for _, b := range c.nodes {
		if b != l {
			all = append(all, b)
		}
	}
	return all
}

func (b *broker) ends() string {
	p := b.part("t", 0)
	return fmt.Sprintf("%d-%d hw %d", p.log.StartOffset(), p.log.EndOffset(), p.HighWatermark())
}

func (c *cluster) expectEnds(b *broker, want string) {
	c.t.Helper()
	if got := b.ends(); got != want {
		c.t.Fatalf("broker %d has %s, want %s\n%s", b.id, got, want, c.dump())
	}
}

func TestWritesReachEveryReplica(t *testing.T) {
	c := trio(t, "2")
	c.acked("t", 0, "a", "b")
	c.acked("t", 0, "c")
	c.run(100 * time.Millisecond) // far less than a long poll: the high watermark is told at once
	for _, b := range c.nodes {
		c.expectEnds(b, "0-3 hw 3")
	}
	if f := c.leader("t", 0).part("t", 0).Followers(); len(f) != 2 || !f[0].InSync || f[0].End != 3 || f[1].End != 3 {
		t.Fatalf("followers: %+v", f)
	}
}

func TestLaggingFollowerLeavesAndComesBack(t *testing.T) {
	c := trio(t, "2")
	slow := c.others()[0]
	c.isolate(slow.id, false)
	a := c.leader("t", 0).send("t", 0, -1, "a")
	c.run(time.Second)
	if a.answered {
		t.Fatal("the write did not wait for a member of the in-sync set")
	}
	c.until("the write is answered", func() bool { return a.answered })
	if a.String() != "0-0" || len(c.img().Partition("t", 0).ISR) != 2 {
		t.Fatalf("%v\n%s", a, c.dump())
	}
	clear(c.cut)
	c.until("all are in sync", c.inSync)
	s := c.leader("t", 0).m.Stats()
	if s.ISRShrinks != 1 || s.ISRExpands != 1 || s.UnderReplicated != 0 || c.told("ISRChanged") != 2 {
		t.Fatalf("%+v", s)
	}
}

func TestTooFewInSyncAfterTheAppend(t *testing.T) {
	c := trio(t, "3")
	c.acked("t", 0, "a")
	slow := c.others()[0]
	c.isolate(slow.id, false)
	l := c.leader("t", 0)
	a := l.send("t", 0, -1, "b")
	c.until("the write is answered", func() bool { return a.answered })
	if a.results[0].Err != kerr.NotEnoughReplicasAfterAppend {
		t.Fatal(a)
	}
	if b := l.send("t", 0, -1, "c"); b.String() != kerr.NotEnoughReplicas.Message {
		t.Fatal(b)
	}
	if _, err := l.part("t", 0).AppendIn(l.part("t", 0).Leadership().LeaderEpoch, batchAt(c.clock.Now(), "d")); err != kerr.NotEnoughReplicas {
		t.Fatal(err)
	}
	c.expectEnds(l, "0-2 hw 1") // KIP-966
	if s := l.m.Stats(); s.UnderMinISR != 1 || s.UnderReplicated != 1 {
		t.Fatalf("%+v", s)
	}
}

// TestUnderReplicatedDuringAMove: a replica that is being added is not missed; one of those
// before that falls behind is.
func TestUnderReplicatedDuringAMove(t *testing.T) {
	c := newCluster(t, 1, 4)
	c.tuning.LagMax = 4 * time.Second
	c.start()
	c.create("t", 1, "1")
	c.acked("t", 0, "a")
	l := c.leader("t", 0)
	others := c.others()
	stays, goes, comes := others[0].id, others[1].id, others[2].id
	under := func(want int) {
		t.Helper()
		c.until("the leader knows", func() bool {
			return l.part("t", 0).st.Load().partitionEpoch == c.img().Partition("t", 0).PartitionEpoch
		})
		if s := l.m.Stats(); s.Led != 1 || s.UnderReplicated != want {
			t.Fatalf("%+v, want %d under-replicated\n%s", s, want, c.dump())
		}
	}
	c.reassign("t", 0, l.id, stays, goes)
	c.until("all are in sync", c.inSync)
	c.isolate(comes, false)
	c.reassign("t", 0, l.id, stays, comes)
	c.run(10 * time.Second) // far more than LagMax
	if p := c.img().Partition("t", 0); len(p.Adding()) != 1 || len(p.Replicas) != 4 || len(p.ISR) != 3 {
		t.Fatalf("%+v", p)
	}
	under(0)
	c.isolate(stays, false)
	l.send("t", 0, -1, "b")
	c.until("a replica falls behind", func() bool { return len(c.img().Partition("t", 0).ISR) == 2 })
	under(1)
	clear(c.cut)
	c.until("the move is over", func() bool { return len(c.img().Partition("t", 0).Adding()) == 0 && c.inSync() })
	under(0)
}

// reassign asks for other replicas of a partition.
func (c *cluster) reassign(topic string, i int32, replicas ...int32) {
	c.t.Helper()
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.Version, req.AllowReplicationFactorChange = 1, true
	t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	t.Topic = topic
	p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
	p.Partition, p.Replicas = i, replicas
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp := c.decide(&metadata.Request{Req: req}).(*kmsg.AlterPartitionAssignmentsResponse)
	if code := resp.Topics[0].Partitions[0].ErrorCode; resp.ErrorCode != 0 || code != 0 {
		c.t.Fatalf("moving %s-%d: %v", topic, i, kerr.ErrorForCode(code))
	}
}

// TestLateTickBlamesNobody: this process stood still, and its followers with it could
// not fetch.
func TestLateTickBlamesNobody(t *testing.T) {
	c := trio(t, "2")
	l := c.leader("t", 0)
	slow := c.others()[0]
	c.isolate(slow.id, false)
	l.send("t", 0, -1, "a")
	c.run(3 * time.Second)
	l.m.ticked.Store(c.clock.Now().Add(-time.Minute).UnixNano())
	c.run(1200 * time.Millisecond)
	before := c.calls["alter"]
	if before != 0 {
		t.Fatal("a tick that came late took a follower out")
	}
	c.until("the next one does", func() bool { return c.calls["alter"] > 0 })
}

func TestFormerLeaderCutsBackWhatOnlyItHas(t *testing.T) {
	c := trio(t, "2")
	c.acked("t", 0, "a")
	old := c.leader("t", 0)
	c.isolate(old.id, true)
	lost := old.send("t", 0, -1, "x", "y")
	old.send("t", 0, 1, "z")
	c.until("another leads", func() bool { l := c.leader("t", 0); return l != nil && l != old && l.part("t", 0).Leading() })
	c.acked("t", 0, "b")
	clear(c.cut)
	c.until("all are in sync", c.inSync)
	if lost.String() != notLeader {
		t.Fatalf("the parked write got %q", lost)
	}
	if s := old.m.Stats(); s.Truncations != 1 || s.Diverging != 1 || s.TruncatedBelowHW != 0 || c.told("Truncated") != 1 {
		t.Fatalf("%+v", s)
	}
	for _, b := range c.nodes {
		all, err := b.part("t", 0).stored(0, 2)
		if err != nil || len(all) != 2 || all[0].value != "a" || all[1].value != "b" {
			t.Fatalf("broker %d has %v, %v", b.id, all, err)
		}
	}
}

func TestUncleanElectionThatLosesIsToldLoudly(t *testing.T) {
	c := trio(t, "1", [2]string{"unclean.leader.election.enable", "true"})
	c.acked("t", 0, "a")
	l := c.leader("t", 0)
	for _, b := range c.others() {
		c.isolate(b.id, true)
	}
	c.until("the leader is alone", func() bool { return len(c.img().Partition("t", 0).ISR) == 1 })
	c.acked("t", 0, "b", "c")
	clear(c.cut)
	c.isolate(l.id, true)
	c.until("another leads", func() bool { n := c.leader("t", 0); return n != nil && n != l && n.part("t", 0).Leading() })
	c.acked("t", 0, "d")
	clear(c.cut)
	c.until("all are in sync", func() bool { return c.inSync() && !c.img().Partition("t", 0).Recovering() })
	if s := l.m.Stats(); s.TruncatedBelowHW != 1 {
		t.Fatalf("%+v", s)
	}
	if c.told("Truncated") == 0 || !strings.Contains(strings.Join(c.events, ""), "COMMITTED RECORDS WERE LOST") {
		t.Fatal(c.events)
	}
	c.expectEnds(l, "0-2 hw 2")
}

func TestFollowerFarBehindStartsAnew(t *testing.T) {
	c := trio(t, "2")
	c.acked("t", 0, "a")
	slow := c.others()[0]
	c.isolate(slow.id, false)
	l := c.leader("t", 0)
	a := l.send("t", 0, -1, "b", "c", "d", "e")
	c.until("the write is answered", func() bool { return a.answered })
	c.acked("t", 0, "f")
	l.deleteRecords("t", 0, 3, time.Minute) // within a batch
	clear(c.cut)
	c.until("all are in sync", c.inSync)
	c.run(time.Second)
	if s := slow.m.Stats(); s.OutOfRange != 1 || c.told("StartedAnew") != 1 || s.TruncatedBelowHW != 0 {
		t.Fatalf("%+v", s)
	}
	c.expectEnds(slow, "3-6 hw 6")
}

// TestFollowerThatStartsAnewKnowsTheProducers: what it has missed, and is deleted, was
// written all the same: a producer that sends it again is told so, and is not out of order
// (seed 20000141 of the simulation).
func TestFollowerThatStartsAnewKnowsTheProducers(t *testing.T) {
	c := newCluster(t, 1, 3)
	c.tuning.LagMax = 4 * time.Second
	c.start()
	const parts = 4
	c.create("t", parts, "1")
	send := func(b *broker, i, sequence int32) (told *kerr.Error) {
		t.Helper()
		h := record.NewHeader(0)
		h.ProducerID, h.ProducerEpoch, h.BaseSequence = 9, 0, sequence
		part, answered := b.part("t", i), false
		b.m.Produce([]ProducePart{{part, headed(h, c.clock.Now(), fmt.Sprint(sequence))}}, -1, time.Minute, func(op *ProduceOp) {
			answered, told = true, op.Results[0].Err
		})
		c.until("the write is answered", func() bool { return answered })
		return told
	}
	slow := c.nodes[0]
	c.isolate(slow.id, true)
	c.until("others lead", func() bool {
		for i := range int32(parts) {
			if l := c.leader("t", i); l == nil || l == slow || !l.part("t", i).Leading() {
				return false
			}
		}
		return true
	})
	for i := range int32(parts) {
		l := c.leader("t", i)
		for n := range int32(10) {
			if err := send(l, i, n); err != nil {
				t.Fatal(err)
			}
		}
		l.deleteRecords("t", i, 10, time.Minute)
	}
	c.run(time.Second)
	clear(c.cut)
	c.until("all are in sync", c.inSync)
	if n := c.told("StartedAnew"); n != parts {
		t.Fatalf("%d started anew", n)
	}
	for _, b := range c.nodes {
		if b != slow {
			c.isolate(b.id, true)
		}
	}
	for i := range int32(parts) {
		c.until("it leads", func() bool { return c.leader("t", i) == slow && slow.part("t", i).Leading() })
		for _, sequence := range []int32{9, 4, 0} {
			if err := send(slow, i, sequence); err != kerr.DuplicateSequenceNumber && (err != nil || sequence < 9) {
				t.Errorf("sequence %d once more: %v", sequence, err)
			}
		}
		if err := send(slow, i, 11); err != kerr.OutOfOrderSequenceNumber {
			t.Errorf("a sequence too far: %v", err)
		}
		if err := send(slow, i, 10); err != nil {
			t.Error(err)
		}
	}
}

func TestStartFollowsTheLeaders(t *testing.T) {
	c := trio(t, "2")
	c.acked("t", 0, "a", "b", "c")
	c.leader("t", 0).deleteRecords("t", 0, 2, time.Minute)
	c.acked("t", 0, "d")
	c.run(time.Second)
	for _, b := range c.nodes {
		c.expectEnds(b, "2-4 hw 4")
	}
}

func TestDamagedAnswerIsFetchedAgain(t *testing.T) {
	c := trio(t, "3")
	broken := 0
	victim := c.others()[0]
	c.mangle = func(to int32, resp *kmsg.FetchResponse) {
		for i := range resp.Topics {
			if b := resp.Topics[i].Partitions[0].RecordBatches; to == victim.id && len(b) > 0 && broken < 3 {
				b[len(b)-1] ^= 1
				broken++
			}
		}
	}
	c.acked("t", 0, "a")
	c.run(time.Second)
	if s := victim.m.Stats(); s.CorruptBatches != 3 || c.told("CorruptFetched") != 3 {
		t.Fatalf("%+v", s)
	}
	c.expectEnds(victim, "0-1 hw 1")
}

func TestTopicMadeAnewIsFollowed(t *testing.T) {
	c := trio(t, "2")
	c.acked("t", 0, "a")
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TopicNames = 3, []string{"t"}
	c.decide(&metadata.Request{Req: req})
	c.create("t", 1, "2")
	c.run(100 * time.Millisecond)
	c.acked("t", 0, "b", "c")
	c.until("all are in sync", c.inSync)
	for _, b := range c.nodes {
		c.expectEnds(b, "0-2 hw 2")
	}
}

func TestRestartedLeaderLeadsNothingOfBefore(t *testing.T) {
	c := newCluster(t, 1, 1)
	c.start()
	c.create("t", 1, "1")
	c.acked("t", 0, "a")
	b := c.nodes[0]
	epoch := b.part("t", 0).Leadership().LeaderEpoch
	b.crash(false)
	b.open()
	b.epoch = 99 // as registered, before the metadata says so
	b.apply(len(c.records))
	if b.part("t", 0).Leading() {
		t.Fatalf("it leads in epoch %d, in which its earlier incarnation did", epoch)
	}
	b.epoch = -1
	c.until("it leads anew", func() bool { return b.part("t", 0).Leading() })
	if got := b.part("t", 0).Leadership().LeaderEpoch; got <= epoch {
		t.Fatalf("it leads in epoch %d, before %d", got, epoch)
	}
}

func TestRelaxedPartitionsDoNotWaitForTheDisk(t *testing.T) {
	c := newCluster(t, 1, 3)
	c.topics["t"] = func(s *Settings) { s.Durable, s.Log.Durable = false, false }
	c.start()
	c.create("t", 1, "3")
	c.acked("t", 0, "a")
	c.run(time.Second) // a new log is synced once
	c.acked("t", 0, "b")
	for _, b := range c.nodes {
		if p := b.part("t", 0); p.log.EndOffset() != 2 || p.log.SyncedOffset() == 2 {
			t.Fatalf("broker %d: end %d, synced %d", b.id, p.log.EndOffset(), p.log.SyncedOffset())
		}
	}
}

// TestFollowerThatGoesBackBelowItsStart: after an unclean election, a replica may have to go
// back to before its own start. It then has what its leader has, from that one's start on, and
// knows the producers that the leader knows.
func TestFollowerThatGoesBackBelowItsStart(t *testing.T) {
	for _, deleted := range []int64{0, 2} { // from the leader to be
		c := trio(t, "1", [2]string{"unclean.leader.election.enable", "true"})
		send := func(b *broker, producer int64, sequence int32) {
			t.Helper()
			h := record.NewHeader(0)
			h.ProducerID, h.ProducerEpoch, h.BaseSequence = producer, 0, sequence
			var got []Produced
			b.m.Produce([]ProducePart{{b.part("t", 0), headed(h, c.clock.Now(), fmt.Sprint(sequence))}}, -1, time.Minute, func(op *ProduceOp) { got = op.Results })
			c.until("the write is answered", func() bool { return got != nil })
			if got[0].Err != nil {
				t.Fatal(got[0].Err)
			}
		}
		c.until("all are in sync", c.inSync)
		l := c.leader("t", 0)
		send(l, 8, 0)
		for n := range int32(4) {
			send(l, 9, n)
		}
		if deleted > 0 {
			l.deleteRecords("t", 0, deleted, time.Minute)
		}
		c.run(time.Second)
		for _, b := range c.others() {
			c.isolate(b.id, true)
		}
		c.until("the leader is alone", func() bool { return len(c.img().Partition("t", 0).ISR) == 1 })
		for n := range int32(6) {
			send(l, 9, 4+n)
		}
		c.until("the others are fenced", func() bool { return c.img().Broker(c.others()[0].id).Fenced && c.img().Broker(c.others()[1].id).Fenced })
		l.deleteRecords("t", 0, 9, time.Minute)
		c.run(time.Second)
		if start := l.part("t", 0).log.StartOffset(); start != 9 {
			t.Fatalf("it starts at %d", start)
		}
		clear(c.cut)
		c.isolate(l.id, true)
		c.until("another leads", func() bool { n := c.leader("t", 0); return n != nil && n != l && n.part("t", 0).Leading() })
		n := c.leader("t", 0)
		send(n, 7, 0)
		clear(c.cut)
		c.until("all are in sync", func() bool { return c.inSync() && !c.img().Partition("t", 0).Recovering() })
		c.run(time.Second)
		was, is := l.part("t", 0), n.part("t", 0)
		if is.log.StartOffset() != deleted || was.log.StartOffset() != deleted || was.log.EndOffset() != is.log.EndOffset() {
			t.Errorf("the leader has %d to %d, the other %d to %d", is.log.StartOffset(), is.log.EndOffset(), was.log.StartOffset(), was.log.EndOffset())
		}
		for _, p := range []*Partition{is, was} {
			known := map[int64]int32{}
			for _, k := range p.log.Producers() {
				known[k.ProducerID] = k.LastSequence
			}
			if len(known) != 3 || known[7] != 0 || known[8] != 0 || known[9] != 3 {
				t.Errorf("%d deleted: of the producers is known %v", deleted, known)
			}
		}
	}
}
