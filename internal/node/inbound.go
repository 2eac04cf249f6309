package node

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/nodewire"
)

// fromNode answers the requests between nodes that Kafka has no message for.
func (n *Node) fromNode(r *api.Request, req kmsg.Request) {
	switch req := req.(type) {
	case *nodewire.HelloRequest:
		n.hello(r, req)
	case *nodewire.RaftRequest:
		if err := n.raft(req); err != nil {
			n.complaints.Warn("raft messages", "messages of another node not taken", "node", req.From.NodeID, "address", req.From.Address, "why", err)
			r.Hangup()
			return
		}
		r.ReplyNone()
	case *nodewire.PullRequest:
		n.pull(r, req)
	case *nodewire.SnapshotRequest:
		n.snapshot(r, req)
	case *nodewire.LostRequest:
		n.replicasLost(r, req)
	default:
		r.Hangup()
	}
}

// replicasLost takes another node's word that replicas of its are not to be believed.
func (n *Node) replicasLost(r *api.Request, req *nodewire.LostRequest) {
	resp := &nodewire.LostResponse{}
	if resp.ErrorCode = n.ours(req.ClusterID); resp.ErrorCode != 0 {
		r.Reply(resp)
		return
	}
	ask := &metadata.ReplicasLost{BrokerID: req.NodeID, BrokerEpoch: req.BrokerEpoch}
	for _, p := range req.Replicas {
		ask.Partitions = append(ask.Partitions, metadata.TopicPartition{TopicID: p.TopicID, Partition: p.Partition})
	}
	n.meta.here(ask, func(body any, err error) {
		reply, ok := body.(*metadata.ReplicasLostReply)
		if resp.ErrorCode = controlCode(body, err, ok); ok && err == nil {
			resp.ErrorCode = reply.ErrorCode
			for _, tp := range reply.Kept {
				resp.Kept = append(resp.Kept, nodewire.LostReplica{TopicID: tp.TopicID, Partition: tp.Partition})
			}
		}
		r.Reply(resp)
	})
}

// ours refuses a node of another cluster.
func (n *Node) ours(cluster string) int16 {
	if cluster != n.dir.ClusterID() {
		return kerr.InconsistentClusterID.Code
	}
	return 0
}

// controlCode is what the controller's outcome is on the wire.
func controlCode(body any, err error, ok bool) int16 {
	if why, bad := body.(error); bad && err == nil {
		err = why
	}
	var known *kerr.Error
	switch {
	case err == nil && ok:
		return 0
	case errors.As(err, &known):
		return known.Code
	case errors.Is(err, machine.ErrTimeout):
		return kerr.RequestTimedOut.Code
	}
	return kerr.NotController.Code
}
