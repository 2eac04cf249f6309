package history

import (
	"cmp"
	"slices"
)

// consistent finds offsets that were seen with two values, values nobody wrote, and
// what was read and is gone.
func (c *checker) consistent(p *part) {
	seen := map[int64]string{}
	see := func(r Record, by string) {
		if was, ok := seen[r.Offset]; ok && was != r.Value {
			c.find(p, Inconsistent, "offset %d is %q to %s and was %q before", r.Offset, r.Value, by, was)
		}
		seen[r.Offset] = r.Value
		switch o := p.byValue[r.Value]; {
		case o == nil:
			c.find(p, Phantom, "offset %d is %q to %s, which nobody wrote", r.Offset, r.Value, by)
		case o.Outcome == Failed:
			c.find(p, Phantom, "offset %d is %q to %s, whose write was refused", r.Offset, r.Value, by)
		}
	}
	if p.log != nil {
		for i, r := range p.log.Records {
			if i > 0 && r.Offset <= p.log.Records[i-1].Offset {
				c.find(p, Backwards, "the log goes from offset %d to %d", p.log.Records[i-1].Offset, r.Offset)
			}
			see(r, "the end")
		}
	}
	for _, rd := range p.reads {
		for _, r := range rd.Records {
			see(r, rd.Consumer)
			if _, there := p.final[r.Offset]; p.within(r.Offset) && !there {
				c.find(p, Vanished, "offset %d, %q, was read by %s and is gone; the log ends at %d", r.Offset, r.Value, rd.Consumer, p.log.End)
			}
		}
	}
}

// written finds acknowledged records that are lost or elsewhere, and duplicates.
func (c *checker) written(p *part) {
	claimed := map[int64]*Produce{}
	for _, o := range p.produces {
		at := p.places[o.Value]
		if o.Idempotent && len(at) > 1 {
			c.find(p, Duplicated, "%q of %s is at offsets %v", o.Value, o.Producer, at)
		}
		if !o.Promised || o.Outcome != OK {
			continue
		}
		if o.Offset < 0 {
			if p.log != nil && p.log.Start == 0 && len(at) == 0 {
				c.find(p, Lost, "%q of %s, acknowledged without an offset, time %d", o.Value, o.Producer, o.End)
			}
			continue
		}
		if other := claimed[o.Offset]; other != nil {
			c.find(p, Inconsistent, "offset %d was given to both %q and %q", o.Offset, other.Value, o.Value)
		}
		claimed[o.Offset] = o
		switch {
		case !p.within(o.Offset) || slices.Contains(at, o.Offset):
		case len(at) > 0:
			c.find(p, Misplaced, "%q of %s was acknowledged at %d and is at %d", o.Value, o.Producer, o.Offset, at[0])
		default:
			c.find(p, Lost, "%q of %s, acknowledged at offset %d, time %d", o.Value, o.Producer, o.Offset, o.End)
		}
	}
}

// ordered finds idempotent records in another order than their producer's.
func (c *checker) ordered(p *part) {
	by := map[string][]*Produce{}
	var names []string
	for _, o := range p.produces {
		if !o.Idempotent || p.place(o) < 0 {
			continue
		}
		if by[o.Producer] == nil {
			names = append(names, o.Producer)
		}
		by[o.Producer] = append(by[o.Producer], o)
	}
	for _, name := range names {
		list := by[name]
		slices.SortFunc(list, func(a, b *Produce) int { return cmp.Compare(a.Number, b.Number) })
		for i := 1; i < len(list); i++ {
			if a, b := list[i-1], list[i]; p.place(a) > p.place(b) {
				c.find(p, Reordered, "%s: number %d is at offset %d, number %d at %d", name, a.Number, p.place(a), b.Number, p.place(b))
			}
		}
	}
}

// overtaken finds records that lie before one whose acknowledgement came before they
// were sent.
func (c *checker) overtaken(p *part) {
	var acked []*Produce
	for _, o := range p.produces {
		if o.Promised && o.Outcome == OK && o.Offset >= 0 {
			acked = append(acked, o)
		}
	}
	slices.SortFunc(acked, func(a, b *Produce) int { return cmp.Compare(a.End, b.End) })
	var highest *Produce // of those acknowledged before the record was sent
	for _, o := range p.produces {
		for len(acked) > 0 && acked[0].End < o.Begin {
			if highest == nil || acked[0].Offset > highest.Offset {
				highest = acked[0]
			}
			acked = acked[1:]
		}
		if at := p.place(o); highest != nil && at >= 0 && at <= highest.Offset {
			c.find(p, Overtaken, "%q, sent at %d, is at offset %d; %q at %d was acknowledged at %d",
				o.Value, o.Begin, at, highest.Value, highest.Offset, highest.End)
		}
	}
}

// read finds answers that go backwards or leave out records.
func (c *checker) read(p *part) {
	for _, rd := range p.reads {
		next := rd.From
		given := make(map[int64]bool, len(rd.Records))
		for _, r := range rd.Records {
			if r.Offset < next {
				c.find(p, Backwards, "%s, at offset %d, was given %d", rd.Consumer, next, r.Offset)
			}
			next = r.Offset + 1
			given[r.Offset] = true
		}
		for o := max(rd.From, p.start()); o < next; o++ {
			if v, there := p.final[o]; there && !given[o] {
				c.find(p, Missed, "%s read from %d to %d and was not given %d, %q", rd.Consumer, rd.From, next, o, v)
			}
		}
	}
}

func (p *part) start() int64 {
	if p.log == nil {
		return 0
	}
	return p.log.Start
}

// latest finds ends that move backwards in the eyes of one consumer.
func (c *checker) latest(p *part) {
	by := map[string][]*Latest{}
	var names []string
	for _, l := range p.latests {
		if by[l.Consumer] == nil {
			names = append(names, l.Consumer)
		}
		by[l.Consumer] = append(by[l.Consumer], l)
	}
	for _, name := range names {
		ended := slices.Clone(by[name])
		slices.SortStableFunc(ended, func(a, b *Latest) int { return cmp.Compare(a.End, b.End) })
		var highest *Latest // of those answered before the question
		for _, l := range by[name] {
			for ; ended[0].End < l.Begin; ended = ended[1:] {
				if highest == nil || ended[0].Offset > highest.Offset {
					highest = ended[0]
				}
			}
			if highest != nil && highest.Offset > l.Offset {
				c.find(p, LatestBack, "%s was told %d at %d and %d at %d", name, highest.Offset, highest.End, l.Offset, l.End)
			}
		}
	}
}
