package log

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/leat-stream/leat/internal/record"
)

// again sends a batch of n records with that sequence, and tells what became of it: where
// it was written, if it was.
func again(l *Log, leaderEpoch, n int, producer int64, epoch int16, sequence int32) (info AppendInfo, found, written bool, err error) {
	info, err = l.Append(batch(n, 10, idempotent(producer, epoch, sequence)), AppendOptions{LeaderEpoch: int32(leaderEpoch), Now: epoch0})
	var e *Earlier
	if !errors.As(err, &e) {
		return info, err == nil && info.Duplicate, false, err
	}
	info, found, ferr := l.FindEarlier(*e)
	return info, found, e.Written, errors.Join(err, ferr)
}

// checkDuplicates sends batches once more, and some that were never sent.
func (m *model) checkDuplicates() {
	var mine []modelBatch
	for _, b := range m.batches {
		if b.producer >= 0 {
			mine = append(mine, b)
		}
	}
	if len(mine) == 0 {
		return
	}
	b := mine[m.rng.IntN(len(mine))]
	if m.l.StartOffset() == m.end && !slices.ContainsFunc(m.l.Producers(), func(p ProducerInfo) bool { return p.ProducerID == b.producer }) {
		return
	}
	n := int(b.last-b.base) + 1
	end := m.l.EndOffset()
	info, found, written, err := again(m.l, int(m.epoch), n, b.producer, 0, b.seq)
	switch {
	case found && (info.FirstOffset != b.base || info.LastOffset != b.last || info.MaxTimestamp != b.ts):
		m.fail("duplicate of %+v is answered %+v", b, info)
	case !found && b.base >= m.start:
		m.fail("duplicate of %+v is not found: %v", b, err)
	case !found && !written && !m.cutOff:
		m.fail("duplicate of %+v, which is deleted, is out of order: %v", b, err)
	}
	// A batch with other bounds was never written.
	wrong := n + 1 + m.rng.IntN(3)
	if info, found, _, err = again(m.l, int(m.epoch), wrong, b.producer, 0, b.seq); found || err == nil {
		m.fail("%d records at the sequence of %+v are answered %+v, %v", wrong, b, info, err)
	}
	// Nor was one ahead of all.
	ahead := record.IncrementSequence(m.next(b.producer), 1+m.rng.Int32N(1000))
	if _, found, written, err := again(m.l, int(m.epoch), 1, b.producer, 0, ahead); found || written || !errors.Is(err, ErrOutOfOrderSequence) {
		m.fail("sequence %d of producer %d: found %v, written %v, %v", ahead, b.producer, found, written, err)
	}
	if m.l.EndOffset() != end {
		m.fail("a duplicate was appended")
	}
}

// TestEarlierBatches: a batch that comes again behind any number of later ones is found
// with its offset, and nothing else is.
func TestEarlierBatches(t *testing.T) {
	for _, first := range []int32{0, 700, math.MaxInt32 - 150} { // the last wraps
		w := newWorld(t)
		l := w.log("a", smallSegments)
		type sent struct {
			seq    int32
			n      int
			offset int64
		}
		var all []sent
		seq := first
		for i := range 120 {
			n := 1 + i%5
			all = append(all, sent{seq, n, w.append(l, batch(n, 20, idempotent(7, 3, seq))).FirstOffset})
			seq = record.IncrementSequence(seq, int32(n))
			for j := range i % 4 { // others between
				w.append(l, batch(1, 30, idempotent(int64(100+i), 0, int32(j))))
			}
		}
		check := func(when string) {
			t.Helper()
			for _, s := range all {
				info, found, _, err := again(l, 0, s.n, 7, 3, s.seq)
				if !found || info.FirstOffset != s.offset || info.LastOffset != s.offset+int64(s.n)-1 || !info.Duplicate || info.MaxTimestamp != epoch0.UnixMilli() {
					t.Fatalf("%s: sequence %d of those from %d, at %d: %+v, %v", when, s.seq, first, s.offset, info, err)
				}
				if _, found, _, err := again(l, 0, s.n+1, 7, 3, s.seq); found || !errors.Is(err, ErrOutOfOrderSequence) {
					t.Fatalf("%s: sequence %d with a record more: %v", when, s.seq, err)
				}
			}
			before := record.IncrementSequence(first, math.MaxInt32) // one less
			if first == 0 {
				before = math.MaxInt32
			}
			for _, s := range []int32{before, seq + 1, seq + 100} {
				if s < 0 {
					continue
				}
				if _, found, written, err := again(l, 0, 1, 7, 3, s); found || written || !errors.Is(err, ErrOutOfOrderSequence) {
					t.Fatalf("%s: sequence %d, which was never sent: written %v, %v", when, s, written, err)
				}
			}
			if _, found, _, err := again(l, 0, 1, 7, 2, first); found || !errors.Is(err, ErrInvalidProducerEpoch) {
				t.Fatalf("%s: an older epoch: %v", when, err)
			}
			if _, found, written, err := again(l, 0, 1, 7, 4, first+1); found || written || !errors.Is(err, ErrOutOfOrderSequence) {
				t.Fatalf("%s: a newer epoch: %v", when, err)
			}
		}
		check("at first")
		w.sync()
		w.kill()
		l = w.log("a", smallSegments)
		check("after a kill")
		w.close()
		w.open()
		l = w.log("a", smallSegments)
		check("after a stop")

		// What retention has taken is known to have been written.
		if err := l.SetStartOffset(all[60].offset); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Retain(w.clock.Now(), l.EndOffset()); err != nil {
			t.Fatal(err)
		}
		w.close()
		w.open()
		l = w.log("a", smallSegments)
		for i, s := range all {
			info, found, written, err := again(l, 0, s.n, 7, 3, s.seq)
			if (!found && !written) || i >= 60 && !found || found && info.FirstOffset != s.offset {
				t.Fatalf("batch %d, of which the log has those from 60 on: %+v, written %v, %v", i, info, written, err)
			}
			if i == 0 && found {
				t.Fatal("nothing was deleted")
			}
		}

		// A truncation takes the later ones.
		if err := l.TruncateTo(all[100].offset); err != nil {
			t.Fatal(err)
		}
		if _, found, _, err := again(l, 0, all[101].n, 7, 3, all[101].seq); found || !errors.Is(err, ErrOutOfOrderSequence) {
			t.Fatal(err)
		}
		if info, found, _, err := again(l, 0, all[90].n, 7, 3, all[90].seq); !found || info.FirstOffset != all[90].offset {
			t.Fatalf("%+v, %v", info, err)
		}
	}
}

