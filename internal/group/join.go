package group

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Versions at which JoinGroup changes its ways.
const (
	joinNeedsMemberID  = 4 // KIP-394: a dynamic member gets its id first and joins with it
	joinSkipAssignment = 9 // KIP-814: a returning static leader is told not to assign
)

func joinError(memberID string, code int16) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.ErrorCode, resp.MemberID, resp.Generation = code, memberID, -1
	return resp
}

// join takes a member in or lets it go on into the next generation.
func (t *turn) join(r Join) {
	req := r.Req
	refuse := func(memberID string, code int16) { t.reply(t.token, joinError(memberID, code)) }
	session := time.Duration(req.SessionTimeoutMillis) * time.Millisecond
	switch {
	case req.Group == "":
		refuse(req.MemberID, codeInvalidGroupID)
		return
	case session < t.opts.MinSessionTimeout || session > t.opts.MaxSessionTimeout:
		refuse(req.MemberID, codeInvalidSession)
		return
	case metadataBytes(req) > t.opts.MaxBatchBytes:
		refuse(req.MemberID, codeUnknownServer) // as its sync would be: the group could never be stored
		return
	}
	g := t.groups[req.Group]
	isNew := g == nil
	if isNew {
		if req.MemberID != "" {
			refuse(req.MemberID, codeUnknownMember)
			return
		}
		g = t.newGroup(req.Group, t.ms())
	}
	if code := t.admit(g, req); code != 0 {
		refuse("", code)
		return
	}
	protocols := protocolsOf(req.Protocols)
	if !roomFor(g.holder(req), protocols, r.Memory) {
		if g.pending.remove(req.MemberID) { // nobody waits for it
			t.disarm(g, req.MemberID)
			t.completeIfRebalancing(g)
			t.prune(g)
		}
		refuse("", codeGroupFull)
		return
	}
	if !g.supports(req.ProtocolType, protocols) {
		refuse(req.MemberID, codeInconsistent)
		return
	}
	if isNew {
		// The group becomes durable with its first member, so that it is listed, and
		// in time removed, after a load too.
		t.groups[g.id] = g
		t.write(newGroupRecord(g))
	}
	if req.MemberID == "" {
		t.joinNew(g, r, protocols)
	} else {
		t.joinKnown(g, r, protocols)
	}
}

// metadataBytes is the size of what a member brings with it.
func metadataBytes(req *kmsg.JoinGroupRequest) int {
	n := 0
	for i := range req.Protocols {
		n += len(req.Protocols[i].Name) + len(req.Protocols[i].Metadata)
	}
	return n
}

// admit holds the group to its size. Who is in already may stay, except that after
// the size was lowered the last to rejoin lose their place.
func (t *turn) admit(g *group, req *kmsg.JoinGroupRequest) int16 {
	m := g.holder(req)
	switch g.state {
	case preparing:
		if m != nil && m.joining != 0 || g.members.joining < t.opts.MaxSize {
			return 0
		}
	case completing, stable:
		if m != nil || g.members.len() < t.opts.MaxSize {
			return 0
		}
	default:
		return 0
	}
	if g.pending.remove(req.MemberID) {
		t.disarm(g, req.MemberID)
	} else if m != nil && m.id == req.MemberID {
		t.drop(g, m, codeGroupFull, GroupFull, "")
	}
	t.completeIfRebalancing(g)
	return codeGroupFull
}

// holder is the member whose place a join takes; nil for a new one.
func (g *group) holder(req *kmsg.JoinGroupRequest) *member {
	if req.MemberID == "" && req.InstanceID != nil {
		return g.members.get(g.members.static[*req.InstanceID])
	}
	return g.members.get(req.MemberID)
}

// joinNew is a join without a member id.
func (t *turn) joinNew(g *group, r Join, protocols []protocol) {
	req := r.Req
	prefix := r.ClientID
	if req.InstanceID != nil {
		prefix = *req.InstanceID
	}
	id := memberID(prefix, uuid(t.rand))
	if req.InstanceID != nil {
		if old, ok := g.members.static[*req.InstanceID]; ok {
			t.replaceStatic(g, g.members.get(old), id, r, protocols)
			return
		}
	} else if r.Version >= joinNeedsMemberID {
		for g.pending.len() >= t.opts.MaxPending {
			oldest := g.pending.oldest()
			g.pending.remove(oldest)
			t.disarm(g, oldest)
		}
		g.pending.add(id)
		t.after(sessionKey(g, id), req.SessionTimeoutMillis)
		t.reply(t.token, joinError(id, codeMemberIDRequired))
		return
	}
	t.joinMember(g, id, r, protocols)
}

// maxString is what a string of the protocol, and of a record, can hold.
const maxString = 1<<15 - 1

// memberID is what a client is called, and which of its members this is. Of a name that
// leaves no room the end is cut.
func memberID(name, which string) string {
	if room := maxString - len(which) - len("-"); len(name) > room {
		name = strings.ToValidUTF8(name[:room], "")
	}
	return name + "-" + which
}

