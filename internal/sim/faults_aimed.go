package sim

import "time"

// Faults that are aimed at what a random one seldom meets.

// atOnce starts a node again before anybody else has noticed that it was gone: within the
// session of its broker, and within an election of the metadata's leader.
func (f *faults) atOnce() fault {
	return fault{"restart at once", 3, 0, func(h *Host) func() {
		f.down(h, time.Duration(f.rng.Int64N(int64(50*time.Millisecond)))+1)
		return nil
	}}
}

// slowDeath ends a node whose requests are slow on their way, and starts it again before
// they have arrived.
func (f *faults) slowDeath() fault {
	return fault{"death with requests under way", 2, 0, func(h *Host) func() {
		late := 100*time.Millisecond + time.Duration(f.rng.Int64N(int64(3*time.Second)))
		heal := f.paths(h, true, false, f.c.hosts, Path{Min: late / 2, Max: late})
		f.c.Clock.AfterFunc(time.Duration(f.rng.Int64N(int64(time.Second))), func() {
			if f.ended {
				return
			}
			heal()
			if h.Up() {
				f.down(h, time.Duration(f.rng.Int64N(int64(200*time.Millisecond)))+1)
			}
		})
		return nil
	}}
}

// afterAck ends a leader in the moment in which something of its partitions is committed,
// and answers are on their way.
func (f *faults) afterAck() fault {
	return fault{"death after an ack", 3, 0, func(h *Host) func() {
		f.c.acked = func(at *Host) {
			if at != h || f.ended || !h.Up() {
				return
			}
			f.c.acked = nil
			down := time.Duration(f.rng.Int64N(int64(2 * time.Second)))
			f.c.Clock.AfterFunc(0, func() {
				if !f.ended && h.Up() {
					f.down(h, down+1)
				}
			})
		}
		return nil
	}}
}

// down takes a node down for a while, by a kill or a power cut.
func (f *faults) down(h *Host, d time.Duration) {
	if f.c.Settings.PowerCuts && f.rng.IntN(2) == 0 {
		h.Crash()
	} else {
		h.Kill()
	}
	f.c.Clock.AfterFunc(d, h.startIfDown)
}
