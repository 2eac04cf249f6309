package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/leat-stream/leat/internal/record"
)

// goesOn appends what producer 7 or 8 sends next from a sequence number on.
func goesOn(w *world, l *Log, producer int64, seq int32) (AppendInfo, error) {
	return l.Append(batch(2, 60, idempotent(producer, 0, seq)), AppendOptions{Now: w.clock.Now(), LeaderEpoch: 3})
}

// walked is a log in one segment, synced and recorded, without a snapshot of its producers:
// two of them wrote twelve batches of two records in turn, four in each leader epoch.
func walked(w *world) (l *Log, size int) {
	l = w.log("a")
	for i := range 12 {
		b := batch(2, 60, idempotent(int64(7+i%2), 0, int32(i/2*2)))
		size = len(b)
		if _, err := l.Append(b, AppendOptions{Now: w.clock.Now(), LeaderEpoch: int32(i / 4)}); err != nil {
			w.t.Fatal(err)
		}
	}
	w.checkpoint()
	return l, size
}

// headerHarms are changes of the batch in p by one bit, or of its records.
var headerHarms = map[string]func(p []byte){
	"records":       func(p []byte) { p[len(p)-1] ^= 1 },
	"last offset":   func(p []byte) { p[record.OffLastOffsetDelta] ^= 1 },
	"next's offset": func(p []byte) { p[record.OffLastOffsetDelta+3] ^= 2 },
	"offset, more":  func(p []byte) { p[4] ^= 1 },
	"offset, less":  func(p []byte) { binary.BigEndian.PutUint64(p, binary.BigEndian.Uint64(p)&^4) },
	"length, more":  func(p []byte) { p[10] ^= 1 },
	"length, far":   func(p []byte) { p[8] ^= 64 },
	"length, less":  func(p []byte) { p[11] ^= p[11] & -p[11] },
	"magic":         func(p []byte) { p[record.OffMagic] ^= 1 },
}

// TestDamageHidesNoProducers: a start that takes the producers from the batches below the
// recovery point knows what those behind a damaged one tell, whatever is wrong with that one:
// a producer goes on in sequence, and what it wrote is a duplicate.
func TestDamageHidesNoProducers(t *testing.T) {
	for name, harm := range headerHarms {
		for i := range 10 {
			t.Run(fmt.Sprint(name, " of batch ", i), func(t *testing.T) {
				w := newWorld(t)
				l, size := walked(w)
				want := byID(l.Producers())
				w.change(aLog, func(p []byte) []byte { harm(p[i*size : (i+1)*size]); return p })
				w.events = nil
				w.kill()
				l = w.log("a")
				if got := byID(l.Producers()); !slices.Equal(got, want) {
					t.Fatalf("producers %+v, want %+v", got, want)
				}
				for k := 10; k < 12; k++ {
					info, err := goesOn(w, l, int64(7+k%2), int32(k/2*2))
					if err != nil || !info.Duplicate || info.FirstOffset != int64(2*k) {
						t.Fatalf("batch %d comes again: %+v %v", k, info, err)
					}
					if info, err = goesOn(w, l, int64(7+k%2), int32(k/2*2+2)); err != nil || info.Duplicate {
						t.Fatalf("what follows batch %d: %+v %v", k, info, err)
					}
				}
			})
		}
	}
}

// TestDamagedRecordsHideNoProducer: the last batch of a producer tells of it, although its
// records are damaged.
func TestDamagedRecordsHideNoProducer(t *testing.T) {
	for i := 10; i < 12; i++ {
		w := newWorld(t)
		l, size := walked(w)
		want := byID(l.Producers())
		w.change(aLog, func(p []byte) []byte { p[(i+1)*size-1] ^= 1; return p })
		w.kill()
		if got := byID(w.log("a").Producers()); !slices.Equal(got, want) {
			t.Fatalf("batch %d: producers %+v, want %+v", i, got, want)
		}
	}
}

// TestWhatFitsNowhereIsNoProducer: a last batch whose header says that it goes beyond the end
// of the log tells nothing.
func TestWhatFitsNowhereIsNoProducer(t *testing.T) {
	w := newWorld(t)
	_, size := walked(w)
	w.change(aLog, func(p []byte) []byte { p[11*size+record.OffLastOffsetDelta] ^= 1; return p })
	w.kill()
	l := w.log("a")
	if _, err := goesOn(w, l, 8, 12); !errors.Is(err, ErrOutOfOrderSequence) {
		t.Fatalf("after a batch of which nothing is known: %v", err)
	}
	if info, err := goesOn(w, l, 7, 12); err != nil || info.FirstOffset != 24 {
		t.Fatalf("%+v %v", info, err)
	}
}

// TestDamageHidesNoEpochs: leader epochs that are built again are those of the batches on
// both sides of a damaged one.
func TestDamageHidesNoEpochs(t *testing.T) {
	for name, harm := range headerHarms {
		for _, i := range []int{1, 5, 6} {
			t.Run(fmt.Sprint(name, " of batch ", i), func(t *testing.T) {
				w := newWorld(t)
				_, size := walked(w)
				w.change(aLog, func(p []byte) []byte { harm(p[i*size : (i+1)*size]); return p })
				w.must(w.disk.Remove(aDir + epochFile))
				w.kill()
				l := w.log("a")
				for epoch, end := range []int64{8, 16, 24} {
					if e, at := l.EndOffsetForEpoch(int32(epoch)); e != int32(epoch) || at != end {
						t.Errorf("epoch %d ends at %d", e, at)
					}
				}
			})
		}
	}
}

// TestLowerEpochContradictsNoOther: the first batch of an epoch, with the epoch before, which no
// checksum covers, does not move the epoch's start; it is refused when it is met.
func TestLowerEpochContradictsNoOther(t *testing.T) {
	w := newWorld(t)
	_, size := walked(w)
	w.change(aLog, func(p []byte) []byte { p[4*size+record.OffLeaderEpoch+3]--; return p })
	w.events = nil
	w.kill()
	l := w.log("a")
	for epoch, end := range []int64{8, 16, 24} {
		if e, at := l.EndOffsetForEpoch(int32(epoch)); e != int32(epoch) || at != end {
			t.Errorf("epoch %d ends at %d", e, at)
		}
	}
	w.scrub()
	if got := l.Damaged(); len(got) != 1 || got[0] != (Range{8, 10}) {
		t.Errorf("refused %v", got)
	}
}

// TestDamageContradictsNoEpochs: the leader epochs are kept as they were recorded when a batch
// is damaged; those that are built from the batches that are left could begin too late.
func TestDamageContradictsNoEpochs(t *testing.T) {
	for name, harm := range headerHarms {
		for i := range 10 {
			t.Run(fmt.Sprint(name, " of batch ", i), func(t *testing.T) {
				w := newWorld(t)
				_, size := walked(w)
				w.change(aLog, func(p []byte) []byte { harm(p[i*size : (i+1)*size]); return p })
				w.events = nil
				w.kill()
				l := w.log("a")
				for epoch, end := range []int64{8, 16, 24} {
					if e, at := l.EndOffsetForEpoch(int32(epoch)); e != int32(epoch) || at != end {
						t.Errorf("epoch %d ends at %d", e, at)
					}
				}
				for _, e := range w.events {
					if e, ok := e.(IndexRebuilt); ok && e.File == epochFile {
						t.Errorf("told %v", e)
					}
				}
			})
		}
	}
}
