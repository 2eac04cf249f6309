package replica

import (
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/log"
)

// Partition is one partition on this broker.
type Partition struct {
	m  *Manager
	id log.LogID

	log *log.Log
	hw  atomic.Int64         // written under mu
	st  atomic.Pointer[role] // replaced under mu

	mu      sync.Mutex
	pending []pending             // appends above the high watermark, by end offset
	waiters map[*FetchOp]struct{} // long polls
}

// role is what the metadata log says of the partition, as one immutable value.
type role struct {
	leader         int32 // -1 when there is none
	leaderEpoch    int32
	partitionEpoch int32
	replicas, isr  []int32
	leading        bool // this broker is the leader
	minISR         int  // effective: min.insync.replicas, at most the number of replicas
	Settings
}

// pending is an append that the high watermark has not passed yet.
type pending struct {
	end   int64 // one past the last offset
	bytes int   // appended
	op    *ProduceOp
	index int
}

// ID names the partition's log.
func (p *Partition) ID() log.LogID { return p.id }

// HighWatermark is the first offset that readers do not see.
func (p *Partition) HighWatermark() int64 { return p.hw.Load() }

// Log gives the partition's log, for reads that the API does not need (metrics, cleaning).
func (p *Partition) Log() *log.Log { return p.log }

// Leadership is the leader and its epoch as this broker knows it.
type Leadership struct {
	Leader, LeaderEpoch int32
}

// Leadership tells who leads.
func (p *Partition) Leadership() Leadership {
	r := p.st.Load()
	return Leadership{r.leader, r.leaderEpoch}
}

// Leading says whether this broker leads the partition.
func (p *Partition) Leading() bool { return p.st.Load().leading }

// Durable says whether acknowledged means synced here.
func (p *Partition) Durable() bool { return p.st.Load().Durable }

// Settings gives the topic's settings in force.
func (p *Partition) Settings() Settings { return p.st.Load().Settings }

// lead checks that this broker leads in an epoch that the caller does not contradict;
// currentEpoch -1 states nothing (KIP-320).
func (p *Partition) lead(currentEpoch int32) (*role, *kerr.Error) {
	r := p.st.Load()
	switch {
	case currentEpoch >= 0 && currentEpoch < r.leaderEpoch:
		return r, kerr.FencedLeaderEpoch
	case currentEpoch > r.leaderEpoch:
		return r, kerr.UnknownLeaderEpoch
	case !r.leading:
		return r, kerr.NotLeaderForPartition
	}
	return r, nil
}

// localEnd is the end offset that this replica counts towards the high watermark.
func (p *Partition) localEnd(r *role) int64 {
	if r.Durable {
		return p.log.SyncedOffset()
	}
	return p.log.EndOffset()
}

// epochEnd is the largest epoch not above the asked one and where it ended; -1, -1 for
// one that has not begun. The leader's own epoch began at the end of the log that it
// took over, though the log learns of it only by the first append.
func (p *Partition) epochEnd(r *role, epoch int32) (int32, int64) {
	end := p.log.EndOffset()
	switch latest := p.log.LatestEpoch(); {
	case epoch < 0 || epoch > r.leaderEpoch:
		return -1, -1
	case epoch == r.leaderEpoch, latest < 0:
		return epoch, end
	case epoch > latest:
		return latest, end
	}
	return p.log.EndOffsetForEpoch(epoch)
}

// LastStableOffset is the first offset of an open transaction, or the high
// watermark when there is none below it.
func (p *Partition) LastStableOffset() int64 {
	return min(p.log.LastStableOffset(p.HighWatermark()), p.HighWatermark())
}

// synced is the hook that the log directory calls when the synced end moved.
func (p *Partition) synced() {
	p.mu.Lock()
	r := p.st.Load()
	if r == nil || !r.leading {
		p.mu.Unlock()
		return
	}
	wake := p.advance(r)
	p.mu.Unlock()
	wake.run()
}

// advance moves the high watermark as far as the in-sync set allows. It is called
// with mu held; the caller runs the returned wake-ups after unlocking.
//
// The high watermark stands still while the in-sync set is smaller than
// min.insync.replicas (KIP-966): what readers saw then survives any election that
// the eligible leader replicas allow.
func (p *Partition) advance(r *role) wakeups {
	if len(r.isr) < r.minISR {
		return wakeups{}
	}
	end := p.localEnd(r)
	for _, id := range r.isr {
		if id != p.m.opt.NodeID {
			end = min(end, p.followerEnd(id))
		}
	}
	hw := p.hw.Load()
	if end <= hw {
		return wakeups{}
	}
	p.hw.Store(end)
	p.log.SetHighWatermark(end)
	w := wakeups{p: p, hw: end, watched: r.Watched}
	n := 0
	for n < len(p.pending) && p.pending[n].end <= end {
		w.bytes += int64(p.pending[n].bytes)
		if p.pending[n].op != nil {
			w.acked = append(w.acked, p.pending[n])
		}
		n++
	}
	if n > 0 {
		rest := copy(p.pending, p.pending[n:])
		clear(p.pending[rest:])
		p.pending = p.pending[:rest]
	}
	if len(p.waiters) > 0 {
		w.fetches = make([]*FetchOp, 0, len(p.waiters))
		for f := range p.waiters {
			w.fetches = append(w.fetches, f)
		}
	}
	return w
}

// followerEnd is the end offset up to which a follower has synced. Followers come
// with the cluster; a single node's in-sync set names only itself.
func (p *Partition) followerEnd(int32) int64 { return p.hw.Load() }

// wakeups is what a move of the high watermark sets off, to be run without locks.
type wakeups struct {
	p       *Partition
	hw      int64
	bytes   int64
	watched bool
	acked   []pending
	fetches []*FetchOp
}

func (w wakeups) run() {
	if w.p == nil {
		return
	}
	for _, a := range w.acked {
		a.op.settle(a.index, nil)
	}
	for _, f := range w.fetches {
		f.grown(w.bytes)
	}
	if w.watched {
		w.p.m.opt.Committed(w.p, w.hw)
	}
}

// failWaiting fails every parked acks=all request and wakes every long poll.
func (p *Partition) failWaiting(err *kerr.Error) {
	p.mu.Lock()
	failed := p.pending
	p.pending = nil
	p.mu.Unlock()
	for _, a := range failed {
		if a.op != nil {
			a.op.settle(a.index, err)
		}
	}
	p.wakeFetches()
}

// wakeFetches ends every long poll.
func (p *Partition) wakeFetches() {
	p.mu.Lock()
	fetches := make([]*FetchOp, 0, len(p.waiters))
	for f := range p.waiters {
		fetches = append(fetches, f)
	}
	p.mu.Unlock()
	for _, f := range fetches {
		f.fire()
	}
}
