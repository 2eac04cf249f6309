package replica

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/record"
)

// Run is a run of whole batches in one segment file.
type Run = log.Run

// FetchPart asks for the records of one partition.
type FetchPart struct {
	Ref              Ref
	Offset           int64
	MaxBytes         int32
	LeaderEpoch      int32 // the client's idea of it; -1 states nothing
	LastFetchedEpoch int32 // -1 states nothing
	LogStart         int64 // of a follower: where its log starts, durably; -1 states nothing
	NoRoom           bool  // of a follower: it had no room for what it was sent last
}

// FetchLimits bound one fetch as a whole.
type FetchLimits struct {
	MinBytes, MaxBytes int32
	MaxWait            time.Duration
	ReadCommitted      bool
	// Replica is Consumer, or the broker id of the follower that fetches, and
	// ReplicaEpoch that one's broker epoch (KIP-903), -1 when it states none.
	Replica      int32
	ReplicaEpoch int64
	Session      FetchSession // the request's
	Rack         string       // of a consumer (KIP-392); empty when it states none
	Reader       uint64       // tells consumers apart, also beyond a connection; 0: nobody in particular
}

// Consumer is FetchLimits.Replica of a consumer.
const Consumer int32 = -1

// Fetched is what one partition answers. Runs must be released.
type Fetched struct {
	Err            *kerr.Error
	HighWatermark  int64 // -1 on error
	LastStable     int64 // -1 on error
	LogStart       int64 // -1 on error
	Run            *Run  // nil when there is nothing to read
	Aborted        []log.AbortedTxn
	Leadership     Leadership // set when Err is NOT_LEADER_OR_FOLLOWER or FENCED_LEADER_EPOCH
	Diverging      bool
	DivergingEpoch int32
	DivergingEnd   int64
	// Producers is what a follower that has to start anew at LogStart is told of producers
	// there; see log.StartAnew.
	Producers []byte
	// PreferredReplica is where a consumer had better fetch (KIP-392), -1 for here.
	PreferredReplica int32

	anew bool // the follower has to start anew at LogStart

	// News: the follower that asks was not told yet of the high watermark or of the log
	// start, whatever its session says.
	News bool
}

// RefusedFetch is the answer for a partition that is not read.
func RefusedFetch(err *kerr.Error) Fetched {
	return Fetched{Err: err, HighWatermark: -1, LastStable: -1, LogStart: -1, PreferredReplica: -1}
}

// FetchOp is one fetch, possibly waiting for records to arrive.
type FetchOp struct {
	m      *Manager
	parts  []FetchPart
	limits FetchLimits
	ready  func(*FetchOp)
	on     []waiter    // where it waits
	got    []Fetched   // read already, when the first look was enough
	idle   []Fetched   // of a follower: what the first look gave, no records
	fired  atomic.Bool // something happened since

	missing atomic.Int64 // bytes still wanted before it fires

	mu    sync.Mutex
	armed bool // Fetch has set everything up: firing may call ready
	due   bool // something fired it
	done  bool // ready was called
	timer env.Timer
}

// Fetch calls ready once there is enough to answer: min bytes, an error, a
// divergence, or the end of the wait. ready may run before Fetch returns, and must
// not block: it runs on the sync round's or an append's goroutine. The records are
// taken by Collect, which must be called exactly once after ready.
func (m *Manager) Fetch(parts []FetchPart, limits FetchLimits, ready func(*FetchOp)) *FetchOp {
	op := &FetchOp{m: m, parts: parts, limits: limits, ready: ready}
	if limits.MaxWait <= 0 || limits.MinBytes <= 0 || len(parts) == 0 || m.stopping.Load() && limits.Replica < 0 {
		if limits.Replica >= 0 {
			op.got = op.read(true) // states where the follower is
		}
		op.arm(true, 0)
		return op
	}
	// Join the partitions' waiters before looking, so that no growth falls between.
	op.missing.Store(int64(limits.MinBytes))
	op.on = make([]waiter, 0, len(parts)) // never grows: waiters are pointed at
	for i := range parts {
		if p, err := m.Find(parts[i].Ref); err == nil {
			op.on = append(op.on, waiter{p: p, op: op})
			p.join(&op.on[len(op.on)-1])
		}
	}
	got := op.read(true)
	available, decided := int64(0), false
	for i := range got {
		if got[i].Run != nil {
			available += int64(got[i].Run.Len())
		}
		decided = decided || got[i].Err != nil || got[i].Diverging || got[i].News || got[i].PreferredReplica >= 0
	}
	if decided || available >= int64(limits.MinBytes) {
		op.got = got
		op.arm(true, 0)
		return op
	}
	for i := range got {
		got[i].Release()
	}
	if limits.Replica >= 0 && available == 0 {
		op.idle = got
	}
	if limits.Replica >= 0 {
		m.polls.add(op)
	}
	op.arm(op.missing.Add(-available) <= 0, m.patience(limits))
	return op
}

