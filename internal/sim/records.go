package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/sim/history"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errChecksum = errors.New("wrong checksum")
	// errPlace: a batch does not go on where the one before it ends. Its base offset and leader
	// epoch are under no checksum; a broker holds those of the first batch of an answer against
	// what is asked, and, like Kafka, sends the rest as it is.
	errPlace = errors.New("wrong place")
)

// garbled tells of an answer that one flipped bit on a broker's disk explains.
func garbled(err error) bool { return errors.Is(err, errChecksum) || errors.Is(err, errPlace) }

// batch is a record batch as a producer makes it.
func batch(pid int64, epoch int16, sequence int32, at int64, values []string, padding int) []byte {
	var records []byte
	for i, v := range values {
		r := kmsg.NewRecord()
		r.OffsetDelta = int32(i)
		r.Key = []byte(v)
		r.Value = make([]byte, padding)
		body := r.AppendTo(nil)
		_, n := kbin.Varint(body) // of a length that is not set yet
		records = kbin.AppendVarint(records, int32(len(body)-n))
		records = append(records, body[n:]...)
	}
	b := kmsg.NewRecordBatch()
	b.PartitionLeaderEpoch = -1
	b.Magic = 2
	b.LastOffsetDelta = int32(len(values) - 1)
	b.FirstTimestamp, b.MaxTimestamp = at, at
	b.ProducerID, b.ProducerEpoch, b.FirstSequence = pid, epoch, sequence
	b.NumRecords, b.Records = int32(len(values)), records
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], castagnoli))
	return out
}

// read is a record as it was fetched.
type readRecord struct {
	history.Record
	epoch int32
}

// parse reads what a fetch gave, from an offset on. The last batch may be cut off.
func parse(b []byte, from int64) (out []readRecord, err error) {
	next, epoch := int64(-1), int32(-1)
	for len(b) >= 12 {
		size := int(binary.BigEndian.Uint32(b[8:])) + 12
		if size > len(b) {
			break
		}
		raw := b[:size]
		b = b[size:]
		rb := kmsg.NewRecordBatch()
		if err := rb.ReadFrom(raw); err != nil {
			return nil, err
		}
		if got := crc32.Checksum(raw[21:], castagnoli); got != uint32(rb.CRC) {
			return nil, fmt.Errorf("%w: the batch at offset %d", errChecksum, rb.FirstOffset)
		}
		if next >= 0 && (rb.FirstOffset != next || rb.PartitionLeaderEpoch < epoch) {
			return nil, fmt.Errorf("%w: a batch at offset %d of leader epoch %d, behind one up to %d of epoch %d", errPlace, rb.FirstOffset, rb.PartitionLeaderEpoch, next-1, epoch)
		}
		next, epoch = rb.FirstOffset+int64(rb.LastOffsetDelta)+1, rb.PartitionLeaderEpoch
		recs := rb.Records
		for range rb.NumRecords {
			length, n := kbin.Varint(recs)
			if n <= 0 || length < 0 || int(length)+n > len(recs) {
				return nil, errors.New("a record that cannot be read")
			}
			r := kmsg.NewRecord()
			if err := r.ReadFrom(recs[:int(length)+n]); err != nil {
				return nil, err
			}
			recs = recs[int(length)+n:]
			if o := rb.FirstOffset + int64(r.OffsetDelta); o >= from && rb.Attributes&0x20 == 0 {
				out = append(out, readRecord{history.Record{Offset: o, Value: string(r.Key)}, rb.PartitionLeaderEpoch})
			}
		}
	}
	return out, nil
}
