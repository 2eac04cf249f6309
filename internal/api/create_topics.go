package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
)

// CreateTopics, key 19, is decided by the controller. It is answered once the new
// partitions serve on this broker.
var _ = register(Handler{
	Key:   kmsg.CreateTopics,
	Doors: ClientDoor | ControllerDoor, Forward: true,
	Needs:  []Need{{kmsg.ACLOperationCreate, kmsg.ACLResourceTypeCluster}, {kmsg.ACLOperationCreate, kmsg.ACLResourceTypeTopic}},
	Handle: handleCreateTopics,
})

func handleCreateTopics(s *Server, r *Request) {
	req := r.Msg.(*kmsg.CreateTopicsRequest)
	var denied []kmsg.CreateTopicsResponseTopic
	allowed := req.Topics[:0:0]
	for _, t := range req.Topics {
		if s.mayCreate(r, t.Topic) {
			allowed = append(allowed, t)
			continue
		}
		denied = append(denied, createTopicFailed(t.Topic, kerr.TopicAuthorizationFailed))
	}
	if !s.grow(r, int64(len(req.Topics))*newTopicMemory) {
		s.tooLarge(r)
		return
	}
	asked := req.Topics
	req.Topics = allowed
	var decide any = &metadata.Request{Context: s.context(r), Req: req}
	if autoCreates(r, req) {
		auto := &metadata.AutoCreateTopics{Context: s.context(r)}
		for _, t := range allowed {
			auto.Names = append(auto.Names, t.Topic)
		}
		decide = auto
	}
	s.decide(r, decide, func(resp kmsg.Response) kmsg.Response {
		made := resp.(*kmsg.CreateTopicsResponse)
		made.Topics = append(made.Topics, denied...)
		return made
	}, func(code *kerr.Error) kmsg.Response {
		resp := kmsg.NewPtrCreateTopicsResponse()
		for _, t := range asked {
			resp.Topics = append(resp.Topics, createTopicFailed(t.Topic, code))
		}
		return resp
	})
}

// mayCreate: who may create in the cluster may create every topic.
func (s *Server) mayCreate(r *Request, topic string) bool {
	return s.onCluster(r, kmsg.ACLOperationCreate) || s.Allowed(r, kmsg.ACLOperationCreate, kmsg.ACLResourceTypeTopic, topic)
}

// newTopicMemory is about how many bytes the creation of a topic takes until it is
// answered, beside its partitions.
const newTopicMemory = 600

func createTopicFailed(name string, code *kerr.Error) kmsg.CreateTopicsResponseTopic {
	t := kmsg.NewCreateTopicsResponseTopic()
	t.Topic, t.ErrorCode, t.ErrorMessage = name, code.Code, kmsg.StringPtr(code.Description)
	return t
}
