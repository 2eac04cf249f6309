package metadata

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/leat-stream/leat/internal/schema"
)

// Records iterates over the records that build the image from nothing, between
// a snapshot's header and footer.
func (img *Image) Records() iter.Seq[schema.Record] {
	return func(yield func(schema.Record) bool) {
		n := int64(0)
		emit := func(r schema.Record) bool {
			n++
			return yield(r)
		}
		if !yield(&schema.SnapshotHeader{Index: img.index, Term: img.term, LastBrokerEpoch: img.lastBrokerEpoch}) {
			return
		}
		if img.clusterRecords(emit) && img.topicRecords(emit) && img.configRecords(emit) {
			yield(&schema.SnapshotFooter{Records: n})
		}
	}
}

func (img *Image) clusterRecords(emit func(schema.Record) bool) bool {
	if img.clusterID != "" && !emit(&schema.ClusterCreated{ClusterID: img.clusterID}) {
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(img.features)) {
		if !emit(&schema.FeatureLevel{Name: name, Level: img.features[name]}) {
			return false
		}
	}
	for _, b := range img.brokers {
		if !emit(b.record()) {
			return false
		}
	}
	for _, n := range img.controllers {
		if !emit(n.record()) {
			return false
		}
	}
	return img.nextProducerID == 0 || emit(&schema.ProducerIDs{BrokerID: -1, BrokerEpoch: -1, Next: img.nextProducerID})
}

func (img *Image) topicRecords(emit func(schema.Record) bool) bool {
	for t := range img.Topics() {
		if !emit(&schema.Topic{TopicID: t.ID, Name: t.Name}) {
			return false
		}
		for _, p := range t.Partitions {
			if !emit(p.record(t.ID)) {
				return false
			}
		}
	}
	return true
}

func (img *Image) configRecords(emit func(schema.Record) bool) bool {
	ok := true
	img.configs.Scan(func(key string, m map[string]string) bool {
		r := parseResourceKey(key)
		for _, name := range slices.Sorted(maps.Keys(m)) {
			value := m[name]
			if ok = emit(&schema.Config{ResourceType: r.Type, ResourceName: r.Name, Key: name, Value: &value}); !ok {
				return false
			}
		}
		return true
	})
	return ok
}

// record is the record that registers the broker as it is.
func (b *Broker) record() *schema.RegisterBroker {
	r := &schema.RegisterBroker{
		BrokerID: b.ID, Epoch: b.Epoch, IncarnationID: b.IncarnationID, Directories: b.Directories, Rack: b.Rack,
		Fenced: b.Fenced, InControlledShutdown: b.InControlledShutdown, RegisteredAt: b.RegisteredAt,
	}
	for _, l := range b.Listeners {
		r.Listeners = append(r.Listeners, schema.RegisterBrokerListener(l))
	}
	for _, f := range b.Features {
		r.Features = append(r.Features, schema.RegisterBrokerFeature{Name: f.Name, MinSupported: f.Min, MaxSupported: f.Max})
	}
	return r
}

// record is the record that creates the partition as it is.
func (p *Partition) record(topic [16]byte) *schema.Partition {
	x := p.extra()
	return &schema.Partition{
		TopicID: topic, Index: p.Index, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
		Replicas: p.Replicas, ISR: p.ISR, ELR: x.elr, LastKnownELR: x.lastKnownELR,
		Adding: x.adding, Removing: x.removing, Recovering: x.recovering, Directories: p.Directories,
	}
}

// Snapshot iterates over the same records as frames (package schema), in the
// versions that the image's own feature level allows.
func (img *Image) Snapshot() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		level := max(img.Feature(schema.FeatureName), 1)
		var chunk []byte // frames are cut from chunks, as each is small
		for rec := range img.Records() {
			if cap(chunk)-len(chunk) < 512 {
				chunk = make([]byte, 0, 32<<10)
			}
			start := len(chunk)
			var err error
			chunk, err = schema.Append(chunk, rec, level)
			if !yield(chunk[start:len(chunk):len(chunk)], err) || err != nil {
				return
			}
		}
	}
}

// LoadSnapshot returns a builder with the state that the frames of a snapshot
// describe; its first delta holds everything. The frames are not trusted: errors
// wrap schema.ErrUnknown (written by a newer build), schema.ErrMalformed or
// ErrInconsistent, or are those of the iteration.
func LoadSnapshot(frames iter.Seq2[[]byte, error]) (*Builder, error) {
	b := NewBuilder(nil)
	n, whole := 0, false
	for frame, err := range frames {
		if err != nil {
			return nil, err
		}
		rec, err := schema.Decode(frame)
		if err != nil {
			return nil, fmt.Errorf("metadata snapshot, record %d: %w", n, err)
		}
		if _, header := rec.(*schema.SnapshotHeader); header != (n == 0) || whole {
			return nil, fmt.Errorf("metadata snapshot, record %d: %w: %T out of place", n, ErrInconsistent, rec)
		}
		if err := b.Apply(0, rec); err != nil {
			return nil, fmt.Errorf("metadata snapshot, record %d: %w", n, err)
		}
		_, whole = rec.(*schema.SnapshotFooter)
		n++
	}
	if !whole {
		return nil, fmt.Errorf("metadata snapshot: %w: it ends after %d records, without its footer", ErrInconsistent, n)
	}
	return b, nil
}
