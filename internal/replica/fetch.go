package replica

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
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
	Rack         string // of a consumer (KIP-392); empty when it states none
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
	// PreferredReplica is where a consumer had better fetch (KIP-392), -1 for here.
	PreferredReplica int32
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
	on     []*Partition // where it waits
	got    []Fetched    // read already, when the first look was enough

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
	if limits.MaxWait <= 0 || limits.MinBytes <= 0 || len(parts) == 0 || m.stopping.Load() {
		op.arm(true, 0)
		return op
	}
	// Join the partitions' waiters before looking, so that no growth falls between.
	op.missing.Store(int64(limits.MinBytes))
	for i := range parts {
		if p, err := m.Find(parts[i].Ref); err == nil {
			p.join(op)
			op.on = append(op.on, p)
		}
	}
	got := op.read()
	available, decided := int64(0), false
	for i := range got {
		if got[i].Run != nil {
			available += int64(got[i].Run.Len())
		}
		decided = decided || got[i].Err != nil || got[i].Diverging
	}
	if decided || available >= int64(limits.MinBytes) {
		op.got = got
		op.arm(true, 0)
		return op
	}
	for i := range got {
		got[i].Release()
	}
	op.arm(op.missing.Add(-available) <= 0, limits.MaxWait)
	return op
}

// arm ends the set-up: from here on firing calls ready.
func (op *FetchOp) arm(now bool, wait time.Duration) {
	op.mu.Lock()
	op.armed = true
	now = now || op.due
	if !now {
		op.timer = op.m.opt.Clock.AfterFunc(wait, op.fire)
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
	op.ready(op)
}

// Cancel ends the wait, for a connection that went away.
func (op *FetchOp) Cancel() { op.fire() }

// Collect gives what there is now, within the limits; the first partition that has
// records gives at least one whole batch. Results are in the order of the parts.
func (op *FetchOp) Collect() []Fetched {
	for _, p := range op.on {
		p.leave(op)
	}
	if op.got != nil {
		return op.got
	}
	return op.read()
}

func (op *FetchOp) read() []Fetched {
	all := make([]Fetched, len(op.parts))
	left := int64(op.limits.MaxBytes)
	minOne := true
	for i := range op.parts {
		p, err := op.m.Find(op.parts[i].Ref)
		if err != nil {
			all[i] = RefusedFetch(err)
			continue
		}
		limit := min(left, int64(op.parts[i].MaxBytes))
		all[i] = p.read(&op.parts[i], op.limits.ReadCommitted, int32(max(limit, 0)), minOne)
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

// read takes one run of records below the high watermark, or below the last stable
// offset for read_committed.
func (p *Partition) read(part *FetchPart, committed bool, maxBytes int32, minOne bool) Fetched {
	r, lerr := p.lead(part.LeaderEpoch)
	if lerr != nil {
		f := RefusedFetch(lerr)
		f.Leadership = Leadership{r.leader, r.leaderEpoch}
		return f
	}
	f := Fetched{HighWatermark: p.HighWatermark(), LastStable: p.LastStableOffset(), LogStart: p.log.StartOffset(), PreferredReplica: -1}
	if part.LastFetchedEpoch >= 0 {
		epoch, end := p.epochEnd(r, part.LastFetchedEpoch)
		if epoch < 0 || end < 0 {
			// The log knows nothing of that epoch: the reader has to start anew.
			return RefusedFetch(kerr.OffsetOutOfRange)
		}
		if epoch < part.LastFetchedEpoch || end < part.Offset {
			f.Diverging, f.DivergingEpoch, f.DivergingEnd = true, epoch, end
			return f
		}
	}
	if part.Offset < f.LogStart || part.Offset > p.log.EndOffset() {
		return RefusedFetch(kerr.OffsetOutOfRange)
	}
	upTo := f.HighWatermark
	if committed {
		upTo = f.LastStable
	}
	if part.Offset >= upTo || (maxBytes <= 0 && !minOne) {
		return f
	}
	run, err := p.log.Read(part.Offset, int(maxBytes), upTo, minOne)
	if err != nil {
		return RefusedFetch(readError(err))
	}
	if run.Len() == 0 {
		run.Release()
		return f
	}
	if committed {
		if f.Aborted, err = p.log.AbortedTxns(part.Offset, min(upTo, run.NextOffset())); err != nil {
			run.Release()
			return RefusedFetch(readError(err))
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

func (p *Partition) join(op *FetchOp) {
	p.mu.Lock()
	if p.waiters == nil {
		p.waiters = map[*FetchOp]struct{}{}
	}
	p.waiters[op] = struct{}{}
	p.mu.Unlock()
}

// Waiting is the number of long polls on the partition.
func (p *Partition) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiters)
}

func (p *Partition) leave(op *FetchOp) {
	p.mu.Lock()
	delete(p.waiters, op)
	p.mu.Unlock()
}
