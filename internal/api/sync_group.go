package api

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/group"
)

// SyncGroup, key 14, is answered when the leader has brought the assignment and it is
// durable.
var _ = register(Handler{
	Key:    kmsg.SyncGroup,
	Early:  true,
	Needs:  []Need{{kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup}},
	Handle: handleSyncGroup,
})

func handleSyncGroup(s *Server, r *Request) {
	req := r.Msg.(*kmsg.SyncGroupRequest)
	fail := func(code *kerr.Error) {
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.ErrorCode = code.Code
		r.Reply(resp)
	}
	switch {
	case r.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil):
		fail(kerr.InconsistentGroupProtocol)
		return
	case !s.Allowed(r, kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup, req.Group):
		fail(kerr.GroupAuthorizationFailed)
		return
	case req.Group == "":
		fail(kerr.InvalidGroupID)
		return
	}
	for i := range req.GroupAssignment { // they outlive the request's frame
		req.GroupAssignment[i].MemberAssignment = bytes.Clone(req.GroupAssignment[i].MemberAssignment)
	}
	r.Park()
	s.coordinate(req.Group, group.Sync{Context: groupContext(r), Req: req, Memory: s.Members.memory()}, func(body any, code *kerr.Error) {
		if code != nil {
			fail(code)
			return
		}
		r.Reply(body.(*kmsg.SyncGroupResponse))
	})
}
