package quorum

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// ID is this member's Raft id.
func (n *Node) ID() uint64 { return n.id }

// Append adds an entry if this member leads in the term, and returns its index
// before it is committed: Hooks.Commit tells that. ErrNotLeader, ErrBusy and
// ErrTooLarge leave the log without it; after ErrClosed and ErrFailed it is unknown.
// data belongs to the node from then on.
func (n *Node) Append(term uint64, data []byte) (index uint64, err error) {
	if len(data) > MaxEntryBytes {
		return 0, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(data))
	}
	if len(data) == 0 {
		return 0, errors.New("quorum: an entry needs data")
	}
	if aerr := n.do(func(c *core) { index, err = c.propose(term, data) }); aerr != nil {
		return 0, aerr
	}
	return index, err
}

// Step takes a message from another member. When too much is waiting it is lost,
// as the network might have lost it.
func (n *Node) Step(m *raftpb.Message) {
	_ = n.do(func(c *core) { // an error says that the node is ending
		if m.GetType() == raftpb.MsgSnap && n.started && n.announce(c, m) {
			return
		}
		doubted := c.doubted
		if err := c.step(m); err != nil {
			n.fail(err)
		}
		if doubted == 0 && c.doubted != 0 {
			n.calls = append(n.calls, n.opts.Doubted)
		}
	})
}

// Status is what a member knows of the group at one moment.
type Status struct {
	Term, Leader uint64 // of the group; Leader is a Raft id, 0 if unknown
	Vote         uint64 // whom this member gave its vote in the term; 0 for nobody
	Role         string // StateFollower, StateCandidate, StatePreCandidate or StateLeader
	Commit       uint64 // index of the last committed entry
	Applied      uint64 // index of the last entry that the hooks have seen
	First, Last  uint64 // indexes of the synced log
	Snapshot     uint64 // index of the newest snapshot
	LogBytes     int64  // of the entries behind the snapshot
	Doubted      uint64 // the entry that this log seems to have lost; 0 for none
	Voters       []uint64
	Learners     []uint64
	Members      []Member         // voters and learners, by Raft id
	LeaderMember *Member          // nil if unknown
	Progress     []MemberProgress // on the leader of a group of several
}

// Members are the members by Raft id, as far as this one knows: the addresses behind
// the ids of Options.Send.
func (n *Node) Members() []Member { return n.Status().Members }

func (n *Node) publish(c *core) {
	st, conf := c.rn.BasicStatus(), c.conf()
	s := &Status{
		Term: st.GetTerm(), Leader: st.Lead, Vote: st.GetVote(), Role: st.RaftState.String(), Commit: st.GetCommit(), Applied: c.applied,
		First: c.log.base.index + 1, Last: c.log.last(), Snapshot: c.log.snapshot.Index, LogBytes: c.log.since, Doubted: c.doubted,
		Voters: conf.conf.GetVoters(), Learners: conf.conf.GetLearners(), Members: conf.members,
	}
	s.LeaderMember = conf.member(s.Leader)
	if st.RaftState == raft.StateLeader && !c.alone() {
		s.Progress = c.progress()
	}
	old := n.status.Swap(s)
	if old != nil && (old.Leader != s.Leader || old.Term != s.Term) && n.opts.Moved != nil {
		n.calls = append(n.calls, n.opts.Moved)
	}
}

// Status never waits. Its slices must not be changed.
func (n *Node) Status() Status { return *n.status.Load() }

// ReadCommitted returns committed entries of every type from an index on, about
// maxBytes of them and at least one if there is one. ErrCompacted says that the
// caller needs a snapshot first. The data must not be changed.
func (n *Node) ReadCommitted(from uint64, maxBytes int) (es []Entry, err error) {
	aerr := n.do(func(c *core) {
		commit := c.readable()
		if from > commit {
			return
		}
		var raw []*raftpb.Entry
		raw, err = c.log.Entries(from, commit+1, uint64(max(0, maxBytes)))
		for _, e := range raw {
			es = append(es, Entry{e.GetIndex(), e.GetTerm(), e.GetType(), e.GetData()})
		}
	})
	if aerr != nil {
		return nil, aerr
	}
	if errors.Is(err, raft.ErrCompacted) {
		return nil, ErrCompacted
	}
	return es, err
}

// OpenSnapshot opens the newest snapshot.
func (n *Node) OpenSnapshot() (*SnapshotFile, error) {
	f, _, err := n.view(0)
	return f, err
}

// view opens the newest snapshot together with the synced and unsynced entries that
// follow it, if the member leads in the term (0: in any case, without entries).
func (n *Node) view(term uint64) (f *SnapshotFile, es []*raftpb.Entry, err error) {
	for {
		var index uint64
		aerr := n.do(func(c *core) {
			index = c.log.snapshot.Index
			if term != 0 {
				es, err = c.tail(term)
			}
		})
		if aerr != nil {
			return nil, nil, aerr
		}
		if err != nil {
			return nil, nil, err
		}
		f, err = openSnapshot(n.opts.FS, n.opts.Dir, index)
		if !errors.Is(err, fs.ErrNotExist) || n.Status().Snapshot == index {
			return f, es, err
		}
		// It was replaced twice since: take the newer one.
	}
}

// TakeSnapshot writes the state at an applied index, as write puts it out, and lets
// the log behind it go. It does nothing if there is one as new already. It may run
// on any goroutine but not within a hook's caller's lock; one runs at a time.
func (n *Node) TakeSnapshot(index uint64, write func(io.Writer) error) error {
	n.snapshots.Lock()
	defer n.snapshots.Unlock()
	var m SnapshotMeta
	var ok bool
	var err error
	if aerr := n.do(func(c *core) { m, ok, err = c.snapshotMeta(index) }); aerr != nil {
		return aerr
	}
	if err != nil || !ok {
		return err
	}
	err = saveSnapshot(n.opts.FS, n.opts.Dir, index, func(w io.Writer) error { return encodeSnapshot(w, m, write) })
	if failedSync(err) { // the next one would succeed, and tell nothing (decision D6)
		n.fail(fmt.Errorf("metadata snapshot: %w", err))
	}
	if err != nil {
		return err
	}
	return n.do(func(c *core) {
		if compact, ok := c.snapshotted(m); ok {
			n.writes = append(n.writes, diskJob{compact: compact, newest: m.Index})
		}
	})
}
