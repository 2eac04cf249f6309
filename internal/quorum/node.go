package quorum

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/env"
)

// Node is one member of the group: the shell around core and store. It has no
// goroutine of its own: callers and the clock step the core under a lock, which is
// held for computing only; the store and the hooks are loops of Options.Exec. No
// method waits for a loop but Close, for a turn that runs.
type Node struct {
	opts Options
	id   uint64
	own  *env.Goroutines // the Exec, when none was handed in

	mu      sync.Mutex
	core    *core
	started bool
	timer   env.Timer
	ticking bool
	writes  []diskJob // for the disk's loop; bounded by the library's limits, as applies are
	applies []apply   // for the hooks' loop
	outbox  []*raftpb.Message
	calls   []func() // answers, to be given without the lock
	sending bool     // somebody empties outbox and calls
	pulls   []*pull
	// pulledTo is the last entry that pulls were looked at for.
	pulledTo   uint64
	pullsEnded bool

	disk, hooks, fetch env.Loop
	writer             diskWriter // of the disk's loop
	fetcher            fetcher

	stop   chan struct{} // closed by Close and by a failure
	failed chan struct{} // closed by a failure
	ending sync.Once
	err    atomic.Pointer[error]

	snapshots sync.Mutex // one TakeSnapshot at a time
	status    atomic.Pointer[Status]
}

// Open recovers a member from its directory, or begins the log, and restores the
// state from the snapshot. Nothing else happens before Start. Close it in any case.
func Open(o Options) (*Node, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	l, err := list(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	if len(l.segments) == 0 && len(l.snapshots) == 0 && !l.marker && (len(o.Voters) > 0 || o.Join) {
		if err := bootstrap(o.FS, o.Dir, o.Voters); err != nil {
			return nil, err
		}
	}
	n := &Node{opts: o, id: o.Self.ID(), stop: make(chan struct{}), failed: make(chan struct{})}
	if o.Exec == nil {
		n.own = new(env.Goroutines)
		n.opts.Exec = n.own
	}
	st, r, err := openStore(o.FS, o.Dir, n.id, o.SegmentBytes)
	if err != nil {
		return nil, err
	}
	n.writer.store = st
	if n.core, err = n.restore(r); err != nil {
		return nil, errors.Join(err, st.abandon())
	}
	n.publish(n.core)
	return n, nil
}

// Start lets the member take part. One that is the whole quorum leads within a few
// disk syncs; Hooks.Lead tells. It must be called once.
func (n *Node) Start() {
	n.mu.Lock()
	n.disk = n.opts.Exec.Loop("quorum disk", n.writeTurn)
	n.hooks = n.opts.Exec.Loop("quorum hooks", n.hookTurn)
	n.fetch = n.opts.Exec.Loop("quorum fetch", n.fetchTurn)
	n.started = true
	n.mu.Unlock()
	// An error says that the node is ending.
	_ = n.do(func(c *core) {
		if !c.quorum() {
			return
		}
		if err := c.campaign(); err != nil {
			n.fail(err)
		}
	})
}

// restore restores the state from the snapshot on disk and makes the core.
func (n *Node) restore(r *recovered) (c *core, err error) {
	f, err := openSnapshot(n.opts.FS, n.opts.Dir, r.snapshot.Index)
	if err != nil {
		return nil, err
	}
	err = n.opts.Hooks.Restore(r.snapshot, f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	return newCore(n.id, r, coreOptions{
		electionTicks: n.opts.ElectionTicks, heartbeatTicks: n.opts.HeartbeatTicks,
		electionTimeout: n.opts.TickInterval * time.Duration(n.opts.ElectionTicks), keepEntries: n.opts.KeepEntries, snapshotBytes: n.opts.SnapshotBytes, logger: raftLogger{n.opts.Logger},
		asks: n.opts.Doubted != nil,
	})
}

// do runs f on the core, and hands out the duties that it brings.
func (n *Node) do(f func(*core)) error {
	n.mu.Lock()
	ended := n.ended()
	if ended == nil {
		n.step(f)
		ended = n.Err() // f may have made it fail
	}
	n.mu.Unlock()
	n.flush()
	return ended
}

// step is one step of the core; n.mu is held.
func (n *Node) step(f func(*core)) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case libraryPanic:
			n.fail(fmt.Errorf("raft: %s", string(p)))
		default:
			panic(p)
		}
	}()
	n.core.now = n.opts.Clock.Now()
	f(n.core)
	if n.started && n.ended() == nil {
		n.turn(n.core)
	}
}

