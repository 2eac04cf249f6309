package record

import "fmt"

// Origin says where a batch comes from.
type Origin int8

// The origins.
const (
	// Client is a Produce request: everything is checked.
	Client Origin = iota
	// Coordinator is this node's own coordinators and transaction markers: control
	// batches and gaps are allowed.
	Coordinator
	// Replica is a batch of the partition's leader: size and records are not judged,
	// since the leader has accepted them; only the bytes must be whole.
	Replica
)

// Rules is what a topic and a request demand of a batch. The zero value checks a
// client's batch for a CreateTime topic whose timestamps must equal Now: give the
// bounds.
type Rules struct {
	Origin Origin
	// Shallow believes the header: no record is looked at. Bounds are held against
	// the header's max timestamp alone.
	Shallow bool
	// NoZstd refuses zstd, which Produce below v7 must not carry.
	NoZstd bool
	// KeyRequired refuses null keys (cleanup.policy has compact).
	KeyRequired bool
	// TimestampType is message.timestamp.type; bounds hold for CreateTime only.
	TimestampType TimestampType
	// Now is the append's wall clock, milliseconds; a record's timestamp may lie at
	// most BeforeMax before and AfterMax behind it (message.timestamp.*.max.ms).
	Now, BeforeMax, AfterMax int64
	// MaxBytes is max.message.bytes, of the batch as sent; 0 is no limit.
	MaxBytes int
	// MaxRecordBytes is max.decompressed.message.bytes, of one record in a compressed
	// batch without its size field (the meaning in Kafka 4.4); 0 is no limit.
	MaxRecordBytes int
}

// Info is what validation found out about a batch that it accepted.
type Info struct {
	// MaxTimestamp is the largest record timestamp, -1 if no record has one; the
	// header may lie. The log stores it by SetMaxTimestamp in a CreateTime topic.
	MaxTimestamp int64
	// Renumber is set when the offset deltas are not 0…n-1. A client's batch must then
	// be rebuilt by Recompress, whatever its codec: readers would meet offsets that
	// belong to other records. (Kafka stores such a batch as it is when it is not
	// compressed, and fails on a compressed one with UNKNOWN_SERVER_ERROR.)
	Renumber bool
	// Plain is the size of the records section without compression, bytes; 0 when no
	// record was looked at.
	Plain int64
}

// Validate checks a batch as Kafka's leader does before it appends, in the same
// order, so that the same bytes get the same error. It changes nothing and
// allocates nothing unless it fails. Errors are ErrInvalid, ErrTooLarge,
// ErrCorrupt, ErrCodec, ErrTimestamp, or a *RecordErrors.
func Validate(b Batch, r Rules) (Info, error) {
	if len(b) < HeaderSize || int64(b.Length())+Overhead != int64(len(b)) || b.Magic() != Magic {
		return Info{}, corrupt("length or magic do not fit %d bytes", len(b))
	}
	codec := b.Codec()
	if r.NoZstd && codec == CodecZstd {
		return Info{}, fmt.Errorf("%w: zstd is not allowed in this request version", ErrCodec)
	}
	if r.Origin == Client && b.BaseOffset() != 0 {
		return Info{}, invalid("the base offset of the record batch should be 0, but it is %d", b.BaseOffset())
	}
	if r.Origin != Replica && r.MaxBytes > 0 && len(b) > r.MaxBytes {
		return Info{}, tooLarge("the record batch size is %d bytes which exceeds the maximum configured value of %d", len(b), r.MaxBytes)
	}
	if got := b.ComputeCRC(); got != b.CRC() {
		return Info{}, corrupt("stored crc %08x, computed %08x", b.CRC(), got)
	}
	if !codec.Known() {
		return Info{}, unknownCodec(codec)
	}
	if r.Origin == Replica {
		return Info{MaxTimestamp: b.MaxTimestamp()}, nil
	}
	if r.Origin == Client {
		if err := checkClientHeader(b); err != nil {
			return Info{}, err
		}
	}
	if r.Shallow {
		return shallow(b, r)
	}
	if codec == CodecNone {
		return checkPlain(b, r)
	}
	return checkCompressed(b, r)
}

