package replica

import (
	"bytes"
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/mutant"
)

// fetcher fetches from one broker everything that this one follows it in: one request at
// a time, in an incremental session, so that a request names only what changed since the
// one before. After an answer everything is appended, what must be durable is synced,
// and then the next request goes out: a fetch offset states what is safe here.
//
// Lock order: Partition.mu is never taken while mu is held.
type fetcher struct {
	m      *Manager
	leader int32

	mu       sync.Mutex
	parts    map[Ref]*fetching
	session  int32       // 0 none
	joined   bool        // the leader has the session as it is known here
	epoch    int32       // of the next request in the session
	changed  []*fetching // what the next request may have to name
	resting  []*fetching // what waits for its time
	timer    env.Timer   // for the first of them, and for the fetcher's own pause
	timerAt  time.Time
	asked    bool // a request is under way
	unsynced int  // partitions whose sync is awaited
	failures int
	until    time.Time // no request before
	idle     int       // answers in a row in which there was nothing

	pumping, again bool
}

// fetching is one partition at its fetcher, in one leader epoch; fetcher.mu guards it.
type fetching struct {
	f     *fetcher
	p     *Partition
	ref   Ref
	epoch int32 // leader epoch

	removed   bool
	listed    bool  // is in changed
	inSession bool  // the leader's session has it, at the position asked
	need      int64 // the end whose sync is awaited; 0 none
	until     time.Time
	pause     time.Duration // the last one
	offset    int64         // as the session has it,
	lastEpoch int32
	start     int64
	full      bool // it was said that there is no room,
	stuck     bool // also not to sync what there is
}

const (
	// soon is the first pause of a partition whose leader knows other metadata.
	soon = 20 * time.Millisecond
	// firstPause is the first pause after a broker did not answer twice in a row; at the
	// first time its connection may just have ended.
	firstPause = 50 * time.Millisecond
)

// steer makes a partition's fetching follow its role; Manager.mu is held. The fetchers
// are woken at the end of Apply.
func (m *Manager) steer(p *Partition, r *role) {
	leader := int32(-1)
	if !r.leading && r.away == nil && r.leader >= 0 && r.leader != m.opt.NodeID && m.opt.Fetch != nil {
		leader = r.leader
	}
	p.mu.Lock()
	if p.damage != nil {
		leader = -1 // what it would state is not so
	}
	old := p.fetching
	if old != nil && leader == old.f.leader && old.epoch == r.leaderEpoch || old == nil && leader < 0 {
		p.mu.Unlock()
		return
	}
	p.fetching = nil
	var e *fetching
	if leader >= 0 {
		e = &fetching{f: m.fetcher(leader), p: p, ref: Ref{TopicID: p.id.TopicID, Index: p.id.Partition}, epoch: r.leaderEpoch}
		p.fetching, p.leaderHW = e, -1
	}
	p.mu.Unlock()
	if old != nil {
		old.f.remove(old)
		m.wake(old.f)
	}
	if e != nil {
		e.f.add(e)
		m.wake(e.f)
	}
}

// fetcher is the one for a leader; Manager.mu is held.
func (m *Manager) fetcher(leader int32) *fetcher {
	f := m.fetchers[leader]
	if f == nil {
		f = &fetcher{m: m, leader: leader, parts: map[Ref]*fetching{}}
		m.fetchers[leader] = f
	}
	return f
}

// wake notes a fetcher to be pumped; Manager.mu is held.
func (m *Manager) wake(f *fetcher) {
	if !slices.Contains(m.woken, f) {
		m.woken = append(m.woken, f)
	}
}

func (f *fetcher) add(e *fetching) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parts[e.ref] = e
	f.list(e)
	f.await(e)
}

func (f *fetcher) remove(e *fetching) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.removed = true
	if e.need > 0 {
		e.need = 0
		f.unsynced--
	}
	if f.parts[e.ref] == e {
		delete(f.parts, e.ref)
	}
	f.list(e)
}

// list puts a partition among those that the next request looks at; mu is held.
func (f *fetcher) list(e *fetching) {
	if !e.listed {
		e.listed = true
		f.changed = append(f.changed, e)
	}
}

// await holds the next request back until a durable partition is synced; mu is held.
func (f *fetcher) await(e *fetching) {
	if e.removed || e.need > 0 || !e.p.Durable() || e.p.stuck.Load() || mutant.On("replica/states-unsynced") {
		return
	}
	if end := e.p.log.EndOffset(); e.p.log.SyncedOffset() < end {
		e.need = end
		f.unsynced++
	}
}

