package forming

import (
	"cmp"
	"slices"
	"time"

	"github.com/leat-stream/leat/internal/nodewire"
)

// Voters decides, on the leader of the metadata quorum, which change of its members is
// due. There are two policies. With a list (controller.quorum.bootstrap.servers names
// several nodes), the nodes of the list are the voters to have. Without one the cluster
// grows by itself: one voter, until two further controllers can be voters; then three.
//
// Invariants:
//
//   - One change at a time, and none after which the voters that are alive would be no
//     majority.
//   - It does not rest at two: from one voter it starts when two candidates have caught
//     up; when the second of them fails in between it takes another, or goes back to one.
//   - A voter's place is given to the same node with an empty disk, or, when it is dead,
//     to another: that one learns first. When it has caught up, the old voter is removed
//     and the new one promoted, in this order: the old one, which is gone, counts no
//     more, so that in between the new one may fail as well. The other way round three
//     of four would have to be there, the new one among them.
//   - What an operator wants is done and kept (Node.Vote): a node that is not to vote loses
//     its vote and is not added again, one that is to vote gets one and is not removed.
//
// Voters remembers times only, so a new leader begins with a new one.
type Voters struct {
	deadSince map[memberKey]time.Time
	twoSince  time.Time // two voters, and no third to be seen
}

// Vote is what an operator said about a node: it is remembered as the dynamic setting
// leat.quorum.voter of the broker.
type Vote int8

const (
	// Auto leaves it to the policy.
	Auto Vote = iota
	// Always: the node is to vote; AddRaftVoter was called for it.
	Always
	// Never: it is not to vote; RemoveRaftVoter was called for it.
	Never
)

// MemberState is a member of the quorum as its leader sees it.
type MemberState struct {
	nodewire.Identity
	Heard time.Time // when the leader heard of it last; the leader of itself: now
	Lag   uint64    // entries that it lacks
}

// Node is a registered node.
type Node struct {
	nodewire.Identity
	Controller bool // process.roles has it
	Live       bool // its broker session lasts, or it is heard of otherwise
	Vote       Vote
}

// View is what the leader knows.
type View struct {
	Self     nodewire.Identity
	Voters   []MemberState
	Learners []MemberState
	Nodes    []Node
	Listed   []string // of the leader's configuration
	Busy     bool     // a change is under way
}

// ChangeKind is what is done to a member.
type ChangeKind int8

// Kinds of a Change.
const (
	AddLearner ChangeKind = iota + 1
	Promote
	RemoveVoter
	RemoveLearner
	UpdateAddress
)

func (k ChangeKind) String() string {
	return [...]string{"none", "add learner", "promote", "remove voter", "remove learner", "update address"}[k]
}

// Change of the members; Why is for the log.
type Change struct {
	Kind ChangeKind
	nodewire.Identity
	Why string
}

const (
	aliveFor = 3 * time.Second  // since a member was heard of
	deadFor  = 30 * time.Second // before a voter's place is given to another node
	backFor  = 15 * time.Second // with two voters and no third, before it goes back to one
	closeLag = 100              // entries; a learner that lacks no more has caught up
	enough   = 3                // voters of a cluster that grows by itself
)

// Step says which change is due; ok is false when none is. It is called again and again,
// about once a second.
func (p *Voters) Step(now time.Time, v View) (c Change, ok bool) {
	s := &state{View: v, now: now, policy: p}
	s.observe()
	if v.Busy || !s.majority(0, nil) {
		return Change{}, false
	}
	for _, rule := range []func() (Change, bool){s.replaced, s.replace, s.wished, s.even, s.address, s.listed, s.grow, s.tidy} {
		if c, ok := rule(); ok {
			return c, true
		}
	}
	return Change{}, false
}

// state is one step.
type state struct {
	View
	now    time.Time
	policy *Voters
}

// memberKey is a member whatever its address.
type memberKey struct {
	node      int32
	directory [16]byte
}

func key(id nodewire.Identity) memberKey { return memberKey{id.NodeID, id.DirectoryID} }

func (s *state) observe() {
	dead := map[memberKey]time.Time{}
	for _, m := range slices.Concat(s.Voters, s.Learners) {
		if s.alive(m) {
			continue
		}
		k := key(m.Identity)
		dead[k] = s.now
		if since, ok := s.policy.deadSince[k]; ok {
			dead[k] = since
		}
	}
	s.policy.deadSince = dead
}

func (s *state) alive(m MemberState) bool {
	return same(m.Identity, s.Self) || !m.Heard.IsZero() && s.now.Sub(m.Heard) < aliveFor
}

