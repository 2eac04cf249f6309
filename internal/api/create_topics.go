package api

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/nodewire"
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
	var decide any = &metadata.Request{Context: s.context(r), Req: req, Creation: s.creation(r, req)}
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

// creation tells a client's request from all others, for the controllers that it is asked
// of one after the other while they change. Versions without tagged fields lose it on the way to another node.
func (s *Server) creation(r *Request, req *kmsg.CreateTopicsRequest) []byte {
	unique := nodewire.Creation(req)
	if r.Conn.Controller {
		return unique
	}
	if unique == nil {
		unique = binary.BigEndian.AppendUint32(nil, uint32(s.NodeID))
		unique = binary.BigEndian.AppendUint64(unique, uint64(s.Clock.Now().UnixNano()))
		unique = binary.BigEndian.AppendUint64(unique, s.creations.Add(1))
	}
	nodewire.SetCreation(req, unique)
	return unique
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
