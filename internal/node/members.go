package node

import (
	"errors"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
	"github.com/leat-stream/leat/internal/quorum"
)

// member is one member of the metadata quorum.
type member struct {
	quorum.Member
	Voter bool
}

func identity(m quorum.Member) nodewire.Identity {
	return nodewire.Identity{NodeID: m.NodeID, DirectoryID: m.DirectoryID, Address: m.Address}
}

// member tells whether this node is a member of the quorum, as far as its own log says.
func (m *metadataLog) member() bool {
	l := m.log.Load()
	if l == nil {
		return false
	}
	return slices.ContainsFunc(l.Node().Status().Members, func(q quorum.Member) bool { return q.ID() == l.Node().ID() })
}

// members are those of the quorum, as far as this node knows.
func (m *metadataLog) members() []member {
	l := m.log.Load()
	if l == nil || !m.member() {
		var all []member
		if st := m.observed(); st != nil {
			for _, q := range st.Members {
				all = append(all, member{q, true})
			}
		}
		return all
	}
	st := l.Node().Status()
	var all []member
	for _, q := range st.Members {
		all = append(all, member{q, slices.Contains(st.Voters, q.ID())})
	}
	return all
}

// nodeOf is the node of a Raft id.
func (m *metadataLog) nodeOf(id uint64) (node int32, ok bool) {
	for _, q := range m.members() {
		if q.ID() == id {
			return q.NodeID, true
		}
	}
	for _, who := range m.n.addresses.all() {
		if (quorum.Member{NodeID: who.NodeID, DirectoryID: who.DirectoryID}).ID() == id {
			return who.NodeID, true
		}
	}
	return -1, false
}

// leader is the node whose controller is the active one, as far as this node knows.
func (m *metadataLog) leader() (node int32, known bool) {
	if l := m.log.Load(); l != nil {
		if q := l.Node().Status().LeaderMember; q != nil {
			return q.NodeID, true
		}
	}
	if st := m.observed(); st != nil && st.Leader.NodeID >= 0 {
		return st.Leader.NodeID, true
	}
	if hint := m.hint.Load(); hint != nil && hint.NodeID >= 0 {
		return hint.NodeID, true
	}
	return -1, false
}

// sendRaft sends messages of the Raft library, those to one member in one frame.
func (m *metadataLog) sendRaft(ms []*raftpb.Message) {
	n := m.n
	if n.opt.Caller == nil {
		return
	}
	for len(ms) > 0 {
		to := ms[0].GetTo()
		req := &nodewire.RaftRequest{ClusterID: n.dir.ClusterID(), From: n.self(), To: to}
		rest := ms[:0:0]
		for _, msg := range ms {
			if msg.GetTo() != to {
				rest = append(rest, msg)
				continue
			}
			b, err := proto.Marshal(msg)
			if err != nil {
				n.log.Error("Raft message not sent", "why", err)
				continue
			}
			req.Messages = append(req.Messages, b)
		}
		ms = rest
		if node, ok := m.nodeOf(to); ok {
			n.opt.Caller.Send(peer.Target{Node: node}, peer.Raft, req)
		}
	}
}

// raft takes messages from another member.
func (n *Node) raft(req *nodewire.RaftRequest) error {
	if req.ClusterID != n.dir.ClusterID() {
		return errOtherCluster
	}
	n.addresses.heard(req.From)
	l := n.meta.log.Load()
	if l == nil || l.Node().ID() != req.To {
		return nil // it is for another incarnation
	}
	for _, b := range req.Messages {
		msg := &raftpb.Message{}
		if err := proto.Unmarshal(b, msg); err != nil {
			return err
		}
		l.Node().Step(msg)
	}
	return nil
}

var errOtherCluster = errors.New("the node is of another cluster")
