package log

import (
	"slices"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// turns is an Exec on the test's goroutine: loops that are awake wait for run.
type turns struct {
	t     *testing.T
	awake []*turnLoop
	ran   []string
}

type turnLoop struct {
	x       *turns
	name    string
	turn    func()
	stopped bool
}

func (x *turns) Loop(name string, turn func()) env.Loop {
	return &turnLoop{x: x, name: name, turn: turn}
}
func (x *turns) Go(string, func()) { x.t.Fatal("something runs beside the loops") }

func (l *turnLoop) Wake() {
	if !l.stopped && !slices.Contains(l.x.awake, l) {
		l.x.awake = append(l.x.awake, l)
	}
}
func (l *turnLoop) Stop() { l.stopped = true }

// one runs a turn of the loop that is awake longest.
func (x *turns) one() bool {
	if len(x.awake) == 0 {
		return false
	}
	l := x.awake[0]
	x.awake = x.awake[1:]
	if !l.stopped {
		x.ran = append(x.ran, l.name)
		l.turn()
	}
	return true
}

func (x *turns) all() {
	for n := 0; x.one(); n++ {
		if n > 100 {
			x.t.Fatalf("it never rests: %v", x.ran)
		}
	}
}

// TestStartOnOneGoroutine: a started directory syncs what is appended, one round a turn,
// checkpoints by time, and rests after a failure that may heal; all on the caller's
// goroutine, in an order that the caller decides.
func TestStartOnOneGoroutine(t *testing.T) {
	w := newWorld(t)
	x := &turns{t: t}
	w.dir.Start(x)
	x.all()
	l := w.log("a")
	w.append(l, batch(1, 100))
	if l.SyncedOffset() != 0 {
		t.Fatal("synced by whoever appends")
	}
	x.all()
	if l.SyncedOffset() != 1 {
		t.Fatalf("synced to %d", l.SyncedOffset())
	}
	l.SetHooks(Hooks{Synced: func(end int64) {
		if end < 3 {
			w.append(l, batch(1, 100))
		}
	}})
	w.append(l, batch(1, 100))
	x.ran = nil
	x.one()
	if l.SyncedOffset() != 2 || l.EndOffset() != 3 || len(x.awake) != 1 {
		t.Fatalf("synced to %d of %d, %v", l.SyncedOffset(), l.EndOffset(), x.ran)
	}
	x.all()
	w.clock.Advance(time.Second) // the first tick checkpoints
	x.all()
	if l.point() != 3 {
		t.Fatalf("recovery point %d", l.point())
	}

	w.log("b") // its name has to be synced
	w.append(w.log("b"), batch(1, 100))
	w.disk.SetFree(0)
	l2 := w.log("b")
	l2.mu.Lock()
	l2.epochs.assign(3, 0)
	l2.mu.Unlock()
	x.ran = nil
	x.all()
	if w.dir.Failed() != nil || l2.SyncedOffset() != 0 {
		t.Fatalf("%v, synced to %d, %v", x.ran, l2.SyncedOffset(), w.dir.Failed())
	}
	w.disk.SetFree(1 << 20)
	w.append(l, batch(1, 100))
	x.all()
	if l.SyncedOffset() != 3 {
		t.Fatal("it did not rest")
	}
	w.clock.Advance(restAfter)
	x.all()
	if l2.SyncedOffset() != 1 || l.SyncedOffset() != 4 {
		t.Fatalf("synced to %d and %d", l2.SyncedOffset(), l.SyncedOffset())
	}

	w.dir.Stop()
	w.append(l, batch(1, 100))
	w.clock.Advance(time.Minute)
	x.ran = nil
	x.all()
	if len(x.ran) > 0 || l.SyncedOffset() != 4 {
		t.Fatalf("stopped, and %v ran", x.ran)
	}
	w.dir.Start(x)
	x.all()
	if l.SyncedOffset() != 5 {
		t.Fatalf("synced to %d", l.SyncedOffset())
	}
	w.dir.Stop()
}
