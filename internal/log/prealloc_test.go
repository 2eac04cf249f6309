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