// What has just changed hands changes further: followers hear of it at other moments, and
// one of them must not wait out a long poll before it can ask for what it now follows.
const (
	unrest     = time.Second
	unrestPoll = 20 * time.Millisecond
)

// patience is how long a fetch waits.
func (m *Manager) patience(l FetchLimits) time.Duration {
	if l.Replica >= 0 && (m.stopping.Load() || m.now().UnixNano()-m.gained.Load() < int64(unrest)) {
		return min(l.MaxWait, unrestPoll)
	}
	return l.MaxWait
}

// arm ends the set-up: from here on firing calls ready.
func (op *FetchOp) arm(now bool, wait time.Duration) {
	op.mu.Lock()
	op.armed = true
	now = now || op.due
	if !now {
		op.timer = op.m.opt.Clock.AfterFunc(wait, op.end)
	}
	op.mu.Unlock()
	if now {
		op.fire()
	}
}

// grown counts bytes that became visible in one of the partitions. A watermark can
// also move without counted bytes (a role change, a transaction's end).
func (op *FetchOp) grown(bytes int64) {
	if bytes == 0 || op.missing.Add(-bytes) <= 0 {
		op.fire()
	}
}

func (op *FetchOp) fire() {
	op.fired.Store(true)
	op.end()
}

// end calls ready, once.
func (op *FetchOp) end() {
	op.mu.Lock()
	op.due = true
	if !op.armed || op.done {
		op.mu.Unlock()
		return
	}
	op.done = true
	if op.timer != nil {
		op.timer.Stop()
	}
	op.mu.Unlock()
	if op.limits.Replica >= 0 {
		op.m.polls.remove(op)
	}
	op.ready(op)
}

// Cancel ends the wait, for a connection that went away.
func (op *FetchOp) Cancel() { op.fire() }

// Collect gives what there is now, within the limits; the first partition that has
// records gives at least one whole batch. Results are in the order of the parts.
func (op *FetchOp) Collect() []Fetched {
	for i := range op.on {
		op.on[i].p.leave(&op.on[i])
	}
	switch {
	case op.got != nil:
	case op.idle != nil && !op.fired.Load():
		op.got = op.idle // whatever a follower waits for ends its wait
	default:
		op.got = op.read(false)
	}
	for i := range op.got {
		got, follower := &op.got[i], op.limits.Replica >= 0
		if got.Run == nil && !(follower && got.News) {
			continue
		}
		p, err := op.m.Find(op.parts[i].Ref)
		switch {
		case err != nil:
		case follower:
			p.told(op.limits.Replica, op.parts[i].Offset, got)
		case op.limits.Reader != 0:
			p.asked(op.limits.Reader, op.parts[i].Offset, got)
		}
	}
	return op.got
}

