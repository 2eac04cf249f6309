package replica

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/schema"
)

func TestAcksAllWaitsForTheSync(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	a := w.send("t", 0, -1, "a", "b")
	w.expect(a, "waiting")
	if hw := w.part("t", 0).HighWatermark(); hw != 0 || w.latest("t", 0) != 0 {
		t.Fatalf("high watermark %d before the sync", hw)
	}
	w.expectRead("t", 0, 0, "nothing, hw 0")
	w.mustSync()
	w.expect(a, "0-1")
	w.expectRead("t", 0, 0, "a,b, hw 2")
}

// TestAChangeOfTheTopicShowsNothingUnsynced: a new role looks at the watermark again.
func TestAChangeOfTheTopicShowsNothingUnsynced(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	a := w.send("t", 0, -1, "a")
	w.setConfig("t", "retention.ms", "1000")
	w.expect(a, "waiting")
	w.expectRead("t", 0, 0, "nothing, hw 0")
	w.mustSync()
	w.expect(a, "0-0")
}

func TestAcksOneAndNoneDoNotWait(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	w.expect(w.send("t", 0, 1, "a"), "0-0")
	w.expect(w.send("t", 0, 0, "b"), "1-1")
	w.expectRead("t", 0, 0, "nothing, hw 0") // readers see what is synced, whatever was asked
	w.mustSync()
	w.expectRead("t", 0, 0, "a,b, hw 2")
}

func TestRelaxedTopicCountsTheWrittenEnd(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, relaxed())
	w.expect(w.send("t", 0, -1, "a"), "0-0")
	w.expectRead("t", 0, 0, "a, hw 1")
	if w.part("t", 0).Log().SyncedOffset() != 0 {
		t.Fatal("a relaxed topic was synced by an append")
	}
}

func TestDurabilityChangesWithTheTopic(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, relaxed())
	w.expect(w.send("t", 0, -1, "a"), "0-0")
	w.topics["t"] = durable()
	w.setConfig("t", "leat.durability", "durable")
	a := w.send("t", 0, -1, "b")
	w.expect(a, "waiting")
	w.mustSync()
	w.expect(a, "1-1")
	b := w.send("t", 0, -1, "c")
	w.expect(b, "waiting")
	w.topics["t"] = relaxed()
	w.setConfig("t", "leat.durability", "relaxed")
	w.expect(b, "2-2")
}

// setConfig announces a changed setting of a topic.
func (w *world) setConfig(topic, key, value string) {
	w.t.Helper()
	w.record(&schema.Config{ResourceType: 2, ResourceName: topic, Key: key, Value: &value})
	if err := w.apply(); err != nil {
		w.t.Fatal(err)
	}
}

func TestDuplicateIsAnsweredWithTheOriginalOnceThatIsCommitted(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	p := w.part("t", 0)
	first := w.produce(-1, ProducePart{p, w.sequenced(9, 0, "a", "b")})
	again := w.produce(-1, ProducePart{p, w.sequenced(9, 0, "a", "b")})
	w.expect(first, "waiting")
	w.expect(again, "waiting")
	w.mustSync()
	w.expect(first, "0-1")
	w.expect(again, "0-1")
	if !again.results[0].Info.Duplicate {
		t.Fatal("the second one was appended")
	}
	w.expect(w.produce(-1, ProducePart{p, w.sequenced(9, 2, "c")}), "waiting")
	w.expect(w.produce(-1, ProducePart{p, w.sequenced(9, 0, "a", "b")}), "0-1") // committed: at once
	w.mustSync()
	w.expectRead("t", 0, 0, "a,b,c, hw 3")
	w.kill()
	w.expect(w.produce(-1, ProducePart{w.part("t", 0), w.sequenced(9, 2, "c")}), "2-2")
	w.expect(w.produce(-1, ProducePart{w.part("t", 0), w.sequenced(9, 4, "e")}), kerr.OutOfOrderSequenceNumber.Message)
}

func TestDuplicateOfAFailedAppendIsAppended(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	w.disk.SetFree(0)
	w.expect(w.produce(-1, ProducePart{w.part("t", 0), w.sequenced(9, 0, "a")}), storage)
	w.disk.SetFree(-1)
	a := w.produce(-1, ProducePart{w.part("t", 0), w.sequenced(9, 0, "a")})
	w.mustSync()
	w.expect(a, "0-0")
	w.expectRead("t", 0, 0, "a, hw 1")
}

