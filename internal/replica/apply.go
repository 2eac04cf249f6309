package replica

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/mutant"
)

// Apply follows the metadata: it creates and opens logs, takes and gives up
// leadership, takes over settings, and deletes what was deleted. Images must come in
// order; calls do not overlap. The first call gets an image and the delta from
// nothing. A log that cannot be opened is reported and leaves its partition out; the
// others go on.
func (m *Manager) Apply(img *metadata.Image, delta *metadata.Delta) error {
	defer m.pump()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.take(img)
	errs := []error{m.retryDeletions()}
	for _, c := range delta.Brokers {
		if f := m.fetchers[c.ID()]; f != nil {
			f.retry()
			m.wake(f)
		}
	}
	var leave []log.LogID
	for _, c := range delta.Topics {
		leave = append(leave, m.leaving(c)...)
	}
	errs = append(errs, m.delete(leave)) // before others take their names
	for _, c := range delta.Topics {
		if c.New != nil {
			errs = append(errs, m.update(img, c))
		}
	}
	for _, r := range delta.Configs {
		switch {
		case r.Type == metadata.ResourceBroker:
			m.refresh(img, "")
		case r.Type == metadata.ResourceTopic:
			m.refresh(img, r.Name)
		}
	}
	if len(delta.Brokers) > 0 {
		m.lookAtDeletes()
	}
	return errors.Join(errs...)
}

// pump lets the fetchers go on whose partitions Apply changed, and what it did to
// in-sync sets out.
func (m *Manager) pump() {
	m.mu.Lock()
	list := m.woken
	m.woken = nil
	m.mu.Unlock()
	for _, f := range list {
		m.opt.Clock.AfterFunc(0, f.pump) // it may have to read logs, which must not hold up the metadata
	}
	m.changes.send()
	m.polls.settle()
}

// leaving gives up the partitions that this broker has no longer, of one topic, and returns
// their logs.
func (m *Manager) leaving(c metadata.TopicChange) (leave []log.LogID) {
	if c.New == nil {
		return m.remove(c.Old)
	}
	v, ok := m.byID.Load(c.New.ID)
	if !ok {
		return nil
	}
	t := v.(*topic)
	for _, i := range c.Partitions {
		part, p := c.New.Partition(i), t.partition(i)
		if part != nil && p != nil && !slices.Contains(part.Replicas, m.opt.NodeID) {
			leave = append(leave, m.drop(t, p, part))
		}
	}
	return leave
}

// update follows one created or changed topic.
func (m *Manager) update(img *metadata.Image, c metadata.TopicChange) error {
	t := m.topic(c.New)
	settings := m.opt.Config(img, c.New.Name)
	var errs []error
	for _, i := range c.Partitions {
		part := c.New.Partition(i)
		if part == nil || !slices.Contains(part.Replicas, m.opt.NodeID) {
			continue
		}
		p := t.partition(i)
		if p == nil {
			errs = append(errs, m.enter(img, t, c.New, part, settings))
			continue
		}
		old := p.st.Load()
		p.assume(m.newRole(img, part, settings))
		p.announce(old)
	}
	return errors.Join(errs...)
}

// topic gives the entry of a topic, making it if need be.
func (m *Manager) topic(of *metadata.Topic) *topic {
	if v, ok := m.byID.Load(of.ID); ok {
		return v.(*topic)
	}
	t := &topic{name: of.Name, id: of.ID, parts: map[int32]*Partition{}}
	m.byID.Store(of.ID, t)
	m.byName.Store(of.Name, t)
	return t
}

// enter opens a partition that is assigned to this broker and takes it in; one that
// cannot be opened is tried again by Retry.
func (m *Manager) enter(img *metadata.Image, t *topic, of *metadata.Topic, part *metadata.Partition, s Settings) error {
	id := log.LogID{Topic: of.Name, TopicID: of.ID, Partition: part.Index}
	m.unopened = slices.DeleteFunc(m.unopened, func(u log.LogID) bool { return u == id })
	p := &Partition{m: m, id: id}
	hooks := log.Hooks{Synced: func(int64) { p.synced() }, NoRoom: p.cannotSync}
	l, err := m.open(img, id, s.Log, hooks)
	if err != nil {
		m.unopened = append(m.unopened, id)
		return fmt.Errorf("opening %s: %w", id, err)
	}
	p.log = l
	if _, hurt := m.hurt[id]; hurt {
		delete(m.hurt, id)
		p.damage = &damage{epoch: -1, told: -1}
	}
	p.assume(m.newRole(img, part, s))
	t.mu.Lock()
	t.parts[part.Index] = p
	t.mu.Unlock()
	m.moves.Add(1)
	p.announce(nil)
	return nil
}

