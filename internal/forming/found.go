package forming

import (
	"cmp"
	"slices"

	"github.com/leat-stream/leat/internal/nodewire"
)

// attempt is one ballot of the node that coordinates.
type attempt struct {
	ballot   nodewire.Ballot
	promised map[string]*nodewire.HelloResponse // by address: the answers of step 1
	value    *nodewire.Founding                 // of step 2; nil in step 1
	quorum   []string                           // addresses of those who have to accept
	accepted map[string]bool
	decided  bool // and this node is not named: it tells the others
}

// fill puts what the attempt asks of an address into a hello.
func (a *attempt) fill(req *nodewire.HelloRequest, address string) {
	req.Ballot = a.ballot
	if a.value == nil || !slices.Contains(a.quorum, address) {
		return
	}
	req.Found = a.value
	if a.decided {
		req.ClusterID = a.value.ClusterID
	}
}

// own is this node's answer to itself.
func (m *Machine) own() *nodewire.HelloResponse { return m.introduce() }

// answers are those of every listed address, in their order; nil when one is missing.
func (m *Machine) answers() []*nodewire.HelloResponse {
	var all []*nodewire.HelloResponse
	for _, a := range m.order {
		p := m.peers[a]
		switch {
		case m.itself(a):
			all = append(all, m.own())
		case p == nil || p.answer == nil:
			return nil
		default:
			all = append(all, p.answer)
		}
	}
	return all
}

// consider begins an attempt once everybody has answered and it is on this node to do so.
func (m *Machine) consider() {
	if m.phase != seeking || m.busy || m.attempt != nil || !m.cfg.Voter || len(m.cfg.Listed) == 0 {
		return
	}
	all := m.answers()
	if all == nil {
		return
	}
	if r := m.unfit(all); r != nil {
		m.refuse(r)
		return
	}
	if slices.ContainsFunc(m.order, func(a string) bool { return m.twin(a) != "" }) {
		return // one of the two has to be given another id
	}
	first := slices.MinFunc(all, func(a, b *nodewire.HelloResponse) int { return cmp.Compare(a.From.NodeID, b.From.NodeID) })
	if same(first.From, m.cfg.Self) {
		m.begin()
	}
}

// unfit is why those who answered cannot found a cluster together with this node.
func (m *Machine) unfit(all []*nodewire.HelloResponse) *Refusal {
	there := false
	for i, r := range all {
		there = there || r.From.DirectoryID == m.cfg.Self.DirectoryID
		if want := m.cfg.Listed[i].NodeID; want >= 0 && want != r.From.NodeID {
			return refusal(WrongID, "%s says that %s is node %d, and it is node %d", m.setting(), m.order[i], want, r.From.NodeID)
		}
		if r.ClusterID != "" {
			return refusal(OtherCluster, "the data directory of %s belongs to cluster %s, and none of %s has the log of that cluster: "+
				"list a node that has, or give it an empty data directory", name(r.From), r.ClusterID, list(m.addresses()))
		}
		if f := r.Founding; f != nil && !slices.Equal(slots(f), m.addresses()) {
			return refusal(Promised, "%s has promised to found a cluster with %s, and %s is %s: "+
				"list those nodes, or give it an empty data directory", name(r.From), list(slots(f)), m.setting(), list(m.addresses()))
		}
		for j, o := range all[:i] {
			if o.From.DirectoryID == r.From.DirectoryID {
				return refusal(ListedTwice, "%s and %s of %s lead to the same node, %d", m.order[j], m.order[i], m.setting(), r.From.NodeID)
			}
		}
	}
	if !there {
		return refusal(NotListed, "this node, %s, is a controller and is not among %s of %s, who are in no cluster yet: "+
			"list it on every node, or start it when they have founded one", name(m.cfg.Self), list(m.addresses()), m.setting())
	}
	return nil
}

