package wire

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	keyFetch = 1
	// fetchFlexible, fetchTopicID: the first versions with tagged fields and with ids
	// in place of names.
	fetchFlexible = 12
	fetchTopicID  = 13
)

// Piece is a part of a frame, to be written in order: bytes in memory, or, when Len
// is above 0, a run of Len bytes that lies elsewhere (a range of a file).
type Piece[R any] struct {
	Bytes []byte
	Run   R
	Len   int
}

// FetchEncoder writes one Fetch response after another, versions 4 to 18, as a list
// of pieces: everything but the records goes into one buffer, which is reused, and
// runs are only referred to. The calls follow the message's order:
//
//	e.Begin(version, correlationID, throttle, code, session, topics)
//	for each topic:     e.Topic(name, id, partitions)
//	for each partition: e.Partition(&meta, run, runLen)
//	pieces := e.End(brokers)
//
// As many topics and partitions must follow as were announced: End panics
// otherwise, since the client would read garbage.
type FetchEncoder[R any] struct {
	buf        []byte
	runs       []fetchRun[R]
	pieces     []Piece[R]
	size       int // of all runs, bytes
	version    int16
	flexible   bool
	topics     int // that must still come
	partitions int // of the present topic
}

// fetchRun is a run and where in buf it belongs.
type fetchRun[R any] struct {
	at  int
	run R
	len int
}

// keepFetch bounds the memory that an encoder keeps between responses, in bytes of
// buffer and in runs.
const (
	keepFetchBytes = 256 << 10
	keepFetchRuns  = 4096
)

// Begin starts a frame: its size, the response header, and the fields before the topics.
func (e *FetchEncoder[R]) Begin(version int16, correlationID, throttleMillis int32, code int16, sessionID int32, topics int) {
	e.Release()
	e.version, e.flexible = version, version >= fetchFlexible
	e.topics, e.partitions, e.size = topics, 0, 0
	e.buf = AppendResponseHeader(e.buf, keyFetch, version, correlationID)
	e.buf = kbin.AppendInt32(e.buf, throttleMillis)
	if version >= 7 {
		e.buf = kbin.AppendInt16(e.buf, code)
		e.buf = kbin.AppendInt32(e.buf, sessionID)
	}
	e.arrayLen(topics)
}

// Release lets go of the last frame's runs, and of memory beyond what is kept.
func (e *FetchEncoder[R]) Release() {
	clear(e.runs)
	clear(e.pieces)
	if cap(e.buf) > keepFetchBytes {
		e.buf = nil
	}
	if cap(e.runs) > keepFetchRuns {
		e.runs, e.pieces = nil, nil
	}
	e.buf, e.runs, e.pieces = e.buf[:0], e.runs[:0], e.pieces[:0]
}

func (e *FetchEncoder[R]) arrayLen(n int) {
	if e.flexible {
		e.buf = kbin.AppendCompactArrayLen(e.buf, n)
	} else {
		e.buf = kbin.AppendArrayLen(e.buf, n)
	}
}

// Topic starts a topic. name is written up to v12, id from v13.
func (e *FetchEncoder[R]) Topic(name string, id [16]byte, partitions int) {
	switch {
	case e.version >= fetchTopicID:
		e.buf = append(e.buf, id[:]...)
	case e.flexible:
		e.buf = kbin.AppendCompactString(e.buf, name)
	default:
		e.buf = kbin.AppendString(e.buf, name)
	}
	e.arrayLen(partitions)
	e.partitions = partitions
	e.endTopic()
}

// endTopic writes a topic's end once all its partitions are there.
func (e *FetchEncoder[R]) endTopic() {
	if e.partitions > 0 {
		return
	}
	if e.flexible {
		e.buf = append(e.buf, 0)
	}
	e.topics--
}

// FetchPartition is what a response says of a partition beside its records. Start
// from NewFetchPartition: tagged fields that have their defaults are not written.
type FetchPartition struct {
	Index                int32
	Code                 int16
	HighWatermark        int64
	LastStableOffset     int64
	LogStartOffset       int64
	Aborted              []AbortedTxn // nil is null
	PreferredReadReplica int32
	// Tagged fields, from v12.
	DivergingEpoch     int32 // with DivergingEndOffset
	DivergingEndOffset int64
	LeaderID           int32 // with LeaderEpoch
	LeaderEpoch        int32
	SnapshotEndOffset  int64 // with SnapshotEpoch
	SnapshotEpoch      int32
	// Own is a field of Leat's with a tag above all of Kafka's; empty is not written.
	Own    []byte
	OwnTag uint32
}

// AbortedTxn is an aborted transaction that a read_committed consumer must skip.
type AbortedTxn struct{ ProducerID, FirstOffset int64 }

// NewFetchPartition has the protocol's defaults. (Kafka itself sends -1 for the offsets
// of a partition that failed.)
func NewFetchPartition(index int32) FetchPartition {
	return FetchPartition{Index: index, LastStableOffset: -1, LogStartOffset: -1, PreferredReadReplica: -1,
		DivergingEpoch: -1, DivergingEndOffset: -1, LeaderID: -1, LeaderEpoch: -1, SnapshotEndOffset: -1, SnapshotEpoch: -1}
}

// NullRecords as a run's length writes null for the records instead of no bytes.
const NullRecords = -1

