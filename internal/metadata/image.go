// Package metadata holds what the cluster knows of itself and decides every
// change of it: topics, partitions, brokers, configs, feature levels.
//
// The state is an Image: immutable, with structural sharing between images, read
// without locks. Records of the metadata log (package schema) are its only
// source: a Builder applies them and cuts an Image with the Delta since the last
// one. The Controller is the state machine (package machine) whose decisions are
// such records; it decides on its own speculative state and never changes it but
// by Apply. Requests are kmsg's, wrapped with their context (Request).
//
// Invariants, checked by the model test:
//   - an image loaded from a snapshot, or replayed from the log, equals the one
//     that the controller decided on;
//   - a partition's leader is a member of its ISR, and its ISR, ELR and replicas
//     are sets of which ISR and ELR are disjoint;
//   - a partition has a leader while any clean replica is alive, and no replica that
//     lost records or is on another disk passes for a clean one;
//   - a reassignment ends with exactly the replicas that were asked for;
//   - a leader epoch never goes back, and each change adds 1 to a partition epoch;
//   - a broker epoch is given out once.
//
// Where to look: one file per request (create_topics.go …); who becomes leader
// and why, elect.go; where replicas go, place.go; what the controller does unasked,
// chores.go; who is alive, heartbeat.go and watch.go.
package metadata

import (
	"iter"
	"slices"

	"github.com/tidwall/btree"
)

// Image is the state of the cluster after some record of the metadata log. It is
// immutable and may be read by any number of goroutines; everything reached
// through it is read-only. The zero value is the empty cluster.
type Image struct {
	clusterID       string
	index           int64
	term            int64
	lastBrokerEpoch int64
	nextProducerID  int64
	partitions      int

	topics btree.Map[string, *Topic]
	// byID is keyed by the 16 bytes of the topic id.
	byID btree.Map[string, *Topic]
	// collisions maps a name with each '.' replaced by '_' to the topic that has it.
	collisions btree.Map[string, string]
	brokers    []*Broker // by id
	// controllers are by node id.
	controllers []*ControllerNode
	configs     btree.Map[string, map[string]string]
	features    map[string]int16
}

// Topic returns the topic of a name, or nil.
func (img *Image) Topic(name string) *Topic {
	t, _ := img.topics.Get(name)
	return t
}

// TopicByID returns the topic of an id, or nil.
func (img *Image) TopicByID(id [16]byte) *Topic {
	t, _ := img.byID.Get(string(id[:]))
	return t
}

// Topics iterates over all topics by name.
func (img *Image) Topics() iter.Seq[*Topic] { return img.TopicsFrom("") }

// TopicsFrom iterates by name over the topics whose name is not less than from.
func (img *Image) TopicsFrom(from string) iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		img.topics.Ascend(from, func(_ string, t *Topic) bool { return yield(t) })
	}
}

// TopicCount is the number of topics.
func (img *Image) TopicCount() int { return img.topics.Len() }

// PartitionCount is the number of partitions over all topics.
func (img *Image) PartitionCount() int { return img.partitions }

// Partition returns a partition of a topic by name, or nil.
func (img *Image) Partition(topic string, index int32) *Partition {
	return img.Topic(topic).Partition(index)
}

// Broker returns a registered broker, fenced or not, or nil.
func (img *Image) Broker(id int32) *Broker {
	i, ok := img.brokerPos(id)
	if !ok {
		return nil
	}
	return img.brokers[i]
}

// Brokers are all registered brokers by id, fenced ones included.
func (img *Image) Brokers() []*Broker { return img.brokers }

// Active tells whether a broker is registered, unfenced and not shutting down:
// whether it may lead, join an ISR and get new replicas.
func (img *Image) Active(id int32) bool { return img.Broker(id).Active() }

func (img *Image) brokerPos(id int32) (int, bool) {
	return slices.BinarySearchFunc(img.brokers, id, func(b *Broker, id int32) int { return int(b.ID) - int(id) })
}

// Config returns the dynamic configs of a resource; nil when it has none. The
// type is Kafka's (ResourceTopic …); the broker of empty name is the default of
// all brokers. The map must not be changed.
func (img *Image) Config(typ int8, name string) map[string]string {
	m, _ := img.configs.Get(resourceKey(typ, name))
	return m
}

// ConfigResources iterates by name over the resources of a type that have configs.
func (img *Image) ConfigResources(typ int8) iter.Seq2[string, map[string]string] {
	return func(yield func(string, map[string]string) bool) {
		img.configs.Ascend(resourceKey(typ, ""), func(key string, m map[string]string) bool {
			r := parseResourceKey(key)
			return r.Type == typ && yield(r.Name, m)
		})
	}
}

// ClusterID is the cluster's id as clients see it: 22 characters of URL-safe
// base64, or what the operator chose. Empty before the cluster is created.
func (img *Image) ClusterID() string { return img.clusterID }

// Feature is the finalised level of a feature; 0 when it is not finalised.
func (img *Image) Feature(name string) int16 { return img.features[name] }

// Features are all finalised features with their levels. The map must not be changed.
func (img *Image) Features() map[string]int16 { return img.features }

// NextProducerID is the first producer id that no broker was given.
func (img *Image) NextProducerID() int64 { return img.nextProducerID }

// Index is the log index of the last record applied; 0 in an empty image.
func (img *Image) Index() int64 { return img.index }

// Term is the Raft term of that record, as far as the builder was told.
func (img *Image) Term() int64 { return img.term }

// copy returns an image that shares everything, and whose maps may be changed
// without changing those of img. It writes nothing to img.
func (img *Image) copy() Image {
	c := *img
	c.topics = *c.topics.Copy()
	c.byID = *c.byID.Copy()
	c.collisions = *c.collisions.Copy()
	c.configs = *c.configs.Copy()
	return c
}
