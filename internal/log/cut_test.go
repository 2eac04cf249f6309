package log

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// cuttable are logs of many kinds, and where each is to be cut.
func cuttable(w *world) (cuts []Cut) {
	for i := range 12 {
		l := w.log(fmt.Sprint("t", i), func(c *Config) { c.Durable = true })
		for n := range 12 {
			w.append(l, batch(1, 100))
			switch {
			case n == 5 && i%3 == 1:
				w.roll(l)
			case n == 7:
				w.sync()
				w.checkpoint()
			case n == 9:
				w.sync()
			}
		}
		to := int64(i % 12)
		switch i {
		case 0: // all of it goes
		case 3:
			to = 20 // nothing goes
		case 4:
			w.must(l.SetStartOffset(6)) // refused
		}
		cuts = append(cuts, Cut{Log: l, To: to})
	}
	w.sync()
	slices.Reverse(cuts)
	return cuts
}

// TestTruncateLogs: logs that are cut together become what each becomes alone.
func TestTruncateLogs(t *testing.T) {
	alone, w := newWorld(t), newWorld(t)
	one, all := cuttable(alone), cuttable(w)
	for i := range one {
		one[i].Err = one[i].Log.TruncateTo(one[i].To)
	}
	saved := 0
	w.disk.OnOp(func(op env.Op) error {
		if op.Kind == env.OpSync && op.Path == "data/"+stateFile {
			saved++
		}
		return nil
	})
	w.dir.TruncateLogs(all)
	if saved > 3 { // for all, and twice for the one that begins anew
		t.Errorf("the state was saved %d times", saved)
	}
	check := func() {
		t.Helper()
		for i := range one {
			l := w.log(one[i].Log.ID().Topic)
			if got, want := readAll(t, l, l.StartOffset()), readAll(t, one[i].Log, one[i].Log.StartOffset()); !slices.Equal(got, want) ||
				l.EndOffset() != one[i].Log.EndOffset() {
				t.Errorf("%v cut to %d ends at %d, alone at %d: %v and %v", l.ID(), one[i].To, l.EndOffset(), one[i].Log.EndOffset(), got, want)
			}
		}
	}
	for i := range one {
		if refused := one[i].Log.ID().Topic == "t4"; errors.Is(all[i].Err, ErrOffsetOutOfRange) != refused || (all[i].Err == nil) == refused {
			t.Errorf("%v: %v", one[i].Log.ID(), all[i].Err)
		}
	}
	check()
	w.crash()
	check()
}

// TestTruncateLogsInACrash: wherever the power fails, each log is as it was or cut, or
// anything between, and goes on.
func TestTruncateLogsInACrash(t *testing.T) {
	for n := 1; ; n++ {
		w := newWorld(t)
		cuts := cuttable(w)
		ends := map[string]int64{}
		for _, c := range cuts {
			ends[c.Log.ID().Topic] = c.Log.EndOffset()
		}
		w.disk.CrashAt(n)
		w.dir.TruncateLogs(cuts)
		if !w.disk.Crashed() {
			if n < 20 {
				t.Fatalf("only %d operations", n)
			}
			return
		}
		w.crashAs(uint64(n))
		for _, c := range cuts {
			topic := c.Log.ID().Topic
			l := w.log(topic)
			if end := l.EndOffset(); end > ends[topic] || end < min(c.To, ends[topic]) {
				t.Fatalf("operation %d: %s ends at %d, cut from %d to %d", n, topic, end, ends[topic], c.To)
			}
			w.append(l, batch(1, 50))
			w.sync()
			at := l.EndOffset()
			if got := readAll(t, l, l.StartOffset()); int64(len(got)) != at-l.StartOffset() {
				t.Fatalf("operation %d: %s has %v of %d to %d", n, topic, got, l.StartOffset(), at)
			}
		}
	}
}
