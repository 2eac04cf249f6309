package sim

import (
	"slices"
	"time"
)

// lateRegistration is the fault of a registration that gets stuck on its way, whose process
// ends, and which arrives when the next process of that broker has registered and serves,
// in a moment in which the controller has reason to doubt that.
func (f *faults) lateRegistration() fault {
	return fault{"late registration", 3, 0, func(h *Host) func() {
		if c, _ := f.controller(); c == nil || c == h || !h.Serving || h.paused {
			return nil
		}
		f.c.Registering = func(from, to *Host) {
			if from != h || to == h || f.ended {
				return
			}
			f.c.Registering = nil
			was := f.c.path(h, to)
			stuck := was
			stuck.Stuck, stuck.StuckFor = 1, 2*time.Second+time.Duration(f.rng.Int64N(int64(3*time.Second)))
			f.c.SetPath(h, to, stuck)
			f.c.Clock.AfterFunc(0, func() {
				f.c.SetPath(h, to, was)
				if f.ended || !h.Up() {
					return
				}
				f.c.Count["late registration"]++
				h.Kill()
				f.c.Clock.AfterFunc(time.Millisecond, h.startIfDown)
				f.doubt(h, to, f.c.Now()+stuck.StuckFor)
			})
		}
		f.down(h, 1+time.Duration(f.rng.Int64N(int64(50*time.Millisecond))))
		return nil
	}}
}

// doubt breaks the connections by which a controller reaches a node that serves, again and again.
func (f *faults) doubt(h, controller *Host, until time.Duration) {
	if f.ended || f.c.Now() > until {
		return
	}
	if h.Serving {
		for _, l := range slices.Clone(f.c.links) {
			if l.from == controller && l.to == h {
				l.Reset()
			}
		}
	}
	f.c.Clock.AfterFunc(50*time.Millisecond+time.Duration(f.rng.Int64N(int64(150*time.Millisecond))), func() { f.doubt(h, controller, until) })
}
