package metadata

import (
	"cmp"
	"maps"
	"slices"
)

// Delta is what differs between two images.
type Delta struct {
	// Topics that were deleted, then those created or changed, each by name. A
	// topic deleted and created anew under its name stands here twice.
	Topics []TopicChange
	// Brokers by id.
	Brokers []BrokerChange
	// Configs are the resources of which any config changed, by type and name.
	// Those of a deleted topic are among them.
	Configs []Resource
	// Features tells whether a finalised feature level changed.
	Features bool
	// Controllers tells whether any registered controller changed.
	Controllers bool
}

// TopicChange is one topic's; Old is nil when it was created, New when deleted.
type TopicChange struct {
	Old, New *Topic
	// Partitions are the numbers of those added, removed or changed, ascending.
	Partitions []int32
}

// BrokerChange is one broker's; Old is nil when it registered first, New when it
// was unregistered.
type BrokerChange struct{ Old, New *Broker }

// Empty tells whether nothing differs.
func (d *Delta) Empty() bool {
	return len(d.Topics) == 0 && len(d.Brokers) == 0 && len(d.Configs) == 0 && !d.Features && !d.Controllers
}

// Diff compares two images as a whole, in time linear in their size; a Builder
// knows the same of its own changes for less. A nil image is an empty one.
func Diff(from, to *Image) *Delta {
	if from == nil {
		from = new(Image)
	}
	t := newTouched()
	t.all(from)
	t.all(to)
	return t.delta(from, to)
}

// touched are the names of what may have changed since an image.
type touched struct {
	topics   map[[16]byte]struct{}
	brokers  map[int32]struct{}
	configs  map[string]struct{}
	features bool
	// controllers is set when any may have changed.
	controllers bool
}

func newTouched() *touched {
	return &touched{map[[16]byte]struct{}{}, map[int32]struct{}{}, map[string]struct{}{}, false, false}
}

// all touches everything in an image.
func (t *touched) all(img *Image) {
	for topic := range img.Topics() {
		t.topics[topic.ID] = struct{}{}
	}
	for _, b := range img.brokers {
		t.brokers[b.ID] = struct{}{}
	}
	img.configs.Scan(func(key string, _ map[string]string) bool {
		t.configs[key] = struct{}{}
		return true
	})
	t.features, t.controllers = true, true
}

// delta compares what was touched.
func (t *touched) delta(from, to *Image) *Delta {
	d := &Delta{
		Features:    t.features && !maps.Equal(from.features, to.features),
		Controllers: t.controllers && !slices.Equal(from.controllers, to.controllers),
	}
	for id := range t.topics {
		if c, ok := diffTopic(from.TopicByID(id), to.TopicByID(id)); ok {
			d.Topics = append(d.Topics, c)
		}
	}
	slices.SortFunc(d.Topics, func(a, b TopicChange) int {
		if (a.New == nil) != (b.New == nil) {
			if a.New == nil {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.topic().Name, b.topic().Name)
	})
	for id := range t.brokers {
		if c := (BrokerChange{from.Broker(id), to.Broker(id)}); c.Old != c.New {
			d.Brokers = append(d.Brokers, c)
		}
	}
	slices.SortFunc(d.Brokers, func(a, b BrokerChange) int { return cmp.Compare(a.broker().ID, b.broker().ID) })
	for _, key := range slices.Sorted(maps.Keys(t.configs)) {
		r := parseResourceKey(key)
		if !maps.Equal(from.Config(r.Type, r.Name), to.Config(r.Type, r.Name)) {
			d.Configs = append(d.Configs, r)
		}
	}
	return d
}

// topic is the newer of the two.
func (c TopicChange) topic() *Topic {
	if c.New == nil {
		return c.Old
	}
	return c.New
}

// ID is the broker's.
func (c BrokerChange) ID() int32 { return c.broker().ID }

func (c BrokerChange) broker() *Broker {
	if c.New == nil {
		return c.Old
	}
	return c.New
}

// diffTopic compares partitions by identity: a partition that did not change is
// shared between images.
func diffTopic(from, to *Topic) (c TopicChange, changed bool) {
	if from == to {
		return c, false
	}
	c = TopicChange{Old: from, New: to}
	n := 0
	for _, t := range []*Topic{from, to} {
		if t != nil {
			n = max(n, len(t.Partitions))
		}
	}
	for i := range int32(n) {
		if from.Partition(i) != to.Partition(i) {
			c.Partitions = append(c.Partitions, i)
		}
	}
	return c, from == nil || to == nil || len(c.Partitions) > 0
}
