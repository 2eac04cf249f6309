package record

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// Positions of the header's fields, in bytes from the start of the batch.
const (
	OffBaseOffset      = 0
	OffLength          = 8
	OffLeaderEpoch     = 12
	OffMagic           = 16
	OffCRC             = 17
	OffAttributes      = 21
	OffLastOffsetDelta = 23
	OffBaseTimestamp   = 27
	OffMaxTimestamp    = 35
	OffProducerID      = 43
	OffProducerEpoch   = 51
	OffBaseSequence    = 53
	OffCount           = 57
	// HeaderSize is where the records section starts.
	HeaderSize = 61
	// Overhead is the part of a batch that its length field does not count.
	Overhead = 12
)

// Magic is the only record format that is written and accepted.
const Magic = 2

// Values that mean "none" in a header.
const (
	NoTimestamp     int64 = -1
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
	NoLeaderEpoch   int32 = -1
)

// Bits of the attributes.
const (
	AttrCodecMask     int16 = 0x07
	AttrAppendTime    int16 = 0x08
	AttrTransactional int16 = 0x10
	AttrControl       int16 = 0x20
	AttrDeleteHorizon int16 = 0x40

	attrKnown int16 = 0x7f
)

// TimestampType says who set a batch's timestamps.
type TimestampType int8

// The two timestamp types, by their value in the attributes.
const (
	CreateTime    TimestampType = 0
	LogAppendTime TimestampType = 1
)

