package metadata

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/schema"
)

// The coordinators' topics are often created while there is one broker. They grow
// with the cluster: up to three replicas, or as many as there are live brokers,
// unless their replication factor is set; and once all have three of which two are in
// sync, they get the min.insync.replicas that a new topic of three replicas has.
const (
	internalInterval = 5 * time.Second
	// maxGrowing bounds the partitions that grow at a time.
	maxGrowing = 10
)

var internalTopics = []struct {
	name   string
	factor config.IntName
}{
	{OffsetsTopic, config.OffsetsTopicReplicationFactor},
	{TransactionTopic, config.TransactionStateLogReplicationFactor},
}

// growInternal adds replicas, a few partitions at a time.
func (c *Controller) growInternal() []schema.Record {
	var recs []schema.Record
	room := maxGrowing
	for _, it := range internalTopics {
		if t := c.View().Topic(it.name); t != nil {
			room -= c.growing(t)
		}
	}
	for _, it := range internalTopics {
		t := c.View().Topic(it.name)
		if t == nil || c.settings().IsSet(string(it.factor)) {
			continue
		}
		want := c.defaultReplicas(it.factor)
		holds := map[int32]int{}
		for _, p := range t.Partitions {
			for _, r := range p.Replicas {
				holds[r]++
			}
		}
		for _, p := range t.Partitions {
			if p.reassigning() || p.Leader == NoLeader || len(p.Replicas) >= want {
				continue
			}
			if room <= 0 {
				return recs
			}
			room--
			if rec := c.reassign(t, p, c.grown(p, want, holds)); rec != nil {
				recs = append(recs, rec)
			}
		}
		recs = append(recs, c.settleInternal(t)...)
	}
	return recs
}

// growing counts the partitions whose new replicas are on their way; those that wait
// for a broker that is away take no room.
func (c *Controller) growing(t *Topic) int {
	n := 0
	for _, p := range t.Partitions {
		if len(p.Adding()) > 0 && !slices.ContainsFunc(p.Adding(), func(r int32) bool { return !c.View().Active(r) }) {
			n++
		}
	}
	return n
}

// grown are a partition's replicas with live brokers added: of racks that it is not
// in yet, and those first that hold least of the topic.
func (c *Controller) grown(p *Partition, want int, holds map[int32]int) []int32 {
	replicas := slices.Clone(p.Replicas)
	for len(replicas) < want {
		racks := map[string]bool{}
		for _, r := range replicas {
			racks[c.rack(r)] = true
		}
		var best *Broker
		for _, b := range c.View().Brokers() {
			if !b.Active() || slices.Contains(replicas, b.ID) {
				continue
			}
			if best == nil || cmp.Or(compareBool(racks[c.rack(b.ID)], racks[c.rack(best.ID)]), cmp.Compare(holds[b.ID], holds[best.ID])) < 0 {
				best = b
			}
		}
		if best == nil {
			break
		}
		holds[best.ID]++
		replicas = append(replicas, best.ID)
	}
	return replicas
}

func (c *Controller) rack(broker int32) string {
	if b := c.View().Broker(broker); b != nil && b.Rack != nil {
		return *b.Rack
	}
	return ""
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// settleInternal gives a topic that has grown its min.insync.replicas.
func (c *Controller) settleInternal(t *Topic) []schema.Record {
	name := string(config.MinInsyncReplicas)
	if _, own := c.View().Config(ResourceTopic, t.Name)[name]; own {
		return nil
	}
	n := c.safeMinISR(t.ReplicationFactor())
	if n == 0 || slices.ContainsFunc(t.Partitions, func(p *Partition) bool { return p.reassigning() || len(p.Replicas) < 3 || len(p.ISR) < n }) {
		return nil
	}
	value := strconv.Itoa(n)
	return []schema.Record{&schema.Config{ResourceType: ResourceTopic, ResourceName: t.Name, Key: name, Value: &value}}
}
