package log

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/record"
)

// synced is a log of one segment with three batches, then ones with four and three, all of
// it synced, recorded, and no longer in the journal; every batch has one record.
func synced(w *world) (size int) {
	size = len(batch(1, 100))
	l := w.log("a")
	for i := range 10 {
		c := *l.Config()
		c.SegmentBytes = int64(4 * size)
		if i == 3 {
			c.SegmentBytes = int64(3 * size)
		}
		l.SetConfig(c)
		w.append(l, batch(1, 100))
	}
	wantBases(w.t.(*testing.T), l, 0, 3, 7)
	w.checkpoint()
	w.reopen()
	w.events = nil
	return size
}

const (
	bLog = aDir + "00000000000000000003.log"
	cLog = aDir + "00000000000000000007.log"
)

// TestQuarantine: damage among what was recorded as synced is told, the bytes are kept,
// their offsets are refused now and after the next start and are given to nobody else, and
// everything around them is read.
func TestQuarantine(t *testing.T) {
	for name, c := range map[string]struct {
		harm     func(w *world, size int)
		from, to int64
		bytes    func(before map[string][]byte, size int) []byte // that are kept, nil: there were none
	}{
		"a segment ends early": {
			func(w *world, size int) { w.change(bLog, cutAt(2*size+30)) }, 5, 7,
			func(before map[string][]byte, size int) []byte { return before[bLog][2*size : 2*size+30] },
		},
		"a segment ends early between batches": {
			func(w *world, size int) { w.change(bLog, cutAt(2*size)) }, 5, 7, nil,
		},
		"a segment is gone": {
			func(w *world, _ int) { w.must(w.disk.Remove(bLog)) }, 3, 7, nil,
		},
		"the first segment is gone": {
			func(w *world, _ int) { w.must(w.disk.Remove(aLog)) }, 0, 3, nil,
		},
		"the last segment ends early": {
			func(w *world, size int) { w.change(cLog, cutAt(size+30)) }, 8, 10,
			func(before map[string][]byte, size int) []byte { return before[cLog][size : size+30] },
		},
		"the last segment is gone": {
			func(w *world, _ int) { w.must(w.disk.Remove(cLog)) }, 7, 10, nil,
		},
		"bytes are missing in the middle": {
			func(w *world, size int) {
				w.change(bLog, func(p []byte) []byte { return append(p[:size+10], p[size+20:]...) })
			}, 4, 5,
			func(before map[string][]byte, size int) []byte {
				p := slices.Clone(before[bLog][size : 2*size])
				return append(p[:10], p[20:]...)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			size := synced(w)
			before := map[string][]byte{aLog: w.content(aLog), bLog: w.content(bLog), cLog: w.content(cLog)}
			c.harm(w, size)
			w.opt.BootID = "after the power cut"
			w.kill()
			e, ok := saw[Quarantined](w)
			if !ok || e.From != c.from || e.To != c.to || !errors.Is(e.Err, ErrCorrupt) {
				t.Fatalf("told %+v", e)
			}
			if r, ok := saw[LogRecovered](w); !ok || r.Kept {
				t.Fatalf("told %+v", r)
			}
			switch {
			case c.bytes == nil && e.File != "" && len(w.content(aDir+e.File)) != 0:
				t.Fatalf("%s has %d bytes", e.File, len(w.content(aDir+e.File)))
			case c.bytes != nil && !bytes.Equal(w.content(aDir+e.File), c.bytes(before, size)):
				t.Fatal("the damaged bytes were not kept")
			}
			wantRefused(t, w.log("a"), c.from, c.to, 10)
			if info := w.append(w.log("a"), batch(1, 100)); info.FirstOffset != 10 {
				t.Fatalf("offset %d is given again", info.FirstOffset)
			}
			w.sync()
			for _, again := range []func(){w.kill, w.reopen, w.crash} {
				again()
				wantRefused(t, w.log("a"), c.from, c.to, 11)
			}
		})
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// wantRefused wants a log whose offsets from…to-1 are damaged, and all others there.
func wantRefused(t *testing.T, l *Log, from, to, end int64) {
	t.Helper()
	if l.EndOffset() != end || l.StartOffset() != 0 {
		t.Fatalf("%d to %d, want 0 to %d", l.StartOffset(), l.EndOffset(), end)
	}
	for at := range end {
		run, err := l.Read(at, 1<<20, end, true)
		if at >= from && at < to {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("read at %d, which is damaged: %v", at, err)
			}
			if behind, damaged := l.DamagedTo(at); !damaged || behind != to {
				t.Fatalf("damage at %d to %d", at, behind)
			}
			continue
		}
		if err != nil || run.Len() == 0 || at < from && run.NextOffset() > from {
			t.Fatalf("read at %d: %v", at, err)
		}
		p := make([]byte, run.Len())
		if _, err := run.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
		if b := record.Batch(p); b.BaseOffset() != at {
			t.Fatalf("read at %d: offset %d", at, b.BaseOffset())
		}
		run.Release()
	}
}

// TestDamageAfterAKill: the page cache has all that a killed process wrote, so a bad batch
// before a good one is no torn write, recorded or not.
func TestDamageAfterAKill(t *testing.T) {
	w := newWorld(t)
	size := unsynced(w)
	w.change(aLog, flip(7*size-1))
	w.events = nil
	w.kill()
	if e, ok := saw[Quarantined](w); !ok || e.From != 6 || e.To != 7 || e.File == "" {
		t.Fatalf("told %+v", e)
	}
	l := w.log("a")
	if l.Recovered().Kept {
		t.Fatalf("%+v", l.Recovered())
	}
	wantRefused(t, l, 6, 7, 8)
}

// TestReadsMeetDamage: a reader that meets damage that recovery had no reason to look for is
// told so, and so is the operator; others go on.
func TestReadsMeetDamage(t *testing.T) {
	w := newWorld(t)
	size := synced(w)
	w.change(bLog, flip(size+record.OffLength)) // of offset 4
	w.kill()
	l := w.log("a")
	if _, ok := saw[Quarantined](w); ok {
		t.Fatal("recovery read what it need not")
	}
	met := w.dir.opt.Metrics.DamageMet.Load()
	for at := range int64(10) {
		run, err := l.Read(at, 1, 10, true)
		if at >= 4 && at < 7 {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("read at %d: %v", at, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("read at %d: %v", at, err)
		}
		run.Release()
	}
	if e, ok := saw[DamageMet](w); !ok || e.Segment != 3 || !strings.Contains(e.String(), "damaged") || w.dir.opt.Metrics.DamageMet.Load() != met+3 {
		t.Fatalf("told %+v, %d times", e, w.dir.opt.Metrics.DamageMet.Load()-met)
	}
	w.append(l, batch(1, 100))
}

// TestDamageBehindAGap: whoever asks for what compaction removed right before damage is told of
// the damage, and where it ends; not that there is nothing yet.
func TestDamageBehindAGap(t *testing.T) {
	w := newWorld(t)
	none := record.NewHeader(0)
	one := keyed(none, "a", "1")
	l := w.log("a", compacted, func(c *Config) { c.SegmentBytes = int64(2*len(one) + 1) })
	for _, k := range []string{"a", "b", "b", "c", "d"} {
		w.append(l, keyed(none, k, "1"))
	}
	wantBases(t, l, 0, 2, 4)
	if res := w.compact(l); res.Removed != 1 {
		t.Fatalf("%+v", res)
	}
	wantBases(t, l, 0, 2, 4)
	w.change(aDir+"00000000000000000002.log", flip(len(one)-1))
	w.scrub()
	if got := l.Damaged(); !slices.Equal(got, []Range{{2, 3}}) {
		t.Fatalf("damaged: %v", got)
	}
	for offset, to := range map[int64]int64{0: 0, 1: 3, 2: 3, 3: 3, 4: 4} {
		run, err := l.Read(offset, 1<<20, 5, true)
		if err == nil {
			if run.Len() == 0 {
				t.Errorf("nothing is at %d", offset)
			}
			run.Release()
		}
		behind, is := l.DamagedTo(offset)
		if behind != to || is != (offset < to) || is != errors.Is(err, ErrCorrupt) {
			t.Errorf("at %d: %v, damaged %v up to %d, want %d", offset, err, is, behind, to)
		}
	}
}