func checkClientHeader(b Batch) error {
	count, span := int64(b.Count()), int64(b.LastOffsetDelta())+1
	switch {
	case span <= 0:
		return invalid("batch has an invalid offset range: [%d, %d]", b.BaseOffset(), b.LastOffset())
	case count <= 0:
		return invalid("invalid reported count for record batch: %d", count)
	case span != count:
		return invalid("inconsistent batch offset range [%d, %d] and count of records %d", b.BaseOffset(), b.LastOffset(), count)
	case b.IsControl():
		return invalid("clients are not allowed to write control records")
	case b.HasProducerID() && b.BaseSequence() < 0:
		return invalid("invalid sequence number %d in record batch with producer id %d", b.BaseSequence(), b.ProducerID())
	}
	return nil
}

func shallow(b Batch, r Rules) (Info, error) {
	c := check{rules: r, batch: b, max: NoTimestamp}
	c.timestamp(0, b.MaxTimestamp(), b.LastOffset())
	if c.errs != nil {
		return Info{}, c.errs
	}
	return Info{MaxTimestamp: b.MaxTimestamp()}, nil
}

// check gathers what the records of one batch show.
type check struct {
	rules    Rules
	batch    Batch
	max      int64
	renumber bool
	errs     *RecordErrors
}

func (c *check) record(i int32, rec *Record, delta int64) {
	ts := c.batch.BaseTimestamp() + delta
	if c.batch.Attributes()&AttrAppendTime != 0 {
		ts = c.batch.MaxTimestamp()
	}
	if rec.OffsetDelta != i {
		c.renumber = true
	}
	if c.rules.KeyRequired && rec.Key == nil {
		c.errs = c.errs.add(i, ErrInvalid, "Compacted topic cannot accept message without key")
		return
	}
	if ts > c.max {
		c.max = ts
	}
	c.timestamp(i, ts, c.batch.BaseOffset()+int64(rec.OffsetDelta))
}

// timestamp holds one record's timestamp against the rules. In a CreateTime topic a
// batch that claims append time passes when that time is in the bounds, as in Kafka.
func (c *check) timestamp(i int32, ts, offset int64) {
	r := &c.rules
	if r.TimestampType == CreateTime && ts != NoTimestamp {
		// The difference wraps as Java's does.
		if diff := r.Now - ts; diff > r.BeforeMax || -diff > r.AfterMax {
			c.errs = c.errs.add(i, ErrTimestamp, fmt.Sprintf("Timestamp %d of message with offset %d is out of range. The timestamp should be within [%d, %d]",
				ts, offset, r.Now-r.BeforeMax, r.Now+r.AfterMax))
		}
		return
	}
	if c.batch.TimestampType() == LogAppendTime {
		c.errs = c.errs.add(i, ErrTimestamp, "Invalid timestamp type in message. Producer should not set timestamp type to LogAppendTime.")
	}
}

func (c *check) result(plain int64) (Info, error) {
	if c.errs != nil {
		return Info{}, c.errs
	}
	return Info{MaxTimestamp: c.max, Renumber: c.renumber, Plain: plain}, nil
}

func checkPlain(b Batch, r Rules) (Info, error) {
	c := check{rules: r, batch: b, max: NoTimestamp}
	w := walker{rest: b.Section(), left: b.Count()}
	if w.left < 0 {
		return Info{}, invalid("record count %d", w.left)
	}
	for i := int32(0); w.left > 0; i++ {
		rec, delta, err := w.next()
		if err != nil {
			return Info{}, err
		}
		if w.left == 0 && len(w.rest) != 0 {
			return Info{}, errRemaining
		}
		c.record(i, &rec, delta)
	}
	return c.result(int64(len(b.Section())))
}

func checkCompressed(b Batch, r Rules) (info Info, err error) {
	codec, count := b.Codec(), b.Count()
	if count < 0 {
		return Info{}, invalid("record count %d", count)
	}
	s, err := openStream(codec, b.Section())
	defer closeStream(codec, s)
	if err != nil {
		return Info{}, undecodable(codec, err)
	}
	w := openWindow(s)
	defer closeWindow(w)
	c := check{rules: r, batch: b, max: NoTimestamp}
	var rec Record
	for i := range count {
		delta, err := w.record(&rec, codec, r.MaxRecordBytes)
		if err != nil {
			return Info{}, err
		}
		if i == count-1 {
			if err := w.end(codec); err != nil {
				return Info{}, err
			}
		}
		c.record(i, &rec, delta)
	}
	return c.result(w.read)
}
