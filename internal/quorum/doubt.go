package quorum

import (
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/mutant"
)

// A leader never tells a member of a commit beyond what that member said that it has
// synced. One that hears of such a commit has lost the end of its log, or somebody lies:
// whoever reaches the member can send a frame. So it is in doubt, until it has heard from the
// leader, at an address that it knows, what that leader has been told of it (Told).
//
// In doubt it takes no message, gives no vote and asks for none: it may have forgotten what it
// said. That must not last when the leader is dead and its vote is wanted for another. What
// it forgot it said before it started; the leader who was told is heard from at once, or over.
// So a member that has followed a leader for a while is sound: it goes on, and only asks.

// soundAfter is for how many election timeouts a member must have followed a leader. A single
// message makes it follow somebody for less than two.
const soundAfter = 3

// tickSound counts the time under a leader. Who was elected itself has nobody to ask, and all
// that a majority has.
func (c *core) tickSound() {
	st := c.rn.BasicStatus()
	if st.RaftState == raft.StateLeader {
		c.doubted = 0
	}
	if st.Lead == raft.None {
		c.followed = 0
	} else if c.followed++; c.followed >= soundAfter*c.opts.electionTicks {
		c.sound = true
	}
}

// suspended tells whether the member takes no part.
func (c *core) suspended() bool {
	return c.doubted != 0 && !c.sound && !mutant.On("quorum/doubts-and-votes")
}

// forgotten takes a heartbeat that tells of more than the log holds.
func (c *core) forgotten(m *raftpb.Message) error {
	if !c.opts.asks {
		return lostLog(m.GetCommit(), c.last)
	}
	if c.rn.BasicStatus().RaftState == raft.StateLeader {
		return nil // a leader of a later term will be heard again, once this one has stepped down
	}
	c.doubted = m.GetCommit()
	return nil
}

func lostLog(synced, last uint64) error {
	return fmt.Errorf("%w: entry %d was synced here, the log ends at %d", ErrLostLog, synced, last)
}

// told ends the doubt; an error says that it was right. What a leader was told in a term that
// is over may have been replaced since.
func (c *core) told(term, synced uint64) error {
	if c.doubted == 0 || term < c.rn.BasicStatus().GetTerm() {
		return nil
	}
	if synced > c.last {
		return lostLog(synced, c.last)
	}
	c.doubted = 0
	return nil
}

// Told takes the word of the one that leads in a term, about a member in doubt: that this
// one has said in it to have synced its log up to an entry.
func (n *Node) Told(term, synced uint64) {
	_ = n.do(func(c *core) { // an error says that the node is ending
		if err := c.told(term, synced); err != nil {
			n.fail(err)
		}
	})
}
