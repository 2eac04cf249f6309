package record

import (
	"encoding/binary"
	"math"
)

// BatchHeader is what the builder of a batch decides of its header. NewHeader has "none" for
// each; the zero value names producer 0, epoch 0.
type BatchHeader struct {
	BaseOffset    int64
	LeaderEpoch   int32
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
	Transactional bool
	Control       bool
	TimestampType TimestampType
	// AppendTime is the max timestamp of a LogAppendTime batch, ms.
	AppendTime int64
	// DeleteHorizon, when HasDeleteHorizon, becomes the base timestamp, ms.
	HasDeleteHorizon bool
	DeleteHorizon    int64
}

// NewHeader is a header at a base offset, without producer, epoch and flags.
func NewHeader(baseOffset int64) BatchHeader {
	return BatchHeader{BaseOffset: baseOffset, LeaderEpoch: NoLeaderEpoch,
		ProducerID: NoProducerID, ProducerEpoch: NoProducerEpoch, BaseSequence: NoSequence}
}

// Header is the header of a batch, to build another like it. The codec is not part of it.
func (b Batch) Header() BatchHeader {
	h := BatchHeader{BaseOffset: b.BaseOffset(), LeaderEpoch: b.LeaderEpoch(), ProducerID: b.ProducerID(),
		ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(), Transactional: b.IsTransactional(),
		Control: b.IsControl(), TimestampType: b.TimestampType()}
	if at, ok := b.DeleteHorizon(); ok {
		h.DeleteHorizon, h.HasDeleteHorizon = at, true
	}
	if h.TimestampType == LogAppendTime {
		h.AppendTime = b.MaxTimestamp()
	}
	return h
}

// Builder builds one batch after another. Its memory is reused by Reset. It is not
// safe for use by several goroutines.
//
//	b.Reset(NewHeader(0), Compression{})
//	b.Append(ts, key, value)        // or Add, to keep a record's offset
//	batch, err := b.Build(dst)
type Builder struct {
	h       BatchHeader
	c       Compression
	base    int64 // timestamp
	max     int64 // timestamp
	last    int32 // offset delta
	count   int32
	section []byte
}

// Reset starts a batch.
func (b *Builder) Reset(h BatchHeader, c Compression) {
	*b = Builder{h: h, c: c, base: NoTimestamp, max: NoTimestamp, last: -1, section: b.section[:0]}
	if h.HasDeleteHorizon {
		b.base = h.DeleteHorizon
	}
}

// Count is the number of records so far.
func (b *Builder) Count() int { return int(b.count) }

// Size is the batch's size so far if it is not compressed, in bytes.
func (b *Builder) Size() int { return HeaderSize + len(b.section) }

// Append adds a record with the next offset. ts is in milliseconds; nil key or value is null.
func (b *Builder) Append(ts int64, key, value []byte, hs ...Header) {
	r := Record{Offset: b.h.BaseOffset + int64(b.last) + 1, Timestamp: ts, Key: key, Value: value, HeaderCount: len(hs)}
	if len(hs) > 0 {
		r.RawHeaders = AppendHeaders(nil, hs...)
	}
	b.add(&r)
}

// Add adds a record with the offset that it has, which must be above the last one's
// and within 2^31 of the base offset; else it is ErrInvalid and nothing is added.
func (b *Builder) Add(r *Record) error {
	d := r.Offset - b.h.BaseOffset
	if d <= int64(b.last) || d > math.MaxInt32 {
		return invalid("offset %d does not follow offset %d in a batch from %d", r.Offset, b.h.BaseOffset+int64(b.last), b.h.BaseOffset)
	}
	b.add(r)
	return nil
}

func (b *Builder) add(r *Record) {
	if b.count == 0 && !b.h.HasDeleteHorizon {
		b.base = r.Timestamp
	}
	delta := int32(r.Offset - b.h.BaseOffset)
	b.section = appendRecord(b.section, r, delta, r.Timestamp-b.base)
	b.max = max(b.max, r.Timestamp)
	b.last = delta
	b.count++
}

// SetLastOffset widens the batch's offsets beyond its last record, as compaction
// must when it drops that record.
func (b *Builder) SetLastOffset(o int64) error {
	d := o - b.h.BaseOffset
	if d < int64(b.last) || d < 0 || d > math.MaxInt32 {
		return invalid("last offset %d of a batch from %d with records up to %d", o, b.h.BaseOffset, b.h.BaseOffset+int64(b.last))
	}
	b.last = int32(d)
	return nil
}

// Build appends the finished batch to dst. A batch without records keeps a
// producer's last sequence after compaction: it needs SetLastOffset, is never
// compressed, and has no timestamps but a delete horizon.
func (b *Builder) Build(dst []byte) ([]byte, error) {
	if b.last < 0 {
		return nil, invalid("a batch without records and offsets")
	}
	c := b.c
	if b.count == 0 {
		c = Compression{}
	}
	if !c.Codec.Known() {
		return nil, unknownCodec(c.Codec)
	}
	at := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	dst, err := appendCompressed(dst, b.section, c)
	if err != nil {
		return nil, err
	}
	b.header(Batch(dst[at:]), c.Codec)
	return dst, nil
}

func (b *Builder) header(p Batch, c Codec) {
	attr := int16(c)
	maxTime := b.max
	if b.h.TimestampType == LogAppendTime {
		attr |= AttrAppendTime
		maxTime = b.h.AppendTime
	}
	if b.h.Transactional {
		attr |= AttrTransactional
	}
	if b.h.Control {
		attr |= AttrControl
	}
	if b.h.HasDeleteHorizon {
		attr |= AttrDeleteHorizon
	}
	p.SetBaseOffset(b.h.BaseOffset)
	p.SetLeaderEpoch(b.h.LeaderEpoch)
	be := binary.BigEndian
	be.PutUint32(p[OffLastOffsetDelta:], uint32(b.last))
	be.PutUint64(p[OffBaseTimestamp:], uint64(b.base))
	be.PutUint64(p[OffMaxTimestamp:], uint64(maxTime))
	be.PutUint64(p[OffProducerID:], uint64(b.h.ProducerID))
	be.PutUint16(p[OffProducerEpoch:], uint16(b.h.ProducerEpoch))
	be.PutUint32(p[OffBaseSequence:], uint32(b.h.BaseSequence))
	be.PutUint32(p[OffCount:], uint32(b.count))
	p.setFrame(attr)
}

// appendRecord appends one record in its stored form.
func appendRecord(dst []byte, r *Record, offsetDelta int32, timeDelta int64) []byte {
	size := 1 + varintLen(timeDelta) + varintLen(int64(offsetDelta)) + sizedLen(r.Key) + sizedLen(r.Value) +
		varintLen(int64(r.HeaderCount)) + len(r.RawHeaders)
	dst = binary.AppendVarint(dst, int64(size))
	dst = append(dst, byte(r.Attributes))
	dst = binary.AppendVarint(dst, timeDelta)
	dst = binary.AppendVarint(dst, int64(offsetDelta))
	dst = appendSized(dst, r.Key)
	dst = appendSized(dst, r.Value)
	dst = binary.AppendVarint(dst, int64(r.HeaderCount))
	return append(dst, r.RawHeaders...)
}

func varintLen(v int64) int {
	n := 1
	for u := uint64(v<<1) ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

func sizedLen(p []byte) int {
	if p == nil {
		return 1
	}
	return varintLen(int64(len(p))) + len(p)
}
