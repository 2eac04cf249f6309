package node

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/quorum"
)

// membership shows the metadata quorum to clients, and changes it when one asks.
type membership struct{ n *Node }

var _ api.Quorum = membership{}

// Describe tells who the members are. Offsets are those of entries of the Raft log.
func (q membership) Describe() (state api.QuorumState, leads bool) {
	n, now := q.n, q.n.clock.Now()
	m := n.meta
	l := m.log.Load()
	if l == nil || !m.leads() || l.Node().Status().LeaderMember == nil {
		state.Leader = -1
		if leader, known := m.leader(); known {
			state.Leader = leader
		} else if since := m.leaderless.Load(); since != nil {
			state.Leaderless = now.Sub(*since)
		}
		for _, v := range m.members() {
			if v.Voter {
				state.Voters = append(state.Voters, api.QuorumMember{NodeID: v.NodeID, DirectoryID: v.DirectoryID, Address: v.Address, LogEnd: -1})
			}
		}
		return state, false
	}
	st := l.Node().Status()
	state = api.QuorumState{Leader: st.LeaderMember.NodeID, Epoch: int32(st.Term), HighWatermark: int64(st.Commit) + 1}
	members := map[nodewire.Identity]bool{}
	for _, p := range progressOf(st, now) {
		members[nodewire.Identity{NodeID: p.Member.NodeID, DirectoryID: p.Member.DirectoryID}] = true
		out := api.QuorumMember{
			NodeID: p.Member.NodeID, DirectoryID: p.Member.DirectoryID, Address: p.Member.Address,
			LogEnd: int64(p.Match) + 1, LastFetch: p.LastContact, CaughtUp: p.LastCaughtUp,
		}
		if p.LastContact.IsZero() {
			out.LogEnd = -1
		}
		if p.Voter {
			state.Voters = append(state.Voters, out)
		} else {
			state.Observers = append(state.Observers, out)
		}
	}
	for _, p := range n.present.all() {
		if !members[nodewire.Identity{NodeID: p.NodeID, DirectoryID: p.DirectoryID}] && p.shown(n.Image(), now) {
			state.Observers = append(state.Observers, api.QuorumMember{
				NodeID: p.NodeID, DirectoryID: p.DirectoryID, Address: p.Address, LogEnd: int64(p.applied) + 1, LastFetch: p.at, CaughtUp: p.caughtUp,
			})
		}
	}
	slices.SortFunc(state.Observers, func(a, b api.QuorumMember) int { return int(a.NodeID) - int(b.NodeID) })
	return state, true
}

// Change makes one change that a client asks for.
func (q membership) Change(c api.VoterChange, done func(error)) {
	q.n.tasks.post(func() { q.n.changeVoters(c, done) })
}

// refused is an error that a client is told, with its own words.
type refused struct {
	kind *kerr.Error
	text string
}

func (r *refused) Error() string { return r.text }
func (r *refused) Unwrap() error { return r.kind }

func refuse(kind *kerr.Error, format string, args ...any) error {
	return &refused{kind, fmt.Sprintf(format, args...)}
}

const (
	// catchUpPatience is how long a new voter may take when the client does not say.
	catchUpPatience = 30 * time.Second
	// changePause is the wait before a change that is not possible yet is tried again.
	changePause = 100 * time.Millisecond
)

// changeVoters makes a change: first it is kept in the metadata what the operator wants,
// so that no later leader undoes it, then the members are changed.
func (n *Node) changeVoters(c api.VoterChange, done func(error)) {
	l := n.meta.log.Load()
	if l == nil || !n.meta.leads() {
		done(machine.ErrNotLeader)
		return
	}
	st := l.Node().Status()
	if err := n.mayChange(c, st); err != nil {
		done(err)
		return
	}
	if n.voting.asked {
		done(refuse(kerr.RequestTimedOut, "another change of the voters is under way"))
		return
	}
	n.voting.asked = true
	patience := catchUpPatience
	if c.Timeout > 0 {
		patience = c.Timeout
	}
	x := &voterChange{n: n, VoterChange: c, done: done, deadline: n.clock.Now().Add(patience),
		member: quorum.Member{NodeID: c.NodeID, DirectoryID: c.DirectoryID, Address: c.Address}}
	x.before = n.Image().Config(metadata.ResourceBroker, strconv.Itoa(int(c.NodeID)))[string(config.LeatQuorumVoter)]
	x.begin(st)
}

