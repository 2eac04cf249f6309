package metadata

import (
	"maps"
	"reflect"
	"slices"
)

// Equal tells whether two images describe the same cluster at the same log
// index. The term, which a state machine is not told, is left out.
func (img *Image) Equal(o *Image) bool {
	return img.clusterID == o.clusterID && img.index == o.index && img.lastBrokerEpoch == o.lastBrokerEpoch &&
		img.nextProducerID == o.nextProducerID && img.partitions == o.partitions &&
		maps.Equal(img.features, o.features) &&
		slices.EqualFunc(img.brokers, o.brokers, func(a, b *Broker) bool { return reflect.DeepEqual(a, b) }) &&
		slices.EqualFunc(img.controllers, o.controllers, func(a, b *ControllerNode) bool { return reflect.DeepEqual(a, b) }) &&
		slices.EqualFunc(slices.Collect(img.Topics()), slices.Collect(o.Topics()), (*Topic).equal) &&
		equalConfigs(img, o)
}

func equalConfigs(a, b *Image) bool {
	equal := a.configs.Len() == b.configs.Len()
	a.configs.Scan(func(key string, m map[string]string) bool {
		other, _ := b.configs.Get(key)
		equal = equal && maps.Equal(m, other)
		return equal
	})
	return equal
}

func (t *Topic) equal(o *Topic) bool {
	return t == o || t.Name == o.Name && t.ID == o.ID && slices.EqualFunc(t.Partitions, o.Partitions, (*Partition).equal)
}

func (p *Partition) equal(o *Partition) bool {
	if p == o {
		return true
	}
	x, y := p.extra(), o.extra()
	return p.Index == o.Index && p.Leader == o.Leader && p.LeaderEpoch == o.LeaderEpoch && p.PartitionEpoch == o.PartitionEpoch &&
		slices.Equal(p.Replicas, o.Replicas) && slices.Equal(p.ISR, o.ISR) && slices.Equal(p.Directories, o.Directories) &&
		slices.Equal(x.elr, y.elr) && slices.Equal(x.lastKnownELR, y.lastKnownELR) &&
		slices.Equal(x.adding, y.adding) && slices.Equal(x.removing, y.removing) && x.recovering == y.recovering
}