func TestAcksAllTimesOut(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	a := w.send("t", 0, -1, "a")
	w.clock.Advance(29 * time.Second)
	w.expect(a, "waiting")
	w.clock.Advance(2 * time.Second)
	w.expect(a, kerr.RequestTimedOut.Message)
	w.mustSync() // a late commit must not answer again
	w.expectRead("t", 0, 0, "a, hw 1")
}

func TestOneFailingPartitionDoesNotHoldTheOthers(t *testing.T) {
	w := newWorld(t)
	w.create("t", 3, durable())
	bad := w.batch("x")
	bad[len(bad)-1]++
	a := w.produce(-1,
		ProducePart{w.part("t", 0), w.batch("a")},
		ProducePart{w.part("t", 1), bad},
		ProducePart{w.part("t", 2), w.batch("c")})
	w.expect(a, "waiting")
	w.mustSync()
	w.expect(a, "0-0 "+kerr.CorruptMessage.Message+" 0-0")
	if end := w.part("t", 1).Log().EndOffset(); end != 0 {
		t.Fatalf("the corrupt batch is in the log, which ends at %d", end)
	}
}

func TestAllPartitionsFailingAnswersAtOnce(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	bad := w.batch("x")
	bad[len(bad)-1]++
	w.expect(w.produce(-1, ProducePart{w.part("t", 0), bad}), kerr.CorruptMessage.Message)
	w.expect(w.produce(-1), "")
}

func TestTooFewInSyncReplicas(t *testing.T) {
	w := newWorld(t)
	s := durable()
	s.MinISR = 2
	w.topics["t"] = s
	w.record(&schema.Topic{TopicID: topicID("t"), Name: "t"})
	w.record(&schema.Partition{TopicID: topicID("t"), Leader: self, Replicas: []int32{self, 2}, ISR: []int32{self}})
	if err := w.apply(); err != nil {
		t.Fatal(err)
	}
	w.expect(w.send("t", 0, -1, "a"), kerr.NotEnoughReplicas.Message)
	w.expect(w.send("t", 0, 1, "b"), "0-0")
	w.mustSync()
	w.expectRead("t", 0, 0, "nothing, hw 0") // KIP-966: nothing is shown that an election could lose
}

func TestMinISRIsAtMostTheReplicationFactor(t *testing.T) {
	w := newWorld(t)
	s := durable()
	s.MinISR = 3
	w.create("t", 1, s)
	a := w.send("t", 0, -1, "a")
	w.mustSync()
	w.expect(a, "0-0")
}

// Who waits for a replica that moves to other brokers is told who leads: the topic is
// not gone, and a client that is told so asks for the metadata first.
func TestProducerOfAMovedPartitionIsTold(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	a := w.send("t", 0, -1, "a")
	c := schema.NewPartitionChange()
	c.TopicID, c.Leader, c.Replicas, c.ISR = topicID("t"), 2, []int32{2, 3}, []int32{2}
	w.record(c)
	if err := w.apply(); err != nil {
		t.Fatal(err)
	}
	w.expect(a, notLeader)
	if l := a.results[0].Leadership; l != (Leadership{2, 1}) {
		t.Errorf("told of leader %+v", l)
	}
}

func TestProducerOfAFormerLeaderIsTurnedAway(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	p := w.part("t", 0)
	a := w.send("t", 0, -1, "a")
	poll := w.poll(1, from("t", 0, 0))
	c := schema.NewPartitionChange()
	c.TopicID, c.Leader, c.Replicas, c.ISR = topicID("t"), 2, []int32{self, 2}, []int32{2}
	w.record(c)
	if err := w.apply(); err != nil {
		t.Fatal(err)
	}
	w.expect(a, notLeader)
	w.expect(poll, notLeader)
	b := w.produce(-1, ProducePart{p, w.batch("b")})
	w.expect(b, notLeader)
	for _, was := range []*produced{a, b} { // who waited, and who came later
		if l := was.results[0].Leadership; l != (Leadership{2, 1}) {
			t.Fatalf("the new leader is told as %v", l)
		}
	}
	w.mustSync()
}

func TestLeaderEpochIsInEveryBatchAndGrowsByRestarts(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	for want := range int32(3) {
		w.send("t", 0, -1, "x")
		w.mustSync()
		p := w.part("t", 0)
		if l := p.Leadership(); l.LeaderEpoch != want {
			t.Fatalf("leads in epoch %d, want %d", l.LeaderEpoch, want)
		}
		if e := p.Log().EpochForOffset(int64(want)); e != want {
			t.Fatalf("offset %d is of epoch %d", want, e)
		}
		w.kill()
	}
	r := w.fetchOne(FetchPart{Ref: Ref{Topic: "t"}, Offset: 3, MaxBytes: 1000, LeaderEpoch: 2, LastFetchedEpoch: -1})
	if r != kerr.FencedLeaderEpoch.Message {
		t.Fatalf("a reader in an old epoch got %q", r)
	}
	r = w.fetchOne(FetchPart{Ref: Ref{Topic: "t"}, Offset: 3, MaxBytes: 1000, LeaderEpoch: 4, LastFetchedEpoch: -1})
	if r != kerr.UnknownLeaderEpoch.Message {
		t.Fatalf("a reader in a future epoch got %q", r)
	}
}

