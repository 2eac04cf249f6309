package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/group"
	"github.com/leat-stream/leat/internal/metadata"
)

// FindCoordinator, key 10: the broker that coordinates a group (key type 0) or a
// transactional id (1), the leader of its partition of an internal topic. The topic
// is created by its first use, and the answer waits for that, so that a first
// consumer needs no retry. One key up to version 3, many from version 4 on.
var _ = register(Handler{
	Key: kmsg.FindCoordinator,
	Needs: []Need{
		{kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeGroup},
		{kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTransactionalId},
	},
	NotDone: "share coordinators (key type 2) come with share groups",
	Handle:  handleFindCoordinator,
})

// Coordinator key types.
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
	shareCoordinator       = 2
)

func handleFindCoordinator(s *Server, r *Request) {
	req := r.Msg.(*kmsg.FindCoordinatorRequest)
	keys := req.CoordinatorKeys
	if r.Version < 4 {
		keys = []string{req.CoordinatorKey}
	}
	missing := false
	refused := make([]*kerr.Error, len(keys))
	for i, key := range keys {
		refused[i] = s.mayFind(r, req.CoordinatorType, key)
		missing = missing || refused[i] == nil && s.Image().Topic(coordinatorTopic(req.CoordinatorType)) == nil
	}
	if !missing {
		r.Reply(s.foundCoordinators(r, req.CoordinatorType, keys, refused))
		return
	}
	s.submit(r, &metadata.AutoCreateTopics{Context: s.context(r), Names: []string{coordinatorTopic(req.CoordinatorType)}}, func(body any, err error) {
		if made, ok := body.(*kmsg.CreateTopicsResponse); ok && err == nil {
			for _, t := range made.Topics {
				err = kerr.ErrorForCode(t.ErrorCode)
			}
		}
		if err != nil {
			s.Complaints.Warn("coordinator topic", "coordinator topic not created", "topic", coordinatorTopic(req.CoordinatorType), "why", err)
		}
		r.Reply(s.foundCoordinators(r, req.CoordinatorType, keys, refused))
	})
}

// mayFind says why a key is not looked for.
func (s *Server) mayFind(r *Request, typ int8, key string) *kerr.Error {
	switch typ {
	case groupCoordinator:
		if !s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeGroup, key) {
			return kerr.GroupAuthorizationFailed
		}
	case transactionCoordinator:
		if !s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTransactionalId, key) {
			return kerr.TransactionalIDAuthorizationFailed
		}
	default:
		return kerr.InvalidRequest
	}
	return nil
}

func coordinatorTopic(typ int8) string {
	if typ == transactionCoordinator {
		return metadata.TransactionTopic
	}
	return metadata.OffsetsTopic
}

func (s *Server) foundCoordinators(r *Request, typ int8, keys []string, refused []*kerr.Error) *kmsg.FindCoordinatorResponse {
	resp := kmsg.NewPtrFindCoordinatorResponse()
	for i, key := range keys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.NodeID, c.Port = key, -1, -1
		code := refused[i]
		if code == nil {
			code = s.findCoordinator(r, typ, key, &c)
		}
		message := "" // Kafka's answers of versions 4 and up have none, but for an unknown type
		if code != nil {
			c.ErrorCode = code.Code
			if r.Version < 4 || typ < groupCoordinator || typ > shareCoordinator {
				message = code.Description
			}
		}
		c.ErrorMessage = &message
		resp.Coordinators = append(resp.Coordinators, c)
	}
	if r.Version < 4 {
		c := &resp.Coordinators[0]
		resp.ErrorCode, resp.ErrorMessage, resp.NodeID, resp.Host, resp.Port = c.ErrorCode, c.ErrorMessage, c.NodeID, c.Host, c.Port
		if c.ErrorCode == 0 {
			resp.ErrorMessage = kmsg.StringPtr("NONE") // as Kafka says in these versions
		}
	}
	return resp
}

// findCoordinator fills in the broker that coordinates a key.
func (s *Server) findCoordinator(r *Request, typ int8, key string, out *kmsg.FindCoordinatorResponseCoordinator) *kerr.Error {
	img := s.Image()
	t := img.Topic(coordinatorTopic(typ))
	if t == nil || len(t.Partitions) == 0 {
		return kerr.CoordinatorNotAvailable
	}
	p := t.Partitions[group.PartitionOf(key, len(t.Partitions))]
	leader, err := s.visibleLeader(r, img, p)
	if err != nil {
		return kerr.CoordinatorNotAvailable
	}
	host, port, ok := s.Endpoint(r.Conn, img.Broker(leader))
	if !ok {
		return kerr.CoordinatorNotAvailable
	}
	out.NodeID, out.Host, out.Port = leader, host, port
	return nil
}
