package api

import (
	"slices"

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
	names, ok := pageNames(img, req)
	if !ok {
		for i := range req.Topics {
			resp.Topics = append(resp.Topics, undescribed(req.Topics[i].Topic, kerr.InvalidRequest))
		}
		r.Reply(resp)
		return
	}
	// A page has room for one partition at least, or nobody would get on.
	left := max(1, int(min(req.ResponsePartitionLimit, int32(s.Config().Int(config.MaxRequestPartitionSizeLimit)))))
	var denied []kmsg.DescribeTopicPartitionsResponseTopic
	for _, name := range names {
		if !s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, name) {
			if len(req.Topics) > 0 {
				denied = append(denied, undescribed(name, kerr.TopicAuthorizationFailed))
			}
			continue
		}
		if left == 0 {
			resp.NextCursor = cursor(name, 0)
			break
		}
		t := img.Topic(name)
		if t == nil {
			code := kerr.UnknownTopicOrPartition
			if metadata.CheckTopicName(name) != nil {
				code = kerr.InvalidTopicException
			}
			resp.Topics = append(resp.Topics, undescribed(name, code))
			resp.Topics[len(resp.Topics)-1].AuthorizedOperations = s.operations(r, kmsg.ACLResourceTypeTopic, name, topicOperations)
			continue
		}
		first := 0
		if req.Cursor != nil && req.Cursor.Topic == name {
			first = min(int(req.Cursor.Partition), len(t.Partitions))
		}
		page := t.Partitions[first:min(len(t.Partitions), first+left)]
		out := s.describedTopic(r, img, t, page)
		out.AuthorizedOperations = s.operations(r, kmsg.ACLResourceTypeTopic, name, topicOperations)
		resp.Topics = append(resp.Topics, out)
		left -= len(page)
		if first+len(page) < len(t.Partitions) {
			resp.NextCursor = cursor(name, int32(first+len(page)))
			break
		}
	}
	resp.Topics = append(resp.Topics, denied...)
	r.Reply(resp)
}

// pageNames lists the names asked for, or all, in order from the cursor on. A cursor
// is wrong when it names a negative partition or a topic that is not asked for.
func pageNames(img *metadata.Image, req *kmsg.DescribeTopicPartitionsRequest) (names []string, ok bool) {
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
	if req.Cursor == nil {
		return names, true
	}
	from, found := slices.BinarySearch(names, req.Cursor.Topic)
	return names[from:], req.Cursor.Partition >= 0 && (found || len(req.Topics) == 0)
}

// undescribed is a topic's entry that holds an error.
func undescribed(name string, code *kerr.Error) kmsg.DescribeTopicPartitionsResponseTopic {
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic, out.ErrorCode, out.IsInternal = kmsg.StringPtr(name), code.Code, metadata.IsInternal(name)
	return out
}

func (s *Server) describedTopic(r *Request, img *metadata.Image, t *metadata.Topic, page []*metadata.Partition) kmsg.DescribeTopicPartitionsResponseTopic {
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic, out.TopicID, out.IsInternal = kmsg.StringPtr(t.Name), t.ID, t.Internal()
	for _, p := range page {
		out.Partitions = append(out.Partitions, s.topicPartition(r, img, p))
	}
	return out
}

func cursor(topic string, partition int32) *kmsg.DescribeTopicPartitionsResponseNextCursor {
	c := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	c.Topic, c.Partition = topic, partition
	return &c
}

func (s *Server) topicPartition(r *Request, img *metadata.Image, p *metadata.Partition) kmsg.DescribeTopicPartitionsResponseTopicPartition {
	out := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
	out.Partition, out.LeaderEpoch = p.Index, p.LeaderEpoch
	out.Replicas, out.ISR = p.Replicas, p.ISR
	out.EligibleLeaderReplicas, out.LastKnownELR = nonNil(p.ELR()), nonNil(p.LastKnownELR())
	var err *kerr.Error
	if out.LeaderID, err = s.visibleLeader(r, img, p); err != nil {
		out.ErrorCode = err.Code
	}
	out.OfflineReplicas = offlineReplicas(img, p)
	return out
}

// nonNil makes an absent list an empty one, where null would mean "not known".
func nonNil(ids []int32) []int32 {
	if ids == nil {
		return []int32{}
	}
	return ids
}
