package group

import (
	"maps"
	"slices"

	"github.com/leat-stream/leat/internal/machine"
)

// state is where a classic group stands. There is no Dead: a group that is gone is
// not in the map.
type state uint8

const (
	empty      state = iota // no members
	preparing               // joins are collected
	completing              // the generation is formed, the leader's assignment is awaited
	stable
)

func (s state) String() string {
	switch s {
	case empty:
		return "Empty"
	case preparing:
		return "PreparingRebalance"
	case completing:
		return "CompletingRebalance"
	default:
		return "Stable"
	}
}

// stateDead is how a group that does not exist is described.
const stateDead = "Dead"

// consumerType is the protocol type of consumers, whose metadata names topics.
const consumerType = "consumer"

// group is one group id: its durable part and the volatile part that lives on it.
type group struct {
	id string

	// Durable: changed by Apply only.
	saved   *saved // nil when there is no metadata record (a group of offsets only)
	offsets offsets

	// Volatile.
	state, previous state
	since           int64 // when the state was entered, ms; -1 unknown (old records)
	generation      int32
	protocolType    string  // "" none yet
	protocol        *string // nil while no generation has members
	leader          string  // member id; "" none
	members         members
	pending         pending
	// subscribed are the topics of a consumer group's members; aware is false while
	// they are not known.
	subscribed map[string]bool
	aware      bool
	initial    *initialDelay // of the first rebalance, while it waits
	unsynced   int           // members that have not synced in this generation
}

func (m *Machine) newGroup(id string, now int64) *group {
	g := &group{id: id, since: now}
	l := ledger{total: &m.held, each: len(id)}
	g.members.ledger, g.pending.ledger = l, l
	return g
}

// sorted lists all groups by id.
func (m *Machine) sorted() []*group {
	all := make([]*group, 0, len(m.groups))
	for _, id := range slices.Sorted(maps.Keys(m.groups)) {
		all = append(all, m.groups[id])
	}
	return all
}

// prune forgets a group of which nothing is left.
func (m *Machine) prune(g *group) {
	if g.saved == nil && g.offsets.empty() && g.idle() {
		delete(m.groups, g.id)
	}
}

// idle says whether nobody is in the group or on the way into it.
func (g *group) idle() bool {
	return g.state == empty && g.members.len() == 0 && g.pending.len() == 0
}

func (t *turn) transition(g *group, to state) {
	g.previous, g.state, g.since = g.state, to, t.ms()
}

// isLeader says whether the member leads the generation.
func (g *group) isLeader(m *member) bool { return g.leader == m.id }

// rebalanceTimeout is the longest that any member asks for, in milliseconds.
func (g *group) rebalanceTimeout() int32 {
	var longest int32
	for _, m := range g.members.all() {
		longest = max(longest, m.rebalanceTimeout)
	}
	return longest
}

// add takes in a member; the first sets the protocol type and leads.
func (g *group) add(m *member) {
	if g.members.len() == 0 {
		g.protocolType = m.protocolType
	}
	if g.leader == "" {
		g.leader = m.id
	}
	g.pending.remove(m.id)
	g.members.add(m)
}

// drop takes out a member and answers what it waits for with code; leadership goes
// to the longest member. words are the member's own.
func (t *turn) drop(g *group, m *member, code int16, why Reason, words string) {
	t.tell(MemberGone{Group: g.id, Member: m.id, ClientID: m.clientID, ClientHost: m.clientHost, Reason: why, Words: words})
	t.answerJoin(g, m, joinError("", code))
	t.answerSync(m, syncError(code))
	t.disarm(g, m.id)
	g.setSynced(m)
	g.members.remove(m)
	if g.isLeader(m) {
		g.leader = ""
		if all := g.members.all(); len(all) > 0 {
			g.leader = all[0].id
		}
	}
}

// allJoined says whether nobody is missing for the next generation.
func (g *group) allJoined() bool {
	return g.members.joining == g.members.len() && g.pending.len() == 0
}

// setSynced notes that a member has synced, or is gone.
func (g *group) setSynced(m *member) {
	if m.unsynced {
		m.unsynced = false
		g.unsynced--
	}
}

// supports says whether a member with these protocols could be in the group.
func (g *group) supports(protocolType string, protocols []protocol) bool {
	if g.state == empty {
		return protocolType != "" && len(protocols) > 0
	}
	if protocolType != g.protocolType {
		return false
	}
	return slices.ContainsFunc(protocols, func(p protocol) bool {
		return g.members.supported[p.name] == g.members.len()
	})
}

// selectProtocol lets every member vote for the first of its protocols that all
// have. Of the winners with equal votes it takes the one that the longest member
// prefers. It is called with members only, and they share a protocol.
func (g *group) selectProtocol() string {
	votes := make(map[string]int)
	best := ""
	for _, m := range g.members.all() {
		for _, p := range m.protocols {
			if g.members.supported[p.name] == g.members.len() {
				votes[p.name]++
				break
			}
		}
	}
	for _, p := range g.members.all()[0].protocols {
		if votes[p.name] > votes[best] {
			best = p.name
		}
	}
	return best
}

// nextGeneration counts up and skips the negative numbers, which mean "no generation".
func nextGeneration(n int32) int32 {
	if n < 0 || n+1 < 0 {
		return 1
	}
	return n + 1
}

// validate checks that a member id, and its instance id when given, are of the group.
func (g *group) validate(memberID string, instance *string) int16 {
	if instance != nil {
		holder, ok := g.members.static[*instance]
		switch {
		case !ok:
			return codeUnknownMember
		case holder != memberID:
			return codeFencedInstance
		}
	}
	if g.members.get(memberID) == nil {
		return codeUnknownMember
	}
	return 0
}

// answerJoin answers a parked join, if there is one.
func (t *turn) answerJoin(g *group, m *member, body any) {
	if m.joining != 0 {
		t.reply(m.joining, body)
		g.members.setJoining(m, 0)
	}
}

// answerSync answers a parked sync, if there is one.
func (t *turn) answerSync(m *member, body any) bool {
	if m.syncing == 0 {
		return false
	}
	t.reply(m.syncing, body)
	m.syncing = 0
	return true
}

// parkJoin keeps a join's token; an older join of the same member is told to come again.
func (t *turn) parkJoin(g *group, m *member, token machine.Token) {
	t.answerJoin(g, m, joinError(m.id, codeRebalanceInProgress))
	g.members.setJoining(m, token)
}
