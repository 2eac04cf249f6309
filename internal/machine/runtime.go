package machine

import (
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// Options of a Runtime. Zero values get the stated defaults.
type Options struct {
	Clock env.Clock // required
	// Exec runs the loops and the loads; nil: goroutines of the runtime's own.
	Exec env.Exec
	// Seed of the shards' random sources. Machines make ids by them that clients
	// see: give a secret one.
	Seed uint64
	// Loops is the number of loops that run shards; 1 by default.
	Loops int
	// Loaders is how many shards are loaded at a time; 2 by default.
	Loaders int
	// QueueDepth bounds the requests that wait at one loop; 10,000 by default.
	QueueDepth int
	// MaxUncommitted bounds the decisions of one shard that wait for their commit,
	// 1,000 by default, and MaxUncommittedBytes their records, 64 MiB by default.
	// Beyond, requests get ErrOverloaded.
	MaxUncommitted      int
	MaxUncommittedBytes int
	// CommitTimeout is how long a reply waits for the commit when Submit does not
	// say; 5 s by default (offsets.commit.timeout.ms).
	CommitTimeout time.Duration
	// Effects carries out an effect, once everything that the state included when
	// it was decided is committed. It is called on a loop and must not block.
	Effects func(shard string, epoch int32, e Effect)
	// Notify is told of the life of shards, on a loop; it must not block.
	Notify func(Event)
}

func (o Options) withDefaults() Options {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.Loops, 1)
	def(&o.Loaders, 2)
	def(&o.QueueDepth, 10_000)
	def(&o.MaxUncommitted, 1_000)
	def(&o.MaxUncommittedBytes, 64<<20)
	if o.CommitTimeout <= 0 {
		o.CommitTimeout = 5 * time.Second
	}
	if o.Effects == nil {
		o.Effects = func(string, int32, Effect) {}
	}
	if o.Notify == nil {
		o.Notify = func(Event) {}
	}
	return o
}

// Done receives a request's outcome, exactly once. It is called on a loop, with no
// lock held, and must not block. Two kinds of refusal are told on another's goroutine:
// ErrOverloaded and ErrClosed of a request that was never queued on the submitter's,
// before Submit returns (a queue of refusals would be as unbounded as the queue), and
// ErrClosed of the others on that of Close.
type Done func(body any, err error)

// Runtime runs shards, each of them one machine on one log. A shard lives on one
// loop for good, chosen by its name, so whatever concerns it happens in order. All
// methods may be called from any goroutine, also from within a Log's Append, from
// Done, Effects and Notify; except Close, which waits for the loops.
type Runtime struct {
	opts   Options
	exec   env.Exec
	own    *env.Goroutines // exec, when it is the runtime's own
	loops  []*loop
	loader *loader
	stats  counters
	closed sync.Once
}

// NewRuntime starts the loops; Close ends them.
func NewRuntime(o Options) *Runtime {
	o = o.withDefaults()
	r := &Runtime{opts: o, exec: o.Exec}
	if r.exec == nil {
		r.own = &env.Goroutines{}
		r.exec = r.own
	}
	r.loader = newLoader(r.exec, o.Loaders)
	for i := range o.Loops {
		r.loops = append(r.loops, newLoop(r, fmt.Sprintf("machine %d", i)))
	}
	return r
}

func (r *Runtime) loop(shard string) *loop {
	h := fnv.New32a()
	h.Write([]byte(shard))
	return r.loops[h.Sum32()%uint32(len(r.loops))]
}

// Lead makes this node the leader of a shard in an epoch: the log is loaded into a
// machine that fresh makes (again after each failed append, so it must be a new one
// every time). An epoch at or below the current one is ignored, a higher one
// replaces it. After Lead the owner must tell the log's committed end by Committed
// once, and whenever it moves.
func (r *Runtime) Lead(shard string, epoch int32, log Log, fresh func() Machine) {
	r.loop(shard).control(shard, item{kind: itemLead, epoch: epoch, log: log, fresh: fresh})
}

// Resign ends leadership in this and every earlier epoch: every request of the
// shard that has no answer yet gets ErrNotLeader.
func (r *Runtime) Resign(shard string, epoch int32) {
	r.loop(shard).control(shard, item{kind: itemResign, epoch: epoch})
}

// Committed tells that the log is committed up to end, one past the last committed
// record, as seen in the epoch. Ends that fall and passed epochs are ignored.
func (r *Runtime) Committed(shard string, epoch int32, end int64) {
	r.loop(shard).committed(shard, epoch, end)
}

// Submit hands a request to a shard's machine.
func (r *Runtime) Submit(shard string, req any, done Done) {
	r.SubmitTimeout(shard, req, r.opts.CommitTimeout, done)
}

// SubmitTimeout is Submit with the request's own limit on how long its reply may
// wait for the commit. How long the machine takes to reply is the machine's affair.
func (r *Runtime) SubmitTimeout(shard string, req any, timeout time.Duration, done Done) {
	r.submit(shard, item{kind: itemRequest, body: req, timeout: timeout, done: done})
}

// View reads a shard's state on its loop. The answer is what read returned, once all
// that the state included is committed. read must not change the machine nor let
// parts of it escape.
func (r *Runtime) View(shard string, read func(Machine) any, done Done) {
	r.submit(shard, item{kind: itemView, read: read, timeout: r.opts.CommitTimeout, done: done})
}

func (r *Runtime) submit(shard string, it item) {
	if err := r.loop(shard).request(shard, it); err != nil {
		it.done(nil, err)
	}
}

// Close fails what has no answer yet with ErrClosed, and waits for the turns and the
// loads that run. It waits for nothing that a one-goroutine Exec has yet to call.
func (r *Runtime) Close() {
	r.closed.Do(func() {
		for _, l := range r.loops {
			l.stop()
		}
		r.loader.close()
		if r.own != nil {
			r.own.Wait()
		}
	})
}

// Stats are the runtime's counters at one moment, for metrics.
type Stats struct {
	Queued     int64  // requests waiting for a loop
	Pending    int64  // requests taken by a loop and not answered yet
	Loading    int64  // shards being loaded
	Active     int64  // shards in service
	Requests   uint64 // submitted, ever
	Appends    uint64 // batches appended, ever
	Timeouts   uint64 // replies not committed in time, ever
	Overloads  uint64 // requests refused, ever
	Reloads    uint64 // states thrown away, ever
	LoadMillis uint64 // spent loading, ever
}

type counters struct {
	queued, pending, loading, active                atomic.Int64
	requests, appends, timeouts, overloads, reloads atomic.Uint64
	loadMillis                                      atomic.Uint64
}

// Stats reads the counters; it never waits for a loop.
func (r *Runtime) Stats() Stats {
	c := &r.stats
	return Stats{
		Queued: c.queued.Load(), Pending: c.pending.Load(), Loading: c.loading.Load(), Active: c.active.Load(),
		Requests: c.requests.Load(), Appends: c.appends.Load(), Timeouts: c.timeouts.Load(),
		Overloads: c.overloads.Load(), Reloads: c.reloads.Load(), LoadMillis: c.loadMillis.Load(),
	}
}

func (s Stats) String() string {
	return fmt.Sprintf("queued %d pending %d loading %d active %d requests %d appends %d timeouts %d overloads %d reloads %d",
		s.Queued, s.Pending, s.Loading, s.Active, s.Requests, s.Appends, s.Timeouts, s.Overloads, s.Reloads)
}
