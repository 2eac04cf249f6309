package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/group"
)

// Heartbeat, key 12, keeps a member's session.
var _ = register(Handler{
	Key:    kmsg.Heartbeat,
	Early:  true,
	Needs:  []Need{{kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup}},
	Handle: handleHeartbeat,
})

func handleHeartbeat(s *Server, r *Request) {
	req := r.Msg.(*kmsg.HeartbeatRequest)
	answer := func(code int16) {
		resp := kmsg.NewPtrHeartbeatResponse()
		resp.ErrorCode = code
		r.Reply(resp)
	}
	switch {
	case !s.Allowed(r, kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup, req.Group):
		answer(kerr.GroupAuthorizationFailed.Code)
		return
	case req.Group == "":
		answer(kerr.InvalidGroupID.Code)
		return
	}
	s.coordinate(req.Group, group.Heartbeat{Context: groupContext(r), Req: req}, func(body any, code *kerr.Error) {
		switch {
		case code == kerr.CoordinatorLoadInProgress:
			answer(0) // the member is believed until the load tells
		case code != nil:
			answer(code.Code)
		default:
			r.Reply(body.(*kmsg.HeartbeatResponse))
		}
	})
}
