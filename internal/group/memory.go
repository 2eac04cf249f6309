package group

// Memory says how what the members of the whole broker hold stands to its bound, as
// the shell knows it from MembersHold when it hands over a request.
type Memory uint8

const (
	Roomy     Memory = iota
	NoMembers        // no new members
	NoMore           // nor may one bring more than it has
)

// MembersHold is an effect: what the members and pending members of this coordinator
// hold from now on, in bytes. It is told anew after a load.
type MembersHold struct{ Bytes int64 }

// What a member, a pending one and a protocol take beside their strings and bytes:
// structs, places in maps and lists, timers. Roughly.
const (
	memberOverhead   = 640
	pendingOverhead  = 320
	protocolOverhead = 96
)

// ledger counts what one group's members, or pending ones, hold, in the coordinator's total.
type ledger struct {
	total *int64
	each  int // beside its own: the group's id is in the key of its timer
}

func (l ledger) enter(n int) { *l.total += int64(n + l.each) }
func (l ledger) leave(n int) { *l.total -= int64(n + l.each) }

// grow counts n bytes more, or less.
func (l ledger) grow(n int) { *l.total += int64(n) }

// size is what a member holds.
func (m *member) size() int {
	n := memberOverhead + 2*len(m.id) + len(m.clientID) + len(m.clientHost) + len(m.protocolType) + len(m.assignment)
	if m.instance != nil {
		n += len(*m.instance)
	}
	return n + protocolsSize(m.protocols)
}

func protocolsSize(ps []protocol) int {
	n := protocolOverhead * len(ps)
	for _, p := range ps {
		n += len(p.name) + len(p.metadata)
	}
	return n
}

// pendingSize is what a pending member holds.
func pendingSize(id string) int { return pendingOverhead + 2*len(id) }

// roomFor says whether memory has room for a join in the place of m, nil for a new one.
func roomFor(m *member, protocols []protocol, memory Memory) bool {
	switch {
	case memory == Roomy:
		return true
	case m == nil:
		return false
	}
	return memory == NoMembers || protocolsSize(protocols) <= protocolsSize(m.protocols)
}

// tellHeld tells the shell when the members hold more, or less, than it knows.
func (t *turn) tellHeld() {
	if t.held != t.told {
		t.told = t.held
		t.out.Effects = append(t.out.Effects, MembersHold{t.held})
	}
}
