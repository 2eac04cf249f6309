package group

import (
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
	states, types := newFilter(r.StatesFilter), newFilter(r.TypesFilter)
	for _, g := range t.sorted() {
		if !states.admits(g.state.String()) || !types.admits(classicType) {
			continue
		}
		l := kmsg.NewListGroupsResponseGroup()
		l.Group, l.ProtocolType, l.GroupState, l.GroupType = g.id, g.protocolType, g.state.String(), classicType
		out = append(out, l)
	}
	t.reply(t.token, out)
}

// filter admits the values in it, whatever their letter case; an empty one admits all.
type filter map[string]struct{}

func newFilter(values []string) filter {
	f := make(filter, len(values))
	for _, v := range values {
		f[strings.ToLower(strings.TrimSpace(v))] = struct{}{}
	}
	return f
}

func (f filter) admits(value string) bool {
	_, ok := f[strings.ToLower(value)]
	return ok || len(f) == 0
}
