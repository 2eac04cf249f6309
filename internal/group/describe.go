package group

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeNotFound is the version from which a group that does not exist is an error
// (KIP-1043); before, it is a dead one.
const describeNotFound = 6

// classicType is how this kind of group is listed (KIP-848).
const classicType = "classic"

// describe tells everything of a group; metadata and protocol only when it is Stable.
func (t *turn) describe(r Describe) {
	resp := kmsg.NewDescribeGroupsResponseGroup()
	resp.Group = r.Group
	defer func() { t.reply(t.token, &resp) }()
	g := t.groups[r.Group]
	if g == nil {
		resp.State = stateDead
		if r.Version >= describeNotFound {
			resp.ErrorCode = codeGroupNotFound
			msg := notFound(r.Group)
			resp.ErrorMessage = &msg
		}
		return
	}
	resp.State, resp.ProtocolType = g.state.String(), g.protocolType
	if g.state == stable {
		resp.Protocol = *g.protocol
	}
	for _, m := range g.members.all() {
		out := kmsg.NewDescribeGroupsResponseGroupMember()
		out.MemberID, out.InstanceID = m.id, m.instance
		out.ClientID, out.ClientHost = m.clientID, m.clientHost
		out.MemberAssignment = m.assignment
		if g.state == stable {
			out.ProtocolMetadata = m.metadata(*g.protocol)
		}
		resp.Members = append(resp.Members, out)
	}
}

func notFound(id string) string { return "Group " + id + " not found." }

// list names the groups of this partition.
func (t *turn) list(r List) {
	out := []kmsg.ListGroupsResponseGroup{}
	for _, g := range t.sorted() {
		if !admits(r.StatesFilter, g.state.String()) || !admits(r.TypesFilter, classicType) {
			continue
		}
		l := kmsg.NewListGroupsResponseGroup()
		l.Group, l.ProtocolType, l.GroupState, l.GroupType = g.id, g.protocolType, g.state.String(), classicType
		out = append(out, l)
	}
	t.reply(t.token, out)
}

func admits(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool {
		return strings.EqualFold(strings.TrimSpace(f), value)
	})
}
