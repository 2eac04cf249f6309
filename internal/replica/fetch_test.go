package replica

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
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
