package node

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
	"github.com/leat-stream/leat/internal/quorum"
)

// doubtEvery is how often a voter in doubt about its log asks who leads.
const doubtEvery = 500 * time.Millisecond

// doubted is told when the voter was sent a heartbeat that only fits a log with more in it.
// It stops for good if that is true, which one frame must not bring about: others are asked
// who leads, and the leader what it knows to be synced here.
func (m *metadataLog) doubted() { m.n.tasks.post(m.doubtLater) }

func (m *metadataLog) doubtLater() {
	if m.asking {
		return
	}
	m.asking = true
	m.n.complaints.Warn("doubt", "a heartbeat tells of more than the metadata log holds: its leader is asked what was there")
	m.askAbout()
}

func (m *metadataLog) askAbout() {
	l := m.log.Load()
	if l == nil || m.n.opt.Caller == nil || l.Node().Err() != nil || l.Node().Status().Doubted == 0 {
		m.asking = false
		return
	}
	asked := map[string]bool{"": true, m.n.opt.Controllers: true}
	for _, address := range whoKnows(l.Node().Status(), l.Node().ID(), m.n.former.told()) {
		m.n.opt.Caller.Call(peer.Target{Node: -1, Address: address}, peer.Control, m.n.introduction(), helloPatience, func(resp kmsg.Response, err error) {
			hello, ok := resp.(*nodewire.HelloResponse)
			if err != nil || !ok || hello.ErrorCode != 0 || hello.ClusterID != m.n.dir.ClusterID() {
				return
			}
			m.n.tasks.post(func() {
				if !asked[hello.Leader.Address] {
					asked[hello.Leader.Address] = true
					m.askLeader(hello.Leader)
				}
			})
		})
	}
	m.n.jobs.after(doubtEvery, func() { m.n.tasks.post(m.askAbout) })
}

// whoKnows are the addresses of who is asked: the other voters, as the quorum's log has them,
// since anybody may say of himself that he is one. A log that has none yet is of a node that
// joins; it asks whom it joined.
func whoKnows(st quorum.Status, self uint64, told []string) (all []string) {
	for _, q := range st.Members {
		if q.ID() != self && q.Address != "" && slices.Contains(st.Voters, q.ID()) {
			all = append(all, q.Address)
		}
	}
	if len(all) == 0 {
		return told
	}
	return all
}

// askLeader asks a node, which answers if it leads the quorum.
func (m *metadataLog) askLeader(leader nodewire.Identity) {
	describeQuorum(m.n.opt.Caller, leader.Address, func(r *kmsg.DescribeQuorumResponse, err error) {
		l := m.log.Load()
		if err != nil || l == nil || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
			return
		}
		p := r.Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.LeaderID != leader.NodeID {
			return
		}
		synced := uint64(0)
		for _, v := range p.CurrentVoters {
			if v.ReplicaID == m.n.id && v.ReplicaDirectoryID == m.n.dir.DirectoryID() && v.LogEndOffset > 0 {
				synced = uint64(v.LogEndOffset) - 1
			}
		}
		l.Node().Told(uint64(max(0, p.LeaderEpoch)), synced)
	})
}

// describeQuorum asks a node about the metadata quorum.
func describeQuorum(caller peer.Caller, address string, done func(*kmsg.DescribeQuorumResponse, error)) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Version = 2
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", []kmsg.DescribeQuorumRequestTopicPartition{{}}
	req.Topics = append(req.Topics, topic)
	caller.Call(peer.Target{Node: -1, Address: address}, peer.Control, req, helloPatience, func(resp kmsg.Response, err error) {
		r, ok := resp.(*kmsg.DescribeQuorumResponse)
		if ok && err == nil {
			err = kerr.ErrorForCode(r.ErrorCode)
		}
		if !ok {
			r = &kmsg.DescribeQuorumResponse{}
		}
		done(r, err)
	})
}
