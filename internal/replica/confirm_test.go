package replica

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// TestOutOfOrderNeedsALeader: whoever may have been deposed calls no batch out of order.
func TestOutOfOrderNeedsALeader(t *testing.T) {
	retry, refused := kerr.NotLeaderForPartition.Message, kerr.OutOfOrderSequenceNumber.Message
	begin := func(t *testing.T, minISR int, isr ...int32) (l *lead, gap func(want string)) {
		l = newLead(t, minISR, isr...)
		l.clock.Advance(time.Second)
		l.produce(1, ProducePart{l.part("t", 0), l.sequenced(9, 0, "a")})
		return l, func(want string) {
			t.Helper()
			l.clock.Advance(time.Second)
			l.expect(l.produce(1, ProducePart{l.part("t", 0), l.sequenced(9, 5, "f")}), want)
		}
	}
	fetch := func(l *lead, id, session, epoch int32) {
		l.t.Helper()
		l.clock.Advance(time.Second)
		part := from("t", 0, 1)
		part.LeaderEpoch = l.part("t", 0).Leadership().LeaderEpoch
		l.m.Fetch([]FetchPart{part}, FetchLimits{Replica: id, ReplicaEpoch: int64(10 + id), MaxBytes: 1 << 20, Session: FetchSession{session, epoch}}, func(op *FetchOp) {
			f := op.Collect()[0]
			if f.Err != nil {
				l.t.Fatal(f.Err)
			}
			f.Release()
		})
	}
	t.Run("heard of all", func(t *testing.T) {
		l, gap := begin(t, 2, 1, 2, 3)
		fetch(l, 2, 7, 1)
		fetch(l, 3, 8, 1)
		gap(retry)
		fetch(l, 2, 7, 2) // may have been sent before the batch came in
		fetch(l, 3, 8, 2)
		gap(retry)
		fetch(l, 2, 7, 3)
		gap(retry) // the other may lead
		fetch(l, 3, 9, 1)
		gap(retry) // a new session tells nothing of when
		fetch(l, 3, 9, 2)
		gap(refused)
		gap(retry) // it is asked anew
	})
	t.Run("another batch", func(t *testing.T) {
		l, gap := begin(t, 2, 1, 2)
		gap(retry)
		fetch(l, 2, 7, 1)
		fetch(l, 2, 7, 2)
		l.expect(l.produce(1, ProducePart{l.part("t", 0), l.sequenced(9, 7, "h")}), retry)
		gap(refused)
	})
	t.Run("sent again after a pause", func(t *testing.T) {
		// It came in before those that go before it. A successor may have taken them meanwhile.
		l, gap := begin(t, 2, 1, 2)
		gap(retry)
		fetch(l, 2, 7, 1)
		fetch(l, 2, 7, 2)
		l.clock.Advance(doubtFades)
		gap(retry)
		fetch(l, 2, 7, 3)
		fetch(l, 2, 7, 4)
		gap(refused)
	})
	t.Run("alone in sync", func(t *testing.T) {
		_, gap := begin(t, 1, 1)
		gap(refused) // nobody else can lead
	})
	t.Run("below the minimum", func(t *testing.T) {
		_, gap := begin(t, 2, 1)
		gap(retry)
		gap(retry)
	})
	t.Run("a fetch waits no longer", func(t *testing.T) {
		l, gap := begin(t, 2, 1, 2)
		fetch(l, 2, 7, 1)
		done := false
		part := from("t", 0, 1)
		part.LeaderEpoch = l.part("t", 0).Leadership().LeaderEpoch
		l.m.Fetch([]FetchPart{part}, FetchLimits{Replica: 2, ReplicaEpoch: 12, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Minute}, func(*FetchOp) { done = true })
		if gap(retry); !done {
			t.Error("the follower's fetch waits on")
		}
	})
}

// TestAheadOfALeader: a reader that is ahead of this log may have read it from a later leader,
// of which this broker does not know yet.
func TestAheadOfALeader(t *testing.T) {
	retry, out, unknown := kerr.NotLeaderForPartition.Message, kerr.OffsetOutOfRange.Message, kerr.UnknownLeaderEpoch.Message
	read := func(l *lead, offset int64, want string, more ...func(*FetchPart)) {
		l.t.Helper()
		l.clock.Advance(time.Second)
		part := from("t", 0, offset)
		for _, f := range more {
			f(&part)
		}
		l.m.Fetch([]FetchPart{part}, FetchLimits{Replica: Consumer, MaxBytes: 1 << 20}, func(op *FetchOp) {
			f := op.Collect()[0]
			defer f.Release()
			if f.Err == nil || f.Err.Message != want {
				l.t.Errorf("offset %d: %v, want %s", offset, f.Err, want)
			}
		})
	}
	follow := func(l *lead, session int32) {
		l.t.Helper()
		l.clock.Advance(time.Second)
		part := from("t", 0, 0)
		part.LeaderEpoch = l.part("t", 0).Leadership().LeaderEpoch
		l.m.Fetch([]FetchPart{part}, FetchLimits{Replica: 2, ReplicaEpoch: 12, MaxBytes: 1 << 20, Session: FetchSession{7, session}}, func(op *FetchOp) {
			f := op.Collect()[0]
			f.Release()
		})
	}
	l := newLead(t, 1, 1, 2)
	read(l, 9, retry)
	read(l, 9, retry)
	follow(l, 1)
	read(l, 9, retry) // that may have been sent before
	follow(l, 2)
	read(l, 9, out)
	read(l, 7, retry)
	follow(l, 3)
	follow(l, 4)
	l.clock.Advance(doubtFades)
	read(l, 7, retry) // another may ask, who was further
	epoch := l.part("t", 0).Leadership().LeaderEpoch
	read(l, 8, retry, func(p *FetchPart) { p.LeaderEpoch = epoch }) // its group may have been further
	read(l, 8, unknown, func(p *FetchPart) { p.LastFetchedEpoch = epoch + 1 })
	if _, _, err := l.part("t", 0).EpochEnd(epoch+1, -1); err != kerr.UnknownLeaderEpoch {
		t.Errorf("the end of a later epoch: %v", err)
	}
	alone := newLead(t, 1, 1)
	read(alone, 9, out)
}

// TestOwnEpochEndsWithTheLog: a leader that has been replaced, and has not heard of it, has
// the records of its epoch that its successor has committed. Whoever has read them there is
// not told that they were truncated (seed 130000019 of the simulation).
func TestOwnEpochEndsWithTheLog(t *testing.T) {
	l := newLead(t, 2, 1, 2)
	l.send("t", 0, -1, "a", "b", "c")
	l.mustSync()
	l.fetch(2, 12, 1)
	l.expectHW(1)
	epoch := l.part("t", 0).Leadership().LeaderEpoch
	if e, end, err := l.part("t", 0).EpochEnd(epoch, epoch); e != epoch || end != 3 || err != nil {
		t.Fatalf("epoch %d ends as %d at %d, %v", epoch, e, end, err)
	}
}
