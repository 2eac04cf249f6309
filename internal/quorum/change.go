package quorum

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"
)

// ChangeKind says what becomes of a member.
type ChangeKind int8

const (
	// AddLearner adds a member without a vote, which the leader brings up to date.
	AddLearner ChangeKind = iota
	// Promote gives a learner that has caught up a vote.
	Promote
	// RemoveVoter removes a voter, or a learner.
	RemoveVoter
	// UpdateAddress notes that a member is reached at another address.
	UpdateAddress
)

// Change is one change of membership.
type Change struct {
	Kind   ChangeKind
	Member Member
}

// Change changes the membership, if this member leads and no other change is under
// way. done is called once, on the hooks' loop when the change is committed and applied
// here, or with why it was not made. ErrNotLeader may also say that leadership was lost
// while the change was under way, and ErrClosed and ErrFailed that the node ended: what
// became of it is unknown then.
func (n *Node) Change(ch Change, done func(error)) {
	err := ErrClosed
	ended := n.do(func(c *core) { err = c.startChange(ch, done) })
	if err == nil {
		return // done is kept
	}
	if ended != nil {
		err = ended
	}
	done(err)
}

// memberState is what a core keeps of its members beside the library.
type memberState struct {
	contacts map[uint64]*contact // while it leads
	removed  map[uint64]uint64   // members that an entry removed, as far back as the log goes
	change   *change             // under way
}

// contact is what a leader saw of a member.
type contact struct {
	at       time.Time // of the last message
	caughtUp time.Time // the last time at which it had all that the leader had
	last     uint64    // the leader's last entry at the time of the last message
	match    uint64
}

type change struct {
	index, term uint64
	done        func(error)
}

// heard notes a message of a member, as a leader. A member that has reached what the
// leader had when it was last heard was caught up at that time, as in Kafka.
func (c *core) heard(from uint64) {
	if c.rn.BasicStatus().RaftState != raft.StateLeader {
		return
	}
	c.rn.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		if id != from {
			return
		}
		k := c.members.contacts[id]
		if k == nil {
			k = &contact{last: c.last}
			c.members.contacts[id] = k
		}
		switch k.match = p.Match; {
		case p.Match >= c.last:
			k.caughtUp = c.now
		case p.Match >= k.last && k.at.After(k.caughtUp):
			k.caughtUp = k.at
		}
		k.at, k.last = c.now, c.last
	})
}

// active tells whether a member was heard within an election timeout.
func (c *core) active(id uint64) bool {
	k := c.members.contacts[id]
	return id == c.id || k != nil && c.now.Sub(k.at) <= c.opts.electionTimeout
}

// caughtUp tells whether it had, within an election timeout, all that the leader had.
func (c *core) caughtUp(id uint64) bool {
	k := c.members.contacts[id]
	return id == c.id || k != nil && c.active(id) && c.now.Sub(k.caughtUp) <= c.opts.electionTimeout
}

// majority tells whether most of the voters are active.
func (c *core) majority(voters []uint64) bool {
	n := 0
	for _, id := range voters {
		if c.active(id) {
			n++
		}
	}
	return 2*n > len(voters)
}

// lost forgets what only a leader knows.
func (c *core) lost() {
	clear(c.members.contacts)
	c.endTransfer(nil)
	c.answerAsking(func(uint64) bool { return true }, ErrNotLeader)
	if ch := c.members.change; ch != nil {
		c.members.change = nil
		c.out.applies = append(c.out.applies, apply{call: ch.done, err: ErrNotLeader})
	}
}

func (c *core) startChange(ch Change, done func(error)) error {
	if c.leading == 0 || c.rn.BasicStatus().RaftState != raft.StateLeader {
		return ErrNotLeader
	}
	if c.members.change != nil {
		return ErrChanging
	}
	if err := c.mayChange(ch); err != nil {
		return err
	}
	types := map[ChangeKind]raftpb.ConfChangeType{
		AddLearner: raftpb.ConfChangeAddLearnerNode, Promote: raftpb.ConfChangeAddNode,
		RemoveVoter: raftpb.ConfChangeRemoveNode, UpdateAddress: raftpb.ConfChangeUpdateNode,
	}
	cc := &raftpb.ConfChange{Type: types[ch.Kind].Enum(), NodeId: new(ch.Member.ID())}
	if ch.Kind == AddLearner || ch.Kind == UpdateAddress {
		cc.Context = appendContext(ch.Member)
	}
	if err := c.rn.ProposeConfChange(cc); err != nil {
		return ErrBusy
	}
	c.last++
	c.members.change = &change{c.last, c.leading, done}
	return nil
}

