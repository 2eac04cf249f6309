package replica

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/schema"
)

func TestLongPollWakesWhenRecordsAreVisible(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	f := w.poll(1, from("t", 0, 0))
	w.send("t", 0, 1, "a")
	w.expect(f, "waiting") // written is not visible
	w.mustSync()
	w.expect(f, "a, hw 1")
}

func TestLongPollGathersMinBytes(t *testing.T) {
	w := newWorld(t)
	w.create("t", 2, durable())
	size := int32(len(w.batch("a")))
	f := w.poll(3*size, from("t", 0, 0), from("t", 1, 0))
	for i := range int32(2) {
		w.send("t", i, 1, "a")
		w.mustSync()
		w.expect(f, "waiting")
	}
	w.send("t", 0, 1, "b")
	w.mustSync()
	w.expect(f, "a,b, hw 2; a, hw 1")
}

func TestFetchCountsWhatIsThere(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	w.send("t", 0, 1, "a")
	w.mustSync()
	size := int32(len(w.batch("a")))
	w.expect(w.poll(size, from("t", 0, 0)), "a, hw 1")
	f := w.poll(size+1, from("t", 0, 0))
	w.expect(f, "waiting")
	w.send("t", 0, 1, "b")
	w.mustSync()
	w.expect(f, "a,b, hw 2")
}

func TestLongPollEndsInTime(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	f := w.poll(1, from("t", 0, 0))
	w.clock.Advance(59 * time.Second)
	w.expect(f, "waiting")
	w.clock.Advance(2 * time.Second)
	w.expect(f, "nothing, hw 0")
	w.send("t", 0, 1, "a")
	w.mustSync() // nobody waits any more
	if n := len(w.part("t", 0).waiters); n != 0 {
		t.Fatalf("%d fetches still wait", n)
	}
}

func TestCancelledLongPollAnswersAndLeaves(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	f := &fetched{}
	op := w.m.Fetch([]FetchPart{from("t", 0, 0)}, FetchLimits{Replica: Consumer, MinBytes: 1, MaxBytes: 100, MaxWait: time.Hour}, func(op *FetchOp) { f.op = op })
	op.Cancel()
	op.Cancel()
	w.expect(f, "nothing, hw 0")
	if n := len(w.part("t", 0).waiters); n != 0 {
		t.Fatalf("%d fetches still wait", n)
	}
}

func TestErrorsAnswerAtOnce(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	w.send("t", 0, 1, "a")
	w.mustSync()
	for want, part := range map[string]FetchPart{
		unknown:                       from("nope", 0, 0),
		kerr.OffsetOutOfRange.Message: from("t", 0, 2),
		kerr.UnknownTopicID.Message:   {Ref: Ref{TopicID: topicID("nope")}, LeaderEpoch: -1, LastFetchedEpoch: -1},
	} {
		w.expect(w.poll(1, part, from("t", 0, 1)), want+"; nothing, hw 1")
	}
	w.expect(w.poll(1, FetchPart{Ref: Ref{Topic: "t"}, Offset: 1, MaxBytes: 100, LeaderEpoch: -1, LastFetchedEpoch: 0}), "waiting")
}

func TestDivergenceIsToldAtOnce(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	w.send("t", 0, 1, "a")
	w.mustSync()
	w.kill()
	w.send("t", 0, 1, "b")
	w.mustSync()
	part := from("t", 0, 2)
	part.LastFetchedEpoch = 0 // epoch 0 ended at offset 1
	w.expect(w.poll(1, part), "diverging 0 at 1")
}

func TestDeletionEndsLongPolls(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	w.create("u", 1, durable())
	f := w.poll(1, from("t", 0, 0), from("u", 0, 0))
	a := w.send("t", 0, -1, "a")
	w.remove("t")
	w.expect(f, unknown+"; nothing, hw 0")
	w.expect(a, unknown)
	w.mustSync()
}

func TestAMovedStartMakesOffsetsOutOfRange(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	w.send("t", 0, 1, "a", "b")
	w.send("t", 0, 1, "c")
	w.mustSync()
	w.expect(w.deleteRecords("t", 0, 2), "2")
	w.expectRead("t", 0, 0, kerr.OffsetOutOfRange.Message)
	w.expectRead("t", 0, 2, "c, hw 3")
}

// TestDeleteRecordsOfWhatIsNotSynced: a relaxed topic shows more than is synced, and
// the sync round calls back into the partition.
func TestDeleteRecordsOfWhatIsNotSynced(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, relaxed())
	w.send("t", 0, 1, "a")
	w.expect(w.deleteRecords("t", 0, -1), "1")
	w.power(nil)
	if start := w.part("t", 0).Log().StartOffset(); start != 1 {
		t.Fatalf("the start is %d after a power cut", start)
	}
}