// TestEarlierThanAGap: a log that has forgotten a producer takes its next batch at any
// sequence. What went before that may never have been written.
func TestEarlierThanAGap(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	for i := range int32(3) {
		w.append(l, batch(1, 10, idempotent(7, 0, i)))
	}
	l.mu.Lock()
	delete(l.producers.m, 7)
	l.mu.Unlock()
	for i := range int32(10) {
		w.append(l, batch(1, 10, idempotent(7, 0, 100+i)))
	}
	check := func() {
		t.Helper()
		for _, c := range []struct {
			seq    int32
			offset int64 // -1: never written
		}{{99, -1}, {50, -1}, {3, -1}, {2, 2}, {0, 0}, {100, 3}, {104, 7}} {
			info, found, written, err := again(l, 0, 1, 7, 0, c.seq)
			if found != (c.offset >= 0) || found && info.FirstOffset != c.offset || written && c.seq < 100 {
				t.Errorf("sequence %d: found %v at %d, written %v, %v", c.seq, found, info.FirstOffset, written, err)
			}
		}
	}
	check()
	w.close()
	w.open()
	l = w.log("a")
	check()
}

// TestEarlierIsBounded: a search gives up, and says no more than it knows.
func TestEarlierIsBounded(t *testing.T) {
	defer func(n int) { maxEarlier = n }(maxEarlier)
	w := newWorld(t)
	l := w.log("a")
	w.append(l, batch(1, 10, idempotent(7, 0, 0)))
	for i := range int32(500) {
		w.append(l, batch(1, 1000, idempotent(8, 0, i)))
	}
	for i := range int32(6) {
		w.append(l, batch(1, 10, idempotent(7, 0, 1+i)))
	}
	if info, found, _, err := again(l, 0, 1, 7, 0, 0); !found || info.FirstOffset != 0 {
		t.Fatalf("%+v, %v", info, err)
	}
	maxEarlier = 100
	if _, found, written, err := again(l, 0, 1, 7, 0, 0); found || !written {
		t.Fatalf("found %v, written %v, %v", found, written, err)
	}
}

// TestSnapshotOfTheFirstKind: one without the numbers in a row knows those of its window.
func TestSnapshotOfTheFirstKind(t *testing.T) {
	s := producers{}
	for i := range int32(9) {
		b := record.Batch(batch(2, 10, idempotent(7, 0, 2*i)))
		b.SetBaseOffset(int64(2 * i))
		s.apply(b, true)
	}
	p := s.encodeSnapshot()
	now, err := decodeSnapshot(slices.Clone(p), 18)
	if err != nil || now.m[7].run != 18 {
		t.Fatalf("%+v, %v", now.m[7], err)
	}
	at := snapshotEntries + 4 + snapshotEntrySize
	old := append(slices.Clone(p[:at]), snapshotMagic1...)
	old = sealSnapshot(append(old, p[at+len(snapshotMagic)+4:]...))
	was, err := decodeSnapshot(old, 18)
	if err != nil || was.m[7].run != 10 || was.m[7].batches != now.m[7].batches {
		t.Fatalf("%+v, %v", was.m[7], err)
	}
}