// mayChange refuses what would take the group's majority away.
func (c *core) mayChange(ch Change) error {
	conf, id := c.conf().conf, ch.Member.ID()
	voter, learner := slices.Contains(conf.GetVoters(), id), slices.Contains(conf.GetLearners(), id)
	switch {
	case len(ch.Member.Address) > maxAddress:
		return ErrTooLarge
	case ch.Kind == AddLearner && len(c.conf().members) >= maxMembers:
		return ErrTooLarge
	case ch.Kind == AddLearner && (voter || learner), ch.Kind == Promote && voter:
		return ErrDuplicateMember
	case ch.Kind != AddLearner && !voter && !learner:
		return ErrUnknownMember
	}
	switch {
	case ch.Kind == Promote && !c.caughtUp(id):
		return ErrNotCaughtUp
	case ch.Kind == Promote && !c.majority(append(slices.Clone(conf.GetVoters()), id)):
		return ErrNoMajority
	case ch.Kind == RemoveVoter && voter:
		rest := slices.DeleteFunc(slices.Clone(conf.GetVoters()), func(v uint64) bool { return v == id })
		if len(rest) == 0 {
			return ErrLastVoter
		}
		if !c.majority(rest) {
			return ErrNoMajority
		}
	}
	return nil
}

// settleChange answers a change whose entry is among the committed ones. The library
// puts an empty entry in its place when an earlier change is not applied yet.
func (c *core) settleChange(es []*raftpb.Entry) {
	ch := c.members.change
	if ch == nil {
		return
	}
	for _, e := range es {
		if e.GetIndex() != ch.index {
			continue
		}
		var err error
		switch {
		case e.GetTerm() != ch.term:
			err = ErrNotLeader
		case e.GetType() == raftpb.EntryNormal:
			err = ErrChanging
		}
		c.members.change = nil
		// Behind the entries, so that whoever waits sees them applied.
		c.settled = append(c.settled, apply{call: ch.done, err: err})
	}
}

// changed keeps what a change means for later messages.
func (c *core) changed(index uint64, ch *raftpb.ConfChangeV2) {
	for _, one := range ch.GetChanges() {
		if one.GetType() == raftpb.ConfChangeRemoveNode {
			c.members.removed[one.GetNodeId()] = index
			delete(c.members.contacts, one.GetNodeId())
		} else {
			delete(c.members.removed, one.GetNodeId())
		}
	}
}

// stale tells whether a message asks for a vote on behalf of a member that was removed,
// and whose log does not reach beyond that: it was not added again since. Everything
// else of a removed member the library ignores: answers by their sender, and what a
// leader sends by its term.
func (c *core) stale(m *raftpb.Message) bool {
	if t := m.GetType(); t != raftpb.MsgVote && t != raftpb.MsgPreVote {
		return false
	}
	at, ok := c.members.removed[m.GetFrom()]
	return ok && m.GetIndex() <= at
}

// admit makes a snapshot fit for a member that it does not know yet: the library takes
// none that does not name the receiver. As a learner it counts for nothing, and the
// entries behind the snapshot say what it really is.
func admit(s *raftpb.Snapshot, to uint64) *raftpb.Snapshot {
	conf := s.GetMetadata().GetConfState()
	if slices.Contains(conf.GetVoters(), to) || slices.Contains(conf.GetLearners(), to) {
		return s
	}
	s = proto.Clone(s).(*raftpb.Snapshot)
	s.Metadata.ConfState.Learners = append(s.Metadata.ConfState.Learners, to)
	return s
}

// MemberProgress is how far a member is, as the leader sees it.
type MemberProgress struct {
	Member Member
	Voter  bool
	Match  uint64 // it has synced the log up to this entry
	// LastContact is when it was last heard, LastCaughtUp when it last had all that the
	// leader had; zero if never in this term. Active is within an election timeout.
	LastContact, LastCaughtUp time.Time
	Active                    bool
}

// progress is that of all members, in the order of conf().
func (c *core) progress() []MemberProgress {
	conf := c.conf()
	ps := make([]MemberProgress, 0, len(conf.members))
	for _, m := range conf.members {
		id := m.ID()
		p := MemberProgress{Member: m, Voter: slices.Contains(conf.conf.GetVoters(), id), Active: c.active(id)}
		if k := c.members.contacts[id]; k != nil {
			p.Match, p.LastContact, p.LastCaughtUp = k.match, k.at, k.caughtUp
		} else if id == c.id {
			p.Match, p.LastContact, p.LastCaughtUp = c.log.last(), c.now, c.now
		}
		ps = append(ps, p)
	}
	return ps
}