// joinMember adds a member and parks its join. Its session is not the client's yet,
// which does not know its member id: the join itself expires instead.
func (t *turn) joinMember(g *group, id string, r Join, protocols []protocol) {
	m := &member{
		id: id, instance: r.Req.InstanceID, clientID: r.ClientID, clientHost: r.ClientHost,
		rebalanceTimeout: r.Req.RebalanceTimeoutMillis, sessionTimeout: r.Req.SessionTimeoutMillis,
		protocolType: r.Req.ProtocolType, protocols: protocols, fresh: true,
	}
	if g.initial != nil {
		g.initial.extended = true
	}
	g.add(m)
	t.parkJoin(g, m, t.token)
	t.armFor(g, m, millis(t.opts.NewMemberJoinTimeout))
	t.rebalance(g, "member "+id+" joins"+saying(r.Req.Reason))
}

// joinKnown is a join with a member id.
func (t *turn) joinKnown(g *group, r Join, protocols []protocol) {
	req := r.Req
	if g.pending.has(req.MemberID) {
		if req.InstanceID != nil { // pending ids are of dynamic members
			t.reply(t.token, joinError(req.MemberID, codeUnknownMember))
			return
		}
		t.joinMember(g, req.MemberID, r, protocols)
		return
	}
	if code := g.validate(req.MemberID, req.InstanceID); code != 0 {
		t.reply(t.token, joinError(req.MemberID, code))
		return
	}
	m := g.members.get(req.MemberID)
	unchanged := m.offers(protocols)
	switch {
	case g.state == completing && unchanged:
		// The answer to its join may have been lost: it gets it again.
		t.reply(t.token, joined(g, m))
	case g.state == stable && unchanged && !g.isLeader(m):
		t.reply(t.token, joined(g, m))
	default:
		t.update(g, m, r, protocols)
		t.rebalance(g, "member "+m.id+" joins again"+saying(req.Reason))
	}
}

// update gives a member what its new join says and parks that.
func (t *turn) update(g *group, m *member, r Join, protocols []protocol) {
	g.members.offer(m, protocols)
	m.rebalanceTimeout, m.sessionTimeout = r.Req.RebalanceTimeoutMillis, r.Req.SessionTimeoutMillis
	t.parkJoin(g, m, t.token)
}

// replaceStatic lets a static member that has restarted take its old place under a
// new member id (KIP-345). What the old id waits for is fenced. A Stable group that
// would choose the same protocol goes on without a rebalance.
func (t *turn) replaceStatic(g *group, m *member, id string, r Join, protocols []protocol) {
	oldLeader := g.leader
	t.answerJoin(g, m, joinError(m.id, codeFencedInstance))
	t.answerSync(m, syncError(codeFencedInstance))
	t.disarm(g, m.id)
	led := g.isLeader(m)
	g.members.rename(m, id)
	if led {
		g.leader = id
	}
	m.fresh = false
	t.update(g, m, r, protocols)
	t.arm(g, m)

	switch g.state {
	case stable:
		if g.protocol == nil || *g.protocol != g.selectProtocol() || !t.save(g) {
			t.prepareRebalance(g, "static member "+id+" joins with another protocol")
			return
		}
		resp := joined(g, m)
		if r.Version >= joinSkipAssignment {
			resp.SkipAssignment = g.isLeader(m)
		} else {
			// The old leader id keeps the returning leader from assigning.
			resp.LeaderID, resp.Members = oldLeader, nil
		}
		t.answerJoin(g, m, resp)
	case completing:
		// The leader may already be assigning to the old member id.
		t.prepareRebalance(g, "static member "+id+" joins while assignments are made")
	default:
		t.completeIfRebalancing(g)
	}
}

// saying is a client's own reason, as words behind ours (KIP-800).
func saying(reason *string) string {
	if reason == nil || *reason == "" {
		return ""
	}
	return fmt.Sprintf(" (%.255q)", *reason)
}

// joined is the answer to a join of the group's generation.
func joined(g *group, m *member) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID, resp.Generation = m.id, g.generation
	protocolType := g.protocolType // the answer outlives this call, the group goes on
	resp.ProtocolType, resp.Protocol = &protocolType, g.protocol
	resp.LeaderID = g.leader
	if g.isLeader(m) {
		for _, o := range g.members.all() {
			jm := kmsg.NewJoinGroupResponseMember()
			jm.MemberID, jm.InstanceID, jm.ProtocolMetadata = o.id, o.instance, o.metadata(*g.protocol)
			resp.Members = append(resp.Members, jm)
		}
	}
	return resp
}

// uuid is a random (version 4) UUID.
func uuid(r *rand.Rand) string {
	var b [16]byte
	for i := 0; i < 16; i += 8 {
		n := r.Uint64()
		for j := range 8 {
			b[i+j] = byte(n >> (8 * j))
		}
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
