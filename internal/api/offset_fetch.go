package api

import (
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/group"
	"github.com/leat-stream/leat/internal/metadata"
)

// OffsetFetch, key 9: committed offsets of one group, or from version 8 on of many;
// of named partitions or of all. Topics are named by id from version 10 on.
var _ = register(Handler{
	Key:    kmsg.OffsetFetch,
	Early:  true,
	Needs:  []Need{{kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeGroup}, {kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic}},
	Handle: handleOffsetFetch,
})

func handleOffsetFetch(s *Server, r *Request) {
	req := r.Msg.(*kmsg.OffsetFetchRequest)
	groups := req.Groups
	if r.Version < 8 {
		groups = []kmsg.OffsetFetchRequestGroup{oneGroup(req)}
	}
	answers := make([]kmsg.OffsetFetchResponseGroup, len(groups))
	var over atomic.Bool
	fanOut(len(groups), func(i int, done func()) {
		if over.Load() {
			done()
			return
		}
		s.fetchGroup(r, &groups[i], req.RequireStable, func(resp kmsg.OffsetFetchResponseGroup) {
			if s.grow(r, offsetsMemory(&resp)) {
				answers[i] = resp
			} else {
				over.Store(true)
			}
			done()
		})
	}, func() {
		if over.Load() {
			s.tooLarge(r)
			return
		}
		r.Reply(offsetsFetched(r.Version, answers))
	})
}

// offsetsMemory is about how many bytes one group of an answer takes, encoded ones
// included.
func offsetsMemory(g *kmsg.OffsetFetchResponseGroup) int64 {
	n := 256
	for i := range g.Topics {
		t := &g.Topics[i]
		n += 256 + len(t.Topic) + 256*len(t.Partitions)
		for j := range t.Partitions {
			if m := t.Partitions[j].Metadata; m != nil {
				n += len(*m)
			}
		}
	}
	return int64(n)
}

// oneGroup is the group of a request of before version 8.
func oneGroup(req *kmsg.OffsetFetchRequest) kmsg.OffsetFetchRequestGroup {
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = req.Group
	if req.Topics == nil {
		return g
	}
	g.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(req.Topics))
	for i := range req.Topics {
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.Partitions = req.Topics[i].Topic, req.Topics[i].Partitions
		g.Topics = append(g.Topics, t)
	}
	return g
}

// offsetsFetched is the answer in the shape of its version.
func offsetsFetched(version int16, groups []kmsg.OffsetFetchResponseGroup) *kmsg.OffsetFetchResponse {
	resp := kmsg.NewPtrOffsetFetchResponse()
	if version >= 8 {
		resp.Groups = groups
		return resp
	}
	resp.ErrorCode = groups[0].ErrorCode
	for _, t := range groups[0].Topics {
		out := kmsg.NewOffsetFetchResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			outp := kmsg.NewOffsetFetchResponseTopicPartition()
			outp.Partition, outp.Offset, outp.LeaderEpoch = p.Partition, p.Offset, p.LeaderEpoch
			outp.Metadata, outp.ErrorCode = p.Metadata, p.ErrorCode
			out.Partitions = append(out.Partitions, outp)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// fetchGroup answers for one group.
func (s *Server) fetchGroup(r *Request, ask *kmsg.OffsetFetchRequestGroup, stable bool, done func(kmsg.OffsetFetchResponseGroup)) {
	if !s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeGroup, ask.Group) {
		done(fetchGroupFailed(r.Version, ask, kerr.GroupAuthorizationFailed))
		return
	}
	img := s.Image()
	good, bad := *ask, []kmsg.OffsetFetchResponseGroupTopic(nil)
	if ask.Topics != nil {
		good.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(ask.Topics))
	}
	for i := range ask.Topics {
		t := ask.Topics[i]
		if code := s.checkFetch(r, img, &t); code != nil {
			bad = append(bad, fetchTopicFailed(&t, code))
		} else {
			good.Topics = append(good.Topics, t)
		}
	}
	s.coordinate(ask.Group, group.FetchOffsets{Context: groupContext(r), Req: &good, RequireStable: stable}, func(body any, code *kerr.Error) {
		if code == kerr.CoordinatorNotAvailable {
			code = kerr.NotCoordinator // clients of before 3.9 do not expect the other
		}
		if code != nil {
			done(fetchGroupFailed(r.Version, ask, code))
			return
		}
		resp := *body.(*kmsg.OffsetFetchResponseGroup)
		if ask.Topics == nil && resp.ErrorCode == 0 {
			resp.Topics = s.visibleOffsets(r, img, resp.Topics)
		} else if resp.ErrorCode == 0 {
			resp.Topics = append(resp.Topics, bad...)
		}
		done(resp)
	})
}

// checkFetch gives a topic of the request its name and says why it is not looked up.
func (s *Server) checkFetch(r *Request, img *metadata.Image, t *kmsg.OffsetFetchRequestGroupTopic) *kerr.Error {
	if r.Version >= 10 {
		known := img.TopicByID(t.TopicID)
		if known == nil {
			return kerr.UnknownTopicID
		}
		t.Topic = known.Name
	}
	if !s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, t.Topic) {
		return kerr.TopicAuthorizationFailed
	}
	return nil
}

// visibleOffsets leaves out the topics that the principal may not see, and, where
// topics are named by id, those that have none any more.
func (s *Server) visibleOffsets(r *Request, img *metadata.Image, topics []kmsg.OffsetFetchResponseGroupTopic) []kmsg.OffsetFetchResponseGroupTopic {
	visible := topics[:0]
	for _, t := range topics {
		if !s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, t.Topic) {
			continue
		}
		if r.Version >= 10 {
			known := img.Topic(t.Topic)
			if known == nil {
				continue
			}
			t.TopicID = known.ID
		}
		visible = append(visible, t)
	}
	return visible
}

// fetchGroupFailed answers a whole group with an error; version 1 has a place for it
// at the partitions only.
func fetchGroupFailed(version int16, ask *kmsg.OffsetFetchRequestGroup, code *kerr.Error) kmsg.OffsetFetchResponseGroup {
	resp := kmsg.NewOffsetFetchResponseGroup()
	resp.Group = ask.Group
	if version >= 2 {
		resp.ErrorCode = code.Code
		return resp
	}
	for i := range ask.Topics {
		resp.Topics = append(resp.Topics, fetchTopicFailed(&ask.Topics[i], code))
	}
	return resp
}

func fetchTopicFailed(ask *kmsg.OffsetFetchRequestGroupTopic, code *kerr.Error) kmsg.OffsetFetchResponseGroupTopic {
	t := kmsg.NewOffsetFetchResponseGroupTopic()
	t.Topic, t.TopicID = ask.Topic, ask.TopicID
	for _, index := range ask.Partitions {
		p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = index, -1, -1, kmsg.StringPtr(""), code.Code
		t.Partitions = append(t.Partitions, p)
	}
	return t
}
