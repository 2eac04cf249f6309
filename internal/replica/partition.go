package replica

import (
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/mutant"
)

// Partition is one partition on this broker.
type Partition struct {
	m  *Manager
	id log.LogID

	log *log.Log
	hw  atomic.Int64         // written under mu
	st  atomic.Pointer[role] // replaced under mu

	mu       sync.Mutex
	pending  []pending  // appends above the high watermark, by end offset
	waiters  waiters    // long polls of consumers: they wait for the high watermark
	pollers  waiters    // long polls of followers: they wait for the log's end as well
	tenure   *tenure    // while this broker leads
	leaderHW int64      // of the leader that is followed, as it last told; -1 before
	fetching *fetching  // where this replica fetches; nil when it does not
	damage   *damage    // nil while it is whole
	deletes  []deleting // that wait for the low watermark

	yielded atomic.Pointer[yielded] // when another leader was asked for; nil before. See yield
	full    atomic.Bool             // the last append found no room, in this leader epoch
	stuck   atomic.Bool             // likewise the last sync; both are written under mu

	lag  atomic.Int64 // records that the leader has more, as it last told
	sick atomic.Bool  // following fails for some time, which was told
}

// role is what the metadata log says of the partition, as one immutable value.
type role struct {
	leader         int32 // -1 when there is none
	leaderEpoch    int32
	partitionEpoch int32
	replicas, isr  []int32
	eligible       []int32 // to lead when nobody in sync can (KIP-966)
	leading        bool    // this broker is the leader
	recovering     bool    // the leader was elected uncleanly, and has not said that it has recovered
	factor         int     // the number of replicas; while they are moved, of those before
	minISR         int     // effective: min.insync.replicas, at most the number of replicas
	// away is what is told of a replica that was given up: that others have it, or that
	// nobody has. nil while it is here. Who found it just before still has it in hand.
	away *kerr.Error
	// epochStart is where the log ended when this broker began to lead in leaderEpoch;
	// -1 while it does not.
	epochStart int64
	Settings
}

// pending is an append that the high watermark has not passed yet.
type pending struct {
	end   int64 // one past the last offset
	bytes int   // appended
	op    *ProduceOp
	index int
	code  *kerr.Error // what op is told once it is committed; nil: that it is
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

// leads checks that this broker leads in an epoch that the caller does not contradict;
// currentEpoch -1 states nothing (KIP-320).
func (p *Partition) leads(currentEpoch int32) (*role, *kerr.Error) {
	r := p.st.Load()
	switch {
	case r.away != nil:
		return r, r.away
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
	if r == nil {
		p.mu.Unlock()
		return
	}
	p.stuck.Store(false)
	var wake wakeups
	if r.leading {
		wake = p.advance(r)
	} else {
		wake = p.follow(r)
	}
	e := p.fetching
	p.mu.Unlock()
	wake.run()
	if e != nil {
		e.f.synced(e)
	}
}

// raise moves the high watermark up to end; mu is held. The caller runs the returned
// wake-ups after unlocking.
func (p *Partition) raise(r *role, end int64) wakeups {
	if end <= p.hw.Load() {
		return wakeups{}
	}
	p.hw.Store(end)
	p.log.SetHighWatermark(end)
	w := wakeups{p: p, hw: end, watched: r.Watched && r.leading}
	n := 0
	for n < len(p.pending) && p.pending[n].end <= end {
		w.bytes += int64(p.pending[n].bytes)
		if p.pending[n].op != nil && !mutant.On("replica/watermark-wakes-nobody") {
			w.acked = append(w.acked, p.pending[n])
		}
		n++
	}
	if n > 0 {
		rest := copy(p.pending, p.pending[n:])
		clear(p.pending[rest:])
		p.pending = p.pending[:rest]
	}
	w.fetches = p.waiters.all()
	w.fire = p.pollers.all()
	return w
}

// wakeups is what a move of the high watermark sets off, to be run without locks.
type wakeups struct {
	p       *Partition
	hw      int64
	bytes   int64
	watched bool
	acked   []pending
	fetches []*FetchOp // that count the bytes
	fire    []*FetchOp // that end
	propose *Manager   // has changes of in-sync sets to send
	deleted []deleting // are done, since the low watermark
	low     int64      // is here
	tell    func()     // tells an event
}

func (w wakeups) run() {
	if w.propose != nil {
		defer w.propose.changes.send()
	}
	if w.tell != nil {
		w.tell()
	}
	for _, f := range w.fire {
		f.fire()
	}
	for _, d := range w.deleted {
		d.op.settle(d.index, nil, w.low)
	}
	if w.p == nil {
		return
	}
	for _, a := range w.acked {
		a.op.settle(a.index, a.code, Leadership{})
	}
	for _, f := range w.fetches {
		f.grown(w.bytes)
	}
	if w.watched {
		w.p.m.opt.Committed(w.p, w.hw)
	}
}

// failWaiting fails every parked acks=all request and deletion, and wakes every long poll.
func (p *Partition) failWaiting(err *kerr.Error) {
	p.failPending(err)
	p.failDeletes(err)
	p.wakeFetches()
}

// failPending fails every parked acks=all request. What was appended stays parked: it
// may yet be committed, and counts for the long polls then.
func (p *Partition) failPending(err *kerr.Error) {
	to := Leadership{metadata.NoLeader, -1}
	if r := p.st.Load(); err == kerr.NotLeaderForPartition && r != nil && !r.leading {
		to = Leadership{r.leader, r.leaderEpoch}
	}
	p.failProduces(err, to)
}

// failProduces does so, and tells who leads.
func (p *Partition) failProduces(err *kerr.Error, to Leadership) {
	p.mu.Lock()
	var failed []pending
	for i := range p.pending {
		if a := &p.pending[i]; a.op != nil {
			failed = append(failed, *a)
			a.op = nil
		}
	}
	p.mu.Unlock()
	for _, a := range failed {
		a.op.settle(a.index, err, to)
	}
}

// wakeFetches ends every long poll.
func (p *Partition) wakeFetches() {
	p.mu.Lock()
	fetches := append(p.waiters.all(), p.pollers.all()...)
	p.mu.Unlock()
	for _, f := range fetches {
		f.fire()
	}
}
