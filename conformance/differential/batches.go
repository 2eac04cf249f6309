package differential

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// castagnoli is the polynomial of a batch's checksum.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Offsets of fields in a batch, in bytes.
const (
	batchLength  = 8
	batchEpoch   = 12
	batchMagic   = 16
	batchCRC     = 17
	batchAttrs   = 21 // where what the checksum covers begins
	batchRecords = 61
)

// record is one record to send.
type record struct {
	key, value []byte
	timestamp  int64 // relative to the batch's first
	headers    []kmsg.Header
}

// batch describes a record batch to send; its zero value with records is a valid
// one, made at timestamp 0 by no idempotent producer.
type batch struct {
	records   []record
	timestamp int64 // of the first record, in milliseconds
	producer  int64 // 0 is none; ids start at 0, so one is added
	epoch     int16
	sequence  int32
	attrs     int16
	// compress, if not nil, is applied to the records' bytes.
	compress func([]byte) []byte
	// mangle changes the finished header before it is written and checksummed.
	mangle func(*kmsg.RecordBatch)
	// damage changes the finished bytes.
	damage func([]byte) []byte
}

// bytes renders the batch.
func (b batch) bytes() []byte {
	h := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1,
		Magic:                2,
		Attributes:           b.attrs,
		LastOffsetDelta:      int32(len(b.records)) - 1,
		FirstTimestamp:       b.timestamp,
		MaxTimestamp:         b.timestamp,
		ProducerID:           b.producer - 1,
		ProducerEpoch:        b.epoch,
		FirstSequence:        b.sequence,
		NumRecords:           int32(len(b.records)),
	}
	if b.producer == 0 {
		h.ProducerEpoch, h.FirstSequence = -1, -1
	}
	for i, r := range b.records {
		h.MaxTimestamp = max(h.MaxTimestamp, b.timestamp+r.timestamp)
		h.Records = r.append(h.Records, i)
	}
	if b.compress != nil {
		h.Records = b.compress(h.Records)
	}
	if b.mangle != nil {
		b.mangle(&h)
	}
	out := seal(h.AppendTo(nil))
	if b.damage != nil {
		out = b.damage(out)
	}
	return out
}

// seal sets a batch's length and checksum.
func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[batchLength:], uint32(len(b)-batchEpoch))
	binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttrs:], castagnoli))
	return b
}

// append renders one record, the index-th of its batch.
func (r record) append(dst []byte, index int) []byte {
	body := []byte{0} // attributes
	body = kbin.AppendVarlong(body, r.timestamp)
	body = kbin.AppendVarint(body, int32(index))
	body = kbin.AppendVarintBytes(body, r.key)
	body = kbin.AppendVarintBytes(body, r.value)
	body = kbin.AppendVarint(body, int32(len(r.headers)))
	for _, h := range r.headers {
		body = kbin.AppendVarintString(body, h.Key)
		body = kbin.AppendVarintBytes(body, h.Value)
	}
	return append(kbin.AppendVarint(dst, int32(len(body))), body...)
}

// values makes one record of each value, without keys.
func values(vs ...string) []record {
	out := make([]record, len(vs))
	for i, v := range vs {
		out[i].value = []byte(v)
	}
	return out
}

// flattenBatches writes what a fetch brought: each batch's header, and its
// records' bytes as they are, since a broker does not rewrite them.
func (n *names) flattenBatches(a Answer, path string, b []byte) {
	a[path] = "list"
	for i := 0; len(b) > 0; i++ {
		at := fmt.Sprintf("%s[%d]", path, i)
		if len(b) < batchRecords || len(b) < batchEpoch+int(binary.BigEndian.Uint32(b[batchLength:])) {
			// No batch, lest a whole one that is missing pass for it.
			a[path+".tail"] = fmt.Sprintf("cut short, %d bytes", len(b))
			return
		}
		size := batchEpoch + int(binary.BigEndian.Uint32(b[batchLength:]))
		var h kmsg.RecordBatch
		if err := h.ReadFrom(b[:size]); err != nil {
			a[at] = err.Error()
			return
		}
		n.flattenBatch(a, at, &h, b[:size])
		b = b[size:]
	}
}

func (n *names) flattenBatch(a Answer, at string, h *kmsg.RecordBatch, b []byte) {
	num := func(field string, v int64) { a[at+"."+field] = n.number(field, v) }
	num("FirstOffset", h.FirstOffset)
	num("LeaderEpoch", int64(h.PartitionLeaderEpoch))
	num("Magic", int64(h.Magic))
	num("Attributes", int64(h.Attributes))
	num("LastOffsetDelta", int64(h.LastOffsetDelta))
	num("FirstTimestamp", h.FirstTimestamp)
	num("MaxTimestamp", h.MaxTimestamp)
	num("ProducerID", h.ProducerID)
	num("ProducerEpoch", int64(h.ProducerEpoch))
	num("FirstSequence", int64(h.FirstSequence))
	num("NumRecords", int64(h.NumRecords))
	if crc32.Checksum(b[batchAttrs:], castagnoli) != uint32(h.CRC) {
		a[at+".CRC"] = "wrong"
	}
	if h.Attributes&7 == 0 {
		a[at+".Records"] = n.bytes(bytes.Clone(h.Records))
	}
}