// read looks at every partition. The first look takes what a follower states with its
// fetch.
func (op *FetchOp) read(first bool) []Fetched {
	all := make([]Fetched, len(op.parts))
	left := int64(op.limits.MaxBytes)
	minOne, handedOver := true, false
	for i := range op.parts {
		p, err := op.m.Find(op.parts[i].Ref)
		if err != nil {
			all[i] = RefusedFetch(err)
			continue
		}
		limit := int32(max(min(left, int64(op.parts[i].MaxBytes)), 0))
		if op.limits.Replica >= 0 {
			all[i] = p.readFollower(&op.parts[i], &op.limits, limit, minOne, first)
			if all[i].anew {
				all[i], handedOver = p.handOver(all[i], op.limits.Replica, handedOver)
			}
		} else {
			all[i] = p.read(&op.parts[i], &op.limits, limit, minOne)
		}
		if r := p.st.Load(); r.away != nil { // since it was found: what a deleted log says is no answer
			all[i].Release()
			all[i] = r.refuse(r.away)
		}
		if run := all[i].Run; run != nil {
			minOne = false
			left -= int64(run.Len())
		}
	}
	return all
}

// Release gives back the run of a result that is not sent.
func (f *Fetched) Release() {
	if f.Run != nil {
		f.Run.Release()
		f.Run = nil
	}
}

// refuse is the answer of a replica that does not lead as the reader thinks.
func (r *role) refuse(err *kerr.Error) Fetched {
	f := RefusedFetch(err)
	f.Leadership = Leadership{r.leader, r.leaderEpoch}
	return f
}

// standing is an answer without records.
func (p *Partition) standing() Fetched {
	return Fetched{HighWatermark: p.HighWatermark(), LastStable: p.LastStableOffset(), LogStart: p.log.StartOffset(), PreferredReplica: -1}
}

// look begins an answer: where the log stands, and whether the reader's idea of it is
// another; then decided is true and there is nothing more to read.
func (p *Partition) look(r *role, part *FetchPart) (f Fetched, decided bool) {
	f = p.standing()
	if part.LastFetchedEpoch < 0 {
		return f, false
	}
	if part.LastFetchedEpoch > r.leaderEpoch && len(r.replicas) > 1 {
		return r.refuse(kerr.UnknownLeaderEpoch), true // the reader has met a later leader
	}
	epoch, end := p.epochEnd(r, part.LastFetchedEpoch)
	if epoch < 0 || end < 0 {
		// The log knows nothing of that epoch: the reader has to start anew.
		return RefusedFetch(kerr.OffsetOutOfRange), true
	}
	if epoch < part.LastFetchedEpoch || end < part.Offset {
		f.Diverging, f.DivergingEpoch, f.DivergingEnd = true, epoch, end
		return f, true
	}
	return f, false
}

// unknownBefore tells whether a follower that asks for the very start of this log has
// records before it of which nobody can say any more whether they were this log's too: what
// is known here of their epoch is deleted with them. Where the last of them is of the epoch
// that begins here they were, since an epoch has one leader. Kept, they would make the
// follower remember producers' batches that were never committed, and would lie below a
// first batch that begins before the start.
func (p *Partition) unknownBefore(part *FetchPart, start int64) bool {
	return part.Offset == start && part.LastFetchedEpoch >= 0 && p.log.EpochForOffset(start) != part.LastFetchedEpoch
}

// readFollower takes a run of records up to the log's end, for a follower. The first
// look at a fetch takes where the follower is.
func (p *Partition) readFollower(part *FetchPart, l *FetchLimits, maxBytes int32, minOne, first bool) Fetched {
	r, lerr := p.leads(part.LeaderEpoch)
	if lerr != nil {
		return r.refuse(lerr)
	}
	if first && part.NoRoom {
		if err := p.lacksRoom(r.leaderEpoch, l); err != nil {
			return r.refuse(err)
		}
	}
	f, decided := p.look(r, part)
	if decided && mutant.On("replica/no-divergence") {
		f, decided = p.standing(), false
	}
	if decided {
		if f.Err != nil { // what is not known here must not cost the follower its log
			f.Err = kerr.KafkaStorageError
		}
		return f
	}
	end := p.log.EndOffset()
	behind := part.Offset < f.LogStart || p.unknownBefore(part, f.LogStart)
	if behind || part.Offset > end {
		out := RefusedFetch(kerr.OffsetOutOfRange)
		out.HighWatermark, out.LogStart = f.HighWatermark, f.LogStart
		out.anew = behind || f.LogStart == end
		return out
	}
	if first {
		if err := p.fetchedBy(r.leaderEpoch, l, part); err != nil {
			return r.refuse(err)
		}
		f.HighWatermark = p.HighWatermark() // it may have moved
	}
	f.News = p.news(l.Replica)
	if part.Offset >= end || maxBytes <= 0 && (part.NoRoom || !minOne) || p.throttled(r, l.Replica) {
		return f
	}
	run, err := p.log.Read(part.Offset, int(maxBytes), end, minOne)
	if errors.Is(err, record.ErrCorrupt) {
		if behind := p.pass(r, part.Offset); behind > part.Offset {
			run, err = p.log.Read(behind, int(maxBytes), end, minOne)
		}
	}
	if err != nil {
		return RefusedFetch(r.readError(err))
	}
	if run.Len() == 0 {
		run.Release()
		return f
	}
	if r.LeaderThrottled.Has(p.id.Partition, p.m.opt.NodeID) {
		p.m.leaderLimit.take(p.m.now(), run.Len(), p.m.tuning().LeaderRate)
	}
	f.Run = run
	return f
}

