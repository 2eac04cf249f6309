package group

import "github.com/twmb/franz-go/pkg/kmsg"

// leave takes members out: by member id, or a static one by its instance id alone
// (KIP-345), and pending ones.
func (t *turn) leave(r Leave) {
	req := r.Req
	resp := kmsg.NewPtrLeaveGroupResponse()
	defer func() { t.reply(t.token, resp) }()
	if req.Group == "" {
		resp.ErrorCode = codeInvalidGroupID
		return
	}
	g := t.groups[req.Group]
	left, members := false, 0
	if g != nil {
		members = g.members.len()
	}
	for _, who := range req.Members {
		out := kmsg.NewLeaveGroupResponseMember()
		out.MemberID, out.InstanceID, out.ErrorCode = who.MemberID, who.InstanceID, codeUnknownMember
		if g != nil {
			out.ErrorCode = t.remove(g, who)
		}
		left = left || out.ErrorCode == 0
		resp.Members = append(resp.Members, out)
	}
	if !left {
		return
	}
	switch {
	case g.state == preparing:
		t.completeIfRebalancing(g)
	case g.members.len() < members: // not only pending ones
		t.prepareRebalance(g, "members left")
	}
	t.prune(g)
}

// remove takes one member out of the group.
func (t *turn) remove(g *group, who kmsg.LeaveGroupRequestMember) int16 {
	id := who.MemberID
	if id == "" {
		if who.InstanceID == nil {
			return codeUnknownMember
		}
		id = g.members.static[*who.InstanceID]
	} else if g.pending.remove(id) {
		t.disarm(g, id)
		return 0
	}
	if code := g.validate(id, who.InstanceID); code != 0 {
		return code
	}
	t.drop(g, g.members.get(id), codeUnknownMember, Left, saying(who.Reason))
	return 0
}
