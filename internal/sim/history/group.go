package history

import (
	"cmp"
	"slices"
)

// groups judges what groups committed, fetched and were given of one partition.
func (c *checker) groups(p *part) {
	var names []string
	commits := map[string][]*Commit{}
	for _, o := range p.commits {
		commits[o.Group] = append(commits[o.Group], o)
		names = append(names, o.Group)
	}
	fetches := map[string][]*Fetched{}
	for _, f := range p.fetches {
		fetches[f.Group] = append(fetches[f.Group], f)
		names = append(names, f.Group)
	}
	slices.Sort(names)
	for _, g := range slices.Compact(names) {
		slices.SortStableFunc(commits[g], func(a, b *Commit) int { return cmp.Compare(a.Begin, b.Begin) })
		for _, f := range fetches[g] {
			c.fetched(p, f, commits[g])
		}
		c.skipped(p, g, commits[g])
	}
	c.owners(p)
}

// before says whether a commit certainly took effect before another.
func (o *Commit) before(b *Commit) bool {
	return o.Generation < b.Generation || o.Outcome == OK && o.End < b.Begin
}

// fetched finds committed offsets that are old. What later generations committed may
// be hidden from a member of an earlier one that asks a coordinator of its time, and what its
// own generation did where that coordinator is deposed.
func (c *checker) fetched(p *part, f *Fetched, commits []*Commit) {
	var got *Commit
	for _, o := range commits {
		if o.ID == f.ID && f.Offset >= 0 {
			got = o
		}
	}
	if f.Offset >= 0 && (got == nil || got.Offset != f.Offset || got.Outcome == Failed || got.Begin > f.End) {
		c.find(p, OffsetWrong, "group %s: offset %d (%q) was fetched, which was never committed", f.Group, f.Offset, f.ID)
		return
	}
	for _, o := range commits {
		if o.Outcome != OK || o.End >= f.Begin || o.Generation > f.Generation || f.Deposed && o.Generation == f.Generation {
			continue
		}
		switch {
		case f.Offset < 0:
			c.find(p, OffsetLost, "group %s: offset %d (%q), committed at %d, is gone at %d", f.Group, o.Offset, o.ID, o.End, f.Begin)
			return
		case got != o && got.before(o):
			c.find(p, OffsetBack, "group %s: offset %d (%q) was fetched at %d; %d (%q) had replaced it at %d",
				f.Group, got.Offset, got.ID, f.Begin, o.Offset, o.ID, o.End)
			return
		}
	}
}

// skipped finds records below a committed offset that no member was ever given. What lies
// below a start that a member was told is not missed: somebody had asked for its deletion,
// even if that got no further than to a leader that was replaced.
func (c *checker) skipped(p *part, group string, commits []*Commit) {
	highest := int64(0)
	for _, o := range commits {
		if o.Outcome == OK {
			highest = max(highest, o.Offset)
		}
	}
	given, members, start := map[int64]bool{}, map[string]bool{}, int64(0)
	for _, r := range p.reads {
		if r.Group != group {
			continue
		}
		members[r.Consumer] = true
		for _, rec := range r.Records {
			given[rec.Offset] = true
		}
	}
	if p.log == nil {
		return
	}
	for _, s := range p.starts {
		if members[s.Consumer] {
			start = max(start, s.Offset)
		}
	}
	for _, r := range p.log.Records {
		if r.Offset >= start && r.Offset < highest && !given[r.Offset] {
			c.find(p, Skipped, "group %s committed %d and was never given offset %d, %q", group, highest, r.Offset, r.Value)
		}
	}
}

// owners finds partitions that two members read in one generation.
func (c *checker) owners(p *part) {
	type era struct {
		group      string
		generation int32
	}
	owner := map[era]string{}
	for _, r := range p.reads {
		if r.Group == "" {
			continue
		}
		e := era{r.Group, r.Generation}
		if was, ok := owner[e]; ok && was != r.Member {
			c.find(p, TwoOwners, "group %s generation %d: both %s and %s", r.Group, r.Generation, was, r.Member)
		}
		owner[e] = r.Member
	}
}
