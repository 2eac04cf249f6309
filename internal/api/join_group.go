package api

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/group"
)

// JoinGroup, key 11, is answered when the generation is formed.
var _ = register(Handler{
	Key:    kmsg.JoinGroup,
	Early:  true,
	Needs:  []Need{{kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup}},
	Handle: handleJoinGroup,
})

func handleJoinGroup(s *Server, r *Request) {
	req := r.Msg.(*kmsg.JoinGroupRequest)
	fail := func(memberID string, code *kerr.Error) {
		resp := kmsg.NewPtrJoinGroupResponse()
		resp.ErrorCode, resp.MemberID, resp.Generation = code.Code, memberID, -1
		r.Reply(resp)
	}
	switch {
	case !s.Allowed(r, kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup, req.Group):
		fail("", kerr.GroupAuthorizationFailed)
		return
	case req.Group == "":
		fail(req.MemberID, kerr.InvalidGroupID)
		return
	}
	if r.Version == 0 {
		req.RebalanceTimeoutMillis = req.SessionTimeoutMillis
	}
	for i := range req.Protocols { // they outlive the request's frame
		req.Protocols[i].Metadata = bytes.Clone(req.Protocols[i].Metadata)
	}
	r.Park()
	join := group.Join{Context: groupContext(r), Req: req, Memory: s.Members.memory()}
	s.coordinate(req.Group, join, func(body any, code *kerr.Error) {
		if code != nil {
			fail("", code)
			return
		}
		resp := body.(*kmsg.JoinGroupResponse)
		if join.Memory != group.Roomy && resp.ErrorCode == kerr.GroupMaxSizeReached.Code {
			s.Members.refused.Add(1)
			s.Complaints.Warn("group members' memory", "join refused", "why", "the members of all groups hold as much memory as they may",
				"bytes", s.Members.Bytes(), "bound", s.Members.limit, "group", req.Group, "client", r.ClientID)
		}
		if resp.Protocol != nil && *resp.Protocol == "" {
			resp.Protocol = nil // null where the version has it, else empty
		}
		r.Reply(resp)
	})
}
