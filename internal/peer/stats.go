package peer

import "github.com/leat-stream/leat/internal/transport"

// Counters are what a lane has done so far, over all nodes.
type Counters struct {
	Dials, FailedDials uint64
	Broken             uint64 // connections that ended but not by this side's will
	Calls, Sends       uint64 // asked for
	TimedOut           uint64 // calls
	Dropped            uint64 // sends that others pressed out; others may be lost unseen
	In, Out            uint64 // bytes
}

func (c *Counters) add(s transport.Stats) {
	c.TimedOut += s.TimedOut
	c.Dropped += s.Dropped
	c.In += s.In
	c.Out += s.Out
}

// LinkStats is a lane to a node as it is now.
type LinkStats struct {
	To        Target
	Lane      Lane
	Connected bool
	Pending   int // calls that wait for their response
	Waiting   int // requests that wait for a connection or to be written
	Failures  int // of dials in a row
}

// Stats is what Peers has done, by lane, and what it has now.
type Stats struct {
	Lanes [lanes]Counters
	Links []LinkStats // by node, address and lane
}

// Stats tells what has been done so far.
func (p *Peers) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{Lanes: p.totals}
	for _, l := range p.sorted() {
		ls := LinkStats{To: l.to, Lane: l.lane, Connected: l.conn != nil, Waiting: len(l.waiting), Failures: l.failures}
		if l.conn != nil {
			c := l.conn.Stats()
			s.Lanes[l.lane].add(c)
			ls.Pending, ls.Waiting = c.Pending, ls.Waiting+c.Waiting
		}
		s.Links = append(s.Links, ls)
	}
	return s
}
