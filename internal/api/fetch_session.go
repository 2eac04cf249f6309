package api

import (
	"container/list"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/replica"
)

// Incremental fetch sessions (KIP-227): the broker remembers which partitions a
// client fetches, requests name only what changed and answers carry only partitions
// that have news.

// sessionIdle is for how long a session must not have been used before another may
// take its slot.
const sessionIdle = 2 * time.Minute

// maxSessionParts bounds the partitions that all sessions remember together, about
// 200 bytes each. A client beyond it fetches without a session.
const maxSessionParts = 1_000_000

// Fetch epochs with a meaning of their own.
const (
	initialEpoch int32 = 0  // opens a session
	finalEpoch   int32 = -1 // sessionless; ends the session it names
)

// A follower's session is never given up for one of a consumer while it is in use: a
// cluster whose consumers are many must not lose its replication's efficiency to them.
// It takes a consumer's slot when it has to.

// sessionCache holds the sessions of this broker, at most slots of them.
type sessionCache struct {
	clock env.Clock
	slots int

	mu   sync.Mutex
	byID map[int32]*list.Element // of *session
	lru  list.List               // of consumers; most recently used in front
	// followers are the sessions of followers, likewise.
	followers list.List

	parts   int // remembered by all sessions
	evicted int64
}

func newSessionCache(slots int, clock env.Clock) *sessionCache {
	return &sessionCache{clock: clock, slots: slots, byID: map[int32]*list.Element{}}
}

// session is one client's set of partitions. Its requests come one after the other;
// mu covers a client that does not keep to that.
type session struct {
	id      int32
	usesIDs bool
	// follower says that another broker opened it.
	follower bool
	used     time.Time // guarded by the cache
	counted  int       // partitions in the cache's count; guarded by the cache

	mu    sync.Mutex
	epoch int32
	parts map[replica.Ref]*list.Element // of *sessionPart
	order list.List                     // in the order of fetching; those that gave records move to the back
}

// sessionPart is one partition of a session: what to fetch, and what was last told.
type sessionPart struct {
	replica.FetchPart
	hw, logStart int64 // last told; -1 at first
}

// among is the list that a session is in.
func (c *sessionCache) among(s *session) *list.List {
	if s.follower {
		return &c.followers
	}
	return &c.lru
}

// fits says whether a session may remember so many partitions more. Followers have as
// much room again.
func (c *sessionCache) fits(s *session, more int) bool {
	if s.follower {
		return c.parts+more <= 2*maxSessionParts
	}
	return c.parts+more <= maxSessionParts
}

// open stores a new session and gives it an id, or answers false when no slot is free.
func (c *sessionCache) open(s *session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	if !c.fits(s, len(s.parts)) || len(c.byID) >= c.slots && !c.makeRoom(s, now) {
		return false
	}
	for s.id == 0 || c.byID[s.id] != nil {
		s.id = rand.Int32()
	}
	s.used, s.counted = now, len(s.parts)
	c.parts += s.counted
	c.byID[s.id] = c.among(s).PushFront(s)
	return true
}

// makeRoom ends the session that has been idle for longest, or for a follower the
// consumer's that was not used for longest.
func (c *sessionCache) makeRoom(s *session, now time.Time) bool {
	consumer, follower := c.lru.Back(), c.followers.Back()
	idle := func(e *list.Element) bool {
		return e != nil && now.Sub(e.Value.(*session).used) >= sessionIdle
	}
	switch {
	case idle(consumer), s.follower && consumer != nil:
		c.remove(consumer)
	case idle(follower):
		c.remove(follower)
	default:
		return false
	}
	c.evicted++
	return true
}

// get finds a session and counts it as used.
func (c *sessionCache) get(id int32) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[id]
	if e == nil {
		return nil
	}
	s := e.Value.(*session)
	s.used = c.clock.Now()
	c.among(s).MoveToFront(e)
	return s
}

// close forgets a session.
func (c *sessionCache) close(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[id]; e != nil {
		c.remove(e)
	}
}

func (c *sessionCache) remove(e *list.Element) {
	s := e.Value.(*session)
	c.among(s).Remove(e)
	delete(c.byID, s.id)
	c.parts -= s.counted
}

// recount takes over how many partitions a session has now; false, and the session is
// gone, when they are too many.
func (c *sessionCache) recount(s *session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[s.id]
	if e == nil || e.Value.(*session) != s {
		return false
	}
	if !c.fits(s, len(s.parts)-s.counted) {
		c.remove(e)
		return false
	}
	c.parts += len(s.parts) - s.counted
	s.counted = len(s.parts)
	return true
}

// FetchSessions tells how many sessions are open and how many were evicted so far.
func (s *Server) FetchSessions() (open int, evicted int64) {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	return len(s.sessions.byID), s.sessions.evicted
}

