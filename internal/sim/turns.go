package sim

import "time"

// inTurn is the fault that takes nodes down one after the other, each before the one
// before it has caught up: leaders are elected from ever fewer replicas, in the end
// from those that are eligible only, or wait for one that has everything.
func (f *faults) inTurn() fault {
	return fault{"kills in turn", 3, 0, func(*Host) func() {
		order := f.rng.Perm(len(f.c.Nodes))
		at := time.Duration(0)
		for range 1 + f.rng.IntN(2) {
			for _, i := range order {
				h, down := f.c.Nodes[i], 200*time.Millisecond+time.Duration(f.rng.Int64N(int64(3*time.Second)))
				f.c.Clock.AfterFunc(at, func() { f.fell(h, down) })
				at += down + time.Duration(f.rng.Int64N(int64(time.Second))) - 300*time.Millisecond
				at = max(at, 0)
			}
		}
		return nil
	}}
}

// fell takes a node down for a while.
func (f *faults) fell(h *Host, down time.Duration) {
	if f.ended || !h.Up() {
		return
	}
	f.c.Count["fault"]++
	if f.c.Settings.PowerCuts && f.rng.IntN(2) == 0 {
		h.Crash()
	} else {
		h.Kill()
	}
	f.c.Clock.AfterFunc(down, h.startIfDown)
}