// twin is who else has the id of the node that answers at a listed address, while nobody has a
// cluster: "this node", or an address; "" when there is none.
func (m *Machine) twin(address string) string {
	seeks := func(a string) *nodewire.Identity {
		if p := m.peers[a]; p != nil && p.answer != nil && !p.answer.HasLog && !m.itself(a) {
			return &p.answer.From
		}
		return nil
	}
	one := seeks(address)
	if one == nil {
		return ""
	}
	if m.clash != nil && one.NodeID == m.cfg.Self.NodeID && one.DirectoryID != m.cfg.Self.DirectoryID {
		return "this node"
	}
	for _, a := range m.order {
		if o := seeks(a); o != nil && o.NodeID == one.NodeID && o.DirectoryID != one.DirectoryID {
			return a
		}
	}
	return ""
}

// begin is step 1: nobody takes part in an earlier attempt any more.
func (m *Machine) begin() {
	a := &attempt{
		ballot:   nodewire.Ballot{Round: max(m.round, m.promise.Ballot.Round) + 1, By: m.cfg.Self.DirectoryID},
		promised: map[string]*nodewire.HelloResponse{}, accepted: map[string]bool{},
	}
	m.attempt, m.round, m.promise.Ballot = a, a.ballot.Round, a.ballot
	m.save(func() {
		for _, address := range m.order {
			if m.itself(address) {
				a.promised[address] = m.own()
			} else {
				m.ask(address)
			}
		}
		m.promises()
	})
}

// progress takes an answer that may belong to the attempt.
func (m *Machine) progress(address string, resp *nodewire.HelloResponse) {
	a := m.attempt
	switch {
	case a == nil || a.decided:
	case less(a.ballot, resp.Promised):
		m.attempt = nil // somebody else coordinates, or did
	case resp.Promised != a.ballot:
		// An answer from before.
	case a.value == nil:
		a.promised[address] = resp
		m.promises()
	case !same(a.promised[address].From, resp.From):
		m.attempt = nil // another directory answers there now
	case resp.AcceptedAt == a.ballot && equal(resp.Founding, a.value):
		a.accepted[address] = true
		m.accepts()
	}
	m.outdated(address, resp)
}

// outdated ends the attempt when the directory that promised is gone.
func (m *Machine) outdated(address string, resp *nodewire.HelloResponse) {
	if a := m.attempt; a != nil {
		if p := a.promised[address]; p != nil && !same(p.From, resp.From) {
			m.attempt = nil
		}
	}
}

// promises is step 2, once all have promised: the founding that may have been decided,
// or a new one.
func (m *Machine) promises() {
	a := m.attempt
	if len(a.promised) < len(m.order) {
		return
	}
	var all []nodewire.Identity
	var last *nodewire.HelloResponse
	for _, address := range m.order {
		p := a.promised[address]
		id := p.From
		id.Address = address // by which all reach it
		all = append(all, id)
		if p.Founding != nil && (last == nil || less(last.AcceptedAt, p.AcceptedAt)) {
			last = p
		}
	}
	a.value = &nodewire.Founding{ClusterID: m.cfg.NewClusterID(), Voters: slices.SortedFunc(slices.Values(all), func(x, y nodewire.Identity) int {
		return cmp.Compare(x.NodeID, y.NodeID)
	})}
	a.quorum = m.order
	if last != nil {
		if alive := m.survivors(last.Founding); len(alive) > len(last.Founding.Voters)/2 {
			a.value, a.quorum = last.Founding, alive
		}
	}
	for _, address := range a.quorum {
		if m.itself(address) {
			m.promise.Accepted, m.promise.AcceptedAt = a.value, a.ballot
			m.save(func() {
				a.accepted[address] = true
				m.propose()
			})
			return
		}
	}
	m.propose()
}

// survivors are the addresses at which an identity of the founding has promised.
func (m *Machine) survivors(f *nodewire.Founding) []string {
	var alive []string
	for _, address := range m.order {
		if names(f.Voters, m.attempt.promised[address].From) {
			alive = append(alive, address)
		}
	}
	return alive
}

func (m *Machine) propose() {
	for _, address := range m.attempt.quorum {
		if !m.itself(address) {
			m.ask(address)
		}
	}
	m.accepts()
}

// accepts is step 3, once all have accepted.
func (m *Machine) accepts() {
	a := m.attempt
	if len(a.accepted) < len(a.quorum) {
		return
	}
	if names(a.value.Voters, m.cfg.Self) {
		m.found(*a.value)
		return
	}
	a.decided = true
	for _, address := range a.quorum {
		m.ask(address)
	}
}
