package quorum

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/env"
)

// Node is one member of the group: the shell around core and store. Three goroutines
// belong to it, which Close waits for: one owns the core and never waits, one owns
// the store, one calls the hooks.
type Node struct {
	opts Options
	id   uint64

	events chan func(*core) // taken by the core's goroutine, in order
	ticks  chan struct{}
	writes *queue[diskJob]
	apply  *queue[apply]

	stop    chan struct{} // closed by Close and by a failure
	stopped chan struct{} // closed when the core's goroutine has ended
	failed  chan struct{} // closed by a failure
	ending  sync.Once
	err     atomic.Pointer[error]
	wg      sync.WaitGroup
	timer   env.Timer
	ticking bool // core's goroutine only

	snapshots sync.Mutex // one TakeSnapshot at a time
	status    atomic.Pointer[Status]

	// Until Start, which hands them to their goroutines.
	core  *core
	store *store
}

// diskJob is a write, or a removal of what a snapshot covers.
type diskJob struct {
	message         *raftpb.Message
	compact, newest uint64
}

// maxEvents bounds the calls and messages that wait for the core.
const maxEvents = 1024

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
	if len(l.segments) == 0 && len(l.snapshots) == 0 && !l.marker && len(o.Voters) > 0 {
		if err := bootstrap(o.FS, o.Dir, o.Voters); err != nil {
			return nil, err
		}
	}
	n := &Node{
		opts: o, id: o.Self.ID(), events: make(chan func(*core), maxEvents), ticks: make(chan struct{}, 1),
		writes: newQueue[diskJob](), apply: newQueue[apply](),
		stop: make(chan struct{}), stopped: make(chan struct{}), failed: make(chan struct{}),
	}
	st, r, err := openStore(o.FS, o.Dir, n.id, o.SegmentBytes)
	if err != nil {
		return nil, err
	}
	st.full = n.diskFull
	c, err := n.restore(r)
	if err != nil {
		return nil, errors.Join(err, st.abandon())
	}
	n.core, n.store = c, st
	n.publish(c)
	return n, nil
}

// Start lets the member take part. One that is the whole quorum leads within a few
// disk syncs; Hooks.Lead tells. It must be called once.
func (n *Node) Start() {
	c, st := n.core, n.store
	n.core, n.store = nil, nil
	n.wg.Go(func() { n.write(st) })
	n.wg.Go(n.call)
	n.wg.Go(func() { n.run(c) })
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
	load := func(index uint64) ([]byte, error) {
		b, err := readFile(n.opts.FS, filepath.Join(n.opts.Dir, snapshotName(index)))
		if err != nil {
			n.opts.Logger.Error("cannot read a metadata snapshot", "index", index, "error", err)
		}
		return b, err
	}
	return newCore(n.id, r, load, coreOptions{
		electionTicks: n.opts.ElectionTicks, heartbeatTicks: n.opts.HeartbeatTicks,
		keepEntries: n.opts.KeepEntries, snapshotBytes: n.opts.SnapshotBytes, logger: raftLogger{n.opts.Logger},
	})
}

// run is the core's goroutine.
func (n *Node) run(c *core) {
	defer close(n.stopped)
	defer n.writes.close()
	defer n.apply.close()
	defer func() {
		if n.timer != nil {
			n.timer.Stop()
		}
	}()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case libraryPanic:
			n.fail(fmt.Errorf("raft: %s", string(p)))
		default:
			panic(p)
		}
	}()
	if c.quorum() {
		if err := c.campaign(); err != nil {
			n.fail(err)
			return
		}
	}
	for {
		if !n.turn(c) {
			return
		}
		select {
		case <-n.stop:
			return
		case f := <-n.events:
			f(c)
		case <-n.ticks:
			n.ticking = false
			c.tick()
		}
	}
}

// turn hands out the core's duties.
func (n *Node) turn(c *core) bool {
	d, err := c.ready()
	if err != nil {
		n.fail(err)
		return false
	}
	for _, m := range d.writes {
		n.writes.put(diskJob{message: m})
	}
	if len(d.applies) > 0 {
		n.apply.put(d.applies...)
	}
	if len(d.sends) > 0 {
		n.opts.Send(d.sends)
	}
	n.publish(c)
	if !n.ticking && !c.alone() {
		n.tickLater()
	}
	return true
}

func (n *Node) tickLater() {
	n.ticking = true
	if n.timer != nil {
		n.timer.Reset(n.opts.TickInterval)
		return
	}
	n.timer = n.opts.Clock.AfterFunc(n.opts.TickInterval, func() {
		select {
		case n.ticks <- struct{}{}:
		default:
		}
	})
}