// dead tells that a member has been silent for so long that its place may be given away.
func (s *state) dead(m MemberState) bool {
	since, ok := s.policy.deadSince[key(m.Identity)]
	return ok && s.now.Sub(since) >= deadFor
}

// majority tells whether the voters that are alive are a majority of all, when one is
// added (alive) or removed.
func (s *state) majority(add int, without *nodewire.Identity) bool {
	all, alive := add, add
	for _, m := range s.Voters {
		if without != nil && same(m.Identity, *without) {
			continue
		}
		all++
		if s.alive(m) {
			alive++
		}
	}
	return alive > all/2
}

func (s *state) remove(m MemberState, why string) (Change, bool) {
	if same(m.Identity, s.Self) || !s.majority(0, &m.Identity) {
		return Change{}, false
	}
	return Change{RemoveVoter, m.Identity, why}, true
}

// admit brings a node one step nearer to being a voter: as a learner, then, when it has
// caught up, as a voter.
func (s *state) admit(n nodewire.Identity, why string) (Change, bool) {
	if !s.learns(n) {
		return Change{AddLearner, n, why}, true
	}
	if !s.ready(n) || !s.majority(1, nil) {
		return Change{}, false
	}
	return Change{Promote, n, why}, true
}

func (s *state) learner(n nodewire.Identity) *MemberState {
	for i, l := range s.Learners {
		if same(l.Identity, n) {
			return &s.Learners[i]
		}
	}
	return nil
}

func (s *state) learns(n nodewire.Identity) bool { return s.learner(n) != nil }

// ready tells that a node is a learner that could vote at once.
func (s *state) ready(n nodewire.Identity) bool {
	l := s.learner(n)
	return l != nil && s.alive(*l) && l.Lag <= closeLag
}

// voter is the voter of a node id; nil when there is none.
func (s *state) voter(node int32) *MemberState {
	for i, v := range s.Voters {
		if v.NodeID == node {
			return &s.Voters[i]
		}
	}
	return nil
}

func (s *state) votes(n nodewire.Identity) bool {
	return slices.ContainsFunc(s.Voters, func(v MemberState) bool { return same(v.Identity, n) })
}

// replaced removes the old member of a node whose new one votes.
func (s *state) replaced() (Change, bool) {
	for _, old := range s.Voters {
		for _, v := range s.Voters {
			if v.NodeID == old.NodeID && v.DirectoryID != old.DirectoryID && s.alive(v) && !s.alive(old) {
				if c, ok := s.remove(old, "the node votes with another directory"); ok {
					return c, true
				}
			}
		}
	}
	return Change{}, false
}

// replace gives the place of a voter to the same node with another directory.
func (s *state) replace() (Change, bool) {
	for _, n := range s.Nodes {
		old := s.voter(n.NodeID)
		if old == nil || !n.Live || !n.Controller || s.votes(n.Identity) || s.alive(*old) {
			continue
		}
		if c, ok := s.takeOver(*old, n.Identity, "the voter came back with another directory"); ok {
			return c, true
		}
	}
	return Change{}, false
}

// takeOver gives the place of a voter that is gone to a node: as a learner first; then
// the voter goes, and even promotes.
func (s *state) takeOver(old MemberState, n nodewire.Identity, why string) (Change, bool) {
	switch {
	case !s.learns(n):
		return Change{AddLearner, n, why}, true
	case s.ready(n):
		return s.remove(old, why)
	}
	return Change{}, false
}

// wished does what an operator wants of single nodes.
func (s *state) wished() (Change, bool) {
	for _, v := range s.Voters {
		if s.vote(v.NodeID) == Never && len(s.Voters) > 1 && s.majority(0, &v.Identity) {
			return Change{RemoveVoter, v.Identity, "the node is not to vote"}, true
		}
	}
	for _, n := range s.candidates() {
		if s.vote(n.NodeID) == Always {
			if c, ok := s.admit(n, "the node is to vote"); ok {
				return c, true
			}
		}
	}
	return Change{}, false
}

// even promotes a learner that is ready when the number of voters is even: a place is
// free, and it learned for that.
func (s *state) even() (Change, bool) {
	if len(s.Voters)%2 != 0 {
		return Change{}, false
	}
	for _, n := range s.candidates() {
		if s.ready(n) {
			return s.admit(n, "a voter's place is free")
		}
	}
	return Change{}, false
}