func TestLimitsOfAFetch(t *testing.T) {
	w := newWorld(t)
	w.create("t", 2, durable())
	for range 3 {
		w.send("t", 0, 1, "a")
		w.send("t", 1, 1, "b")
	}
	w.mustSync()
	size := int32(len(w.batch("a")))
	ask := func(max int32, parts ...FetchPart) string {
		f := &fetched{}
		w.m.Fetch(parts, FetchLimits{Replica: Consumer, MinBytes: 1, MaxBytes: max, MaxWait: time.Hour}, func(op *FetchOp) { f.op = op })
		return f.String()
	}
	both := []FetchPart{from("t", 0, 0), from("t", 1, 0)}
	for max, want := range map[int32]string{
		1:        "a, hw 3; nothing, hw 3", // one batch whole, whatever its size
		2 * size: "a,a, hw 3; nothing, hw 3",
		4 * size: "a,a,a, hw 3; b, hw 3",
		9 * size: "a,a,a, hw 3; b,b,b, hw 3",
	} {
		if got := ask(max, both...); got != want {
			t.Errorf("max bytes %d: %q, want %q", max, got, want)
		}
	}
	both[0].MaxBytes = 2 * size
	if got := ask(9*size, both...); got != "a,a, hw 3; b,b,b, hw 3" {
		t.Errorf("a partition's own limit: %q", got)
	}
}

func TestStopAnswersWhoWaits(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	f := w.poll(1, from("t", 0, 0))
	a := w.send("t", 0, -1, "a")
	w.m.Stop()
	w.expect(f, "nothing, hw 0")
	w.expect(w.poll(1, from("t", 0, 0)), "nothing, hw 0")
	w.expect(a, "waiting")
	w.m.GiveUp()
	w.expect(a, notLeader)
}

// A reader that found the partition just before it was given up is told what one that
// comes later is: who leads, or that nobody has it.
func TestReadersBesideAPartitionsEnd(t *testing.T) {
	for _, c := range []struct {
		moved bool
		err   *kerr.Error
		to    Leadership
	}{
		{true, kerr.NotLeaderForPartition, Leadership{2, 1}},
		{false, kerr.UnknownTopicOrPartition, Leadership{-1, -1}},
	} {
		w := newWorld(t)
		w.create("t", 1, durable())
		w.send("t", 0, -1, "a")
		w.mustSync()
		p := w.part("t", 0)
		if c.moved {
			r := schema.NewPartitionChange()
			r.TopicID, r.Leader, r.Replicas, r.ISR = topicID("t"), 2, []int32{2, 3}, []int32{2}
			w.record(r)
			if err := w.apply(); err != nil {
				t.Fatal(err)
			}
		} else {
			w.remove("t")
		}
		part, l := from("t", 0, 0), &FetchLimits{Replica: Consumer, Rack: "r"}
		for what, f := range map[string]Fetched{
			"a consumer": p.read(&part, l, part.MaxBytes, true),
			"a follower": p.readFollower(&part, &FetchLimits{Replica: 2}, part.MaxBytes, true, true),
		} {
			if f.Err != c.err || f.Leadership != c.to {
				t.Errorf("moved %v: %s is told %v, leader %v", c.moved, what, f.Err, f.Leadership)
			}
		}
		if l := p.ListOffset(Latest, -1, false); l.Err != c.err {
			t.Errorf("moved %v: ListOffsets is told %v", c.moved, l.Err)
		}
		if _, _, err := p.EpochEnd(0, 0); err != c.err {
			t.Errorf("moved %v: OffsetForLeaderEpoch is told %v", c.moved, err)
		}
		if a := w.produce(-1, ProducePart{p, w.batch("b")}); a.results[0].Err != c.err {
			t.Errorf("moved %v: a producer is told %v", c.moved, a)
		}
	}
}

// The log of a partition may go while it is read from: whatever was found, the reader is
// told that it went.
func TestAPartitionGoesWhileItIsRead(t *testing.T) {
	hooks := &beforeReads{}
	w := &world{t: t, wrap: func(f env.FS) env.FS { hooks.FS = f; return hooks }}
	w.begin()
	w.create("t", 1, durable())
	w.send("t", 0, -1, "a")
	w.mustSync()
	if err := w.dir.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	w.kill() // what an append knows of positions is forgotten
	hooks.read = func(name string) {
		if !strings.HasSuffix(name, ".log") {
			return
		}
		hooks.read = nil
		r := schema.NewPartitionChange()
		r.TopicID, r.Leader, r.Replicas, r.ISR = topicID("t"), 2, []int32{2, 3}, []int32{2}
		w.record(r)
		if err := w.apply(); err != nil {
			t.Error(err)
		}
	}
	w.expectRead("t", 0, 0, notLeader)
	if hooks.read != nil {
		t.Fatal("the log was not read")
	}
}