// fetchContext is one fetch within its session, or without one.
type fetchContext struct {
	session     *session // nil: sessionless
	incremental bool     // the answer leaves out partitions without news
	parts       []*sessionPart
	committed   bool // read_committed
	follower    bool // another broker asks
}

// fetchList is a fetch request's list in session terms.
type fetchList struct {
	sessionID, epoch int32
	usesIDs          bool
	follower         bool // another broker asks
	parts            []*sessionPart
	forgotten        []replica.Ref
}

// context finds or opens the session that a request belongs to.
func (c *sessionCache) context(l fetchList) (*fetchContext, *kerr.Error) {
	if l.epoch == initialEpoch || l.epoch == finalEpoch {
		if l.sessionID != 0 {
			c.close(l.sessionID)
		}
		if l.epoch == finalEpoch || len(l.parts) == 0 {
			return &fetchContext{parts: onceEachPart(l.parts), follower: l.follower}, nil
		}
		s := &session{usesIDs: l.usesIDs, follower: l.follower, epoch: 1, parts: map[replica.Ref]*list.Element{}}
		for _, p := range l.parts {
			s.put(p)
		}
		if !c.open(s) {
			return &fetchContext{parts: s.list(), follower: l.follower}, nil
		}
		return &fetchContext{session: s, parts: s.list(), follower: l.follower}, nil
	}
	s := c.get(l.sessionID)
	if s == nil {
		return nil, kerr.FetchSessionIDNotFound
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != l.epoch {
		return nil, kerr.InvalidFetchSessionEpoch
	}
	if s.usesIDs != l.usesIDs {
		return nil, kerr.FetchSessionTopicIDError
	}
	for _, p := range l.parts {
		s.put(p)
	}
	for _, ref := range l.forgotten {
		if e := s.parts[ref]; e != nil {
			s.order.Remove(e)
			delete(s.parts, ref)
		}
	}
	if len(s.parts) == 0 {
		c.close(s.id)
		return &fetchContext{follower: l.follower}, nil
	}
	if !c.recount(s) {
		return nil, kerr.FetchSessionIDNotFound
	}
	if s.epoch++; s.epoch < 1 {
		s.epoch = 1
	}
	return &fetchContext{session: s, incremental: true, parts: s.list(), follower: l.follower}, nil
}

// onceEachPart drops all but the last mention of a partition, which keeps the place of
// the first.
func onceEachPart(parts []*sessionPart) []*sessionPart {
	if len(parts) < 2 {
		return parts
	}
	at := make(map[replica.Ref]int, len(parts))
	once := parts[:0:0]
	for _, p := range parts {
		if i, again := at[p.Ref]; again {
			once[i] = p
			continue
		}
		at[p.Ref] = len(once)
		once = append(once, p)
	}
	return once
}

// put adds a partition or changes what to fetch of it.
func (s *session) put(p *sessionPart) {
	if e := s.parts[p.Ref]; e != nil {
		old := e.Value.(*sessionPart)
		// A new value instead of a change in place: an earlier fetch may still read the old one.
		e.Value = &sessionPart{FetchPart: p.FetchPart, hw: old.hw, logStart: old.logStart}
		return
	}
	p.hw, p.logStart = -1, -1
	s.parts[p.Ref] = s.order.PushBack(p)
}

func (s *session) list() []*sessionPart {
	all := make([]*sessionPart, 0, len(s.parts))
	for e := s.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*sessionPart))
	}
	return all
}

// news decides for each result whether the answer carries it, remembers what the
// client is told, and moves partitions that gave records behind the others, so that
// each gets its turn at the byte limit.
func (f *fetchContext) news(results []replica.Fetched) []bool {
	carry := make([]bool, len(results))
	if f.session == nil {
		for i := range carry {
			carry[i] = true
		}
		return carry
	}
	s := f.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range results {
		r := &results[i]
		e := s.parts[f.parts[i].Ref]
		var p *sessionPart
		if e != nil {
			p = e.Value.(*sessionPart)
		}
		carry[i] = !f.incremental || r.Err != nil || r.Run != nil || r.Diverging || r.News ||
			p == nil || p.hw != r.HighWatermark || p.logStart != r.LogStart
		if p == nil {
			continue
		}
		p.hw, p.logStart = r.HighWatermark, r.LogStart
		if r.Err != nil {
			p.hw = -1 // the first answer after an error is news
		}
		if r.Run != nil {
			s.order.MoveToBack(e)
		}
	}
	return carry
}

// id is the session id for the answer; 0 without a session.
func (f *fetchContext) id() int32 {
	if f.session == nil {
		return 0
	}
	return f.session.id
}
