package metadata

import (
	"fmt"
	"maps"

	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/schema"
)

// Apply changes the state by one record, the only code that does. index is the
// record's log index, which never goes back; records of one batch may share it.
// Errors wrap ErrInconsistent and leave the state as it was.
func (b *Builder) Apply(index int64, rec schema.Record) error {
	if h, ok := rec.(*schema.SnapshotHeader); ok {
		b.reset(h)
		return nil
	}
	if f, ok := rec.(*schema.SnapshotFooter); ok {
		return b.endSnapshot(f)
	}
	if b.snapshot {
		index = b.cur.index
	}
	if index < b.cur.index {
		return fmt.Errorf("%w: index %d after %d", ErrInconsistent, index, b.cur.index)
	}
	if err := b.apply(index, rec); err != nil {
		return fmt.Errorf("%w: %T at index %d: %w", ErrInconsistent, rec, index, err)
	}
	b.cur.index = index
	if b.snapshot {
		b.snapshotRecords++
	}
	return nil
}

// ApplyFrame applies a record as the log has it. Errors wrap ErrInconsistent,
// schema.ErrUnknown or schema.ErrMalformed.
func (b *Builder) ApplyFrame(index int64, frame []byte) error {
	rec, err := schema.Decode(frame)
	if err != nil {
		return fmt.Errorf("metadata record at index %d: %w", index, err)
	}
	return b.Apply(index, rec)
}

func (b *Builder) apply(index int64, rec schema.Record) error {
	switch r := rec.(type) {
	case *schema.ClusterCreated:
		if b.cur.clusterID != "" || r.ClusterID == "" {
			return fmt.Errorf("cluster id %q after %q", r.ClusterID, b.cur.clusterID)
		}
		b.cur.clusterID = r.ClusterID
	case *schema.FeatureLevel:
		b.feature(r)
	case *schema.RegisterBroker:
		return b.registerBroker(index, r)
	case *schema.UnregisterBroker:
		if old := b.cur.Broker(r.BrokerID); old == nil || old.Epoch != r.Epoch {
			return fmt.Errorf("broker %d is not registered with epoch %d", r.BrokerID, r.Epoch)
		}
		b.setBroker(r.BrokerID, nil)
	case *schema.BrokerChange:
		return b.brokerChange(r)
	case *schema.RegisterController:
		b.registerController(r)
	case *schema.UnregisterController:
		if b.cur.ControllerNode(r.NodeID) == nil {
			return fmt.Errorf("node %d is not registered as a controller", r.NodeID)
		}
		b.setController(r.NodeID, nil)
	case *schema.Topic:
		return b.topic(r)
	case *schema.RemoveTopic:
		return b.removeTopic(r)
	case *schema.Partition:
		return b.partition(r)
	case *schema.PartitionChange:
		return b.partitionChange(r)
	case *schema.Config:
		b.setConfig(resourceKey(r.ResourceType, r.ResourceName), r.Key, r.Value)
	case *schema.ProducerIDs:
		if r.Next < b.cur.nextProducerID {
			return fmt.Errorf("next producer id %d after %d", r.Next, b.cur.nextProducerID)
		}
		b.cur.nextProducerID = r.Next
	default:
		return fmt.Errorf("no code for it")
	}
	return nil
}

func (b *Builder) feature(r *schema.FeatureLevel) {
	m := maps.Clone(b.cur.features)
	if m == nil {
		m = map[string]int16{}
	}
	if m[r.Name] = r.Level; r.Level == 0 {
		delete(m, r.Name)
	}
	b.cur.features = m
	b.touched.features = true
}

func (b *Builder) registerBroker(index int64, r *schema.RegisterBroker) error {
	if old := b.cur.Broker(r.BrokerID); old != nil && r.Epoch < old.Epoch {
		return fmt.Errorf("broker %d has epoch %d, not %d", r.BrokerID, old.Epoch, r.Epoch)
	}
	br := &Broker{
		ID: r.BrokerID, Epoch: r.Epoch, IncarnationID: r.IncarnationID,
		Directories: append([][16]byte(nil), r.Directories...), Rack: r.Rack,
		Fenced: r.Fenced, InControlledShutdown: r.InControlledShutdown, RegisteredAt: r.RegisteredAt,
	}
	for _, l := range r.Listeners {
		br.Listeners = append(br.Listeners, Listener(l))
	}
	for _, f := range r.Features {
		br.Features = append(br.Features, FeatureRange{f.Name, f.MinSupported, f.MaxSupported})
	}
	if r.RegisteredAt < 0 {
		br.RegisteredAt = index
	}
	b.cur.lastBrokerEpoch = max(b.cur.lastBrokerEpoch, r.Epoch)
	b.setBroker(r.BrokerID, br)
	return nil
}

func (b *Builder) brokerChange(r *schema.BrokerChange) error {
	old := b.cur.Broker(r.BrokerID)
	if old == nil || old.Epoch != r.Epoch {
		return fmt.Errorf("broker %d is not registered with epoch %d", r.BrokerID, r.Epoch)
	}
	br := *old
	if r.Fence != 0 {
		br.Fenced = r.Fence > 0
	}
	if r.ControlledShutdown != 0 {
		br.InControlledShutdown = true
	}
	if r.Directories != nil {
		br.Directories = append([][16]byte(nil), r.Directories...)
	}
	b.setBroker(r.BrokerID, &br)
	return nil
}

