package quorum

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/nodewire"
)

// ObserverOptions of an Observer. Clock, Rand, Pull and Snapshot are required.
type ObserverOptions struct {
	Clock env.Clock
	Exec  env.Exec   // without it: goroutines of its own
	Rand  *rand.Rand // of the observer alone
	// Pull and Snapshot ask a member of the caller's choice, which has checked the
	// cluster's id and names it in the request. done is called once, it may be within
	// the call. Snapshot asks the member that answered the last Pull.
	Pull     func(req *nodewire.PullRequest, done func(*nodewire.PullResponse, error))
	Snapshot func(req *nodewire.SnapshotRequest, done func(*nodewire.SnapshotResponse, error))
	// Another asks to choose another member from now on: the present one does not
	// answer, knows no leader, or is behind.
	Another func()
	// Failed is called once when a hook has failed or the log makes no sense: the
	// observer has ended then.
	Failed   func(error)
	NodeID   int32
	MaxWait  time.Duration // of a long poll; 5 s
	MaxBytes int32         // of an answer; 1 MiB
	Logger   *slog.Logger
}

// Observer is a node's view of the metadata without a vote: it pulls what is committed
// from a member and hands it to the same hooks as a Log (Restore and Records). It keeps
// nothing on disk: a new one begins with a snapshot. It never goes back: what a member
// that lags says of what is known already is left out.
type Observer struct {
	opts  ObserverOptions
	hooks LogHooks
	own   *env.Goroutines
	loop  env.Loop

	mu      sync.Mutex
	closed  bool
	asked   bool
	pause   env.Timer // nil unless it waits to ask again
	pulled  *nodewire.PullResponse
	part    *nodewire.SnapshotResponse
	err     error // of the last request
	status  ObserverStatus
	failure error

	// Of the loop alone.
	end      int64
	term     uint64 // of the last entry
	snapshot uint64 // being fetched; 0 if none
	file     []byte
	failures int
}

// ObserverStatus is what an observer knows at one moment.
type ObserverStatus struct {
	Applied uint64 // the last entry that the hooks have seen
	Commit  uint64 // of the group, as last heard
	Leader  nodewire.Identity
	Members []Member // by Raft id; not to be changed, as Voters
	Voters  []uint64
	End     int64 // one past the last record that the hooks have seen
	// LastContact is when a member last answered with something of use.
	LastContact time.Time
}

// OpenObserver begins to pull. Hooks are called by a loop of the Exec.
func OpenObserver(o ObserverOptions, h LogHooks) *Observer {
	ob := &Observer{opts: o, hooks: h, end: firstOffset}
	ob.status = ObserverStatus{Leader: nodewire.Identity{NodeID: -1}, End: firstOffset}
	setDefault(&ob.opts.MaxWait, 5*time.Second)
	setDefault(&ob.opts.MaxBytes, 1<<20)
	if ob.opts.Logger == nil {
		ob.opts.Logger = slog.New(slog.DiscardHandler)
	}
	if ob.opts.Another == nil {
		ob.opts.Another = func() {}
	}
	if ob.opts.Exec == nil {
		ob.own = new(env.Goroutines)
		ob.opts.Exec = ob.own
	}
	ob.loop = ob.opts.Exec.Loop("quorum observer", ob.turn)
	ob.loop.Wake()
	return ob
}

// Status never waits.
func (o *Observer) Status() ObserverStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.status
}

// Err is why it has ended, nil while it runs.
func (o *Observer) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failure
}

// Close ends it: when it returns, no hook runs and none will.
func (o *Observer) Close() {
	o.mu.Lock()
	o.closed = true
	if o.pause != nil {
		o.pause.Stop()
	}
	o.mu.Unlock()
	o.loop.Stop()
	if o.own != nil {
		o.own.Wait()
	}
}

