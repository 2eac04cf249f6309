package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/group"
	"github.com/leat-stream/leat/internal/metadata"
)

// OffsetCommit, key 8. Topics are named, from version 10 on by id; both go to the
// coordinator. It is answered when the offsets are durable.
var _ = register(Handler{
	Key:    kmsg.OffsetCommit,
	Early:  true,
	Needs:  []Need{{kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup}, {kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic}},
	Handle: handleOffsetCommit,
})

func handleOffsetCommit(s *Server, r *Request) {
	req := r.Msg.(*kmsg.OffsetCommitRequest)
	answer := commitAnswer{byID: r.Version >= 10}
	if !s.Allowed(r, kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup, req.Group) {
		for i := range req.Topics {
			answer.refuse(&req.Topics[i], req.Topics[i].Partitions, kerr.GroupAuthorizationFailed)
		}
		r.Reply(answer.response())
		return
	}
	img := s.Image()
	good := req.Topics[:0:0]
	for i := range req.Topics {
		if t := s.checkCommit(r, img, &req.Topics[i], &answer); len(t.Partitions) > 0 {
			good = append(good, t)
		}
	}
	if len(good) == 0 {
		r.Reply(answer.response())
		return
	}
	req.Topics = good
	s.coordinate(req.Group, group.CommitOffsets{Context: groupContext(r), Req: req}, func(body any, code *kerr.Error) {
		if code != nil {
			for i := range good {
				answer.refuse(&good[i], good[i].Partitions, code)
			}
		} else {
			answer.merge(body.(*kmsg.OffsetCommitResponse))
		}
		r.Reply(answer.response())
	})
}

// checkCommit returns what of a topic may be committed, with both name and id, and
// refuses the rest.
func (s *Server) checkCommit(r *Request, img *metadata.Image, ask *kmsg.OffsetCommitRequestTopic, answer *commitAnswer) kmsg.OffsetCommitRequestTopic {
	none := kmsg.NewOffsetCommitRequestTopic()
	var t *metadata.Topic
	if answer.byID {
		if t = img.TopicByID(ask.TopicID); t == nil {
			answer.refuse(ask, ask.Partitions, kerr.UnknownTopicID)
			return none
		}
		ask.Topic = t.Name
	}
	if !s.Allowed(r, kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic, ask.Topic) {
		answer.refuse(ask, ask.Partitions, kerr.TopicAuthorizationFailed)
		return none
	}
	if t == nil {
		if t = img.Topic(ask.Topic); t == nil {
			answer.refuse(ask, ask.Partitions, kerr.UnknownTopicOrPartition)
			return none
		}
		ask.TopicID = t.ID
	}
	good := *ask
	good.Partitions = make([]kmsg.OffsetCommitRequestTopicPartition, 0, len(ask.Partitions))
	for i := range ask.Partitions {
		if p := &ask.Partitions[i]; img.Partition(t.Name, p.Partition) == nil {
			answer.refuse(ask, ask.Partitions[i:i+1], kerr.UnknownTopicOrPartition)
		} else {
			good.Partitions = append(good.Partitions, *p)
		}
	}
	return good
}

// commitAnswer puts together what was refused here and what the coordinator says, a
// topic once.
type commitAnswer struct {
	byID bool
	resp *kmsg.OffsetCommitResponse
	at   map[commitTopic]int
}

// commitTopic tells topics apart in an answer: by name, or by id where the version has ids.
type commitTopic struct {
	name string
	id   [16]byte
}

func (a *commitAnswer) response() *kmsg.OffsetCommitResponse {
	if a.resp == nil {
		a.resp = kmsg.NewPtrOffsetCommitResponse()
	}
	return a.resp
}

// topic is the place of a topic in the answer.
func (a *commitAnswer) topic(name string, id [16]byte) *kmsg.OffsetCommitResponseTopic {
	resp := a.response()
	key := commitTopic{name: name}
	if a.byID {
		key = commitTopic{id: id}
	}
	i, ok := a.at[key]
	if !ok {
		if a.at == nil {
			a.at = make(map[commitTopic]int)
		}
		i = len(resp.Topics)
		a.at[key] = i
		t := kmsg.NewOffsetCommitResponseTopic()
		t.Topic, t.TopicID = name, id
		resp.Topics = append(resp.Topics, t)
	}
	return &resp.Topics[i]
}

func (a *commitAnswer) refuse(t *kmsg.OffsetCommitRequestTopic, ps []kmsg.OffsetCommitRequestTopicPartition, code *kerr.Error) {
	out := a.topic(t.Topic, t.TopicID)
	for i := range ps {
		p := kmsg.NewOffsetCommitResponseTopicPartition()
		p.Partition, p.ErrorCode = ps[i].Partition, code.Code
		out.Partitions = append(out.Partitions, p)
	}
}

func (a *commitAnswer) merge(resp *kmsg.OffsetCommitResponse) {
	if a.resp == nil {
		a.resp = resp
		return
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		out := a.topic(t.Topic, t.TopicID)
		out.Partitions = append(out.Partitions, t.Partitions...)
	}
}
