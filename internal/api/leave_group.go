package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/group"
)

// LeaveGroup, key 13: one member up to version 2, many from version 3 on.
var _ = register(Handler{
	Key:    kmsg.LeaveGroup,
	Early:  true,
	Needs:  []Need{{kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup}},
	Handle: handleLeaveGroup,
})

func handleLeaveGroup(s *Server, r *Request) {
	req := r.Msg.(*kmsg.LeaveGroupRequest)
	fail := func(code *kerr.Error) {
		resp := kmsg.NewPtrLeaveGroupResponse()
		resp.ErrorCode = code.Code
		r.Reply(resp)
	}
	switch {
	case !s.Allowed(r, kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup, req.Group):
		fail(kerr.GroupAuthorizationFailed)
		return
	case req.Group == "":
		fail(kerr.InvalidGroupID)
		return
	}
	if r.Version < 3 {
		only := kmsg.NewLeaveGroupRequestMember()
		only.MemberID = req.MemberID
		req.Members = []kmsg.LeaveGroupRequestMember{only}
	}
	s.coordinate(req.Group, group.Leave{Context: groupContext(r), Req: req}, func(body any, code *kerr.Error) {
		if code != nil {
			fail(code)
			return
		}
		resp := body.(*kmsg.LeaveGroupResponse)
		if r.Version < 3 && resp.ErrorCode == 0 {
			resp.ErrorCode = resp.Members[0].ErrorCode
		}
		r.Reply(resp)
	})
}
