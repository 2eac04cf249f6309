package sim

import (
	"slices"
	"time"

	"github.com/leat-stream/leat/internal/metadata"
)

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

// limping lets a node fall out of in-sync sets and catch up again several times, by
// pauses and restarts, while what other nodes ask gets stuck: wishes for it come late,
// when it is out again, or another incarnation.
func (f *faults) limping() fault {
	return fault{"limping", 3, 0, func(h *Host) func() {
		lag := f.c.Settings.ReplicaLag
		if lag >= f.c.Settings.SessionTimeout {
			lag = f.c.Settings.SessionTimeout / 2
		}
		var heal []func()
		for _, o := range f.c.Nodes {
			if o != h {
				heal = append(heal, f.paths(o, true, false, f.c.Nodes, Path{Min: fast.Min, Max: 20 * time.Millisecond, Stuck: 0.1, StuckFor: pick(f.rng, 200*time.Millisecond, 2*time.Second, 6*time.Second)}))
			}
		}
		left := 3 + f.rng.IntN(4)
		var step func()
		step = func() {
			if left--; left < 0 || f.ended || !h.Up() {
				if !f.ended {
					for _, end := range heal {
						end()
					}
				}
				return
			}
			out := time.Duration(f.rng.Int64N(int64(50*time.Millisecond))) + 1
			if f.rng.IntN(2) == 0 {
				f.down(h, out)
			} else {
				out = lag + time.Duration(f.rng.Int64N(int64(lag)))
				if f.rng.IntN(3) == 0 { // long enough to be fenced
					out = f.c.Settings.SessionTimeout + time.Duration(f.rng.Int64N(int64(time.Second)))
				}
				h.Pause()
				f.c.Clock.AfterFunc(out, h.Resume)
			}
			f.c.Clock.AfterFunc(out+time.Duration(f.rng.Int64N(int64(time.Second))), step)
		}
		step()
		return nil
	}}
}

// succession lets a leader die whose followers have come differently far, and the one
// that follows it, before the other has heard of that: what it wrote is followed by
// nothing, and it comes back to a log that is longer where they part.
func (f *faults) succession() fault {
	return fault{"short reign", 3, 0, func(*Host) func() {
		p := f.someInSync(3)
		if p == nil {
			return nil
		}
		var next, other *Host
		for _, id := range p.Replicas {
			switch h := f.c.Nodes[id-1]; {
			case id == p.Leader:
			case next == nil:
				next = h // leads then, as the first in sync
			default:
				other = h
			}
		}
		leader := f.c.Nodes[p.Leader-1]
		heal := f.paths(leader, true, false, []*Host{next}, Path{Min: 200 * time.Millisecond, Max: 300 * time.Millisecond})
		after := func(d time.Duration, do func()) {
			f.c.Clock.AfterFunc(d, func() {
				if !f.ended {
					do()
				}
			})
		}
		after(150*time.Millisecond, func() {
			heal()
			if leader.Up() {
				f.down(leader, time.Second+time.Duration(f.rng.Int64N(int64(4*time.Second))))
			}
			if other.Up() {
				other.Pause()
			}
			after(50*time.Millisecond+time.Duration(f.rng.Int64N(int64(800*time.Millisecond))), func() {
				if next.Up() {
					next.Kill()
					after(time.Second+time.Duration(f.rng.Int64N(int64(4*time.Second))), next.startIfDown)
				}
				other.Resume()
			})
		})
		return nil
	}}
}

// someInSync is some partition of the topics with that many replicas, all in sync.
func (f *faults) someInSync(n int) *metadata.Partition {
	var all []*metadata.Partition
	for _, t := range f.c.Settings.Topics {
		if topic := f.c.inv.newest.Topic(t.Name); topic != nil {
			for _, p := range topic.Partitions {
				if len(p.ISR) == n && len(p.Replicas) == n && slices.Contains(p.ISR, p.Leader) {
					all = append(all, p)
				}
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[f.rng.IntN(len(all))]
}