// do runs f on the core's goroutine; it waits for room, not for f.
func (n *Node) do(f func(*core)) error {
	select {
	case <-n.stopped:
		return n.ended()
	case n.events <- f:
		return nil
	}
}

// ask runs f on the core's goroutine and waits for it.
func (n *Node) ask(f func(*core)) error {
	done := make(chan struct{})
	if err := n.do(func(c *core) { f(c); close(done) }); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-n.stopped:
		return n.ended()
	}
}

func (n *Node) ended() error {
	if err := n.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// write is the disk's goroutine: it takes what has piled up and syncs it at once.
func (n *Node) write(st *store) {
	for {
		jobs, ok := n.writes.take()
		if !ok {
			if err := st.close(); err != nil {
				n.opts.Logger.Error("cannot close the metadata log", "error", err)
			}
			return
		}
		for len(jobs) > 0 && n.Err() == nil {
			var err error
			if jobs, err = n.writeSome(st, jobs); err != nil {
				n.fail(fmt.Errorf("metadata log: %w", err))
			}
		}
	}
}

// writeSome carries out the writes up to the next removal, or that.
func (n *Node) writeSome(st *store, jobs []diskJob) ([]diskJob, error) {
	if jobs[0].message == nil {
		return jobs[1:], st.compact(jobs[0].compact, jobs[0].newest)
	}
	var ws []write
	var ms []*raftpb.Message
	for len(jobs) > 0 && jobs[0].message != nil {
		ms = append(ms, jobs[0].message)
		ws = append(ws, writeOf(jobs[0].message))
		jobs = jobs[1:]
	}
	if err := st.write(ws); err != nil {
		return nil, err
	}
	err := n.do(func(c *core) {
		for _, m := range ms {
			if err := c.persisted(m); err != nil {
				n.fail(err)
				return
			}
		}
	})
	if err != nil {
		return nil, nil // ending; what was written stays
	}
	return jobs, nil
}

// writeOf is what a MsgStorageAppend asks for.
func writeOf(m *raftpb.Message) write {
	w := write{entries: m.GetEntries(), snapshot: m.GetSnapshot().GetData(), sync: len(m.GetResponses()) > 0}
	if m.GetTerm() != 0 {
		w.hard = &hardState{m.GetTerm(), m.GetVote(), m.GetCommit()}
	}
	return w
}

// diskFull waits a second for room.
func (n *Node) diskFull(err error) bool {
	n.opts.Logger.Error("no space for the metadata log, waiting for some", "error", err)
	again := make(chan struct{})
	t := n.opts.Clock.AfterFunc(time.Second, func() { close(again) })
	defer t.Stop()
	select {
	case <-again:
		return true
	case <-n.stop:
		return false
	}
}

// call is the goroutine of the hooks.
func (n *Node) call() {
	for {
		items, ok := n.apply.take()
		if !ok {
			return
		}
		for _, a := range items {
			select {
			case <-n.stop:
				return
			default:
			}
			if err := n.hook(a); err != nil {
				n.fail(err)
				return
			}
		}
	}
}

func (n *Node) hook(a apply) error {
	h := n.opts.Hooks
	switch {
	case a.entries != nil:
		for _, e := range a.entries.GetEntries() {
			if e.GetType() != raftpb.EntryNormal || len(e.GetData()) == 0 {
				continue
			}
			if err := h.Commit(Entry{e.GetIndex(), e.GetTerm(), e.GetType(), e.GetData()}); err != nil {
				return fmt.Errorf("metadata entry %d: %w", e.GetIndex(), err)
			}
		}
		// An error says that the node is ending.
		_ = n.do(func(c *core) {
			if err := c.appliedTo(a.entries); err != nil {
				n.fail(err)
			}
		})
	case a.snapshot != nil:
		r, err := newSnapshotReader(bytesReader(a.snapshot))
		if err != nil {
			return err
		}
		return h.Restore(r.meta, r)
	case a.lead != 0:
		h.Lead(a.lead)
	case a.resign != 0:
		h.Resign(a.resign)
	case a.due != 0:
		h.SnapshotDue(a.due)
	}
	return nil
}

func (n *Node) fail(err error) {
	n.ending.Do(func() {
		err = fmt.Errorf("%w: %w", ErrFailed, err)
		n.err.Store(&err)
		close(n.failed)
		close(n.stop)
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

// Close stops the node and waits for its goroutines. It returns the failure, if
// there was one.
func (n *Node) Close() error {
	n.ending.Do(func() { close(n.stop) })
	n.wg.Wait()
	if st := n.store; st != nil {
		n.store = nil
		return st.abandon()
	}
	return n.Err()
}