func (b *Builder) topic(r *schema.Topic) error {
	if b.cur.Topic(r.Name) != nil || b.cur.TopicByID(r.TopicID) != nil || r.Name == "" {
		return fmt.Errorf("topic %q or its id %s exists", r.Name, UUIDString(r.TopicID))
	}
	b.put(&Topic{Name: r.Name, ID: r.TopicID})
	if name, ok := collisionName(r.Name); ok {
		b.cur.collisions.Set(name, r.Name)
	}
	return nil
}

func (b *Builder) removeTopic(r *schema.RemoveTopic) error {
	t := b.cur.TopicByID(r.TopicID)
	if t == nil {
		return fmt.Errorf("there is no topic with id %s", UUIDString(r.TopicID))
	}
	b.cur.topics.Delete(t.Name)
	b.cur.byID.Delete(string(t.ID[:]))
	if name, ok := collisionName(t.Name); ok {
		if of, _ := b.cur.collisions.Get(name); of == t.Name {
			b.cur.collisions.Delete(name)
		}
	}
	key := resourceKey(ResourceTopic, t.Name)
	if _, ok := b.cur.configs.Delete(key); ok {
		b.touched.configs[key] = struct{}{}
	}
	b.cur.partitions -= len(t.Partitions)
	delete(b.owned, t)
	b.touched.topics[t.ID] = struct{}{}
	return nil
}

func (b *Builder) partition(r *schema.Partition) error {
	t := b.cur.TopicByID(r.TopicID)
	if t == nil {
		return fmt.Errorf("there is no topic with id %s", UUIDString(r.TopicID))
	}
	if int(r.Index) != len(t.Partitions) {
		return fmt.Errorf("partition %d of topic %s, which has %d", r.Index, t.Name, len(t.Partitions))
	}
	if len(r.Replicas) == 0 || len(r.Directories) > 0 && len(r.Directories) != len(r.Replicas) {
		return fmt.Errorf("%d directories for %d replicas", len(r.Directories), len(r.Replicas))
	}
	p := &Partition{
		Index: r.Index, Leader: r.Leader, LeaderEpoch: r.LeaderEpoch, PartitionEpoch: r.PartitionEpoch,
		Replicas: b.lists.int32s(r.Replicas), ISR: b.lists.int32s(r.ISR), Directories: b.lists.uuids(r.Directories),
	}
	p.setRare(rarely{
		elr: b.lists.int32s(r.ELR), lastKnownELR: b.lists.int32s(r.LastKnownELR),
		adding: b.lists.int32s(r.Adding), removing: b.lists.int32s(r.Removing), recovering: r.Recovering,
	})
	t = b.own(t)
	t.Partitions = append(t.Partitions, p)
	b.cur.partitions++
	return nil
}

func (b *Builder) partitionChange(r *schema.PartitionChange) error {
	t := b.cur.TopicByID(r.TopicID)
	old := t.Partition(r.Index)
	if old == nil {
		return fmt.Errorf("there is no partition %d of topic id %s", r.Index, UUIDString(r.TopicID))
	}
	p := merge(old, r)
	if len(p.Replicas) == 0 || len(p.Directories) > 0 && len(p.Directories) != len(p.Replicas) {
		return fmt.Errorf("%d directories for %d replicas", len(p.Directories), len(p.Replicas))
	}
	p.Replicas, p.ISR, p.Directories = b.lists.int32s(p.Replicas), b.lists.int32s(p.ISR), b.lists.uuids(p.Directories)
	if x := p.rare; x != nil {
		x.elr, x.lastKnownELR = b.lists.int32s(x.elr), b.lists.int32s(x.lastKnownELR)
		x.adding, x.removing = b.lists.int32s(x.adding), b.lists.int32s(x.removing)
	}
	b.own(t).Partitions[r.Index] = p
	return nil
}

// merge is a partition after a change.
func merge(old *Partition, r *schema.PartitionChange) *Partition {
	p := *old
	p.PartitionEpoch++
	if r.Leader != noChange {
		p.Leader = r.Leader
		if !mutant.On("metadata/same-epoch-for-next-leader") {
			p.LeaderEpoch++
		}
	}
	set := func(dst *[]int32, list []int32) {
		if list != nil {
			*dst = list
		}
	}
	set(&p.Replicas, r.Replicas)
	set(&p.ISR, r.ISR)
	if r.Directories != nil {
		p.Directories = r.Directories
	}
	x := *old.extra()
	set(&x.elr, r.ELR)
	set(&x.lastKnownELR, r.LastKnownELR)
	set(&x.adding, r.Adding)
	set(&x.removing, r.Removing)
	if r.Recovering != 0 {
		x.recovering = r.Recovering > 0
	}
	p.setRare(x)
	return &p
}

// noChange is the leader of a PartitionChange that leaves the leader as it is.
const noChange int32 = -2

func (p *Partition) setRare(x rarely) {
	p.rare = nil
	if len(x.elr) > 0 || len(x.lastKnownELR) > 0 || len(x.adding) > 0 || len(x.removing) > 0 || x.recovering {
		p.rare = &x
	}
}
