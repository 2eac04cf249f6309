package sim

import (
	"slices"
	"time"
)

// deleteAway is the fault of a replica that is away while all records of its partition are
// deleted, and is back before any is written: it has everything there is to have, and still
// what is deleted.
func (f *faults) deleteAway() fault {
	d := newDeleter(f.c, "behind", f.c.Settings.partitions())
	d.stopped = true // it deletes once at a time
	return fault{"deletion while a replica is away", 2, 0, func(*Host) func() {
		t, away := f.followed()
		if away == nil {
			return nil
		}
		f.down(away, 300*time.Millisecond+time.Duration(f.rng.Int64N(int64(time.Second))))
		var look func(left int)
		look = func(left int) {
			p := f.c.inv.newest.Partition(t.topic, t.part)
			switch {
			case f.ended || left == 0 || p == nil:
			case slices.Contains(p.ISR, away.Node):
				f.c.Clock.AfterFunc(20*time.Millisecond, func() { look(left - 1) })
			default:
				d.refresh(d.topicNames(), func(bool) {
					if !f.ended {
						f.c.Count["deletion while a replica is away"]++
						d.delete(t, -1)
					}
				})
			}
		}
		look(100)
		return nil
	}}
}

// followed is some partition that has everybody in sync, and one of its followers.
func (f *faults) followed() (t tp, follower *Host) {
	var all []tp
	for _, t := range f.c.Settings.partitions() {
		if p := f.c.inv.newest.Partition(t.topic, t.part); p != nil && len(p.ISR) == 3 && len(p.Replicas) == 3 && slices.Contains(p.ISR, p.Leader) {
			all = append(all, t)
		}
	}
	if len(all) == 0 {
		return t, nil
	}
	t = all[f.rng.IntN(len(all))]
	p := f.c.inv.newest.Partition(t.topic, t.part)
	for _, id := range p.Replicas {
		if h := f.c.Nodes[id-1]; id != p.Leader && h.Up() && (follower == nil || f.rng.IntN(2) == 0) {
			follower = h
		}
	}
	return t, follower
}
