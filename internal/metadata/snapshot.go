package metadata

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
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

// Limits and layout of a snapshot as bytes.
const (
	// maxSnapshotRecord bounds one record: a partition of 1,000 replicas or a
	// config value takes far less.
	maxSnapshotRecord = 16 << 20
	// snapshotFrame is the length int32 and CRC-32C uint32 before each record.
	snapshotFrame = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// WriteSnapshot writes the image as bytes: each record as
//
//	length int32 | CRC-32C of the record uint32 | record (frame of package schema)
//
// all big-endian, header first, footer last.
func (img *Image) WriteSnapshot(w io.Writer) error {
	bw := bufio.NewWriterSize(w, 64<<10)
	var buf []byte
	level := max(img.Feature(schema.FeatureName), 1)
	for rec := range img.Records() {
		var err error
		if buf, err = schema.Append(append(buf[:0], make([]byte, snapshotFrame)...), rec, level); err != nil {
			return err
		}
		body := buf[snapshotFrame:]
		binary.BigEndian.PutUint32(buf, uint32(len(body)))
		binary.BigEndian.PutUint32(buf[4:], crc32.Checksum(body, castagnoli))
		if _, err := bw.Write(buf); err != nil {
			return err
		}
	}
	return bw.Flush()
}

// ReadSnapshot reads what WriteSnapshot wrote. The bytes are not trusted: errors
// wrap schema.ErrUnknown (written by a newer build), ErrInconsistent,
// schema.ErrMalformed, io.ErrUnexpectedEOF, or come from the reader.
func ReadSnapshot(r io.Reader) (*Image, error) {
	b := NewBuilder(nil)
	br := bufio.NewReaderSize(r, 64<<10)
	var buf []byte
	for first := true; ; first = false {
		rec, err := readSnapshotRecord(br, &buf)
		if err != nil {
			return nil, fmt.Errorf("metadata snapshot: %w", err)
		}
		if _, ok := rec.(*schema.SnapshotHeader); ok != first {
			return nil, fmt.Errorf("metadata snapshot: %w: its header is not its first record", ErrInconsistent)
		}
		if err := b.Apply(0, rec); err != nil {
			return nil, fmt.Errorf("metadata snapshot: %w", err)
		}
		if _, ok := rec.(*schema.SnapshotFooter); ok {
			break
		}
	}
	if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("metadata snapshot: %w: bytes after the footer", ErrInconsistent)
	}
	img, _ := b.Image()
	return img, nil
}

// readSnapshotRecord reads one record; buf is kept between calls.
func readSnapshotRecord(r io.Reader, buf *[]byte) (schema.Record, error) {
	var head [snapshotFrame]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, truncated(err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxSnapshotRecord {
		return nil, fmt.Errorf("%w: %d bytes long", schema.ErrMalformed, n)
	}
	// Read in steps, so that a wrong length does not allocate by itself.
	body := (*buf)[:0]
	for len(body) < int(n) {
		step := min(int(n)-len(body), 64<<10)
		body = append(body, make([]byte, step)...)
		if _, err := io.ReadFull(r, body[len(body)-step:]); err != nil {
			return nil, truncated(err)
		}
	}
	*buf = body
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
		return nil, fmt.Errorf("%w: checksum differs", schema.ErrMalformed)
	}
	return schema.Decode(body)
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
