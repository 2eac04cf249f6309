package group

import (
	"maps"
	"slices"
)

// committed is one committed offset.
type committed struct {
	offset      int64
	leaderEpoch int32 // -1 unknown
	metadata    string
	commitTime  int64    // ms
	expireTime  int64    // ms; -1: by the group's retention
	topicID     [16]byte // zero unknown
	// at is the offset of the record in the log. Of a plain and a transactional
	// commit the later record counts, whatever the order of their completion.
	at int64
}

// offsets are the committed offsets of one group. Offsets of open transactions have
// their place beside them, by producer id, when transactions are built.
type offsets struct {
	byTopic map[string]map[int32]committed
}

func (o *offsets) empty() bool { return len(o.byTopic) == 0 }

func (o *offsets) get(topic string, partition int32) (committed, bool) {
	c, ok := o.byTopic[topic][partition]
	return c, ok
}

func (o *offsets) put(topic string, partition int32, c committed) {
	if o.byTopic == nil {
		o.byTopic = make(map[string]map[int32]committed)
	}
	if o.byTopic[topic] == nil {
		o.byTopic[topic] = make(map[int32]committed)
	}
	o.byTopic[topic][partition] = c
}

func (o *offsets) remove(topic string, partition int32) {
	ps := o.byTopic[topic]
	delete(ps, partition)
	if len(ps) == 0 {
		delete(o.byTopic, topic)
	}
}

// topics lists the topics with offsets, sorted.
func (o *offsets) topics() []string { return slices.Sorted(maps.Keys(o.byTopic)) }

// partitions lists a topic's partitions with offsets, sorted.
func (o *offsets) partitions(topic string) []int32 {
	return slices.Sorted(maps.Keys(o.byTopic[topic]))
}
