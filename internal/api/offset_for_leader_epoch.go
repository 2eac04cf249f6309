package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetForLeaderEpoch, key 23: where a leader epoch ended, by which consumers and
// followers find out that a log was truncated (KIP-101, KIP-320).
var _ = register(Handler{
	Key:   kmsg.OffsetForLeaderEpoch,
	Early: true,
	Needs: []Need{
		{kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic},
		{kmsg.ACLOperationClusterAction, kmsg.ACLResourceTypeCluster}, // of brokers
	},
	Handle: handleOffsetForLeaderEpoch,
})

func handleOffsetForLeaderEpoch(s *Server, r *Request) {
	req := r.Msg.(*kmsg.OffsetForLeaderEpochRequest)
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	// Brokers may ask for every topic.
	broker := req.ReplicaID >= 0 && s.onCluster(r, kmsg.ACLOperationClusterAction)
	for i := range req.Topics {
		in := &req.Topics[i]
		out := kmsg.NewOffsetForLeaderEpochResponseTopic()
		out.Topic = in.Topic
		allowed := broker || s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, in.Topic)
		for j := range in.Partitions {
			ask := &in.Partitions[j]
			p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			p.Partition, p.LeaderEpoch, p.EndOffset = ask.Partition, -1, -1
			var err *kerr.Error
			if !allowed {
				err = kerr.TopicAuthorizationFailed
			} else if part, missing := s.partition(in.Topic, ask.Partition); missing != nil {
				err = missing
			} else {
				p.LeaderEpoch, p.EndOffset, err = part.EpochEnd(ask.LeaderEpoch, ask.CurrentLeaderEpoch)
			}
			if err != nil {
				p.ErrorCode = err.Code
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	r.Reply(resp)
}
