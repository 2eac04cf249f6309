package log

import (
	"errors"
	"runtime"
	"testing"
)

// TestCheck: damage is met as far as was asked for, and a look at little takes little memory:
// who asks for the same again and again can call for many.
func TestCheck(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	for range 20 {
		w.append(l, batch(1, 20_000))
	}
	w.append(l, batch(1, 10))
	check := func(offset int64, upTo int64) error {
		t.Helper()
		run, err := l.Read(offset, 1<<20, l.EndOffset(), true)
		w.must(err)
		defer run.Release()
		return run.Check(upTo)
	}
	const times = 200
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		w.must(check(20, 1<<20))
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / times; each > scanChunk/4 {
		t.Errorf("a look at 100 bytes takes %d", each)
	}
	w.must(w.disk.FlipBit("data/a-0/"+segmentName(0, logSuffix), 10*20_100+1000))
	w.must(check(0, 20_000))
	if _, ok := saw[DamageMet](w); ok {
		t.Error("met damage that nobody looked for")
	}
	if err := check(0, 1<<20); !errors.Is(err, ErrCorrupt) {
		t.Errorf("damage: %v", err)
	}
	if _, ok := saw[DamageMet](w); !ok {
		t.Error("the damage was not told")
	}
}
