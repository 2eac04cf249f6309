package sim

import (
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/quorum"
)

// voter is a node that has a metadata log of its own.
type voter interface {
	Voter() (id uint64, st quorum.Status, ok bool)
}

// promise is what a member of the metadata quorum has told others that it has on disk.
type promise struct {
	term uint64 // the highest
	// vote is whom it gave its vote in voteTerm.
	vote, voteTerm uint64
	// match is the entry up to which its log was that of the leader of matchTerm.
	match, matchTerm uint64
}

// tells looks at messages of a member that leave its node. In a term a member gives one
// vote, and one member leads.
func (v *invariants) tells(req *nodewire.RaftRequest) {
	for _, b := range req.Messages {
		m := &raftpb.Message{}
		if err := proto.Unmarshal(b, m); err != nil {
			v.c.Failf("node %d sends a Raft message that cannot be read: %w", req.From.NodeID, err)
			continue
		}
		switch m.GetType() {
		case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
			if was, ok := v.reigns[m.GetTerm()]; ok && was != m.GetFrom() {
				v.c.Failf("both %x and %x lead the metadata in term %d", was, m.GetFrom(), m.GetTerm())
			}
			v.reigns[m.GetTerm()] = m.GetFrom()
		case raftpb.MsgVoteResp, raftpb.MsgAppResp:
			if !m.GetReject() {
				v.promised(m)
			}
		}
	}
}

func (v *invariants) promised(m *raftpb.Message) {
	p := v.promises[m.GetFrom()]
	if p == nil {
		p = &promise{}
		v.promises[m.GetFrom()] = p
	}
	p.term = max(p.term, m.GetTerm())
	if m.GetType() == raftpb.MsgAppResp {
		p.match, p.matchTerm = m.GetIndex(), m.GetTerm()
		return
	}
	if p.voteTerm == m.GetTerm() && p.vote != m.GetTo() {
		v.c.Failf("%x gives its vote of term %d to %x and to %x", m.GetFrom(), m.GetTerm(), p.vote, m.GetTo())
	}
	p.vote, p.voteTerm = m.GetTo(), m.GetTerm()
}

// keepsPromises looks at a member that has just started: what it has told others in
// earlier lives is still so. In the term in which it agreed with a leader no other leader
// can have had its log cut back.
func (v *invariants) keepsPromises(h *Host) {
	n, ok := h.Process.(voter)
	if !ok {
		return
	}
	id, st, ok := n.Voter()
	if !ok {
		return
	}
	v.voters[h] = h.life
	p := v.promises[id]
	if p == nil {
		return
	}
	switch {
	case st.Term < p.term:
		v.c.Failf("%s starts in term %d of the metadata, and has spoken in %d", h.Name, st.Term, p.term)
	case st.Term == p.voteTerm && st.Vote != p.vote:
		v.c.Failf("%s starts with a vote for %x in term %d, and gave it to %x", h.Name, st.Vote, st.Term, p.vote)
	case st.Term == p.matchTerm && st.Last < p.match:
		v.c.Failf("%s starts with metadata up to entry %d, and told the leader of term %d that it has %d", h.Name, st.Last, st.Term, p.match)
	}
}
