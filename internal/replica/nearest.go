package replica

import "slices"

// serves tells whether this follower answers a consumer's fetch: one of its own rack,
// where the cluster sends consumers to the nearest replica (KIP-392).
func (p *Partition) serves(r *role, l *FetchLimits) bool {
	return !r.leading && r.away == nil && r.leader >= 0 && l.Replica == Consumer && l.Rack != "" &&
		p.m.tuning().RackAware && l.Rack == *p.m.rack.Load()
}

// nearest is the in-sync follower in a consumer's rack that has what it asks for, and
// of several the one that has most; -1 when the leader serves as well.
func (p *Partition) nearest(r *role, l *FetchLimits, offset int64) int32 {
	if l.Rack == "" || l.Replica != Consumer || !r.leading || len(r.isr) < 2 || !p.m.tuning().RackAware || l.Rack == *p.m.rack.Load() {
		return -1
	}
	img := p.m.image()
	p.mu.Lock()
	defer p.mu.Unlock()
	best, most := int32(-1), int64(-1)
	for _, id := range r.replicas {
		b := img.Broker(id)
		if id == p.m.opt.NodeID || !slices.Contains(r.isr, id) || p.tenure == nil || !b.Active() || b.Rack == nil || *b.Rack != l.Rack {
			continue
		}
		if end := p.tenure.end(id); end >= offset && end > most {
			best, most = id, end
		}
	}
	return best
}
