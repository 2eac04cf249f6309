package quorum

import (
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// TestHintIsOfTheEntryCommitted: a vote is refused, and before that is on disk a new leader
// replaces an entry and has it committed. The refusal must not say that the one is committed
// which is still on the disk: who asked may have that, and would carry it out.
func TestHintIsOfTheEntryCommitted(t *testing.T) {
	disk := newDisk(t)
	var voters []Member
	for i := range 5 {
		voters = append(voters, simMember(i))
	}
	if err := bootstrap(disk, crashDir, voters); err != nil {
		t.Fatal(err)
	}
	id := func(i int) *uint64 { return proto.Uint64(voters[i].ID()) }
	st, r, err := openStore(disk, crashDir, *id(0), 4096)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCore(*id(0), r, coreOptions{electionTicks: 10, heartbeatTicks: 1, logger: raftLogger{discard}})
	if err != nil {
		t.Fatal(err)
	}
	ready := func() (d duties) {
		t.Helper()
		if d, err = c.ready(); err != nil {
			t.Fatal(err)
		}
		return d
	}
	persist := func(ms []*raftpb.Message) (sent []*raftpb.Message) {
		t.Helper()
		for len(ms) > 0 {
			if err := errors.Join(st.write([]write{writeOf(ms[0])}), c.persisted(ms[0])); err != nil {
				t.Fatal(err)
			}
			d := ready()
			ms, sent = append(ms[1:], d.writes...), append(sent, d.sends...)
		}
		return sent
	}
	step := func(m *raftpb.Message) duties {
		t.Helper()
		if err := c.step(m); err != nil {
			t.Fatal(err)
		}
		return ready()
	}
	first, term := c.last+1, c.log.base.term
	persist(ready().writes)
	persist(step(message(raftpb.MsgApp, func(m *raftpb.Message) {
		m.From, m.To, m.Term, m.Index, m.LogTerm = id(1), id(0), proto.Uint64(5), proto.Uint64(first-1), &term
		m.Entries = entries(first, 5, first+1, 5)
	})).writes)
	for range 10 { // the lease of that leader is over
		c.tick()
	}
	persist(ready().writes)
	refused := step(message(raftpb.MsgPreVote, func(m *raftpb.Message) {
		m.From, m.To, m.Term, m.Index, m.LogTerm = id(2), id(0), proto.Uint64(c.rn.BasicStatus().GetTerm()+1), proto.Uint64(first), proto.Uint64(5)
	})).writes
	replaced := step(message(raftpb.MsgApp, func(m *raftpb.Message) {
		m.From, m.To, m.Term, m.Index, m.LogTerm, m.Commit = id(3), id(0), proto.Uint64(9), proto.Uint64(first-1), &term, &first
		m.Entries = entries(first, 9)
	})).writes
	var hint *raftpb.Message
	for _, m := range persist(refused) {
		if m.GetType() == raftpb.MsgPreVoteResp && m.GetReject() {
			hint = m
		}
	}
	if hint == nil || hint.GetCommit() != first || hint.GetLogTerm() != 9 {
		t.Errorf("entry %d of term 9 is committed, told %v", first, hint)
	}
	persist(replaced)
	if err := st.close(); err != nil {
		t.Fatal(err)
	}
}