// throttled tells whether a follower has to wait, which one that is in sync never does.
func (p *Partition) throttled(r *role, id int32) bool {
	held := r.LeaderThrottled.Has(p.id.Partition, p.m.opt.NodeID) && !slices.Contains(r.isr, id) &&
		p.m.leaderLimit.wait(p.m.now(), p.m.tuning().LeaderRate) > 0
	if held {
		p.m.counters.throttledSends.Add(1)
	}
	return held
}

// read takes one run of records below the high watermark, or below the last stable
// offset for read_committed.
func (p *Partition) read(part *FetchPart, l *FetchLimits, maxBytes int32, minOne bool) Fetched {
	committed := l.ReadCommitted
	r, lerr := p.leads(part.LeaderEpoch)
	if lerr == kerr.NotLeaderForPartition && p.serves(r, l) {
		lerr = nil
	}
	if lerr != nil {
		return r.refuse(lerr)
	}
	if !r.leading && part.Offset > p.HighWatermark() {
		// What a follower lacks, or may yet drop, says nothing of the reader.
		if part.Offset > p.log.EndOffset() {
			return RefusedFetch(kerr.OffsetNotAvailable)
		}
		return p.standing()
	}
	f, decided := p.look(r, part)
	if decided {
		return f
	}
	if part.Offset < f.LogStart {
		return RefusedFetch(kerr.OffsetOutOfRange)
	}
	if part.Offset > p.log.EndOffset() {
		if p.beyond(part) {
			return RefusedFetch(kerr.OffsetOutOfRange)
		}
		return r.refuse(kerr.NotLeaderForPartition)
	}
	if f.PreferredReplica = p.nearest(r, l, part.Offset); f.PreferredReplica >= 0 {
		return f
	}
	upTo := f.HighWatermark
	if mutant.On("replica/reads-above-hw") {
		upTo = p.log.EndOffset()
		f.HighWatermark = upTo
	}
	if committed {
		upTo = f.LastStable
	}
	if part.Offset >= upTo || (maxBytes <= 0 && !minOne) {
		return f
	}
	run, err := p.log.Read(part.Offset, int(maxBytes), upTo, minOne)
	if err != nil {
		return RefusedFetch(r.readError(err))
	}
	if run.Len() == 0 {
		run.Release()
		return f
	}
	if committed {
		if f.Aborted, err = p.log.AbortedTxns(part.Offset, min(upTo, run.NextOffset())); err != nil {
			run.Release()
			return RefusedFetch(r.readError(err))
		}
		// If retention took the segment out meanwhile, its aborted transactions went too.
		if part.Offset < p.log.StartOffset() {
			run.Release()
			return RefusedFetch(kerr.OffsetOutOfRange)
		}
	}
	f.Run = run
	return f
}

func (p *Partition) join(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.op.limits.Replica >= 0 {
		p.pollers.add(w)
	} else {
		p.waiters.add(w)
	}
}

func (p *Partition) leave(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.remove()
}

// Waiting is the number of long polls on the partition.
func (p *Partition) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiters) + len(p.pollers)
}