// Partition adds a partition of the present topic, with runLen bytes of records that
// run refers to.
func (e *FetchEncoder[R]) Partition(p *FetchPartition, run R, runLen int) {
	b := e.buf
	b = kbin.AppendInt32(b, p.Index)
	b = kbin.AppendInt16(b, p.Code)
	b = kbin.AppendInt64(b, p.HighWatermark)
	b = kbin.AppendInt64(b, p.LastStableOffset)
	if e.version >= 5 {
		b = kbin.AppendInt64(b, p.LogStartOffset)
	}
	b = appendAborted(b, p.Aborted, e.flexible)
	if e.version >= 11 {
		b = kbin.AppendInt32(b, p.PreferredReadReplica)
	}
	if e.flexible {
		b = kbin.AppendUvarint(b, uint32(runLen+1))
	} else {
		b = kbin.AppendInt32(b, int32(runLen))
	}
	if runLen > 0 {
		e.runs = append(e.runs, fetchRun[R]{at: len(b), run: run, len: runLen})
		e.size += runLen
	}
	if e.flexible {
		b = p.appendTags(b)
	}
	e.buf = b
	e.partitions--
	e.endTopic()
}

func appendAborted(b []byte, txns []AbortedTxn, flexible bool) []byte {
	if flexible {
		b = kbin.AppendCompactNullableArrayLen(b, len(txns), txns == nil)
	} else {
		b = kbin.AppendNullableArrayLen(b, len(txns), txns == nil)
	}
	for _, t := range txns {
		b = kbin.AppendInt64(b, t.ProducerID)
		b = kbin.AppendInt64(b, t.FirstOffset)
		if flexible {
			b = append(b, 0)
		}
	}
	return b
}

// Sizes of the three tagged structures, each with an empty set of its own tags.
const (
	divergingSize = 4 + 8 + 1
	leaderSize    = 4 + 4 + 1
	snapshotSize  = 8 + 4 + 1
)

func (p *FetchPartition) appendTags(b []byte) []byte {
	diverging := p.DivergingEpoch != -1 || p.DivergingEndOffset != -1
	leader := p.LeaderID != -1 || p.LeaderEpoch != -1
	snapshot := p.SnapshotEndOffset != -1 || p.SnapshotEpoch != -1
	n := byte(0)
	for _, present := range [...]bool{diverging, leader, snapshot, len(p.Own) > 0} {
		if present {
			n++
		}
	}
	b = append(b, n)
	if diverging {
		b = append(b, 0, divergingSize)
		b = kbin.AppendInt32(b, p.DivergingEpoch)
		b = kbin.AppendInt64(b, p.DivergingEndOffset)
		b = append(b, 0)
	}
	if leader {
		b = append(b, 1, leaderSize)
		b = kbin.AppendInt32(b, p.LeaderID)
		b = kbin.AppendInt32(b, p.LeaderEpoch)
		b = append(b, 0)
	}
	if snapshot {
		b = append(b, 2, snapshotSize)
		b = kbin.AppendInt64(b, p.SnapshotEndOffset)
		b = kbin.AppendInt32(b, p.SnapshotEpoch)
		b = append(b, 0)
	}
	if len(p.Own) > 0 {
		b = kbin.AppendUvarint(b, p.OwnTag)
		b = kbin.AppendUvarint(b, uint32(len(p.Own)))
		b = append(b, p.Own...)
	}
	return b
}

// End finishes the frame and returns its pieces, valid until Release or Begin.
// brokers are the endpoints of the leaders that partitions named (v16 and above).
func (e *FetchEncoder[R]) End(brokers []kmsg.FetchResponseBroker) []Piece[R] {
	if e.topics != 0 || e.partitions > 0 {
		panic("wire: a fetch response with other topics or partitions than announced")
	}
	if e.flexible {
		e.buf = appendBrokers(e.buf, brokers)
	}
	binary.BigEndian.PutUint32(e.buf, uint32(e.Size()-4))
	from := 0
	for _, r := range e.runs {
		e.pieces = append(e.pieces, Piece[R]{Bytes: e.buf[from:r.at]}, Piece[R]{Run: r.run, Len: r.len})
		from = r.at
	}
	if from < len(e.buf) {
		e.pieces = append(e.pieces, Piece[R]{Bytes: e.buf[from:]})
	}
	return e.pieces
}

// Size is the frame's bytes so far, with its size field and all runs.
func (e *FetchEncoder[R]) Size() int { return len(e.buf) + e.size }

// appendBrokers appends the response's tagged fields.
func appendBrokers(b []byte, brokers []kmsg.FetchResponseBroker) []byte {
	if len(brokers) == 0 {
		return append(b, 0)
	}
	b = append(b, 1, 0)
	b = kbin.AppendUvarint(b, uint32(brokersSize(brokers)))
	b = kbin.AppendCompactArrayLen(b, len(brokers))
	for i := range brokers {
		n := &brokers[i]
		b = kbin.AppendInt32(b, n.NodeID)
		b = kbin.AppendCompactString(b, n.Host)
		b = kbin.AppendInt32(b, n.Port)
		b = kbin.AppendCompactNullableString(b, n.Rack)
		b = append(b, 0)
	}
	return b
}

func brokersSize(brokers []kmsg.FetchResponseBroker) int {
	size := kbin.UvarintLen(uint32(len(brokers) + 1))
	for i := range brokers {
		n := &brokers[i]
		size += 4 + kbin.UvarintLen(uint32(len(n.Host)+1)) + len(n.Host) + 4 + 1
		if n.Rack == nil {
			size++
		} else {
			size += kbin.UvarintLen(uint32(len(*n.Rack)+1)) + len(*n.Rack)
		}
	}
	return size
}