// open opens a partition's log, once its name is free and the deletion of what the partition
// had here before it was moved away is carried out.
func (m *Manager) open(img *metadata.Image, id log.LogID, cfg log.Config, hooks log.Hooks) (*log.Log, error) {
	if slices.Contains(m.undeleted, id) {
		return nil, errors.New("what it had here before is not deleted yet")
	}
	l, err := m.opt.Dir.OpenLog(id, cfg, hooks)
	if errors.Is(err, log.ErrInconsistentTopicID) {
		if err = m.setAside(img, id); err == nil {
			l, err = m.opt.Dir.OpenLog(id, cfg, hooks)
		}
	}
	return l, err
}

// newRole is what an image says of a partition. This broker leads only as the
// incarnation that the image knows: what an earlier one led is led no more.
func (m *Manager) newRole(img *metadata.Image, part *metadata.Partition, s Settings) *role {
	self := m.opt.NodeID
	r := &role{
		leader: part.Leader, leaderEpoch: part.LeaderEpoch, partitionEpoch: part.PartitionEpoch,
		replicas: part.Replicas, isr: part.ISR, eligible: part.ELR(), recovering: part.Recovering(),
		leading: part.Leader == self, epochStart: -1,
		factor:   len(part.Replicas) - len(part.Adding()),
		minISR:   max(1, min(s.MinISR, len(part.Replicas))),
		Settings: s,
	}
	if b := img.Broker(self); r.leading && m.opt.BrokerEpoch != nil && (b == nil || b.Epoch != m.opt.BrokerEpoch()) &&
		!mutant.On("node/leads-as-before") {
		r.leading = false
	}
	return r
}

// assume takes a role that the metadata log gave. Whoever waited under an older one is
// told that the leader is gone, unless this broker leads on. The log learns of the new
// leader epoch by the first append in it, so that the logs nobody uses stay unread.
func (p *Partition) assume(r *role) {
	p.mu.Lock()
	old := p.st.Load()
	leadsOn := old != nil && old.leading && r.leading
	sameEpoch := leadsOn && old.leaderEpoch == r.leaderEpoch
	if old == nil {
		p.hw.Store(max(p.log.StartOffset(), min(p.log.HighWatermark(), p.log.EndOffset())))
	}
	switch {
	case sameEpoch:
		r.epochStart = old.epochStart
		if c := p.tenure.change; c != nil && r.partitionEpoch > c.partitionEpoch {
			p.notYielded(c)
			p.tenure.change = nil
		}
	case r.leading:
		r.epochStart = p.log.EndOffset()
		p.tenure = newTenure(r, p.m.opt.NodeID, p.m.now())
	default:
		p.tenure = nil
	}
	if old == nil || old.leaderEpoch != r.leaderEpoch {
		p.full.Store(false)
		p.stuck.Store(false)
	}
	p.st.Store(r)
	hurt := p.damage != nil
	var wake wakeups
	if r.leading {
		wake = p.advance(r)
		wake.watched = wake.watched && sameEpoch // else announce tells
		p.recovered(r, &wake)
		p.deleted(r, &wake)
	}
	p.mu.Unlock()
	wake.run()
	switch {
	case old != nil && old.leading && !r.leading && mutant.On("replica/deposed-acknowledges"):
		p.failWaiting(nil)
	case old != nil && old.leading && !r.leading && mutant.On("replica/deposed-leaves-waiting"): // nobody is told
	case old != nil && old.leading && !r.leading:
		p.failWaiting(kerr.NotLeaderForPartition)
	case old != nil && (old.leader != r.leader || old.leaderEpoch != r.leaderEpoch):
		p.wakeFetches() // so that they learn of it
	case leadsOn && len(r.isr) < r.minISR && len(old.isr) >= old.minISR:
		p.failPending(kerr.NotEnoughReplicasAfterAppend)
	}
	if old == nil || old.Log != r.Log {
		p.log.SetConfig(r.Log)
	}
	p.m.count(p, old, r)
	p.m.steer(p, r)
	if hurt {
		p.m.repairs.add(p)
	}
}