// turn takes an answer, and asks for more.
func (o *Observer) turn() {
	o.mu.Lock()
	if o.closed || o.failure != nil || o.asked || o.pause != nil {
		o.mu.Unlock()
		return
	}
	pulled, part, err := o.pulled, o.part, o.err
	o.pulled, o.part, o.err = nil, nil, nil
	o.mu.Unlock()
	var fatal error
	switch {
	case err != nil:
	case pulled != nil:
		err, fatal = o.take(pulled)
	case part != nil:
		err, fatal = o.takePart(part)
	}
	switch {
	case fatal != nil:
		o.fail(fatal)
	case err != nil:
		o.later(err)
	case o.snapshot != 0:
		o.askSnapshot()
	default:
		o.askPull()
	}
}

func (o *Observer) fail(err error) {
	o.mu.Lock()
	o.failure = fmt.Errorf("%w: %w", ErrFailed, err)
	err = o.failure
	o.mu.Unlock()
	if o.opts.Failed != nil {
		o.opts.Failed(err)
	}
}

const observerPause = 2 * time.Second

// later asks another member in a while.
func (o *Observer) later(err error) {
	o.opts.Logger.Debug("metadata not pulled", "error", err)
	o.snapshot, o.file = 0, nil
	d := min(50*time.Millisecond<<min(o.failures, 10), observerPause)
	d = d/2 + time.Duration(o.opts.Rand.Int64N(int64(d)))
	o.failures++
	o.opts.Another()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.pause = o.opts.Clock.AfterFunc(d, func() {
		o.mu.Lock()
		o.pause = nil
		o.mu.Unlock()
		o.loop.Wake()
	})
}

func (o *Observer) askPull() {
	o.mu.Lock()
	o.asked = true
	from := o.status.Applied + 1
	o.mu.Unlock()
	req := &nodewire.PullRequest{NodeID: o.opts.NodeID, From: from, MaxBytes: o.opts.MaxBytes, MaxWaitMs: int32(o.opts.MaxWait.Milliseconds())}
	o.opts.Pull(req, func(r *nodewire.PullResponse, err error) { o.answered(func() { o.pulled, o.err = r, err }) })
}

func (o *Observer) askSnapshot() {
	o.mu.Lock()
	o.asked = true
	o.mu.Unlock()
	req := &nodewire.SnapshotRequest{Index: o.snapshot, Position: int64(len(o.file)), MaxBytes: fetchBytes}
	o.opts.Snapshot(req, func(r *nodewire.SnapshotResponse, err error) { o.answered(func() { o.part, o.err = r, err }) })
}

func (o *Observer) answered(note func()) {
	o.mu.Lock()
	o.asked = false
	note()
	if o.pulled == nil && o.part == nil && o.err == nil {
		o.err = errors.New("no answer")
	}
	o.mu.Unlock()
	o.loop.Wake()
}

// take applies a pulled answer. err says that another member should be asked.
func (o *Observer) take(r *nodewire.PullResponse) (err, fatal error) {
	applied := o.Status().Applied
	switch {
	case r.ErrorCode != 0:
		return fmt.Errorf("error code %d", r.ErrorCode), nil
	case r.Commit < applied:
		return fmt.Errorf("it knows of %d committed entries, %d are known", r.Commit, applied), nil
	case r.SnapshotIndex != 0 && r.SnapshotIndex <= applied:
		return fmt.Errorf("it has nothing behind entry %d", applied), nil
	case r.SnapshotIndex != 0:
		o.snapshot, o.file = r.SnapshotIndex, nil
		return nil, nil
	}
	for _, e := range r.Entries {
		if e.Index <= applied {
			continue // an answer to an earlier question
		}
		if e.Index != applied+1 || e.Term < o.term {
			return fmt.Errorf("entry %d of term %d after %d of term %d", e.Index, e.Term, applied, o.term), nil
		}
		if err := o.apply(e); err != nil {
			return nil, fmt.Errorf("metadata entry %d: %w", e.Index, err)
		}
		applied, o.term = e.Index, e.Term
		// At once: what comes behind it in the answer may be refused.
		o.mu.Lock()
		o.status.Applied, o.status.End = applied, o.end
		o.mu.Unlock()
	}
	o.mu.Lock()
	o.status.Commit, o.status.Leader = max(o.status.Commit, r.Commit), r.Leader
	if r.Leader.NodeID >= 0 || len(r.Entries) > 0 {
		o.status.LastContact = o.opts.Clock.Now()
	}
	o.mu.Unlock()
	if r.Leader.NodeID < 0 && len(r.Entries) == 0 {
		return errors.New("it knows of no leader"), nil
	}
	o.failures = 0
	return nil, nil
}

