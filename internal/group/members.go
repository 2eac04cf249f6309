package group

import (
	"bytes"
	"container/list"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
)

// protocol is one assignor that a member offers, with its metadata.
type protocol struct {
	name     string
	metadata []byte
}

// protocolsOf takes a request's protocols; of a name given twice the first counts.
func protocolsOf(req []kmsg.JoinGroupRequestProtocol) []protocol {
	out := make([]protocol, 0, len(req))
	seen := make(map[string]struct{}, len(req))
	for _, p := range req {
		if _, again := seen[p.Name]; !again {
			seen[p.Name] = struct{}{}
			out = append(out, protocol{p.Name, p.Metadata})
		}
	}
	return out
}

// member is one member of a group.
type member struct {
	id                               string
	instance                         *string // KIP-345; nil for a dynamic member
	clientID, clientHost             string
	rebalanceTimeout, sessionTimeout int32 // ms
	protocolType                     string
	protocols                        []protocol
	assignment                       []byte

	joining, syncing machine.Token // parked requests; 0 none
	fresh            bool          // never yet in a generation: its parked join may expire
	unsynced         bool          // has yet to sync in this generation
	deadline         time.Time     // of its session
}

// metadata is what the member said of a protocol; nil if it does not offer it.
func (m *member) metadata(name string) []byte {
	for _, p := range m.protocols {
		if p.name == name {
			return p.metadata
		}
	}
	return nil
}

// offers says whether the member's protocols are these, in this order.
func (m *member) offers(ps []protocol) bool {
	return slices.EqualFunc(m.protocols, ps, func(a, b protocol) bool {
		return a.name == b.name && bytes.Equal(a.metadata, b.metadata)
	})
}

// members are the members of a group by seniority. The counts follow them.
type members struct {
	order     []*member
	byID      map[string]*member
	static    map[string]string // instance id to member id
	supported map[string]int    // protocol name to members that offer it
	joining   int               // members with a parked join
	ledger    ledger
}

func (s *members) all() []*member        { return s.order }
func (s *members) len() int              { return len(s.order) }
func (s *members) get(id string) *member { return s.byID[id] }

func (s *members) add(m *member) {
	if s.byID == nil {
		s.byID = make(map[string]*member)
		s.static = make(map[string]string)
		s.supported = make(map[string]int)
	}
	s.order = append(s.order, m)
	s.index(m)
}

// index enters a member everywhere but in the order.
func (s *members) index(m *member) {
	s.byID[m.id] = m
	if m.instance != nil {
		s.static[*m.instance] = m.id
	}
	s.count(m, 1)
	s.ledger.enter(m.size())
}

func (s *members) remove(m *member) {
	s.order = slices.DeleteFunc(s.order, func(o *member) bool { return o == m })
	s.unindex(m)
}

func (s *members) unindex(m *member) {
	delete(s.byID, m.id)
	if m.instance != nil && s.static[*m.instance] == m.id {
		delete(s.static, *m.instance)
	}
	s.count(m, -1)
	s.ledger.leave(m.size())
	s.setJoining(m, 0)
}

// rename gives a member a new id in its old place.
func (s *members) rename(m *member, id string) {
	s.unindex(m)
	m.id = id
	s.index(m)
}

// offer changes the protocols of a member.
func (s *members) offer(m *member, ps []protocol) {
	s.count(m, -1)
	s.ledger.grow(protocolsSize(ps) - protocolsSize(m.protocols))
	m.protocols = ps
	s.count(m, 1)
}

// assign changes the assignment of a member.
func (s *members) assign(m *member, assignment []byte) {
	s.ledger.grow(len(assignment) - len(m.assignment))
	m.assignment = assignment
}

func (s *members) count(m *member, by int) {
	for _, p := range m.protocols {
		if s.supported[p.name] += by; s.supported[p.name] == 0 {
			delete(s.supported, p.name)
		}
	}
}

// setJoining parks a join or, with 0, ends it.
func (s *members) setJoining(m *member, token machine.Token) {
	if m.joining != 0 {
		s.joining--
	}
	m.joining = token
	if token != 0 {
		s.joining++
	}
}

// pending are member ids that were handed out (KIP-394) and not yet used, oldest first.
type pending struct {
	order  list.List // of string
	byID   map[string]*list.Element
	ledger ledger
}

func (p *pending) len() int { return len(p.byID) }

func (p *pending) has(id string) bool { return p.byID[id] != nil }

func (p *pending) add(id string) {
	if p.byID == nil {
		p.byID = make(map[string]*list.Element)
	}
	p.byID[id] = p.order.PushBack(id)
	p.ledger.enter(pendingSize(id))
}

func (p *pending) remove(id string) bool {
	e := p.byID[id]
	if e == nil {
		return false
	}
	p.order.Remove(e)
	delete(p.byID, id)
	p.ledger.leave(pendingSize(id))
	return true
}

// oldest is the longest pending id; there must be one.
func (p *pending) oldest() string { return p.order.Front().Value.(string) }
