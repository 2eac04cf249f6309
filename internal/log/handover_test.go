package log

import (
	"errors"
	"slices"
	"testing"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

// TestReplicaThatStartsAnewKnowsTheProducers: whatever was written before the offset where a
// replica starts is a duplicate to it, once it has the rest, also after restarts.
func TestReplicaThatStartsAnewKnowsTheProducers(t *testing.T) {
	w := newWorld(t)
	tiny := func(c *Config) { c.SegmentBytes, c.IndexIntervalBytes = 700, 100 }
	l := w.log("leader", tiny)
	type sent struct {
		producer int64
		seq      int32
		n        int
		offset   int64
	}
	var all []sent
	next := map[int64]int32{}
	for i := range 60 {
		id := int64(7 + i*i%5) // some fall silent
		n := 1 + i%3
		at := w.append(l, batch(n, 20, idempotent(id, 2, next[id]))).FirstOffset
		all = append(all, sent{id, next[id], n, at})
		next[id] += int32(n)
	}
	w.sync()
	if err := l.SetStartOffset(all[20].offset); err != nil {
		t.Fatal(err)
	}
	if err := w.dir.Checkpoint(); err != nil { // what recovery may look for is kept
		t.Fatal(err)
	}
	if _, err := l.Retain(w.clock.Now(), l.EndOffset()); err != nil {
		t.Fatal(err)
	}
	if (*l.segs.Load())[0].base == 0 {
		t.Fatal("nothing was deleted")
	}
	for _, from := range []int{20, 21, 25, 33, 47, 59, 60} {
		start := l.EndOffset()
		if from < len(all) {
			start = all[from].offset
		}
		state, err := l.ProducersAt(start)
		if err != nil {
			t.Fatal(err)
		}
		inside, err := l.ProducersAt(start + 1) // within a batch, unless that has one record
		if err != nil || from < len(all) && all[from].n > 1 && !slices.Equal(state, inside) {
			t.Fatalf("from %d: within the batch the state is another, or %v", from, err)
		}
		r := w.log("replica", tiny)
		w.append(r, batch(3, 20, idempotent(7, 9, 0))) // of which nothing stays
		if err := r.StartAnew(start, state); err != nil {
			t.Fatal(err)
		}
		if r.StartOffset() != start || r.EndOffset() != start {
			t.Fatalf("it starts at %d and ends at %d", r.StartOffset(), r.EndOffset())
		}
		check := func(when string) {
			t.Helper()
			for i, s := range all {
				info, found, written, err := again(r, 0, s.n, s.producer, 2, s.seq)
				if !found && !written || found && info.FirstOffset != s.offset || s.offset >= start && s.offset < r.EndOffset() && !found {
					t.Fatalf("%s, started at %d: batch %d %+v: %+v, written %v, %v", when, start, i, s, info, written, err)
				}
			}
			for id, seq := range next { // and what is none is none
				if _, found, written, err := again(r, 0, 1, id, 2, seq+1); found || written || !errors.Is(err, ErrOutOfOrderSequence) {
					t.Fatalf("%s: sequence %d of %d: written %v, %v", when, seq+1, id, written, err)
				}
			}
		}
		run, err := l.Read(start, 1<<20, l.EndOffset(), true)
		for ; err == nil && run.Len() > 0; run, err = l.Read(r.EndOffset(), 1<<20, l.EndOffset(), true) {
			b := make([]byte, run.Len())
			if _, err := run.ReadAt(b, 0); err != nil {
				t.Fatal(err)
			}
			run.Release()
			for one, err := range record.Split(b) {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.Append(one, AppendOptions{Origin: OriginReplication, Now: epoch0}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		check("at first")
		w.sync()
		w.kill()
		r = w.log("replica", tiny)
		check("after a kill")
		w.close()
		w.open()
		l, r = w.log("leader", tiny), w.log("replica", tiny)
		check("after a stop")
		if err := w.dir.Delete(r.ID()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMovedStartKeepsTheProducers: a log without records goes back to where the batch begins
// that holds its start.
func TestMovedStartKeepsTheProducers(t *testing.T) {
	w := newWorld(t)
	l := w.log("leader")
	for i := range int32(4) {
		w.append(l, batch(3, 20, idempotent(7, 0, 3*i)))
	}
	state, err := l.ProducersAt(8)
	if err != nil {
		t.Fatal(err)
	}
	r := w.log("replica")
	if err := errors.Join(r.StartAnew(8, state), r.MoveStart(6)); err != nil {
		t.Fatal(err)
	}
	for _, restart := range []bool{false, true} {
		if restart {
			w.close()
			w.open()
			r = w.log("replica")
		}
		if _, found, _, err := again(r, 0, 3, 7, 0, 3); !found {
			t.Fatalf("restarted: %v: the last one before the start: %v", restart, err)
		}
		if _, found, written, err := again(r, 0, 3, 7, 0, 6); found || written || err != nil {
			t.Fatalf("restarted: %v: the next is taken for %v, %v, %v", restart, found, written, err)
		}
		if err := r.TruncateTo(6); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStateOfProducersIsChecked: what cannot be the state at the start costs a replica nothing.
func TestStateOfProducersIsChecked(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	for i := range int32(3) {
		w.append(l, batch(1, 20, idempotent(7, 0, i)))
	}
	if none, err := l.ProducersAt(0); err != nil || none != nil {
		t.Fatalf("%x, %v", none, err)
	}
	state, err := l.ProducersAt(3)
	if err != nil {
		t.Fatal(err)
	}
	bad := slices.Clone(state)
	bad[len(bad)-1] ^= 1
	for name, c := range map[string]struct {
		start int64
		state []byte
	}{"a flipped bit": {9, bad}, "cut short": {9, state[:20]}, "of a later offset": {2, state}} {
		if err := l.StartAnew(c.start, c.state); !errors.Is(err, ErrCorrupt) || l.EndOffset() != 3 || l.StartOffset() != 0 {
			t.Errorf("%s: %v, and the log has %d to %d", name, err, l.StartOffset(), l.EndOffset())
		}
	}
	// Damage below the offset leaves it unknown.
	w.sync()
	seg := (*l.segs.Load())[0]
	f, err := w.disk.OpenFile(seg.path(logSuffix), 2, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff, 0xff}, 8); err != nil { // the first batch's length
		t.Fatal(err)
	}
	if state, err := l.ProducersAt(3); !errors.Is(err, ErrCorrupt) || state != nil {
		t.Errorf("%x, %v", state, err)
	}
}

// TestStartIsMovedWholeOrNotAtAll: wherever the process or the power ends, the replica knows
// the producers at its start, or it is where it was and is told again.
func TestStartIsMovedWholeOrNotAtAll(t *testing.T) {
	begin := func() (w *world, l, r *Log, state []byte) {
		w = newWorld(t)
		l = w.log("leader")
		for i := range int32(4) {
			w.append(l, batch(2, 20, idempotent(7, 0, 2*i)))
		}
		state, err := l.ProducersAt(8)
		if err != nil {
			t.Fatal(err)
		}
		r = w.log("replica")
		w.append(r, batch(2, 20, idempotent(7, 0, 0)))
		w.sync()
		return w, l, r, state
	}
	for name, c := range map[string]struct {
		prepare, act func(r *Log, state []byte) error
		told         bool // already, so that nobody tells it again
	}{
		"begins": {func(*Log, []byte) error { return nil }, func(r *Log, state []byte) error { return r.StartAnew(8, state) }, false},
		"moves":  {func(r *Log, state []byte) error { return r.StartAnew(8, state) }, func(r *Log, _ []byte) error { return r.MoveStart(6) }, true},
	} {
		done := false
		for at := 1; !done; at++ {
			w, _, r, state := begin()
			if err := c.prepare(r, state); err != nil {
				t.Fatal(err)
			}
			w.disk.CrashAt(at)
			if done = c.act(r, state) == nil && !w.disk.Crashed(); done {
				w.disk.PowerOff()
			}
			for seed := range uint64(12) {
				disk := w.disk.KillClone()
				if seed > 0 {
					disk = w.disk.CrashClone(env.NewRand(seed))
				}
				o := &world{t: t, clock: w.clock, opt: w.opt}
				o.opt.BootID = "boot"
				o.goOn(disk)
				r := o.log("replica")
				known := len(r.Producers()) > 0
				switch start, end := r.StartOffset(), r.EndOffset(); {
				case start == 0 && !c.told && !done: // as before, or empty: its leader starts at 8
					if end > 2 {
						t.Fatalf("%s, operation %d, end %d: it ends at %d", name, at, seed, end)
					}
				case start != end || start != 8 && (start != 6 || !c.told):
					t.Fatalf("%s, operation %d, end %d: it has %d to %d", name, at, seed, start, end)
				case !known:
					t.Fatalf("%s, operation %d, end %d: it starts at %d and knows no producer", name, at, seed, start)
				}
			}
		}
	}
}

// TestLostStateOfProducersIsTold: when the only file is damaged that tells of producers
// before the first batch, the log does not say that it is built again.
func TestLostStateOfProducersIsTold(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	w.append(l, batch(1, 20, idempotent(7, 0, 0)))
	state, err := l.ProducersAt(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.StartAnew(5, state); err != nil {
		t.Fatal(err)
	}
	w.append(l, batch(1, 20, idempotent(8, 0, 0)))
	w.sync()
	name := *l.path.Load() + "/" + segmentName(5, snapshotSuffix)
	if err := w.disk.FlipBit(name, 20); err != nil {
		t.Fatal(err)
	}
	w.events = nil
	w.crash()
	l = w.log("a")
	if got := l.Producers(); len(got) != 1 || got[0].ProducerID != 8 {
		t.Fatalf("%+v", got)
	}
	if !slices.ContainsFunc(w.events, func(e Event) bool { f, ok := e.(ProducersForgotten); return ok && f.Below == 5 }) {
		t.Fatalf("%v", w.events)
	}
}
