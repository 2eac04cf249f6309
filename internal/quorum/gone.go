package quorum

import (
	"slices"

	"go.etcd.io/raft/v3"
)

// LeaderGone says that a leader's process has ended, as something outside of Raft can
// tell: nobody listens at its address any more. The others then need not wait until its
// heartbeats are missed. Should it be wrong, an election is lost or leadership moves, and
// nothing else: votes are what they are.
func (n *Node) LeaderGone(leader uint64) {
	_ = n.do(func(c *core) { c.leaderGone(leader) }) // an error says that the node is ending
}

const (
	// impatience is how often a member asks for votes after its leader is gone, before it
	// waits for the election timeout as ever.
	impatience = 3
	// impatientTicks is how much later each voter asks than the one before it, so that
	// they do not compete. The first leaves the others a tick to hear of it, too.
	impatientTicks = 3
)

// impatient is a member whose leader is gone.
type impatient struct {
	left   int // times that it will ask for votes
	ticks  int // until the next
	period int // between them
}

// leaderGone makes a follower forget its leader, so that it grants votes, and asks for
// votes in its turn.
func (c *core) leaderGone(leader uint64) {
	st := c.rn.BasicStatus()
	if st.Lead != leader || leader == raft.None || st.RaftState != raft.StateFollower || leader == c.id {
		return
	}
	if c.rn.ForgetLeader() != nil {
		return
	}
	voters := slices.DeleteFunc(slices.Sorted(slices.Values(c.conf().conf.GetVoters())), func(id uint64) bool { return id == leader })
	turn := slices.Index(voters, c.id)
	if turn < 0 {
		return
	}
	c.impatient = impatient{impatience, 1 + turn*impatientTicks, len(voters) * impatientTicks}
}

// askVotes asks for votes when it is time to; it is called at each tick.
func (c *core) askVotes() {
	i := &c.impatient
	if i.left == 0 {
		return
	}
	if st := c.rn.BasicStatus(); st.Lead != raft.None || st.RaftState == raft.StateLeader || st.RaftState == raft.StateCandidate {
		i.left = 0 // somebody leads, or the library has begun an election
		return
	}
	if i.ticks--; i.ticks > 0 {
		return
	}
	i.left--
	i.ticks = i.period
	_ = c.campaign() // an error says that it may not now
}