func (w *world) fetchOne(part FetchPart) (out string) {
	w.m.Fetch([]FetchPart{part}, FetchLimits{Replica: Consumer, MaxBytes: 1 << 20}, func(op *FetchOp) {
		r := op.Collect()[0]
		out = show(r)
		r.Release()
	})
	return out
}

// TestEpochEndsBeforeTheFirstAppendOfAnEpoch: the leader's own epoch is known to the
// partition before it is to the log.
func TestEpochEndsBeforeTheFirstAppendOfAnEpoch(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	check := func(epoch, wantEpoch int32, wantEnd int64) {
		t.Helper()
		p := w.part("t", 0)
		if e, end := p.epochEnd(p.st.Load(), epoch); e != wantEpoch || end != wantEnd {
			t.Fatalf("epoch %d ends as %d at %d, want %d at %d", epoch, e, end, wantEpoch, wantEnd)
		}
	}
	check(0, 0, 0)
	check(1, -1, -1)
	check(-1, -1, -1)
	w.send("t", 0, -1, "a")
	w.mustSync()
	w.kill()
	w.kill() // epoch 2; epoch 1 wrote nothing
	check(0, 0, 1)
	check(1, 0, 1)
	check(2, 2, 1)
	check(3, -1, -1)
	w.send("t", 0, -1, "b")
	check(0, 0, 1)
	check(1, 0, 1)
	check(2, 2, 2)
}

// TestNothingSeenIsLostByPowerCuts produces at random, cuts the power at random, and
// holds what was seen and what was acknowledged against what is there afterwards.
func TestNothingSeenIsLostByPowerCuts(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t)
		w.create("t", 2, durable())
		want := [2][]string{} // by offset, as far as it was acknowledged or seen
		for range 4 {
			var sent [2][]string
			for i := range sent {
				sent[i] = append(sent[i], want[i]...)
			}
			type asked struct {
				a    *produced
				part int
			}
			var open []asked
			for n := range 30 {
				i := rng.IntN(2)
				v := fmt.Sprintf("%d.%d.%d", seed, len(sent[i]), n)
				a := w.send("t", int32(i), -1, v)
				if a.answered {
					t.Fatalf("seed %d: answered before a sync", seed)
				}
				sent[i] = append(sent[i], v)
				open = append(open, asked{a, i})
				if rng.IntN(6) == 0 {
					w.mustSync()
				}
			}
			for i := range want {
				if hw := w.latest("t", int32(i)); hw > int64(len(want[i])) {
					want[i] = sent[i][:hw:hw]
				}
			}
			for _, o := range open {
				if o.a.answered && (o.a.results[0].Err != nil || o.a.results[0].Info.LastOffset >= int64(len(want[o.part]))) {
					t.Fatalf("seed %d: %v was acknowledged above what readers see", seed, o.a)
				}
			}
			w.power(rng)
			for i := range want {
				latest := w.latest("t", int32(i))
				if latest < int64(len(want[i])) {
					t.Fatalf("seed %d: latest went back from %d to %d", seed, len(want[i]), latest)
				}
				all := w.values("t", int32(i))
				if len(all) != int(latest) {
					t.Fatalf("seed %d: %d records, latest is %d", seed, len(all), latest)
				}
				for k, v := range all {
					if v != sent[i][k] {
						t.Fatalf("seed %d: offset %d holds %q, was %q", seed, k, v, sent[i][k])
					}
				}
				want[i] = all
			}
		}
	}
}

// values are all records that can be read.
func (w *world) values(topic string, index int32) []string {
	w.t.Helper()
	p := w.part(topic, index)
	var all []string
	for next := p.Log().StartOffset(); next < p.HighWatermark(); {
		part := from(topic, index, next)
		r := p.read(&part, &FetchLimits{Replica: Consumer}, 1<<20, true)
		if r.Err != nil || r.Run == nil {
			w.t.Fatalf("reading %s-%d at %d: %v", topic, index, next, r.Err)
		}
		next = r.Run.NextOffset()
		all = append(all, values(w.t, r)...)
		r.Release()
	}
	return all
}
