package log

import (
	"errors"
	"slices"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// TestMissingUntilForgotten: a log whose directory vanished is reported at each start, also
// beside a new log of that name, until somebody has taken note.
func TestMissingUntilForgotten(t *testing.T) {
	w := newWorld(t)
	w.append(w.log("a"), batch(3, 10))
	w.append(w.log("b"), batch(1, 10))
	w.checkpoint()
	w.must(w.disk.RemoveAll("data/a-0"))
	want := []LogMissing{{Log: testID("a"), Point: 3}}
	check := func(what string) {
		t.Helper()
		if got := w.dir.Missing(); !slices.Equal(got, want) {
			t.Fatalf("%s: missing %v, want %v", what, got, want)
		}
		if _, told := saw[LogMissing](w); told != (len(want) > 0) {
			t.Fatalf("%s: told: %v", what, told)
		}
		w.events = nil
	}
	w.kill()
	check("kill")
	w.crash()
	check("power cut")
	w.reopen()
	check("clean stop")
	w.append(w.log("a"), batch(2, 10)) // another one of that name
	w.sync()
	w.kill()
	check("kill with a new log")
	w.reopen()
	check("clean stop with a new log")
	w.reopen()
	check("clean stop, nothing changed")
	l := w.log("a")
	if l.EndOffset() != 2 || !l.Recovered().Kept {
		t.Fatalf("the new log ends at %d, %+v", l.EndOffset(), l.Recovered())
	}
	w.must(w.dir.ForgetMissing(testID("b"), testID("a")))
	want = nil
	w.events = nil
	check("forgotten")
	w.crash()
	check("forgotten, power cut")
	w.reopen()
	check("forgotten, clean stop")
}

// TestDeletedIsNotMissing: what was deleted is not missed after a clean stop.
func TestDeletedIsNotMissing(t *testing.T) {
	w := newWorld(t)
	w.append(w.log("a"), batch(3, 10))
	w.checkpoint()
	w.must(w.dir.Delete(testID("a")))
	w.reopen()
	if m := w.dir.Missing(); len(m) > 0 {
		t.Fatal(m)
	}
}

// TestDeletedUntilWritten: while a checkpoint writes that a log was deleted, the log counts
// as deleted, and its name is not given to another before that is durable: a power cut
// would take the old one's recovery point for the new one's.
func TestDeletedUntilWritten(t *testing.T) {
	w := newWorld(t)
	w.append(w.log("a"), batch(3, 10))
	w.checkpoint()
	w.must(w.dir.Delete(testID("a")))
	looks := 0
	w.disk.OnOp(func(op env.Op) error {
		if op.Path == "data/"+stateFile {
			looks++
			w.dir.mu.Lock()
			defer w.dir.mu.Unlock()
			if !slices.Contains(w.dir.gone, testID("a")) {
				t.Errorf("%v: its deletion is forgotten", op)
			}
		}
		return nil
	})
	w.must(w.dir.Checkpoint())
	w.disk.OnOp(nil)
	if looks == 0 || len(w.dir.gone) > 0 {
		t.Fatalf("%d looks, still gone: %v", looks, w.dir.gone)
	}
}

// TestUnknownUntilForgotten: a directory that lost its state file does not pass for one that
// knows what it had because a start wrote another; a new one has nothing to forget.
func TestUnknownUntilForgotten(t *testing.T) {
	w := newWorld(t)
	if got := w.dir.Missing(); w.dir.HasState() || len(got) > 0 {
		t.Fatalf("new: knows %v, missing %v", w.dir.HasState(), got)
	}
	w.append(w.log("a"), batch(3, 10))
	w.sync()
	w.kill()
	if !w.dir.HasState() {
		t.Fatal("its state file is not read")
	}
	w.must(w.disk.RemoveAll("data/" + stateFile))
	for _, again := range []func(){w.kill, w.kill, w.crash, w.reopen} {
		again()
		if got := w.dir.Missing(); w.dir.HasState() || !slices.Equal(got, []LogMissing{{}}) {
			t.Fatalf("knows %v, missing %v", w.dir.HasState(), got)
		}
	}
	if m, told := saw[LogMissing](w); told {
		t.Fatalf("told: %v", m)
	}
	w.must(w.dir.ForgetMissing(w.dir.Missing()[0].Log))
	for _, again := range []func(){w.kill, w.crash, w.reopen} {
		again()
		if got := w.dir.Missing(); !w.dir.HasState() || len(got) > 0 {
			t.Fatalf("forgotten: knows %v, missing %v", w.dir.HasState(), got)
		}
	}
}

// TestSetAsideKeepsRecords: what is set aside is there with all its records, under the one name
// or the other, wherever a power cut comes while it is made known that it is gone.
func TestSetAsideKeepsRecords(t *testing.T) {
	for seed := range uint64(60) {
		w := newWorld(t)
		l := w.log("a", func(c *Config) { c.SegmentBytes = 300 })
		for range 6 {
			w.append(l, batch(1, 100))
		}
		w.sync()
		w.must(l.SetStartOffset(4))
		w.checkpoint()
		if _, err := l.Retain(w.clock.Now(), 6); err != nil {
			t.Fatal(err)
		}
		w.must(w.dir.Tick(w.clock.Now()))
		w.must(w.disk.SyncDir("data/a-0"))
		if _, err := w.disk.Stat("data/a-0/" + segmentName(0, logSuffix)); err == nil {
			t.Fatal("the first segment is there")
		}
		path, err := w.dir.SetAside(testID("a"))
		w.must(err)
		w.disk.OnOp(func(op env.Op) error {
			if op.Kind == env.OpSyncDir && op.Path == "data" {
				return errors.New("the power fails")
			}
			return nil
		})
		_ = w.dir.Tick(w.clock.Now()) // fails
		w.disk.OnOp(nil)
		w.crashAs(seed)
		if _, err := w.disk.Stat(path); err == nil {
			continue
		}
		l = w.log("a")
		if l.EndOffset() != 6 || len(readAll(t, l, l.StartOffset())) == 0 {
			t.Fatalf("seed %d: offsets %d to %d", seed, l.StartOffset(), l.EndOffset())
		}
	}
}
