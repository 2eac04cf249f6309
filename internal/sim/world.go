// Package sim simulates a whole cluster with its clients and its faults on one goroutine,
// from one seed. Only tests use it.
package sim

import (
	"bufio"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/nodewire"
)

// World is a simulated cluster with its clients on one goroutine. Everything that
// happens is an event: a turn of a loop of some process, a timer, an arrival. One seed
// gives one order of events.
type World struct {
	Seed  uint64
	Clock *env.VirtualClock
	Exec  *env.Stepper
	Start time.Time

	sched   *rand.Rand
	network *rand.Rand
	hosts   []*Host
	byName  map[string]*Host
	paths   map[[2]string]Path
	links   []*Link // open ones, by age
	ended   []*Link // those that linger
	linkIDs uint64

	traced  bool // events are formatted, written and hashed
	hash    hash.Hash64
	trace   *bufio.Writer
	Events  uint64
	instant int // turns since time last moved

	// well is when all was well again after the last fault; 0: it is not yet.
	well time.Duration

	failures []error

	// Check is called after every event with the host that it concerned, or nil.
	Check   func(h *Host)
	touched *Host
	// Ending is called with a host whose process has just died, and is still there to look at.
	Ending func(h *Host)
	// Told is called with Raft messages that leave a node, Unanswered with wishes for
	// in-sync sets of which it is not known what became of them.
	Told       func(*nodewire.RaftRequest)
	Lost       func(*nodewire.LostRequest) // a broker says that it lacks what it acknowledged
	Unanswered func(*kmsg.AlterPartitionRequest)
	// Returning is called with each registration that a node sends to another.
	Returning func(*kmsg.BrokerRegistrationRequest)
	// Registering, if not nil, is told from where to where.
	Registering func(from, to *Host)
	// Wishing is called with each wish that leaves a node.
	Wishing func(*kmsg.AlterPartitionRequest)
	// Asked is called with requests that a node was given, Replied with the answers to those
	// that Asked returned something for.
	Asked       func(*Host, *api.Request) *groupAsked
	Replied     func(*Host, *groupAsked, []byte)
	fetchedFrom *Host // a fetch was served in this event
	// Count counts rare events, by name.
	Count map[string]int
}

// NewWorld makes an empty world. If trace is not nil, every event is written to it, and
// goes into Sum; that makes a run a tenth slower and changes nothing of it.
func NewWorld(seed uint64, trace io.Writer) *World {
	w := &World{
		Seed: seed, Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		byName: map[string]*Host{}, paths: map[[2]string]Path{}, hash: fnv.New64a(), Count: map[string]int{},
		Check: func(*Host) {}, Ending: func(*Host) {}, Told: func(*nodewire.RaftRequest) {}, Lost: func(*nodewire.LostRequest) {}, Unanswered: func(*kmsg.AlterPartitionRequest) {},
		Wishing: func(*kmsg.AlterPartitionRequest) {},
		Asked:   func(*Host, *api.Request) *groupAsked { return nil }, Replied: func(*Host, *groupAsked, []byte) {},
	}
	w.Clock = env.NewClock(w.Start)
	w.sched, w.network = w.Stream("scheduler"), w.Stream("network")
	w.Exec = env.NewStepper(w.Stream("turns"))
	if trace != nil {
		w.traced = true
		w.Exec.Ran = func(name string) { w.Tracef("turn %s", name) }
		w.trace = bufio.NewWriterSize(trace, 1<<16)
	}
	return w
}

// Stream is a random source of its own for one purpose, so that drawing more for one
// does not change what another gets.
func (w *World) Stream(purpose string) *rand.Rand {
	h := fnv.New64a()
	io.WriteString(h, purpose)
	return rand.New(rand.NewPCG(w.Seed, h.Sum64()))
}

// Now is the time since the start.
func (w *World) Now() time.Duration { return w.Clock.Now().Sub(w.Start) }

// Tracef notes one event. Where there are very many, look at traced first.
func (w *World) Tracef(format string, args ...any) {
	if !w.traced {
		return
	}
	line := fmt.Sprintf("%d %s\n", int64(w.Now()), fmt.Sprintf(format, args...))
	io.WriteString(w.hash, line)
	w.trace.WriteString(line)
}

// Sum is the hash of all events so far, if they are traced.
func (w *World) Sum() uint64 { return w.hash.Sum64() }

// Flush writes what is left of the trace.
func (w *World) Flush() {
	if w.trace != nil {
		w.trace.Flush()
	}
}

// Failf notes that something is wrong; the run ends after the event.
func (w *World) Failf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	w.Tracef("FAILED %v", err)
	w.failures = append(w.failures, fmt.Errorf("at %v: %w", w.Now(), err))
}

// Err is what is wrong so far.
func (w *World) Err() error { return errors.Join(w.failures...) }

// livelock is how many turns there may be without time moving on.
const livelock = 100_000

// lateness is how long a turn that is due may be put off at most.
const lateness = 5 * time.Millisecond

// Run lets events happen for a time, or until something is wrong.
func (w *World) Run(d time.Duration) error {
	end := w.Now() + d
	w.Clock.AfterFunc(d, func() {})
	for w.Now() < end && len(w.failures) == 0 {
		w.step()
	}
	return w.Err()
}

// RunUntil lets events happen until cond, for d at most; false when it never was.
func (w *World) RunUntil(d time.Duration, cond func() bool) bool {
	end := w.Now() + d
	w.Clock.AfterFunc(d, func() {})
	for !cond() {
		if w.Now() >= end || len(w.failures) > 0 {
			return false
		}
		w.step()
	}
	return true
}

// step lets one event happen: mostly a turn that is due, sometimes a timer before it,
// as if the machine were busy.
func (w *World) step() {
	w.Events++
	w.touched = nil
	due, ok := w.Clock.Next()
	busy := ok && w.sched.IntN(16) == 0 && due.Sub(w.Clock.Now()) < lateness
	if !busy && w.Exec.Step() {
		if w.instant++; w.instant > livelock {
			w.Failf("no end of turns at one moment")
		}
		w.checked()
		return
	}
	if !ok {
		w.Failf("nothing will ever happen again")
		return
	}
	if due.After(w.Clock.Now()) {
		w.instant = 0
	}
	w.Clock.Step()
	w.checked()
}

// checked looks at what an event has left.
func (w *World) checked() {
	if h := w.touched; h != nil && h.Up() && h.Disk.Crashed() {
		h.goDark()
		return
	}
	w.Check(w.touched)
}