func (o *Observer) apply(e nodewire.PullEntry) error {
	var change raftpb.ConfChangeI
	switch raftpb.EntryType(e.Type) {
	case raftpb.EntryNormal:
		if len(e.Data) == 0 {
			return nil
		}
		b, err := decodeAt(e.Index, bytes.Clone(e.Data), o.end) // the answer's bytes are its own
		if err != nil {
			return err
		}
		o.end = b.End()
		if o.hooks.Records == nil {
			return nil
		}
		return o.hooks.Records(b)
	case raftpb.EntryConfChange:
		change = &raftpb.ConfChange{}
	case raftpb.EntryConfChangeV2:
		change = &raftpb.ConfChangeV2{}
	default:
		return fmt.Errorf("%w: entry of type %d", ErrVersion, e.Type)
	}
	if err := proto.Unmarshal(e.Data, change.(proto.Message)); err != nil {
		return fmt.Errorf("%w: change of membership: %w", ErrCorrupt, err)
	}
	members, err := changeMembers(o.Status().Members, change.AsV2())
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.status.Members, o.status.Voters = members, changeVoters(o.status.Voters, change.AsV2())
	o.mu.Unlock()
	return nil
}

// changeVoters carries out a change of single members.
func changeVoters(voters []uint64, c *raftpb.ConfChangeV2) []uint64 {
	for _, ch := range c.GetChanges() {
		t := ch.GetType()
		if t == raftpb.ConfChangeUpdateNode {
			continue
		}
		voters = slices.DeleteFunc(slices.Clone(voters), func(v uint64) bool { return v == ch.GetNodeId() })
		if t == raftpb.ConfChangeAddNode {
			voters = append(voters, ch.GetNodeId())
		}
	}
	return voters
}

// takePart adds a part of a snapshot, and restores the state from a whole one.
func (o *Observer) takePart(p *nodewire.SnapshotResponse) (err, fatal error) {
	if p.ErrorCode != 0 || p.Index != o.snapshot || len(p.Data) == 0 || int64(len(o.file)+len(p.Data)) > p.Size {
		return fmt.Errorf("snapshot %d: code %d, %d bytes at %d of %d", o.snapshot, p.ErrorCode, len(p.Data), len(o.file), p.Size), nil
	}
	o.file = append(o.file, p.Data...)
	if int64(len(o.file)) < p.Size {
		return nil, nil
	}
	file, index := o.file, o.snapshot
	o.file, o.snapshot = nil, 0
	// Whole and sound before anything of it counts.
	r, err := newSnapshotReader(bytes.NewReader(file))
	if err == nil && r.meta.Index != index {
		err = fmt.Errorf("%w: snapshot of entry %d", errFrame, r.meta.Index)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err != nil {
		return err, nil
	}
	return nil, o.restore(file)
}

func (o *Observer) restore(file []byte) error {
	r, err := newSnapshotReader(bytes.NewReader(file))
	if err != nil {
		return err
	}
	h, err := readSnapshotHead(r)
	if err != nil {
		return corrupt(err)
	}
	if o.hooks.Restore != nil {
		if err := o.hooks.Restore(h.last, h.timestamp, records(r)); err != nil {
			return err
		}
	}
	o.end, o.term = h.last+1, r.meta.Term
	o.mu.Lock()
	o.status.Applied, o.status.End, o.status.Members = r.meta.Index, o.end, r.meta.Members
	o.status.Voters = r.meta.Conf.GetVoters()
	o.status.LastContact = o.opts.Clock.Now()
	o.mu.Unlock()
	return nil
}
