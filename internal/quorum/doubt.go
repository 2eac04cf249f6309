package quorum

import (
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// A leader never tells a member of a commit beyond what that member said that it has
// synced. One that hears of such a commit has lost the end of its log, or somebody lies:
// whoever reaches the member can send a frame. So it is in doubt: it takes no message, gives
// no vote and asks for none, until it has heard from the leader, at an address that it knows,
// what that leader has been told of it (Told).

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

// told ends the doubt; an error says that it was right.
func (c *core) told(synced uint64) error {
	if c.doubted == 0 {
		return nil
	}
	if synced > c.last {
		return lostLog(synced, c.last)
	}
	c.doubted = 0
	return nil
}

// Told takes the word of the one that leads, about a member in doubt: that this one has
// said to have synced its log up to an entry.
func (n *Node) Told(synced uint64) {
	_ = n.do(func(c *core) { // an error says that the node is ending
		if err := c.told(synced); err != nil {
			n.fail(err)
		}
	})
}