// String is the value of message.timestamp.type.
func (t TimestampType) String() string {
	if t == LogAppendTime {
		return "LogAppendTime"
	}
	return "CreateTime"
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is a view of one record batch's bytes, header first; see the package
// comment for what may be assumed of it.
type Batch []byte

func (b Batch) i16(at int) int16 { return int16(binary.BigEndian.Uint16(b[at:])) }
func (b Batch) i32(at int) int32 { return int32(binary.BigEndian.Uint32(b[at:])) }
func (b Batch) i64(at int) int64 { return int64(binary.BigEndian.Uint64(b[at:])) }

// BaseOffset is the offset of the first record (of those that were written; compaction keeps it).
func (b Batch) BaseOffset() int64 { return b.i64(OffBaseOffset) }

// LastOffset is the offset of the last record.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is the offset after the last record.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// Length is the length field: the bytes of the batch without the first 12.
func (b Batch) Length() int32 { return b.i32(OffLength) }

// LeaderEpoch is the epoch of the leader that appended the batch.
func (b Batch) LeaderEpoch() int32 { return b.i32(OffLeaderEpoch) }

// Magic is the format version.
func (b Batch) Magic() int8 { return int8(b[OffMagic]) }

// CRC is the stored checksum.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[OffCRC:]) }

// ComputeCRC is the checksum that the bytes have.
func (b Batch) ComputeCRC() uint32 { return crc32.Checksum(b[OffAttributes:], castagnoli) }

// CheckCRC tells whether the stored checksum fits the bytes.
func (b Batch) CheckCRC() bool { return b.CRC() == b.ComputeCRC() }

// Attributes is the bit set of codec, timestamp type and flags.
func (b Batch) Attributes() int16 { return b.i16(OffAttributes) }

// Codec is how the records section is compressed; it may be none of the known ones.
func (b Batch) Codec() Codec { return Codec(b.Attributes() & AttrCodecMask) }

// TimestampType says whether the producer or the log set the timestamps.
func (b Batch) TimestampType() TimestampType {
	if b.Attributes()&AttrAppendTime != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// IsTransactional tells whether the batch is part of a transaction.
func (b Batch) IsTransactional() bool { return b.Attributes()&AttrTransactional != 0 }

// IsControl tells whether the records are control records (transaction markers).
func (b Batch) IsControl() bool { return b.Attributes()&AttrControl != 0 }

// LastOffsetDelta is the last record's offset less the base offset.
func (b Batch) LastOffsetDelta() int32 { return b.i32(OffLastOffsetDelta) }

// BaseTimestamp is what the records' timestamp deltas count from.
func (b Batch) BaseTimestamp() int64 { return b.i64(OffBaseTimestamp) }

// FirstTimestamp is the base timestamp, which is the first record's unless the
// batch has a delete horizon.
func (b Batch) FirstTimestamp() int64 { return b.BaseTimestamp() }

// MaxTimestamp is the largest timestamp in the batch, or the append time; -1 is none.
func (b Batch) MaxTimestamp() int64 { return b.i64(OffMaxTimestamp) }

// DeleteHorizon is the time in milliseconds from which compaction may drop the
// batch's tombstones and markers, if one has been set.
func (b Batch) DeleteHorizon() (ms int64, ok bool) {
	if b.Attributes()&AttrDeleteHorizon == 0 {
		return NoTimestamp, false
	}
	return b.BaseTimestamp(), true
}

// ProducerID is the idempotent producer's id, or -1.
func (b Batch) ProducerID() int64 { return b.i64(OffProducerID) }

// HasProducerID tells whether an idempotent producer wrote the batch.
func (b Batch) HasProducerID() bool { return b.ProducerID() > NoProducerID }

// ProducerEpoch is the idempotent producer's epoch, or -1.
func (b Batch) ProducerEpoch() int16 { return b.i16(OffProducerEpoch) }

// BaseSequence is the first record's sequence number, or -1.
func (b Batch) BaseSequence() int32 { return b.i32(OffBaseSequence) }

// LastSequence is the last record's sequence number, or -1. Sequences wrap to 0.
func (b Batch) LastSequence() int32 {
	if b.BaseSequence() == NoSequence {
		return NoSequence
	}
	return IncrementSequence(b.BaseSequence(), b.LastOffsetDelta())
}

// IncrementSequence adds to a sequence number, wrapping from the largest int32 to 0.
func IncrementSequence(seq, by int32) int32 {
	if seq > math.MaxInt32-by {
		return by - (math.MaxInt32 - seq) - 1
	}
	return seq + by
}

// Count is the number of records; compaction may leave fewer than the offsets span, or none.
func (b Batch) Count() int32 { return b.i32(OffCount) }

// Section is the records section as it is stored.
func (b Batch) Section() []byte { return b[HeaderSize:] }

// SetBaseOffset patches the base offset; the checksum does not cover it.
func (b Batch) SetBaseOffset(o int64) { binary.BigEndian.PutUint64(b[OffBaseOffset:], uint64(o)) }

// SetLastOffset patches the base offset so that the last record has offset o.
func (b Batch) SetLastOffset(o int64) { b.SetBaseOffset(o - int64(b.LastOffsetDelta())) }

// SetLeaderEpoch patches the leader epoch; the checksum does not cover it.
func (b Batch) SetLeaderEpoch(e int32) { binary.BigEndian.PutUint32(b[OffLeaderEpoch:], uint32(e)) }

// SetMaxTimestamp patches timestamp type and maximal timestamp (with
// LogAppendTime: the append time) and the checksum, unless they are so already. Like
// Kafka's, it clears the attributes that have no meaning when it patches.
func (b Batch) SetMaxTimestamp(t TimestampType, ms int64) {
	if t == b.TimestampType() && ms == b.MaxTimestamp() {
		return
	}
	attr := b.Attributes() & attrKnown &^ AttrAppendTime
	if t == LogAppendTime {
		attr |= AttrAppendTime
	}
	binary.BigEndian.PutUint16(b[OffAttributes:], uint16(attr))
	binary.BigEndian.PutUint64(b[OffMaxTimestamp:], uint64(ms))
	b.SetCRC()
}

// SetCRC stores the checksum that the bytes have.
func (b Batch) SetCRC() { binary.BigEndian.PutUint32(b[OffCRC:], b.ComputeCRC()) }

// setFrame stores length, magic, attributes and the checksum of finished bytes.
func (b Batch) setFrame(attr int16) {
	b[OffMagic] = Magic
	binary.BigEndian.PutUint32(b[OffLength:], uint32(len(b)-Overhead))
	binary.BigEndian.PutUint16(b[OffAttributes:], uint16(attr))
	b.SetCRC()
}
