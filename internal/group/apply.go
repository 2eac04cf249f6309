package group

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/leat-stream/leat/internal/machine"
)

// Apply changes durable state by one record. Records of group types that are not
// built are counted and passed over. It keeps nothing of rec's bytes.
func (m *Machine) Apply(offset, _ int64, rec machine.Record) error {
	b := kbin.Reader{Src: rec.Key}
	version := b.Int16()
	switch {
	case !b.Ok():
		return fmt.Errorf("%w: key without a version", ErrCorrupt)
	case version < 0:
		return fmt.Errorf("%w: key of version %d", ErrCorrupt, version)
	case version == keyGroup:
		id := b.String()
		if err := b.Complete(); err != nil {
			return fmt.Errorf("%w: group key: %w", ErrCorrupt, err)
		}
		return m.applyGroup(id, rec.Value)
	case version <= keyOffset:
		id, topic, partition := b.String(), b.String(), b.Int32()
		if err := b.Complete(); err != nil {
			return fmt.Errorf("%w: offset key: %w", ErrCorrupt, err)
		}
		return m.applyOffset(offset, id, topic, partition, rec.Value)
	}
	m.foreign++
	return nil
}

func (m *Machine) applyGroup(id string, value []byte) error {
	if value == nil {
		if g := m.groups[id]; g != nil {
			g.saved = nil
			m.prune(g)
		}
		return nil
	}
	s, err := readGroup(value)
	if err != nil {
		return err
	}
	m.have(id).saved = s
	return nil
}

func (m *Machine) applyOffset(offset int64, id, topic string, partition int32, value []byte) error {
	if value == nil {
		if g := m.groups[id]; g != nil {
			g.offsets.remove(topic, partition)
			m.prune(g)
		}
		return nil
	}
	c, err := readOffset(value)
	if err != nil {
		return err
	}
	c.at = offset
	m.have(id).offsets.put(topic, partition, c)
	return nil
}

// have finds a group or makes an Empty one, that of commits without membership.
func (m *Machine) have(id string) *group {
	g := m.groups[id]
	if g == nil {
		g = m.newGroup(id, -1)
		m.groups[id] = g
	}
	return g
}

// resume makes the volatile state of a loaded group: Stable with its members, whose
// sessions begin anew, or Empty.
func (t *turn) resume(g *group) {
	s := g.saved
	if s == nil {
		return
	}
	g.generation, g.since = s.generation, s.since
	g.protocolType, g.protocol, g.leader = s.protocolType, s.protocol, s.leader
	if g.protocol == nil && len(s.members) > 0 {
		g.protocol = new(string)
	}
	for _, sm := range s.members {
		t.resumeMember(g, sm)
	}
	if g.members.len() > 0 {
		g.state = stable
	}
	if g.members.get(g.leader) == nil {
		g.leader = ""
		if all := g.members.all(); len(all) > 0 {
			g.leader = all[0].id
		}
	}
	g.learnTopics()
	if g.members.len() > t.opts.MaxSize {
		t.prepareRebalance(g, "group.max.size was lowered") // the size was lowered: the last to rejoin lose their place
	}
}

// resumeMember restores one member; one without an id, or with one that is taken, is left out.
func (t *turn) resumeMember(g *group, s savedMember) {
	if s.id == "" || g.members.get(s.id) != nil {
		return
	}
	m := &member{
		id: s.id, instance: s.instance, clientID: s.clientID, clientHost: s.clientHost,
		rebalanceTimeout: s.rebalanceTimeout, sessionTimeout: s.sessionTimeout,
		protocolType: g.protocolType, protocols: []protocol{{*g.protocol, s.subscription}},
		assignment: s.assignment,
	}
	if m.instance != nil {
		if _, taken := g.members.static[*m.instance]; taken {
			return
		}
	}
	g.members.add(m)
	t.arm(g, m)
}