// mayChange refuses what can never be done.
func (n *Node) mayChange(c api.VoterChange, st quorum.Status) error {
	var holder *quorum.Member
	for i, m := range st.Members {
		if m.NodeID == c.NodeID && slices.Contains(st.Voters, m.ID()) {
			holder = &st.Members[i]
			if m.DirectoryID == c.DirectoryID {
				break
			}
		}
	}
	switch {
	case c.Kind == api.AddVoter && holder != nil:
		return refuse(kerr.DuplicateVoter, "node %d is a voter already, with directory %s", c.NodeID, metadata.UUIDString(holder.DirectoryID))
	case c.Kind != api.AddVoter && (holder == nil || holder.DirectoryID != c.DirectoryID):
		return refuse(kerr.VoterNotFound, "node %d with directory %s is no voter", c.NodeID, metadata.UUIDString(c.DirectoryID))
	case c.Kind == api.RemoveVoter && len(st.Voters) == 1:
		return refuse(kerr.InvalidRequest, "node %d is the last voter", c.NodeID)
	}
	return nil
}

// voterChange is a change under way. It belongs to the node's tasks.
type voterChange struct {
	n *Node
	api.VoterChange
	member   quorum.Member
	deadline time.Time
	before   string // the setting of the node before the change, "" when there was none
	done     func(error)
}

func (x *voterChange) begin(st quorum.Status) {
	switch x.Kind {
	case api.UpdateVoter:
		x.try(quorum.UpdateAddress, x.end)
	case api.RemoveVoter:
		x.keep("never", func(err error) { x.unless(err, func() { x.try(quorum.RemoveVoter, x.end) }) })
	case api.AddVoter:
		learns := slices.ContainsFunc(st.Members, func(m quorum.Member) bool { return m.ID() == x.member.ID() })
		x.keep("always", func(err error) { x.unless(err, func() { x.learn(learns) }) })
	}
}

// learn brings the new voter up to date, then gives it its vote.
func (x *voterChange) learn(learns bool) {
	promote := func() {
		if x.Early {
			x.answer(nil)
		}
		x.try(quorum.Promote, x.end)
	}
	if learns {
		promote()
		return
	}
	x.try(quorum.AddLearner, func(err error) { x.unless(err, promote) })
}

func (x *voterChange) unless(err error, then func()) {
	if err != nil {
		x.end(err)
		return
	}
	then()
}

// try makes one change of the members, when it is possible, until the deadline.
func (x *voterChange) try(kind quorum.ChangeKind, then func(error)) {
	x.n.change(quorum.Change{Kind: kind, Member: x.member}, func(err error) {
		again := errors.Is(err, quorum.ErrChanging) || errors.Is(err, quorum.ErrBusy) || errors.Is(err, quorum.ErrNotCaughtUp) || errors.Is(err, quorum.ErrNoMajority)
		switch {
		case again && x.n.clock.Now().Add(changePause).Before(x.deadline):
			x.n.jobs.after(changePause, func() { x.n.tasks.post(func() { x.try(kind, then) }) })
		case again:
			then(refuse(kerr.RequestTimedOut, "the voters were not changed in time: %v", err))
		case errors.Is(err, quorum.ErrNotLeader):
			then(machine.ErrNotLeader)
		default:
			then(err)
		}
	})
}

// keep writes what the operator wants of the node; "" takes it back.
func (x *voterChange) keep(vote string, then func(error)) {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(x.NodeID))
	s := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	s.Name, s.Value = string(config.LeatQuorumVoter), &vote
	if vote == "" {
		s.Op, s.Value = kmsg.IncrementalAlterConfigOpDelete, nil
	}
	r.Configs = append(r.Configs, s)
	req.Resources = append(req.Resources, r)
	x.n.meta.here(&metadata.Request{Req: req}, func(body any, err error) {
		if why, bad := body.(error); bad && err == nil {
			err = why
		}
		if resp, ok := body.(*kmsg.IncrementalAlterConfigsResponse); ok && err == nil && len(resp.Resources) == 1 {
			err = kerr.ErrorForCode(resp.Resources[0].ErrorCode)
		}
		if errors.Is(err, kerr.BrokerIDNotRegistered) {
			err = nil // nothing keeps settings of a node that nobody knows
		}
		x.n.tasks.post(func() { then(err) })
	})
}

// end answers. What was refused leaves no trace; a leader that lost its office cannot
// tell, and the next one is asked again.
func (x *voterChange) end(err error) {
	finish := func() {
		x.n.voting.asked = false
		x.answer(err)
	}
	if err == nil || errors.Is(err, machine.ErrNotLeader) || x.Kind == api.UpdateVoter {
		finish()
		return
	}
	x.keep(x.before, func(error) { finish() })
}

func (x *voterChange) answer(err error) {
	if x.done != nil {
		done := x.done
		x.done = nil
		done(err)
	}
}
