package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/group"
)

// OffsetDelete, key 47 (KIP-496): removes committed offsets of single partitions.
var _ = register(Handler{
	Key:    kmsg.OffsetDelete,
	Early:  true,
	Needs:  []Need{{kmsg.ACLOperationDelete, kmsg.ACLResourceTypeGroup}, {kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic}},
	Handle: handleOffsetDelete,
})

func handleOffsetDelete(s *Server, r *Request) {
	req := r.Msg.(*kmsg.OffsetDeleteRequest)
	resp := kmsg.NewPtrOffsetDeleteResponse()
	fail := func(code *kerr.Error) {
		failed := kmsg.NewPtrOffsetDeleteResponse()
		failed.ErrorCode = code.Code
		r.Reply(failed)
	}
	if !s.Allowed(r, kmsg.ACLOperationDelete, kmsg.ACLResourceTypeGroup, req.Group) {
		fail(kerr.GroupAuthorizationFailed)
		return
	}
	if req.Group == "" {
		fail(kerr.InvalidGroupID)
		return
	}
	good := req.Topics[:0:0]
	for i := range req.Topics {
		allowed, refused := s.checkOffsetDelete(r, &req.Topics[i])
		if len(allowed.Partitions) > 0 {
			good = append(good, allowed)
		}
		if len(refused.Partitions) > 0 {
			resp.Topics = append(resp.Topics, refused)
		}
	}
	req.Topics = good
	s.coordinate(req.Group, group.DeleteOffsets{Req: req}, func(body any, code *kerr.Error) {
		if code != nil {
			fail(code)
			return
		}
		done := body.(*kmsg.OffsetDeleteResponse)
		if done.ErrorCode != 0 || len(resp.Topics) == 0 {
			r.Reply(done)
			return
		}
		at := make(map[string]int, len(resp.Topics))
		for i := range resp.Topics {
			at[resp.Topics[i].Topic] = i
		}
		for _, t := range done.Topics {
			if i, ok := at[t.Topic]; ok {
				resp.Topics[i].Partitions = append(resp.Topics[i].Partitions, t.Partitions...)
			} else {
				resp.Topics = append(resp.Topics, t)
			}
		}
		r.Reply(resp)
	})
}

// checkOffsetDelete parts a topic into what may be deleted and what is refused.
func (s *Server) checkOffsetDelete(r *Request, ask *kmsg.OffsetDeleteRequestTopic) (kmsg.OffsetDeleteRequestTopic, kmsg.OffsetDeleteResponseTopic) {
	allowed, refused := kmsg.NewOffsetDeleteRequestTopic(), kmsg.NewOffsetDeleteResponseTopic()
	allowed.Topic, refused.Topic = ask.Topic, ask.Topic
	img := s.Image()
	var code *kerr.Error
	if !s.Allowed(r, kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic, ask.Topic) {
		code = kerr.TopicAuthorizationFailed
	}
	for _, p := range ask.Partitions {
		why := code
		if why == nil && img.Partition(ask.Topic, p.Partition) == nil {
			why = kerr.UnknownTopicOrPartition
		}
		if why == nil {
			allowed.Partitions = append(allowed.Partitions, p)
			continue
		}
		out := kmsg.NewOffsetDeleteResponseTopicPartition()
		out.Partition, out.ErrorCode = p.Partition, why.Code
		refused.Partitions = append(refused.Partitions, out)
	}
	return allowed, refused
}
