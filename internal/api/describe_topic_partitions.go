package api

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/metadata"
)

// DescribeTopicPartitions, key 75: topics in pages, with eligible leader replicas
// (KIP-966). Topics come by name; a cursor says where to go on.
var _ = register(Handler{
	Key:    kmsg.DescribeTopicPartitions,
	Needs:  []Need{{kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic}},
	Handle: handleDescribeTopicPartitions,
})

func handleDescribeTopicPartitions(s *Server, r *Request) {
	req := r.Msg.(*kmsg.DescribeTopicPartitionsRequest)
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	img := s.Image()
	left := int(min(req.ResponsePartitionLimit, int32(s.Config().Int(config.MaxRequestPartitionSizeLimit))))
	if req.Cursor != nil && req.Cursor.Partition < 0 {
		r.Hangup() // as Kafka answers an unusable cursor: the request is invalid as a whole
		return
	}
	for _, name := range s.pageNames(img, req) {
		t := img.Topic(name)
		out := kmsg.NewDescribeTopicPartitionsResponseTopic()
		out.Topic = kmsg.StringPtr(name)
		switch {
		case !s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, name):
			out.ErrorCode = kerr.TopicAuthorizationFailed.Code
		case metadata.CheckTopicName(name) != nil:
			out.ErrorCode = kerr.InvalidTopicException.Code
		case t == nil:
			out.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		if out.ErrorCode != 0 {
			resp.Topics = append(resp.Topics, out)
			continue
		}
		if left <= 0 {
			resp.NextCursor = cursor(name, 0)
			break
		}
		out.TopicID, out.IsInternal, out.AuthorizedOperations = t.ID, t.Internal(), topicOperations
		first := 0
		if req.Cursor != nil && req.Cursor.Topic == name {
			first = int(req.Cursor.Partition)
		}
		last := min(len(t.Partitions), first+left)
		for i := first; i < last; i++ {
			out.Partitions = append(out.Partitions, topicPartition(img, t.Partitions[i]))
		}
		left -= max(last-first, 0)
		resp.Topics = append(resp.Topics, out)
		if last < len(t.Partitions) {
			resp.NextCursor = cursor(name, int32(last))
			break
		}
	}
	r.Reply(resp)
}

// pageNames lists the names asked for, or all, in order from the cursor on.
func (s *Server) pageNames(img *metadata.Image, req *kmsg.DescribeTopicPartitionsRequest) []string {
	var names []string
	for i := range req.Topics {
		names = append(names, req.Topics[i].Topic)
	}
	if len(req.Topics) == 0 {
		for t := range img.Topics() {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if req.Cursor != nil {
		from, _ := slices.BinarySearchFunc(names, req.Cursor.Topic, strings.Compare)
		names = names[from:]
	}
	return names
}

func cursor(topic string, partition int32) *kmsg.DescribeTopicPartitionsResponseNextCursor {
	c := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	c.Topic, c.Partition = topic, partition
	return &c
}

func topicPartition(img *metadata.Image, p *metadata.Partition) kmsg.DescribeTopicPartitionsResponseTopicPartition {
	out := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
	out.Partition, out.LeaderID, out.LeaderEpoch = p.Index, visibleLeader(img, p), p.LeaderEpoch
	out.Replicas, out.ISR = p.Replicas, p.ISR
	out.EligibleLeaderReplicas, out.LastKnownELR = nonNil(p.ELR()), nonNil(p.LastKnownELR())
	if out.LeaderID < 0 {
		out.ErrorCode = kerr.LeaderNotAvailable.Code
	}
	for _, id := range p.Replicas {
		if !img.Active(id) {
			out.OfflineReplicas = append(out.OfflineReplicas, id)
		}
	}
	return out
}

// nonNil makes an absent list an empty one, where null would mean "not known".
func nonNil(ids []int32) []int32 {
	if ids == nil {
		return []int32{}
	}
	return ids
}
