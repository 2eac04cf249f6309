package sim

import (
	"errors"
	"math/rand/v2"
	"time"
)

// faults happen one after the other at random moments, and may overlap.
type faults struct {
	c     *Cluster
	rng   *rand.Rand
	ended bool
	kinds []fault
	// replacing is the host whose disk is about to be replaced.
	replacing *Host
	mend      func()     // makes its old disk good, when it is not
	prober    *Client    // of deposed
	leaving   *departure // of a broker; nil: none
}

// fault begins on a host and returns what ends it; nil when it is over at once.
type fault struct {
	name   string
	weight int
	longer time.Duration // lasts up to
	begin  func(h *Host) (end func())
}

var errDisk = errors.New("sim: the disk fails")

func newFaults(c *Cluster) *faults {
	f := &faults{c: c, rng: c.Stream("faults")}
	restart := func(h *Host) func() { return h.startIfDown }
	f.kinds = []fault{
		{"kill", 4, 8 * time.Second, func(h *Host) func() { h.Kill(); return restart(h) }},
		{"power cut", 4, 8 * time.Second, func(h *Host) func() { h.Crash(); return restart(h) }},
		{"power cut everywhere", 1, 3 * time.Second, func(*Host) func() {
			for _, h := range c.Nodes {
				if h.Up() {
					h.Crash()
				}
			}
			return func() {
				for _, h := range c.Nodes {
					restart(h)()
				}
			}
		}},
		{"power cut at a write", 3, 0, func(h *Host) func() { h.Disk.CrashAt(1 + f.rng.IntN(100)); return nil }},
		{"pause", 3, 15 * time.Second, func(h *Host) func() { h.Pause(); return h.Resume }},
		{"cut", 3, 15 * time.Second, func(h *Host) func() { return f.cut(h, true, true, c.hosts) }},
		{"cut one way", 3, 15 * time.Second, func(h *Host) func() { there := f.rng.IntN(2) == 0; return f.cut(h, there, !there, c.hosts) }},
		{"cut from another node", 3, 15 * time.Second, func(h *Host) func() {
			return f.cut(h, true, true, []*Host{c.Nodes[f.rng.IntN(len(c.Nodes))]})
		}},
		{"slow links", 2, 10 * time.Second, func(h *Host) func() {
			return f.paths(h, true, true, c.hosts, Path{Min: 20 * time.Millisecond, Max: 50*time.Millisecond + time.Duration(f.rng.Int64N(int64(2*time.Second)))})
		}},
		{"resets", 2, 10 * time.Second, func(h *Host) func() {
			return f.paths(h, true, true, c.hosts, Path{Max: 5 * time.Millisecond, Resets: 0.2 * f.rng.Float64()})
		}},
		{"slow disk", 2, 10 * time.Second, func(h *Host) func() {
			h.syncDelay = time.Duration(f.rng.Int64N(int64(2*time.Second))) + 1
			return func() { h.syncDelay = 0 }
		}},
		{"full disk", 1, 8 * time.Second, func(h *Host) func() {
			h.Disk.SetFree(f.rng.Int64N(64 << 10))
			return func() { h.Disk.SetFree(-1) }
		}},
		{"failing syncs", 3, 5 * time.Second, func(h *Host) func() {
			h.Disk.FailSyncs(errDisk)
			same := f.rng.IntN(2) == 0
			return func() { // the process begins anew under the same kernel, or the machine is switched off and on
				switch {
				case !h.Up():
				case same:
					h.Kill()
				default:
					h.Crash()
				}
				h.Disk.FailSyncs(nil)
				restart(h)()
			}
		}},
		{"flipped bits", 1, 0, func(*Host) func() { f.flip(); return nil }},
		{"controlled restart", 3, 0, func(h *Host) func() { f.handOver(h, 0); return nil }},
		{"clock step", 2, 0, func(h *Host) func() {
			// Within the hour by which a producer's clock may differ.
			h.Clock.offset = time.Duration(f.rng.Int64N(int64(100*time.Minute))) - 50*time.Minute
			return nil
		}},
	}
	f.kinds = append(f.kinds, f.inTurn(), f.atOnce(), f.slowDeath(), f.afterAck(), f.limping(), f.succession(),
		f.lostLogs(), f.garbled(), f.failingReads(), f.wipe(),
		f.deposed(), f.deleteAway(), f.cutShort(), f.firstWords(), f.unregister(), f.lateRegistration())
	if !c.Settings.PowerCuts {
		for i := range f.kinds {
			switch f.kinds[i].name {
			case "power cut", "power cut at a write", "power cut everywhere", "failing syncs":
				f.kinds[i].weight = 0
			}
		}
	}
	return f
}

func (f *faults) start() { f.next() }

func (f *faults) next() {
	f.c.Clock.AfterFunc(time.Duration(f.rng.Int64N(2*int64(f.c.Settings.FaultGap))), func() {
		if f.ended {
			return
		}
		f.one()
		f.next()
	})
}

// one lets one fault begin.
func (f *faults) one() {
	total := 0
	for _, k := range f.kinds {
		total += k.weight
	}
	n := f.rng.IntN(total)
	for _, k := range f.kinds {
		if n -= k.weight; n >= 0 {
			continue
		}
		h := f.c.Nodes[f.rng.IntN(len(f.c.Nodes))]
		if !h.Up() {
			return
		}
		f.c.Tracef("fault %s at %s", k.name, h.Name)
		f.c.Count["fault"]++
		f.c.Count["fault: "+k.name]++
		end := k.begin(h)
		if end != nil {
			f.c.Clock.AfterFunc(time.Duration(f.rng.Int64N(int64(k.longer))), func() {
				if !f.ended {
					f.c.Tracef("over: %s at %s", k.name, h.Name)
					end()
				}
			})
		}
		return
	}
}

func (f *faults) cut(h *Host, there, back bool, others []*Host) func() {
	return f.paths(h, there, back, others, Path{Min: fast.Min, Max: fast.Max, Blocked: true})
}

func (f *faults) paths(h *Host, there, back bool, others []*Host, p Path) func() {
	set := func(p Path) {
		for _, o := range others {
			if o == h {
				continue
			}
			if there {
				f.c.SetPath(h, o, p)
			}
			if back {
				f.c.SetPath(o, h, p)
			}
		}
	}
	set(p)
	return func() { set(fast) }
}

// end heals everything.
func (f *faults) end() {
	f.ended = true
	f.c.Heal()
	if f.replacing != nil {
		f.notReplaced()
	}
	for _, h := range f.c.Nodes {
		h.Disk.CrashAt(0)
		h.Resume()
		h.syncDelay = 0
		h.Disk.SetFree(-1)
		h.Disk.FailReads(nil)
		h.garbles = 0
		if h.Disk.Crashed() || f.failing(h) {
			if h.Up() && f.rng.IntN(2) == 0 {
				h.Kill()
			} else {
				h.Crash()
			}
		}
		h.Disk.FailSyncs(nil)
		h.startIfDown()
	}
}

// failing tells whether syncs of a disk have failed: such a node does not come back by
// itself.
func (f *faults) failing(h *Host) bool {
	p, ok := h.Process.(interface{ Healthy() error })
	return ok && p.Healthy() != nil
}
