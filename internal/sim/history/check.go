package history

import (
	"cmp"
	"fmt"
	"slices"
)

// maxFindings bounds the findings of one kind in one partition: a lost tail is one
// story, not a thousand.
const maxFindings = 5

// checker gathers by partition what the history holds.
type checker struct {
	parts    map[Partition]*part
	order    []*part
	findings []Finding
	count    map[string]int
}

// part is all that concerns one partition.
type part struct {
	name      Partition
	produces  []*Produce
	byValue   map[string]*Produce
	reads     []*Read
	latests   []*Latest
	commits   []*Commit
	fetches   []*Fetched
	deletions []*Deletion
	starts    []*Start
	log       *Log
	final     map[int64]string   // of log
	places    map[string][]int64 // of log
}

// Check judges a history; an empty result means that nothing is wrong with it.
func Check(h *History) []Finding {
	c := &checker{parts: map[Partition]*part{}, count: map[string]int{}}
	c.gather(h)
	for _, p := range c.order {
		c.consistent(p)
		c.written(p)
		c.ordered(p)
		c.overtaken(p)
		c.read(p)
		c.latest(p)
		c.groups(p)
		c.deleted(p)
	}
	return c.findings
}

func (c *checker) part(name Partition) *part {
	p := c.parts[name]
	if p == nil {
		p = &part{name: name, byValue: map[string]*Produce{}}
		c.parts[name] = p
		c.order = append(c.order, p)
	}
	return p
}

func (c *checker) gather(h *History) {
	for i := range h.Produces {
		o := &h.Produces[i]
		p := c.part(o.Partition)
		p.produces = append(p.produces, o)
		p.byValue[o.Value] = o
	}
	for i := range h.Reads {
		p := c.part(h.Reads[i].Partition)
		p.reads = append(p.reads, &h.Reads[i])
	}
	for i := range h.Latests {
		p := c.part(h.Latests[i].Partition)
		p.latests = append(p.latests, &h.Latests[i])
	}
	for i := range h.Commits {
		p := c.part(h.Commits[i].Partition)
		p.commits = append(p.commits, &h.Commits[i])
	}
	for i := range h.Fetches {
		p := c.part(h.Fetches[i].Partition)
		p.fetches = append(p.fetches, &h.Fetches[i])
	}
	for i := range h.Deletions {
		p := c.part(h.Deletions[i].Partition)
		p.deletions = append(p.deletions, &h.Deletions[i])
	}
	for i := range h.Starts {
		p := c.part(h.Starts[i].Partition)
		p.starts = append(p.starts, &h.Starts[i])
	}
	for i := range h.Logs {
		l := &h.Logs[i]
		p := c.part(l.Partition)
		p.log, p.final, p.places = l, map[int64]string{}, map[string][]int64{}
		for _, r := range l.Records {
			p.final[r.Offset] = r.Value
			p.places[r.Value] = append(p.places[r.Value], r.Offset)
		}
	}
	slices.SortFunc(c.order, func(a, b *part) int {
		return cmp.Or(cmp.Compare(a.name.Topic, b.name.Topic), cmp.Compare(a.name.Number, b.name.Number))
	})
	for _, p := range c.order {
		slices.SortStableFunc(p.produces, func(a, b *Produce) int { return cmp.Compare(a.Begin, b.Begin) })
		slices.SortStableFunc(p.reads, func(a, b *Read) int { return cmp.Compare(a.Begin, b.Begin) })
		slices.SortStableFunc(p.latests, func(a, b *Latest) int { return cmp.Compare(a.Begin, b.Begin) })
	}
}

func (c *checker) find(p *part, kind Kind, format string, args ...any) {
	key := fmt.Sprint(kind, p.name)
	if c.count[key]++; c.count[key] <= maxFindings {
		c.findings = append(c.findings, Finding{kind, p.name, fmt.Sprintf(format, args...)})
	}
}

// within says whether an offset lies in what the log held at the end or should hold.
func (p *part) within(offset int64) bool { return p.log != nil && offset >= p.log.Start }

// place is where a record is at the end; else where its answer put it; -1 unknown.
func (p *part) place(o *Produce) int64 {
	if at := p.places[o.Value]; len(at) > 0 {
		return at[0]
	}
	if o.Outcome == OK {
		return o.Offset
	}
	return -1
}