// synced is told that a partition's synced end moved.
func (f *fetcher) synced(e *fetching) {
	f.mu.Lock()
	if e.full && !e.removed {
		f.list(e) // it may have room
	}
	if e.need == 0 || e.p.log.SyncedOffset() < e.need {
		f.mu.Unlock()
		return
	}
	e.need = 0
	f.unsynced--
	ready := f.unsynced == 0
	f.mu.Unlock()
	if ready {
		f.pump()
	}
}

// pump sends the next request if it is time for one.
func (f *fetcher) pump() {
	f.mu.Lock()
	if f.pumping {
		f.again = true
		f.mu.Unlock()
		return
	}
	f.pumping = true
	for {
		f.again = false
		req := f.next()
		f.mu.Unlock()
		if req != nil {
			f.m.opt.Fetch(f.leader, req, func(resp *kmsg.FetchResponse, err error) { f.answered(req, resp, err) })
		}
		f.mu.Lock()
		if !f.again {
			f.pumping = false
			f.mu.Unlock()
			return
		}
	}
}

// next is the request to send, nil when none is to be sent now; mu is held.
func (f *fetcher) next() *kmsg.FetchRequest {
	now := f.m.now()
	if f.asked || f.unsynced > 0 || f.m.stopping.Load() || f.m.opt.Dir.Failed() != nil {
		return nil
	}
	if f.until.After(now) {
		f.wakeAt(f.until)
		return nil
	}
	f.rested(now)
	if len(f.parts) == 0 || len(f.parts) == len(f.resting) && f.unlistedResting() {
		return nil
	}
	if !f.joined {
		f.relist()
	}
	t := f.m.tuning()
	req := kmsg.NewPtrFetchRequest()
	req.Version = req.MaxVersion()
	req.ReplicaState.ID, req.ReplicaState.Epoch = f.m.opt.NodeID, f.m.opt.BrokerEpoch()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(f.patience(t)/time.Millisecond), t.MinBytes, t.ResponseMaxBytes
	req.SessionID, req.SessionEpoch = f.session, f.epoch
	f.fill(req, t.PartitionMaxBytes)
	if !f.joined && len(req.Topics) == 0 {
		return nil
	}
	f.asked = true
	return req
}

// idleWaits is how many times longer than replica.fetch.wait.max.ms a fetch waits at last
// when nothing comes: each looks at every partition, which is all that idle ones cost.
const idleWaits = 4

// patience is how long the next fetch waits; mu is held. It stays far below the time
// after which a follower that does not fetch is out of sync.
func (f *fetcher) patience(t *Tuning) time.Duration {
	wait := min(t.MaxWait<<min(f.idle, 8), idleWaits*t.MaxWait)
	return max(min(wait, t.LagMax/8), t.MaxWait)
}

// unlistedResting tells whether nothing but rest goes on; mu is held.
func (f *fetcher) unlistedResting() bool {
	return !slices.ContainsFunc(f.changed, func(e *fetching) bool { return e.inSession })
}

// relist makes the next request name everything, in a new session; mu is held.
func (f *fetcher) relist() {
	f.epoch = 0
	for _, e := range f.changed {
		e.listed, e.inSession = false, false
	}
	f.changed = f.changed[:0]
	for _, e := range f.parts {
		e.inSession = false
		f.list(e)
	}
	slices.SortFunc(f.changed, func(a, b *fetching) int {
		return cmp.Or(bytes.Compare(a.ref.TopicID[:], b.ref.TopicID[:]), cmp.Compare(a.ref.Index, b.ref.Index))
	})
}

