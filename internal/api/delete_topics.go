package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
)

// DeleteTopics, key 20, is decided by the controller.
var _ = register(Handler{
	Key:   kmsg.DeleteTopics,
	Doors: ClientDoor | ControllerDoor, Forward: true,
	Needs:  []Need{{kmsg.ACLOperationDelete, kmsg.ACLResourceTypeTopic}},
	Handle: handleDeleteTopics,
})

func handleDeleteTopics(s *Server, r *Request) {
	req := r.Msg.(*kmsg.DeleteTopicsRequest)
	failAll := func(code *kerr.Error) kmsg.Response {
		resp := kmsg.NewPtrDeleteTopicsResponse()
		for _, name := range req.TopicNames {
			resp.Topics = append(resp.Topics, deleteTopicFailed(kmsg.StringPtr(name), [16]byte{}, code))
		}
		for _, t := range req.Topics {
			resp.Topics = append(resp.Topics, deleteTopicFailed(t.Topic, t.TopicID, code))
		}
		return resp
	}
	if !s.Config().Bool(config.DeleteTopicEnable) {
		code := kerr.TopicDeletionDisabled
		if r.Version < 3 {
			code = kerr.InvalidRequest
		}
		r.Reply(failAll(code))
		return
	}
	denied := s.deniedDeletes(r, req)
	s.forwardThen(r, req, func(resp kmsg.Response) kmsg.Response {
		done := resp.(*kmsg.DeleteTopicsResponse)
		done.Topics = append(done.Topics, denied...)
		return done
	}, failAll)
}

// deniedDeletes takes topics that the principal may not delete out of the request.
func (s *Server) deniedDeletes(r *Request, req *kmsg.DeleteTopicsRequest) (denied []kmsg.DeleteTopicsResponseTopic) {
	img := s.Image()
	names := req.TopicNames[:0:0]
	for _, name := range req.TopicNames {
		if s.Allowed(r, kmsg.ACLOperationDelete, kmsg.ACLResourceTypeTopic, name) {
			names = append(names, name)
			continue
		}
		denied = append(denied, deleteTopicFailed(kmsg.StringPtr(name), [16]byte{}, kerr.TopicAuthorizationFailed))
	}
	topics := req.Topics[:0:0]
	for _, t := range req.Topics {
		name := ""
		if t.Topic != nil {
			name = *t.Topic
		} else if known := img.TopicByID(t.TopicID); known != nil {
			name = known.Name
		}
		if name == "" || s.Allowed(r, kmsg.ACLOperationDelete, kmsg.ACLResourceTypeTopic, name) {
			topics = append(topics, t)
			continue
		}
		denied = append(denied, deleteTopicFailed(t.Topic, t.TopicID, kerr.TopicAuthorizationFailed))
	}
	req.TopicNames, req.Topics = names, topics
	return denied
}

func deleteTopicFailed(name *string, id [16]byte, code *kerr.Error) kmsg.DeleteTopicsResponseTopic {
	t := kmsg.NewDeleteTopicsResponseTopic()
	t.Topic, t.TopicID, t.ErrorCode, t.ErrorMessage = name, id, code.Code, kmsg.StringPtr(code.Description)
	return t
}