// turn hands out the core's duties; n.mu is held.
func (n *Node) turn(c *core) {
	d, err := c.ready()
	if err != nil {
		n.fail(err)
		return
	}
	for _, m := range d.writes {
		n.writes = append(n.writes, diskJob{message: m})
	}
	n.applies = append(n.applies, d.applies...)
	n.outbox = append(n.outbox, d.sends...)
	n.publish(c)
	if len(n.pulls) > 0 && c.readable() > n.pulledTo {
		n.settlePulls(c, nil)
	}
	if len(n.writes) > 0 {
		n.disk.Wake()
	}
	if len(n.applies) > 0 {
		n.hooks.Wake()
	}
	if !n.ticking && !c.alone() {
		n.tickLater()
	}
}

// tickLater sets the clock for the next tick; n.mu is held.
func (n *Node) tickLater() {
	n.ticking = true
	if n.timer != nil {
		n.timer.Reset(n.opts.TickInterval)
		return
	}
	n.timer = n.opts.Clock.AfterFunc(n.opts.TickInterval, func() {
		_ = n.do(func(c *core) { // an error says that the node is ending
			n.ticking = false
			c.tick()
			n.watchDisk(c)
		})
	})
}

// flush sends what lies in the outbox and gives the answers, in order and without the
// lock: a Send that steps another member in place may come back here.
func (n *Node) flush() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sending {
		return
	}
	n.sending = true
	for len(n.outbox) > 0 || len(n.calls) > 0 {
		ms, calls := n.outbox, n.calls
		n.outbox, n.calls = nil, nil
		if n.ended() != nil {
			ms = nil
		}
		n.mu.Unlock()
		if len(ms) > 0 {
			n.opts.Send(ms)
		}
		for _, f := range calls {
			f()
		}
		n.mu.Lock()
	}
	n.sending = false
}

// ended is nil while the node runs.
func (n *Node) ended() error {
	select {
	case <-n.stop:
	default:
		return nil
	}
	if err := n.Err(); err != nil {
		return err
	}
	return ErrClosed
}

func (n *Node) fail(err error) {
	n.ending.Do(func() {
		err = fmt.Errorf("%w: %w", ErrFailed, err)
		n.err.Store(&err)
		close(n.failed)
		close(n.stop)
		if n.hooks != nil {
			n.hooks.Wake() // to tell those who wait
			n.disk.Wake()  // to note what is lost
		}
		if f := n.opts.Failed; f != nil {
			n.opts.Exec.Go("quorum failed", func() { f(err) })
		}
	})
}

// Failed is closed when the node has stopped for good; Err says why. Metadata that
// cannot be synced ends the process (decision D6).
func (n *Node) Failed() <-chan struct{} { return n.failed }

// Err is the failure, nil without one. It wraps ErrFailed.
func (n *Node) Err() error {
	if p := n.err.Load(); p != nil {
		return *p
	}
	return nil
}

// Close stops the node: when it returns, no hook runs and none will, and the files
// are closed. It returns the failure, if there was one. It must not be called by a
// hook.
func (n *Node) Close() error {
	n.ending.Do(func() { close(n.stop) })
	n.mu.Lock()
	started := n.started
	n.started = false
	if n.timer != nil {
		n.timer.Stop()
	}
	n.mu.Unlock()
	if started {
		n.disk.Stop()
		n.hooks.Stop()
		n.fetch.Stop()
		n.endFetch()
	}
	n.release()
	if started {
		n.writer.noteLost(n.Err())
	}
	err := n.writer.close(started, n.opts.Logger)
	if n.own != nil {
		n.own.Wait()
	}
	return errors.Join(n.Err(), err)
}
