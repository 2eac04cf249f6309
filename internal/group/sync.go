package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

func syncError(code int16) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ErrorCode = code
	return resp
}

func assigned(g *group, m *member) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	protocolType := g.protocolType // the answer outlives this call, the group goes on
	resp.ProtocolType, resp.Protocol = &protocolType, g.protocol
	resp.MemberAssignment = m.assignment
	return resp
}

// sync gives a member its assignment: now, or when the leader has brought it.
func (t *turn) sync(r Sync) {
	req := r.Req
	g := t.groups[req.Group]
	code := int16(0)
	switch {
	case req.Group == "":
		code = codeInvalidGroupID
	case g == nil || g.state == empty:
		code = codeUnknownMember
	default:
		code = g.validateSync(req)
	}
	if code != 0 {
		t.reply(t.token, syncError(code))
		return
	}
	m := g.members.get(req.MemberID)
	switch g.state {
	case preparing:
		t.reply(t.token, syncError(codeRebalanceInProgress))
	case completing:
		t.answerSync(m, syncError(codeRebalanceInProgress)) // an older one of the same member
		m.syncing = t.token
		t.synced(g, m)
		if g.isLeader(m) {
			t.assign(g, req.GroupAssignment, r.Memory)
		}
	default:
		t.synced(g, m)
		t.reply(t.token, assigned(g, m))
	}
}

func (g *group) validateSync(req *kmsg.SyncGroupRequest) int16 {
	if code := g.validate(req.MemberID, req.InstanceID); code != 0 {
		return code
	}
	if req.Generation != g.generation {
		return codeIllegalGeneration
	}
	if req.ProtocolType != nil && *req.ProtocolType != g.protocolType ||
		req.Protocol != nil && g.protocol != nil && *req.Protocol != *g.protocol {
		return codeInconsistent
	}
	return 0
}

// synced notes a member's sync; after the last one nobody is waited for.
func (t *turn) synced(g *group, m *member) {
	g.setSynced(m)
	if g.unsynced == 0 {
		t.cancel(syncKey(g))
	}
}

// assign takes the leader's assignments, writes the generation and makes it stable.
// Members that the leader left out get an empty assignment; assignments to others
// are dropped.
func (t *turn) assign(g *group, assignments []kmsg.SyncGroupRequestGroupAssignment, memory Memory) {
	before := t.held
	for _, m := range g.members.all() {
		g.members.assign(m, nil)
	}
	for _, a := range assignments {
		if m := g.members.get(a.MemberID); m != nil {
			g.members.assign(m, a.MemberAssignment)
		}
	}
	t.transition(g, stable)
	if memory == NoMore && t.held > before || !t.save(g) {
		// It can never be written, or there is no memory for it: say so, and let the
		// members try another way.
		t.transition(g, completing)
		t.failSync(g, codeUnknownServer)
		t.prepareRebalance(g, "its assignment is too large to be stored")
		return
	}
	for _, m := range g.members.all() {
		if t.answerSync(m, assigned(g, m)) {
			t.arm(g, m)
		}
	}
}

// failSync answers every parked sync with code and forgets the assignments.
func (t *turn) failSync(g *group, code int16) {
	for _, m := range g.members.all() {
		g.members.assign(m, nil)
		if t.answerSync(m, syncError(code)) {
			t.arm(g, m)
		}
	}
}

// syncDue drops the members that have not synced in time.
func (t *turn) syncDue(g *group) {
	if g.unsynced == 0 {
		return
	}
	for _, m := range append([]*member(nil), g.members.all()...) {
		if m.unsynced {
			t.drop(g, m, codeUnknownMember, SyncTimeout, "")
		}
	}
	t.prepareRebalance(g, "members did not ask for their assignments")
}