// fill names in the request what is not as the session has it; mu is held.
func (f *fetcher) fill(req *kmsg.FetchRequest, maxBytes int32) {
	for i := 0; i < len(f.changed); i++ {
		e := f.changed[i]
		e.listed = false
		offset, last, stuck, ok := int64(0), int32(0), false, false
		if held := f.held(e); held > 0 {
			f.m.counters.throttledFetches.Add(1)
			f.rest(e, f.m.now().Add(held))
		}
		if !e.removed && e.until.IsZero() {
			if offset, last, stuck, ok = e.p.position(); !ok { // it became durable just now
				e.p.log.Flush()
				f.rest(e, f.m.now().Add(soon))
			}
		}
		if !ok {
			if cur := f.parts[e.ref]; e.inSession && (cur == e || cur == nil) {
				forget(req, e.ref)
			}
			e.inSession = false
			continue
		}
		start, full := e.p.log.RecordedStart(), stuck || e.p.full.Load()
		if e.inSession && offset == e.offset && last == e.lastEpoch && start == e.start && full == e.full && stuck == e.stuck {
			continue
		}
		e.inSession, e.offset, e.lastEpoch, e.start, e.full, e.stuck = true, offset, last, start, full, stuck
		ask := kmsg.NewFetchRequestTopicPartition()
		ask.Partition, ask.CurrentLeaderEpoch, ask.FetchOffset, ask.LastFetchedEpoch = e.ref.Index, e.epoch, offset, last
		ask.LogStartOffset, ask.PartitionMaxBytes = start, maxBytes
		if full {
			sayNoRoom(&ask)
		}
		if stuck {
			ask.PartitionMaxBytes = 0
		}
		if n := len(req.Topics); n == 0 || req.Topics[n-1].TopicID != e.ref.TopicID {
			t := kmsg.NewFetchRequestTopic()
			t.TopicID = e.ref.TopicID
			req.Topics = append(req.Topics, t)
		}
		t := &req.Topics[len(req.Topics)-1]
		t.Partitions = append(t.Partitions, ask)
	}
	f.changed = f.changed[:0]
}

// held is how long a partition that is to be asked for has to wait because of this
// broker's rate, or until it is looked again: the rate may have changed. Who is in sync is
// not held back.
func (f *fetcher) held(e *fetching) time.Duration {
	r := e.p.st.Load()
	if e.removed || !e.until.IsZero() || !r.FollowerThrottled.Has(e.ref.Index, f.m.opt.NodeID) ||
		e.p.lag.Load() <= 0 || slices.Contains(r.isr, f.m.opt.NodeID) {
		return 0
	}
	t := f.m.tuning()
	return min(f.m.followerLimit.wait(f.m.now(), t.FollowerRate), t.Backoff)
}

func forget(req *kmsg.FetchRequest, ref Ref) {
	if n := len(req.ForgottenTopics); n == 0 || req.ForgottenTopics[n-1].TopicID != ref.TopicID {
		t := kmsg.NewFetchRequestForgottenTopic()
		t.TopicID = ref.TopicID
		req.ForgottenTopics = append(req.ForgottenTopics, t)
	}
	t := &req.ForgottenTopics[len(req.ForgottenTopics)-1]
	t.Partitions = append(t.Partitions, ref.Index)
}

// answered takes the answer to a request.
func (f *fetcher) answered(req *kmsg.FetchRequest, resp *kmsg.FetchResponse, err error) {
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		f.failed(err)
		f.pump()
		return
	}
	f.mu.Lock()
	f.failures = 0
	if f.idle++; len(resp.Topics) > 0 || len(req.Topics) > 0 || len(req.ForgottenTopics) > 0 {
		f.idle = 0
	}
	switch {
	case resp.SessionID == 0: // the leader has no room for a session
		f.session, f.joined = 0, false
	case req.SessionEpoch == 0:
		f.session, f.epoch, f.joined = resp.SessionID, 1, true
	case f.epoch == 1<<31-1:
		f.epoch = 1
	default:
		f.epoch++
	}
	f.mu.Unlock()
	parts := f.answers(resp)
	f.diverge(parts)
	for i := range parts {
		f.part(&parts[i])
	}
	f.mu.Lock()
	f.asked = false
	f.mu.Unlock()
	f.pump()
}

// answer is one partition's answer.
type answer struct {
	e     *fetching
	in    *kmsg.FetchResponseTopicPartition
	taken *diverging // with others; nil: it is to be taken
}

// answers lists those that are still asked for, and by partitions in this role.
func (f *fetcher) answers(resp *kmsg.FetchResponse) (all []answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			e := f.parts[Ref{TopicID: t.TopicID, Index: t.Partitions[j].Partition}]
			if e == nil || !e.inSession {
				continue
			}
			e.p.sick.Store(e.pause >= f.m.tuning().Backoff)
			all = append(all, answer{e: e, in: &t.Partitions[j]})
		}
	}
	return all
}

