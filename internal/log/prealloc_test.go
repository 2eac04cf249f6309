package log

import (
	"slices"
	"testing"
)

func preallocated(c *Config) { c.Preallocate, c.SegmentBytes = true, 3000 }

func TestPreallocate(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", preallocated)
	var want []int64
	for range 12 {
		want = append(want, w.append(l, batch(2, 200)).FirstOffset)
	}
	w.sync()
	size := func(base int64) int64 {
		t.Helper()
		info, err := w.disk.Stat("data/a-0/" + segmentName(base, logSuffix))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	list := *l.segs.Load()
	if len(list) < 2 || size(0) >= 3000 || size(list[len(list)-1].base) != 3000 {
		t.Fatalf("%d segments, sealed %d, active %d bytes", len(list), size(0), size(list[len(list)-1].base))
	}
	w.checkpoint()
	for _, again := range []func(){w.kill, w.crash, w.reopen} {
		again()
		l = w.log("a", preallocated)
		if got := readAll(t, l, 0); !slices.Equal(got, want) {
			t.Fatalf("read %v, want %v", got, want)
		}
		if _, cut := saw[Truncated](w); cut {
			t.Fatal("unused space was reported as damage")
		}
		want = append(want, w.append(l, batch(2, 200)).FirstOffset)
		w.sync()
	}
}

// TestPreallocateOnAFullDisk: a segment that cannot be reserved is not begun, the log stays
// as it is, and goes on when there is space.
func TestPreallocateOnAFullDisk(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", preallocated)
	for len(*l.segs.Load()) < 2 {
		w.append(l, batch(2, 200))
	}
	full := func() bool { // the next batch needs a segment
		s := l.active()
		return s.size.Load()+int64(len(batch(2, 200))) > 3000
	}
	for !full() {
		w.append(l, batch(2, 200))
	}
	before, end := l.bases(), l.EndOffset()
	w.disk.SetFree(2000)
	for range 2 {
		w.refused(l, batch(2, 200), ErrStorage)
		wantBases(t, l, before...)
	}
	w.disk.SetFree(-1)
	if info := w.append(l, batch(2, 200)); info.FirstOffset != end {
		t.Fatalf("appended at %d, want %d", info.FirstOffset, end)
	}
	wantBases(t, l, append(before, end)...)
	w.sync()
	w.crash()
	if got := readAll(t, w.log("a", preallocated), 0); int64(len(got)) != end/2+1 {
		t.Fatalf("read %d", got)
	}
}
