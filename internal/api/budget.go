package api

import (
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// budgetWait is how long a request waits for others to give back their memory.
const budgetWait = 30 * time.Second

// connShare is the part of the budget beyond which one connection gets no more while
// it has answers outstanding: a client that does not read them stops itself only.
const connShare = 8

// Budget is a bound on the memory of requests that are not yet answered, and of
// answers that are not yet written, in bytes. A long poll or a slow client holds its
// part for as long as it takes.
type Budget struct {
	limit int64
	clock env.Clock

	mu    sync.Mutex
	used  int64
	freed chan struct{} // closed and replaced when bytes come back
}

// NewBudget bounds use at limit bytes.
func NewBudget(limit int64, clock env.Clock) *Budget {
	return &Budget{limit: limit, clock: clock, freed: make(chan struct{})}
}

// take reserves n bytes for a connection, waiting a while when others, or its own
// earlier requests, have them. False when they do not come back, or are more than
// there ever will be.
func (b *Budget) take(c *Conn, n int64) bool {
	var late chan struct{}
	for {
		b.mu.Lock()
		if b.used+n <= b.limit && (c.charged == 0 || c.charged+n <= b.limit/connShare) {
			b.used += n
			c.charged += n
			b.mu.Unlock()
			return true
		}
		freed := b.freed
		b.mu.Unlock()
		if n > b.limit {
			return false
		}
		if late == nil {
			late = make(chan struct{})
			defer b.clock.AfterFunc(budgetWait, func() { close(late) }).Stop()
		}
		select {
		case <-freed:
		case <-late:
			return false
		}
	}
}

// more reserves n bytes without waiting, for an answer that is being made.
func (b *Budget) more(c *Conn, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.limit {
		return false
	}
	b.used += n
	c.charged += n
	return true
}

// stops says whether a connection has more than its share.
func (b *Budget) stops(c *Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return c.charged > b.limit/connShare
}

func (b *Budget) give(c *Conn, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	c.charged -= n
	close(b.freed)
	b.freed = make(chan struct{})
}

// chargeFrom is the size from which a request counts towards the budget; what is
// smaller is bounded by the requests that a connection may have in flight.
const chargeFrom = 4 << 10

// charge counts n bytes of a request's memory until its answer is written, or nobody
// takes it. It may wait for memory that others hold.
func (s *Server) charge(r *Request, n int64) error {
	if n < chargeFrom && !s.Budget.stops(r.Conn) {
		return nil
	}
	if !s.Budget.take(r.Conn, n) {
		return refused{r.Key, r.Version, "it would take more memory than requests may (queued.max.request.bytes)"}
	}
	r.charged.Add(n)
	return nil
}

// grow counts n bytes more for a request's answer; false when that is more than there
// is: the answer cannot be given.
func (s *Server) grow(r *Request, n int64) bool {
	if !s.Budget.more(r.Conn, n) {
		return false
	}
	r.charged.Add(n)
	return true
}

// tooLarge ends a request whose answer would take more memory than there is.
func (s *Server) tooLarge(r *Request) {
	s.sayTooLarge(r)
	r.Hangup()
}

func (s *Server) sayTooLarge(r *Request) {
	s.Complaints.Warn("answer too large", "request refused", "why", refused{r.Key, r.Version,
		"its answer would take more memory than requests may (queued.max.request.bytes)"}, "client", r.ClientID)
}

// giveBack ends what the request counts. Once is enough, more do nothing.
func (r *Request) giveBack() {
	if n := r.charged.Swap(0); n > 0 {
		r.server.Budget.give(r.Conn, n)
	}
}

// answer completes the request; what it counts towards the budget is given back when
// the answer is written.
func (r *Request) answer(a Answer) {
	if r.charged.Load() == 0 {
		r.done(a)
		return
	}
	if a == nil {
		r.giveBack()
		r.done(nil)
		return
	}
	r.done(func() Output {
		out := a()
		release := out.Release
		out.Release = func() {
			if release != nil {
				release()
			}
			r.giveBack()
		}
		return out
	})
}
