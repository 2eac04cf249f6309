package load

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/record"
)

// batchBytes is the largest batch. A produce request holds one for each partition, as
// franz-go's do.
const batchBytes = 256 << 10

// Versions of the requests made by hand: the newest that name topics by their names,
// which both brokers speak.
const (
	produceVersion = 12
	fetchVersion   = 12
	clientID       = "bench"
)

// frame is a produce request, encoded once and sent many times: only its correlation
// id changes, and with an idempotent producer its batches' sequences.
type frame struct {
	bytes   []byte
	batches []slot
	records int64
}

// slot is a batch's place in a frame.
type slot struct {
	at, end   int
	partition int32
	count     int32
}

// batchOf fills a batch with records of one size. Their bytes are random, as those of
// compressed values are.
func batchOf(size int) ([]byte, int32, error) {
	rnd := rand.New(rand.NewPCG(1, uint64(size)))
	value := make([]byte, size)
	now := time.Now().UnixMilli() // older ones would be past their retention
	var b record.Builder
	b.Reset(record.NewHeader(0), record.Compression{})
	for b.Count() == 0 || b.Size()+size+32 <= batchBytes {
		for i := range value {
			value[i] = byte(rnd.Uint32())
		}
		b.Append(now, nil, value)
	}
	out, err := b.Build(nil)
	return out, int32(b.Count()), err
}

// produceFrame is a request with a batch for each of the partitions.
func produceFrame(l Load, partitions []int32) (*frame, error) {
	batch, count, err := batchOf(l.Size)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = produceVersion, l.Acks, 60_000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = l.Topic
	f := &frame{records: int64(len(partitions)) * int64(count)}
	for _, p := range partitions {
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = p, batch
		topic.Partitions = append(topic.Partitions, part)
		f.batches = append(f.batches, slot{partition: p, count: count})
	}
	req.Topics = append(req.Topics, topic)
	f.bytes = kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, req, 0)
	return f, f.locate(len(batch), batch[:record.HeaderSize])
}

// locate finds the batches by their header.
func (f *frame) locate(size int, header []byte) error {
	at := 0
	for i := range f.batches {
		for at+size <= len(f.bytes) && string(f.bytes[at:at+len(header)]) != string(header) {
			at++
		}
		if at+size > len(f.bytes) {
			return fmt.Errorf("batch %d is not in its request", i)
		}
		f.batches[i].at, f.batches[i].end = at, at+size
		at += size
	}
	return nil
}

// Places in a batch and in a frame.
const (
	atCorrelation = 8
	atCRC         = 17
	atAttributes  = 21
	atProducerID  = 43
	atEpoch       = 51
	atSequence    = 53
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (f *frame) setCorrelation(id int32) {
	binary.BigEndian.PutUint32(f.bytes[atCorrelation:], uint32(id))
}

// sequence gives the batches their numbers; next is by partition and moves on.
func (f *frame) sequence(producer int64, epoch int16, next []int32) {
	for _, s := range f.batches {
		b := f.bytes[s.at:s.end]
		binary.BigEndian.PutUint64(b[atProducerID:], uint64(producer))
		binary.BigEndian.PutUint16(b[atEpoch:], uint16(epoch))
		binary.BigEndian.PutUint32(b[atSequence:], uint32(next[s.partition]))
		binary.BigEndian.PutUint32(b[atCRC:], crc32.Checksum(b[atAttributes:], castagnoli))
		next[s.partition] += s.count
	}
}

// countBatches counts what is whole in a fetched run of batches, from their headers.
func countBatches(b []byte) (records, next int64) {
	for len(b) >= record.HeaderSize {
		size := 12 + int(int32(binary.BigEndian.Uint32(b[8:])))
		if size < record.HeaderSize || size > len(b) {
			break // the broker cuts the last one off where the limit is
		}
		records += int64(int32(binary.BigEndian.Uint32(b[57:])))
		next = int64(binary.BigEndian.Uint64(b)) + int64(int32(binary.BigEndian.Uint32(b[23:]))) + 1
		b = b[size:]
	}
	return records, next
}
