package history

import "math"

// Deletion is one partition of a DeleteRecords request.
type Deletion struct {
	Client     string
	Partition  Partition
	Before     int64 // -1: all there was
	Begin, End Time
	Outcome    Outcome
	Low        int64 // the low watermark that the answer told; -1: none
}

// Start is an answer to the question where a partition starts.
type Start struct {
	Consumer   string
	Partition  Partition
	Begin, End Time
	Offset     int64
}

// upTo is the highest start that a deletion may have made.
func (d *Deletion) upTo() int64 {
	switch {
	case d.Outcome == Failed:
		return 0
	case d.Before >= 0:
		return d.Before
	case d.Outcome == OK:
		return d.Low
	}
	return math.MaxInt64
}

// deleted finds starts that nobody asked for, and deletions that were acknowledged and are
// not so.
func (c *checker) deleted(p *part) {
	may := int64(0)
	if p.log != nil {
		may = p.log.MayStart
	}
	least := may
	for _, d := range p.deletions {
		may = max(may, d.upTo())
		if d.Outcome != OK {
			continue
		}
		if d.Low < d.Before {
			c.find(p, Undeleted, "%s asked for %d, which was acknowledged with a low watermark of %d", d.Client, d.Before, d.Low)
		}
		if p.log != nil && p.log.Start < d.Low {
			c.find(p, Undeleted, "starts at %d; %s was told at %d that all below %d is deleted", p.log.Start, d.Client, d.End, d.Low)
		}
	}
	if p.log != nil && p.log.Start > may {
		c.find(p, Deleted, "starts at %d; nobody asked for more than %d", p.log.Start, may)
	}
	for _, s := range p.starts {
		asked := least
		for _, d := range p.deletions {
			if d.Begin < s.End {
				asked = max(asked, d.upTo())
			}
		}
		if s.Offset > asked {
			c.find(p, Deleted, "%s was told at %d that it starts at %d; nobody had asked for more than %d", s.Consumer, s.End, s.Offset, asked)
		}
	}
}
