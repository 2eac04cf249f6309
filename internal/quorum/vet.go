package quorum

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// maxTermJump is how far beyond its own a member takes a term. Every term is an election that
// could be won, of two a second at most: nobody misses 2^32 of them, which is 68 years, and a
// frame that names the last of all terms, after which there is no election, changes nothing.
const maxTermJump = 1 << 32

// Vet tells why a message cannot have been written by the member from for this node. The
// library takes what it is given at its word: it panics on what no member can write, and
// takes messages of its own threads from whoever claims to be them.
func (n *Node) Vet(m *raftpb.Message, from uint64) error {
	switch {
	case m.GetFrom() != from || from == n.id || from == raft.None || raft.IsLocalMsgTarget(from):
		return fmt.Errorf("%v of member %016x, sent by member %016x", m.GetType(), m.GetFrom(), from)
	case m.GetTo() != n.id:
		return fmt.Errorf("%v for member %016x, this is %016x", m.GetType(), m.GetTo(), n.id)
	case m.GetTerm() == 0 || len(m.GetResponses()) > 0:
		return fmt.Errorf("%v is not what members send each other", m.GetType())
	}
	// A member that is new knows no term yet, and takes that of the group.
	if own := n.Status().Term; own > 0 && m.GetTerm() > own && m.GetTerm()-own > maxTermJump {
		return fmt.Errorf("%v in term %d, this member is in term %d", m.GetType(), m.GetTerm(), own)
	}
	switch m.GetType() {
	case raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgAppResp,
		raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgTimeoutNow:
		return nil
	case raftpb.MsgApp:
		return vetEntries(m)
	case raftpb.MsgSnap:
		return vetSnapshot(m)
	}
	return fmt.Errorf("%v is not what members send each other", m.GetType())
}

// vetEntries sees that the entries continue the one before them, in the order of terms.
func vetEntries(m *raftpb.Message) error {
	index, term := m.GetIndex(), m.GetLogTerm()
	for _, e := range m.GetEntries() {
		if index++; index == 0 || e.GetIndex() != index || e.GetTerm() == 0 || e.GetTerm() < term || e.GetTerm() > m.GetTerm() {
			return fmt.Errorf("entry %d of term %d does not follow entry %d of term %d, in term %d", e.GetIndex(), e.GetTerm(), index-1, term, m.GetTerm())
		}
		term = e.GetTerm()
		if t := e.GetType(); t < raftpb.EntryNormal || t > raftpb.EntryConfChangeV2 {
			return fmt.Errorf("entry %d has type %d", e.GetIndex(), t)
		}
	}
	return nil
}

// vetSnapshot sees that a snapshot stands for a log and for a group, of which nobody is
// a member twice.
func vetSnapshot(m *raftpb.Message) error {
	at := m.GetSnapshot().GetMetadata()
	conf := at.GetConfState()
	if at.GetIndex() == 0 || at.GetTerm() == 0 || at.GetTerm() > m.GetTerm() || len(conf.GetVoters()) == 0 {
		return fmt.Errorf("a snapshot of entry %d of term %d with %d voters, in term %d", at.GetIndex(), at.GetTerm(), len(conf.GetVoters()), m.GetTerm())
	}
	ids := slices.Concat(conf.GetVoters(), conf.GetLearners())
	slices.Sort(ids)
	if slices.Contains(ids, raft.None) || len(slices.Compact(ids)) != len(conf.GetVoters())+len(conf.GetLearners()) || len(conf.GetVotersOutgoing())+len(conf.GetLearnersNext()) > 0 {
		return fmt.Errorf("a snapshot of entry %d with the members %v", at.GetIndex(), conf)
	}
	return nil
}

// impossible tells whether what this member knows rules a message out: a term has one
// leader, and nobody has synced more of its log than it has.
func (c *core) impossible(m *raftpb.Message) bool {
	st := c.rn.BasicStatus()
	if m.GetTerm() != st.GetTerm() {
		return false
	}
	switch m.GetType() {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap, raftpb.MsgTimeoutNow:
		return st.Lead != raft.None && st.Lead != m.GetFrom()
	case raftpb.MsgAppResp:
		return st.RaftState == raft.StateLeader && !m.GetReject() && m.GetIndex() > c.last
	}
	return false
}
