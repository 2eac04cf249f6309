package group

import "github.com/twmb/franz-go/pkg/kmsg"

// heartbeat keeps a member's session, and tells it of a rebalance.
func (t *turn) heartbeat(r Heartbeat) {
	req := r.Req
	resp := kmsg.NewPtrHeartbeatResponse()
	defer func() { t.reply(t.token, resp) }()
	g := t.groups[req.Group]
	switch {
	case req.Group == "":
		resp.ErrorCode = codeInvalidGroupID
		return
	case g == nil:
		resp.ErrorCode = codeUnknownMember
		return
	}
	if resp.ErrorCode = g.validate(req.MemberID, req.InstanceID); resp.ErrorCode != 0 {
		return
	}
	if req.Generation != g.generation {
		resp.ErrorCode = codeIllegalGeneration
		return
	}
	t.arm(g, g.members.get(req.MemberID))
	if g.state == preparing {
		resp.ErrorCode = codeRebalanceInProgress
	}
}
