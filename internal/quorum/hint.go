package quorum

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// A leader that removes itself steps down when it has carried that out, and the others may
// not have heard that its removal is committed: they count it among the voters, and its log
// is longer than theirs, so that it neither gives them its vote nor can be voted for. Hence
// whoever refuses a vote says what it knows to be committed, in fields that the library
// leaves alone: the last committed entry and the term of it.

// send hands a message of the library out.
func (c *core) send(m *raftpb.Message) {
	if t := m.GetType(); (t == raftpb.MsgPreVoteResp || t == raftpb.MsgVoteResp) && m.GetReject() {
		commit := c.rn.BasicStatus().GetCommit()
		if term, ok := c.termOf(commit); ok {
			m.Commit, m.LogTerm = new(commit), new(term)
		}
	}
	c.out.sends = append(c.out.sends, m)
}

// termOf is the term of an entry, as the library has it: what the synced log has in its
// place may be about to be replaced, by entries or a snapshot that are not synced yet.
func (c *core) termOf(index uint64) (uint64, bool) {
	if len(c.incoming) > 0 || index > c.last {
		return 0, false
	}
	if len(c.unsaved) > 0 && index >= c.unsaved[0].GetIndex() {
		i := index - c.unsaved[0].GetIndex()
		if i >= uint64(len(c.unsaved)) {
			return 0, false
		}
		return c.unsaved[i].GetTerm(), true
	}
	term, err := c.log.Term(index)
	return term, err == nil
}

// hinted takes what the refusal of a vote says of committed entries, where nobody else can
// tell. An entry with the same index and the same term is the same, and so is all before it.
func (c *core) hinted(m *raftpb.Message) {
	if t := m.GetType(); t != raftpb.MsgPreVoteResp && t != raftpb.MsgVoteResp || !m.GetReject() {
		return
	}
	st := c.rn.BasicStatus()
	if st.Lead != raft.None || m.GetCommit() <= st.GetCommit() || m.GetCommit() > c.last {
		return
	}
	if term, ok := c.termOf(m.GetCommit()); !ok || term != m.GetLogTerm() {
		return
	}
	// The library hears of commits from leaders alone. Which one is forgotten at once.
	_ = c.rn.Step(&raftpb.Message{
		Type: raftpb.MsgHeartbeat.Enum(), From: m.From, To: new(c.id), Term: new(st.GetTerm()), Commit: new(m.GetCommit()),
	})
	_ = c.rn.ForgetLeader() // refused only where reads go by lease
}