// diverge takes the answers that tell of other logs than those here.
func (f *fetcher) diverge(parts []answer) {
	var all []*diverging
	seen := map[*fetching]bool{}
	for i := range parts {
		if a := &parts[i]; a.in.ErrorCode == 0 && a.in.DivergingEpoch.EndOffset >= 0 && !seen[a.e] {
			seen[a.e] = true
			a.taken = &diverging{p: a.e.p, epoch: a.e.epoch, in: a.in}
			all = append(all, a.taken)
		}
	}
	if len(all) > 0 {
		f.m.diverge(f.leader, all)
	}
}

// part takes one partition's answer.
func (f *fetcher) part(a *answer) {
	e, in, v := a.e, a.in, verdict(0)
	if a.taken != nil {
		v = a.taken.verdict
	} else {
		if in.ErrorCode == 0 {
			e.p.heard(f.leader, in.HighWatermark)
		}
		if e.stuck && !mutant.On("replica/stuck-believes-all") { // behind what it stated its log and the leader's were not compared
			in.HighWatermark = min(in.HighWatermark, e.offset)
		}
		v = e.p.take(f.leader, e.epoch, in)
	}
	t, now := f.m.tuning(), f.m.now()
	if r := e.p.st.Load(); len(in.RecordBatches) > 0 && r.FollowerThrottled.Has(e.ref.Index, f.m.opt.NodeID) {
		f.m.followerLimit.take(now, len(in.RecordBatches), t.FollowerRate)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.removed {
		return
	}
	switch v {
	case wentOn:
		e.pause = 0
		f.await(e)
	case wait:
		e.pause = min(max(2*e.pause, soon), max(t.Backoff, soon))
		f.rest(e, now.Add(e.pause))
	case trouble, noRoom:
		if v == noRoom && !e.full {
			break // which is said before the pause
		}
		e.pause = min(max(2*e.pause, 4*soon), max(t.Backoff, soon))
		f.rest(e, now.Add(e.pause))
	}
	f.list(e)
}

// rest leaves a partition out of the requests until its time; mu is held.
func (f *fetcher) rest(e *fetching, until time.Time) {
	if e.until.IsZero() {
		f.resting = append(f.resting, e)
	}
	e.until = until
	f.wakeAt(until)
}

// rested takes back in whose time has come; mu is held.
func (f *fetcher) rested(now time.Time) {
	var next time.Time
	f.resting = slices.DeleteFunc(f.resting, func(e *fetching) bool {
		switch {
		case e.removed:
			return true
		case e.until.After(now):
			if next.IsZero() || e.until.Before(next) {
				next = e.until
			}
			return false
		}
		e.until = time.Time{}
		f.list(e)
		return true
	})
	if !next.IsZero() {
		f.wakeAt(next)
	}
}

// wakeAt pumps the fetcher at a time, or before; mu is held.
func (f *fetcher) wakeAt(at time.Time) {
	if f.timer != nil && !at.Before(f.timerAt) {
		return
	}
	if f.timer != nil {
		f.timer.Stop()
	}
	f.timerAt = at
	var own env.Timer
	own = f.m.opt.Clock.AfterFunc(at.Sub(f.m.now()), func() {
		f.mu.Lock()
		if f.timer == own {
			f.timer = nil
		}
		f.mu.Unlock()
		f.pump()
	})
	f.timer = own
}

// failed takes note that a request got no answer, or an error for all of it. What the
// session knows is not certain then: the next request begins a new one, which takes the
// place of the old. A session that the leader does not know is no failure.
func (f *fetcher) failed(err error) {
	f.mu.Lock()
	f.asked, f.joined = false, false
	switch {
	case errors.Is(err, kerr.FetchSessionIDNotFound), errors.Is(err, kerr.InvalidFetchSessionEpoch), errors.Is(err, kerr.FetchSessionTopicIDError):
		f.session = 0
		f.m.counters.sessionsLost.Add(1)
		if f.failures == 0 {
			f.failures = 1
			f.mu.Unlock()
			return
		}
	default:
		f.m.counters.failedFetches.Add(1)
	}
	f.failures++
	n, parts := f.failures, len(f.parts)
	if n > 1 {
		f.until = f.m.now().Add(min(firstPause<<min(n-2, 10), f.m.tuning().Backoff))
	}
	f.mu.Unlock()
	if n == 2 && parts > 0 {
		f.m.event(slog.LevelWarn, LeaderUnreachable{f.leader, parts, err})
	}
}

// retry ends a fetcher's pause: the leader registered anew, or changed its address.
func (f *fetcher) retry() {
	f.mu.Lock()
	f.until = time.Time{}
	f.mu.Unlock()
}