// address keeps the addresses of voters.
func (s *state) address() (Change, bool) {
	for _, n := range s.Nodes {
		if v := s.voter(n.NodeID); v != nil && same(v.Identity, n.Identity) && n.Live && n.Address != "" && n.Address != v.Address {
			return Change{UpdateAddress, n.Identity, "the node is reached at another address"}, true
		}
	}
	return Change{}, false
}

// candidates are the nodes that could be voters and are not, in order: those who are
// nearest first.
func (s *state) candidates() []nodewire.Identity {
	var all []nodewire.Identity
	for _, n := range s.Nodes {
		if n.Live && n.Controller && n.Vote != Never && n.Address != "" && s.voter(n.NodeID) == nil {
			all = append(all, n.Identity)
		}
	}
	rank := func(n nodewire.Identity) int {
		switch {
		case s.ready(n):
			return 0
		case s.learns(n):
			return 1
		}
		return 2
	}
	slices.SortFunc(all, func(a, b nodewire.Identity) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.NodeID, b.NodeID))
	})
	return all
}

// listed brings in the nodes of the list.
func (s *state) listed() (Change, bool) {
	if len(s.Listed) < 2 {
		return Change{}, false
	}
	for _, n := range s.candidates() {
		if slices.Contains(s.Listed, n.Address) {
			if c, ok := s.admit(n, "it is in the list of controllers"); ok {
				return c, true
			}
		}
	}
	return Change{}, false
}

// grow brings a cluster without a list to three voters, and gives the places of dead
// ones to others.
func (s *state) grow() (Change, bool) {
	if len(s.Voters) != 2 || len(s.Listed) > 1 {
		s.policy.twoSince = time.Time{}
	}
	if len(s.Listed) > 1 {
		return Change{}, false
	}
	all := s.candidates()
	switch len(s.Voters) {
	case 1:
		return s.start(all)
	case 2:
		return s.leaveTwo(all)
	}
	there := 0
	for _, m := range s.Voters {
		if !s.dead(m) {
			there++
		}
	}
	for _, old := range s.Voters {
		if !s.dead(old) || there >= enough || s.vote(old.NodeID) == Always {
			continue
		}
		for _, n := range all {
			if c, ok := s.takeOver(old, n, "it takes the place of a dead voter"); ok {
				return c, true
			}
		}
	}
	return Change{}, false
}

// byHand tells that an operator has had a hand in who votes.
func (s *state) byHand() bool {
	return slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.Vote != Auto })
}

func (s *state) vote(node int32) Vote {
	for _, n := range s.Nodes {
		if n.NodeID == node {
			return n.Vote
		}
	}
	return Auto
}

// start leaves the one voter: both others learn first, and are promoted one right after
// the other.
func (s *state) start(all []nodewire.Identity) (Change, bool) {
	if len(all) < enough-1 {
		return Change{}, false
	}
	for _, n := range all[:enough-1] {
		if !s.ready(n) {
			if s.learns(n) {
				return Change{}, false
			}
			return s.admit(n, "the quorum grows to three")
		}
	}
	return s.admit(all[0], "the quorum grows to three")
}

// leaveTwo goes on to three, with whoever is nearest, or back to one.
func (s *state) leaveTwo(all []nodewire.Identity) (Change, bool) {
	for _, n := range all {
		if c, ok := s.admit(n, "the quorum grows to three"); ok {
			s.policy.twoSince = time.Time{}
			return c, true
		}
	}
	if s.byHand() {
		return Change{}, false // an operator made them two
	}
	if s.policy.twoSince.IsZero() {
		s.policy.twoSince = s.now
	}
	if s.now.Sub(s.policy.twoSince) < backFor {
		return Change{}, false
	}
	for _, m := range s.Voters {
		if c, ok := s.remove(m, "there is no third voter, and two are worse than one"); ok {
			return c, true
		}
	}
	return Change{}, false
}

// tidy lets learners go who will not be voters.
func (s *state) tidy() (Change, bool) {
	for _, l := range s.Learners {
		i := slices.IndexFunc(s.Nodes, func(n Node) bool { return n.NodeID == l.NodeID })
		switch {
		case i >= 0 && s.Nodes[i].Live && s.Nodes[i].DirectoryID != l.DirectoryID:
			return Change{RemoveLearner, l.Identity, "the node has another directory"}, true
		case i >= 0 && s.Nodes[i].Vote == Never:
			return Change{RemoveLearner, l.Identity, "the node is not to vote"}, true
		case s.dead(l):
			return Change{RemoveLearner, l.Identity, "it is dead"}, true
		}
	}
	return Change{}, false
}
