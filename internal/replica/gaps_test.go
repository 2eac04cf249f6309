package replica

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/record"
)

// TestBatchesBehindARefusedOneAreRefusedAlike: a batch whose predecessor was refused, to be
// sent again, is not out of order: both come again. A producer that is told so may begin a
// new epoch, in which it sends what it had sent to other partitions a second time.
func TestBatchesBehindARefusedOneAreRefusedAlike(t *testing.T) {
	few, retry, refused := kerr.NotEnoughReplicas.Message, kerr.NotLeaderForPartition.Message, kerr.OutOfOrderSequenceNumber.Message
	begin := func(t *testing.T, minISR int, isr ...int32) (l *lead, send func(sequence int32, want string)) {
		l = newLead(t, minISR, isr...)
		return l, func(sequence int32, want string) {
			t.Helper()
			l.clock.Advance(time.Second)
			a := l.produce(-1, ProducePart{l.part("t", 0), l.sequenced(9, sequence, "a")})
			l.clock.Advance(0) // whoever looks for an old duplicate does
			l.expect(a, want)
		}
	}
	// followed makes the leader sure that it leads, so that it would call a batch out of order.
	followed := func(l *lead) {
		for epoch := range int32(3) {
			for id := int32(2); id <= 3; id++ {
				l.clock.Advance(100 * time.Millisecond) // a producer comes again sooner than a doubt fades
				part := from("t", 0, 0)
				part.LeaderEpoch = l.part("t", 0).Leadership().LeaderEpoch
				limits := FetchLimits{Replica: id, ReplicaEpoch: int64(10 + id), MaxBytes: 1 << 20, Session: FetchSession{id, epoch + 1}}
				l.m.Fetch([]FetchPart{part}, limits, func(op *FetchOp) { op.Collect()[0].Release() })
			}
		}
	}
	t.Run("full disk", func(t *testing.T) {
		l, send := begin(t, 2, 1, 2, 3)
		send(0, "waiting")
		l.disk.SetFree(0)
		for range 3 {
			send(1, storage)
			send(2, storage)
			send(3, storage)
			followed(l)
		}
		l.disk.SetFree(-1)
		send(2, storage) // the one before is still to come
		send(1, "waiting")
		send(2, "waiting")
		send(4, retry) // 3 was not sent again: now this is out of order
		followed(l)
		send(4, refused)
	})
	t.Run("first batches", func(t *testing.T) {
		l, send := begin(t, 2, 1, 2)
		l.disk.SetFree(0)
		send(0, storage)
		l.disk.SetFree(-1)
		send(1, storage) // the log, which knows no batch, would take it
		send(0, "waiting")
		send(1, "waiting")
	})
	t.Run("alone", func(t *testing.T) {
		l, send := begin(t, 1, 1)
		l.disk.SetFree(0)
		send(0, storage)
		l.disk.SetFree(-1)
		send(0, "waiting")
		l.disk.SetFree(0)
		send(1, storage)
		l.disk.SetFree(-1)
		send(2, storage)
		l.expect(l.produce(-1, ProducePart{l.part("t", 0), l.sequenced(8, 0, "a")}), "waiting") // others' batches change nothing
		l.expect(l.produce(-1, ProducePart{l.part("t", 0), l.sequenced(8, 5, "a")}), refused)   // and are judged on their own
		send(2, storage)
		l.clock.Advance(gapLasts) // the producer does not want the first any more
		send(2, refused)
	})
	t.Run("not enough replicas", func(t *testing.T) {
		l, send := begin(t, 2, 1, 2)
		send(0, "waiting")
		l.change(-2, 1)
		send(1, few)
		send(2, few)
		l.change(-2, 1, 2)
		send(2, few)
		send(1, "waiting")
		send(2, "waiting")
	})
	t.Run("duplicates", func(t *testing.T) {
		l, send := begin(t, 2, 1, 2)
		send(0, "waiting")
		send(1, "waiting")
		send(2, "waiting")
		l.change(-2, 1)
		send(1, few)
		l.change(-2, 1, 2)
		send(0, "waiting")
		send(2, few)
		send(1, "waiting")
		send(2, "waiting")
		if end := l.part("t", 0).Log().EndOffset(); end != 3 {
			t.Errorf("the log ends at %d", end)
		}
	})
	t.Run("another epoch", func(t *testing.T) {
		l, send := begin(t, 1, 1)
		send(0, "waiting")
		l.disk.SetFree(0)
		send(1, storage)
		l.disk.SetFree(-1)
		h := record.NewHeader(0)
		h.ProducerID, h.ProducerEpoch, h.BaseSequence = 9, 1, 0
		l.expect(l.produce(-1, ProducePart{l.part("t", 0), l.batchOf(h, "a")}), "waiting")
		send(2, kerr.InvalidProducerEpoch.Message)
	})
	t.Run("sequences wrap", func(t *testing.T) {
		l, send := begin(t, 1, 1)
		l.clock.Advance(DefaultTuning().StrangersWait) // any sequence starts a producer
		send(1<<31-2, "waiting")
		l.disk.SetFree(0)
		send(1<<31-1, storage)
		l.disk.SetFree(-1)
		send(0, storage)
		send(1<<31-4, refused) // that is before the refused one
		send(1<<31-1, "waiting")
		send(0, "waiting")
	})
}

// TestAnUnknownProducerBeginsAtZero: soon after the beginning of an epoch, a producer whose
// first batches were refused by a leader that did not know yet that it leads, or are under way
// to the leader before, does not begin with a later one.
func TestAnUnknownProducerBeginsAtZero(t *testing.T) {
	l := newLead(t, 1, 1)
	send := func(producer int64, sequence int32, want string) {
		t.Helper()
		l.clock.Advance(time.Second)
		l.expect(l.produce(-1, ProducePart{l.part("t", 0), l.sequenced(producer, sequence, "a")}), want)
	}
	retry := kerr.NotLeaderForPartition.Message
	send(9, 2, retry)
	send(9, 1, retry)
	send(9, 0, "waiting")
	send(9, 1, "waiting")
	send(9, 2, "waiting")
	send(8, 1, retry)
	l.clock.Advance(DefaultTuning().StrangersWait)
	send(8, 7, "waiting") // it was forgotten, or what it lacks is lost: as with Kafka
	send(8, 8, "waiting")
	if end := l.part("t", 0).Log().EndOffset(); end != 5 {
		t.Errorf("the log ends at %d", end)
	}
	l.change(1, 1) // another epoch: those that are known stay so
	send(8, 9, "waiting")
	send(7, 1, retry)
}

// TestBatchesBehindAnEarlyOneAreRefusedAlike: the first batch of a producer came before this
// broker knew that it leads, and the second after it.
func TestBatchesBehindAnEarlyOneAreRefusedAlike(t *testing.T) {
	l := newLead(t, 1, 1)
	send := func(producer int64, sequence int32, want string) {
		t.Helper()
		a := l.produce(-1, ProducePart{l.part("t", 0), l.sequenced(producer, sequence, "a")})
		l.mustSync()
		l.expect(a, want)
	}
	send(8, 0, "0-0")
	l.change(2, 1, 2)
	send(9, 0, notLeader)
	send(9, 1, notLeader)
	send(8, 1, notLeader)
	l.change(1, 1)
	send(9, 1, notLeader)
	send(9, 2, notLeader)
	send(9, 0, "1-1")
	send(9, 1, "2-2")
	send(9, 2, "3-3")
	send(8, 1, "4-4") // it is known
}
