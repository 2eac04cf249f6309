package env

import (
	"math/rand/v2"
	"slices"
)

// Stepper is an Exec without goroutines, for simulations: it keeps what is awake and
// runs one turn after the other, chosen by a random source, so that one seed gives one
// order. It belongs to one goroutine, which also moves the clock; a turn may do
// anything but Step.
type Stepper struct {
	rng   *rand.Rand
	awake []*step
	// Ran, if set, is told the name of each turn before it runs.
	Ran func(name string)
	own Part
}

var _ Exec = (*Stepper)(nil)

// NewStepper makes one that chooses by r.
func NewStepper(r *rand.Rand) *Stepper {
	s := &Stepper{rng: r}
	s.own.s = s
	return s
}

// Step runs the turn of one loop that is awake, or one function of Go; false when
// there is none that may run.
func (s *Stepper) Step() bool {
	may := s.awake
	if slices.ContainsFunc(may, (*step).paused) {
		may = slices.DeleteFunc(slices.Clone(may), (*step).paused)
	}
	if len(may) == 0 {
		return false
	}
	t := may[s.rng.IntN(len(may))]
	s.awake = slices.DeleteFunc(s.awake, func(o *step) bool { return o == t })
	t.awake = false
	if s.Ran != nil {
		s.Ran(t.name)
	}
	t.turn()
	return true
}

// Run steps until nothing is awake, at most n times; false if something still is.
func (s *Stepper) Run(n int) bool {
	for ; n > 0; n-- {
		if !s.Step() {
			return true
		}
	}
	return !slices.ContainsFunc(s.awake, func(t *step) bool { return !t.paused() })
}

// Loop makes a loop.
func (s *Stepper) Loop(name string, turn func()) Loop { return s.own.Loop(name, turn) }

// Go queues f as one turn.
func (s *Stepper) Go(name string, f func()) { s.own.Go(name, f) }

// Part is an Exec whose turns the stepper chooses among with all others, and which can
// be held or dropped as a whole: one process of a simulated cluster.
func (s *Stepper) Part(name string) *Part { return &Part{s: s, prefix: name + "/"} }

// Part is one part of a Stepper.
type Part struct {
	s             *Stepper
	prefix        string
	paused, ended bool
}

var _ Exec = (*Part)(nil)

// Loop makes a loop.
func (p *Part) Loop(name string, turn func()) Loop {
	return &step{part: p, name: p.prefix + name, turn: turn}
}

// Go queues f as one turn.
func (p *Part) Go(name string, f func()) { p.Loop(name, f).Wake() }

// Pause holds every turn of the part, or lets them go on; wakes are kept meanwhile.
func (p *Part) Pause(held bool) { p.paused = held }

// Drop ends the part, as the death of its process would: nothing of it runs any more.
func (p *Part) Drop() {
	p.ended = true
	p.s.awake = slices.DeleteFunc(p.s.awake, func(t *step) bool { return t.part == p })
}

// step is a loop, or a function of Go, which is a loop that wakes once.
type step struct {
	part           *Part
	name           string
	turn           func()
	awake, stopped bool
}

func (t *step) paused() bool { return t.part.paused }

func (t *step) Wake() {
	if t.awake || t.stopped || t.part.ended {
		return
	}
	t.awake = true
	t.part.s.awake = append(t.part.s.awake, t)
}

func (t *step) Stop() {
	t.stopped, t.awake = true, false
	t.part.s.awake = slices.DeleteFunc(t.part.s.awake, func(o *step) bool { return o == t })
}
