package forming

import (
	"slices"

	"github.com/leat-stream/leat/internal/nodewire"
)

// introduce is an answer that says who this node is and what it has promised.
func (m *Machine) introduce() *nodewire.HelloResponse {
	resp := &nodewire.HelloResponse{
		From: m.cfg.Self, ClusterID: m.cfg.ClusterID, Promised: m.promise.Ballot, AcceptedAt: m.promise.AcceptedAt, Founding: m.promise.Accepted,
		Leader: nodewire.Identity{NodeID: -1}, FreeNodeID: -1, Software: m.cfg.Software,
	}
	if m.phase == member || m.phase == joined {
		resp.ClusterID, resp.HasLog = m.cluster, true
		resp.Leader, resp.Voters, resp.FreeNodeID = m.known.Leader, m.known.Voters, m.known.FreeNodeID
		if f := resp.Founding; f != nil && f.ClusterID != m.cluster {
			resp.Founding = nil // it came to nothing
		}
	}
	return resp
}

// hello answers one who asks.
func (m *Machine) hello(e Asked) {
	answer := func() { m.do(Answer{e.Token, m.introduce()}) }
	if r := m.objection(e.Req); r != nil {
		resp := m.introduce()
		deny(resp, r)
		m.do(Answer{e.Token, resp})
		return
	}
	if m.phase != seeking {
		answer()
		return
	}
	req := e.Req
	m.round = max(m.round, req.Ballot.Round)
	f := req.Found
	switch {
	case f != nil && f.ClusterID == req.ClusterID: // decided
		// Not once a later ballot has asked: it may have found this founding dead.
		if m.mayAccept(f) && !less(req.Ballot, m.promise.Ballot) && (m.promise.Accepted == nil || equal(m.promise.Accepted, f)) {
			m.found(*f)
		}
	case f != nil:
		if !m.mayAccept(f) || less(req.Ballot, m.promise.Ballot) {
			break
		}
		m.promise.Ballot, m.promise.Accepted, m.promise.AcceptedAt = req.Ballot, f, req.Ballot
		m.save(func() {
			resp := m.introduce()
			resp.Accepted = true
			m.do(Answer{e.Token, resp})
		})
		return
	case req.Ballot.Round > 0 && m.cfg.Voter && less(m.promise.Ballot, req.Ballot):
		m.promise.Ballot = req.Ballot
		m.save(answer)
		return
	case req.ClusterID != "" && slices.Contains(m.order, req.From.Address):
		m.ask(req.From.Address) // it found the cluster that this node waits for
	}
	answer()
}

// mayAccept tells whether a founding names this very node, and is of the nodes that it lists.
func (m *Machine) mayAccept(f *nodewire.Founding) bool {
	return m.cfg.Voter && m.cfg.ClusterID == "" && names(f.Voters, m.cfg.Self) && slices.Equal(slots(f), m.addresses())
}

// objection is why the one who asks cannot be in a cluster with this node.
func (m *Machine) objection(req *nodewire.HelloRequest) *Refusal {
	if m.phase == member || m.phase == joined {
		if req.ClusterID != "" && req.ClusterID != m.cluster {
			return otherCluster(m.cfg.Self, m.cluster, req.ClusterID)
		}
		another := func(n nodewire.Identity) bool {
			return n.NodeID >= 0 && n.NodeID == req.From.NodeID && n.DirectoryID != req.From.DirectoryID
		}
		switch holder := slices.IndexFunc(m.known.Nodes, another); {
		case another(m.cfg.Self):
			return idTaken(m.cfg.Self)
		case m.known.Leader.NodeID < 0 && (holder >= 0 || slices.ContainsFunc(m.known.Voters, another)):
			return noLeader(req.From.NodeID, m.cfg.Self, m.known.Voters)
		case holder >= 0:
			return idTaken(m.known.Nodes[holder])
		}
		return nil
	}
	if ours, theirs := m.addresses(), slices.Sorted(slices.Values(req.Listed)); m.cfg.Voter && req.Voter && m.cfg.Join == "" && !slices.Equal(ours, theirs) {
		return listsDisagree(m.setting(), req.From, m.cfg.Self, theirs, ours)
	}
	return nil
}

func (m *Machine) setting() string {
	if m.cfg.Setting == "" {
		return "controller.quorum.bootstrap.servers"
	}
	return m.cfg.Setting
}
