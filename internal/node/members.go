package node

import (
	"cmp"
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

// known tells whether the node's own log says how the cluster goes on: it began it, or a
// leader has filled it. One that waits to become a member holds nothing. Who the members
// are is known only once what is committed has been applied.
func (m *metadataLog) known() bool {
	l := m.log.Load()
	return l != nil && l.Node().Status().Last > 0
}

// members are those of the quorum, as far as this node knows: by its own log while it
// votes, else by what it observes.
func (m *metadataLog) members() []member {
	members, voters := []quorum.Member(nil), []uint64(nil)
	if st := m.observed(); st != nil && !m.following() {
		members, voters = st.Members, st.Voters
	}
	if l := m.log.Load(); l != nil && len(members) == 0 {
		st := l.Node().Status()
		members, voters = st.Members, st.Voters
	}
	all := make([]member, 0, len(members))
	for _, q := range members {
		all = append(all, member{q, slices.Contains(voters, q.ID())})
	}
	slices.SortFunc(all, func(a, b member) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return all
}

// nodeOf is the node of a Raft id.
func (m *metadataLog) nodeOf(id uint64) (node int32, ok bool) {
	if l := m.log.Load(); l != nil {
		for _, q := range l.Node().Status().Members {
			if q.ID() == id {
				return q.NodeID, true
			}
		}
	}
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

// leader is the node whose controller is the active one, as far as this node knows. A
// voter goes by its own log; the log of another may have lost touch.
func (m *metadataLog) leader() (node int32, known bool) {
	l := m.log.Load()
	if l != nil && m.following() {
		if q := l.Node().Status().LeaderMember; q != nil {
			return q.NodeID, true
		}
	}
	if st := m.observed(); st != nil && st.Leader.NodeID >= 0 {
		return st.Leader.NodeID, true
	}
	if l != nil && slices.Contains(l.Node().Status().Voters, l.Node().ID()) {
		return -1, false
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
	from := quorum.MemberOf(req.From).ID()
	for _, b := range req.Messages {
		msg := &raftpb.Message{}
		if err := proto.Unmarshal(b, msg); err != nil {
			return err
		}
		if err := l.Node().Vet(msg, from); err != nil {
			return err
		}
		l.Node().Step(msg)
	}
	return nil
}

var errOtherCluster = errors.New("the node is of another cluster")
