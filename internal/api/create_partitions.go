package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreatePartitions, key 37, is decided by the controller.
var _ = register(Handler{
	Key:   kmsg.CreatePartitions,
	Doors: ClientDoor | ControllerDoor, Forward: true,
	Needs:  []Need{{kmsg.ACLOperationAlter, kmsg.ACLResourceTypeTopic}},
	Handle: handleCreatePartitions,
})

func handleCreatePartitions(s *Server, r *Request) {
	req := r.Msg.(*kmsg.CreatePartitionsRequest)
	failed := func(name string, code *kerr.Error) kmsg.CreatePartitionsResponseTopic {
		t := kmsg.NewCreatePartitionsResponseTopic()
		t.Topic, t.ErrorCode, t.ErrorMessage = name, code.Code, kmsg.StringPtr(code.Description)
		return t
	}
	var denied []kmsg.CreatePartitionsResponseTopic
	allowed := req.Topics[:0:0]
	for _, t := range req.Topics {
		if s.Allowed(r, kmsg.ACLOperationAlter, kmsg.ACLResourceTypeTopic, t.Topic) {
			allowed = append(allowed, t)
			continue
		}
		denied = append(denied, failed(t.Topic, kerr.TopicAuthorizationFailed))
	}
	asked := req.Topics
	req.Topics = allowed
	s.forwardThen(r, req, func(resp kmsg.Response) kmsg.Response {
		made := resp.(*kmsg.CreatePartitionsResponse)
		made.Topics = append(made.Topics, denied...)
		return made
	}, func(code *kerr.Error) kmsg.Response {
		resp := kmsg.NewPtrCreatePartitionsResponse()
		for _, t := range asked {
			resp.Topics = append(resp.Topics, failed(t.Topic, code))
		}
		return resp
	})
}