// count notes what a role means for the cluster.
func (m *Manager) count(p *Partition, old, r *role) {
	if !r.leading {
		return
	}
	if old == nil || !old.leading || old.leaderEpoch != r.leaderEpoch {
		m.counters.elections.Add(1)
		if len(r.replicas) > 1 {
			m.gained.Store(m.now().UnixNano())
			m.polls.stir()
			m.startTicks()
		}
		return
	}
	if slices.Equal(old.isr, r.isr) {
		return
	}
	if len(r.isr) < len(old.isr) {
		m.counters.isrShrinks.Add(1)
	} else {
		m.counters.isrExpands.Add(1)
	}
	m.event(slog.LevelInfo, ISRChanged{p.id, old.isr, r.isr})
}

// announce tells the coordinators' runtime of leadership gained and lost.
func (p *Partition) announce(old *role) {
	r := p.st.Load()
	if !r.Watched {
		return
	}
	if old != nil && old.leading && (!r.leading || old.leaderEpoch != r.leaderEpoch) {
		p.m.opt.Resigned(p, old.leaderEpoch)
	}
	if r.leading && (old == nil || !old.leading || old.leaderEpoch != r.leaderEpoch) {
		p.m.opt.Led(p, r.leaderEpoch)
		p.m.opt.Committed(p, p.HighWatermark())
	}
}

// remove gives up a topic that was deleted by a committed record, and returns its logs.
func (m *Manager) remove(of *metadata.Topic) (leave []log.LogID) {
	m.unopened = slices.DeleteFunc(m.unopened, func(id log.LogID) bool { return id.TopicID == of.ID })
	v, ok := m.byID.LoadAndDelete(of.ID)
	if !ok {
		return nil
	}
	t := v.(*topic)
	m.byName.CompareAndDelete(t.name, v)
	for _, p := range t.all() {
		leave = append(leave, m.drop(t, p, nil))
	}
	return leave
}

// drop gives up one partition, whose log it returns. moved is what others have of it now; nil
// where the topic is gone. Whoever waited is told which it is, and who leads.
func (m *Manager) drop(t *topic, p *Partition, moved *metadata.Partition) log.LogID {
	t.mu.Lock()
	delete(t.parts, p.id.Partition)
	t.mu.Unlock()
	m.moves.Add(1)
	old := p.st.Load()
	gone := *old
	gone.leading, gone.leader, gone.leaderEpoch, gone.away = false, metadata.NoLeader, -1, kerr.UnknownTopicOrPartition
	if moved != nil {
		gone.leader, gone.leaderEpoch, gone.away = moved.Leader, moved.LeaderEpoch, kerr.NotLeaderForPartition
	}
	p.mu.Lock()
	p.st.Store(&gone)
	p.tenure, p.damage = nil, nil
	p.mu.Unlock()
	m.steer(p, &gone)
	p.failProduces(gone.away, Leadership{gone.leader, gone.leaderEpoch})
	p.failDeletes(gone.away)
	p.wakeFetches()
	if old.Watched && old.leading {
		m.opt.Resigned(p, old.leaderEpoch)
	}
	return p.id
}

// refresh takes over changed settings: of one topic, or of all when name is empty.
func (m *Manager) refresh(img *metadata.Image, name string) {
	each := func(t *topic) {
		settings := m.opt.Config(img, t.name)
		for _, p := range t.all() {
			if part := img.Topic(t.name).Partition(p.id.Partition); part != nil {
				p.assume(m.newRole(img, part, settings))
			}
		}
	}
	if name != "" {
		if v, ok := m.byName.Load(name); ok {
			each(v.(*topic))
		}
		return
	}
	var all []*topic
	m.byName.Range(func(_, v any) bool { all = append(all, v.(*topic)); return true })
	slices.SortFunc(all, func(a, b *topic) int { return cmp.Compare(a.name, b.name) })
	for _, t := range all {
		each(t)
	}
}

// Stop ends every long poll, now and from here on; consumers get what there is. Nothing
// is fetched from other brokers any more; those that follow this one go on.
func (m *Manager) Stop() {
	m.stopping.Store(true)
	m.Each(func(p *Partition) { p.wakeFetches() })
}

// GiveUp tells the producers that still wait that the leader is gone.
func (m *Manager) GiveUp() {
	m.Each(func(p *Partition) { p.failWaiting(kerr.NotLeaderForPartition) })
}
