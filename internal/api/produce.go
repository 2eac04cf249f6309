package api

import (
	"errors"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/record"
	"github.com/leat-stream/leat/internal/replica"
	"github.com/leat-stream/leat/internal/wire"
)

// Produce, key 0. Versions 0 to 2 carry message formats that Kafka no longer takes;
// they are advertised all the same, since old clients read the range as a list of
// features (KAFKA-18659), and close the connection, as with Kafka.
//
// Rooms: wire (views into the frame), replica (leadership, in-sync minimum), log
// (checks, offsets, write). The answer leaves when replica moves the high watermark.
var _ = register(Handler{
	Key: kmsg.Produce, Raw: true, Early: true,
	Needs:   []Need{{kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic}},
	NotDone: "transactional writes are refused with INVALID_TXN_STATE until transactions are built",
	Handle:  handleProduce,
})

// adminClient is the client id that may write to internal topics.
const adminClient = "__admin_client"

var produceRequests = sync.Pool{New: func() any { return new(wire.Produce) }}

// produced is one partition of a request: where its answer goes, and what it is.
type produced struct {
	topic string
	id    [16]byte
	index int32
	first bool // the first partition of its topic in the request
	replica.Produced
}

// produceMemory is about how many bytes one partition of a request holds, its part of
// the answer included.
const produceMemory = 512

const (
	oldestProduce = 3  // the first version whose batches are of today's format
	produceByID   = 13 // topics by id
)

func handleProduce(s *Server, r *Request) {
	if r.Version < oldestProduce {
		s.refuse(r, "produce: old format", "message formats before v2 are not taken")
		return
	}
	req := produceRequests.Get().(*wire.Produce)
	defer produceRequests.Put(req)
	if err := req.Parse(r.Version, r.Body); err != nil {
		s.refuse(r, "produce: not understood", err)
		return
	}
	if err := s.charge(r, int64(req.Count())*produceMemory); err != nil {
		s.refuse(r, "produce: memory", err)
		return
	}
	w := &writes{s: s, r: r, req: req, all: make([]produced, 0, req.Count()), send: make([]replica.ProducePart, 0, req.Count()), at: make([]int, 0, req.Count())}
	for i := range req.Topics {
		t := &req.Topics[i]
		for j, q := range req.Partitions(t) {
			w.add(t, &q, j == 0)
		}
	}
	if w.transactional && req.TransactionalID == nil {
		w.refuse(kerr.TransactionalIDAuthorizationFailed)
	}
	acks, all, at := req.Acks, w.all, w.at
	s.Replicas.Produce(w.send, acks, time.Duration(req.TimeoutMillis)*time.Millisecond, func(op *replica.ProduceOp) {
		for i := range op.Results {
			all[at[i]].Produced = op.Results[i]
		}
		s.answerProduce(r, all, acks)
	})
}

// writes sorts the partitions of a request into those to be written and those
// refused.
type writes struct {
	s   *Server
	r   *Request
	req *wire.Produce

	all  []produced            // every partition of the request, in its order
	send []replica.ProducePart // those to be written
	at   []int                 // where in all they stand
	// named are the partitions in send, once there are many; a few are just looked at.
	named         map[*replica.Partition]struct{}
	transactional bool // a batch is part of a transaction
}

// manyPartitions is from when on a look-up is faster than a look at each.
const manyPartitions = 32

// add takes one partition of the request.
func (w *writes) add(t *wire.ProduceTopic, q *wire.ProducePartition, first bool) {
	a := produced{id: t.ID, index: q.Index, first: first}
	part, err := w.s.produceTo(w.r, w.req, t, q.Index)
	if part != nil {
		a.topic, a.id = part.ID().Topic, part.ID().TopicID
	} else {
		a.topic = string(t.Name)
	}
	var batch record.Batch
	var cause error
	if err == nil {
		batch, err, cause = soleBatch(w.r.Version, q.Records)
	}
	switch {
	case err != nil:
	case batch.IsTransactional():
		w.transactional = true
		err = kerr.InvalidTxnState // until transactions are built
	case w.twice(part):
		// Kafka drops the one and acknowledges it with the other.
		err, cause = kerr.InvalidRequest, errTwice
	default:
		w.send = append(w.send, replica.ProducePart{Partition: part, Batches: batch})
		w.at = append(w.at, len(w.all))
	}
	if err != nil {
		a.Produced = replica.Refused(err, cause)
		a.Leadership = nobody
		if err == kerr.NotLeaderForPartition {
			_, a.Leadership = w.s.elsewhere(replica.Ref{Topic: a.topic, TopicID: a.id, Index: a.index}, err)
		}
	}
	w.all = append(w.all, a)
}

var errTwice = errors.New("the request names the partition more than once")

// twice says whether the request has named a partition before.
func (w *writes) twice(p *replica.Partition) bool {
	if len(w.send) < manyPartitions {
		return slices.ContainsFunc(w.send, func(s replica.ProducePart) bool { return s.Partition == p })
	}
	if w.named == nil {
		w.named = make(map[*replica.Partition]struct{}, cap(w.send))
		for _, s := range w.send {
			w.named[s.Partition] = struct{}{}
		}
	}
	_, again := w.named[p]
	w.named[p] = struct{}{}
	return again
}

// refuse fails every partition of the request.
func (w *writes) refuse(code *kerr.Error) {
	for i := range w.all {
		w.all[i].Produced = replica.Refused(code, nil)
	}
	w.send = nil
}

// produceTo finds the partition to write to and says why it may not be written.
func (s *Server) produceTo(r *Request, req *wire.Produce, t *wire.ProduceTopic, index int32) (p *replica.Partition, err *kerr.Error) {
	ref := replica.Ref{TopicID: t.ID, Index: index}
	if r.Version < produceByID {
		// A view of the frame: it serves the look-up only.
		ref = replica.Ref{Topic: unsafe.String(unsafe.SliceData(t.Name), len(t.Name)), Index: index}
		p, err = s.partition(ref.Topic, index)
	} else if p, err = s.Replicas.Find(ref); err != nil {
		err, _ = s.elsewhere(ref, err)
	}
	switch {
	case req.Acks < -1 || req.Acks > 1:
		return p, kerr.InvalidRequiredAcks
	case err == kerr.NotLeaderForPartition && !s.mayWriteElsewhere(r, ref):
		return nil, kerr.TopicAuthorizationFailed
	case err != nil:
		return nil, err
	case !s.Allowed(r, kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic, p.ID().Topic):
		return p, kerr.TopicAuthorizationFailed
	case metadata.IsInternal(p.ID().Topic) && r.ClientID != adminClient:
		return p, kerr.InvalidTopicException
	}
	return p, nil
}

// mayWriteElsewhere says whether the principal may write to a partition of another broker.
func (s *Server) mayWriteElsewhere(r *Request, ref replica.Ref) bool {
	img := s.Image()
	t := img.TopicByID(ref.TopicID)
	if ref.Topic != "" {
		t = img.Topic(ref.Topic)
	}
	return t == nil || s.Allowed(r, kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic, t.Name)
}

// soleBatch is the one batch that a partition's bytes must be, with the codecs that
// the version knows (zstd from 7 on).
func soleBatch(version int16, run []byte) (record.Batch, *kerr.Error, error) {
	b, err := record.Sole(run)
	switch {
	case errors.Is(err, record.ErrInvalid):
		return nil, kerr.InvalidRecord, err
	case err != nil:
		return nil, kerr.CorruptMessage, err
	case version < 7 && (b.Codec() == record.CodecZstd || !b.Codec().Known()):
		return nil, kerr.UnsupportedCompressionType, record.ErrCodec
	}
	return b, nil, nil
}

// answerProduce answers a request whose results are all there. It may run on the
// sync round's goroutine: the answer is built by the connection.
func (s *Server) answerProduce(r *Request, all []produced, acks int16) {
	if acks == 0 {
		for i := range all {
			if all[i].Err != nil {
				// Nobody reads an answer: a closed connection is the only sign there is.
				r.Hangup()
				return
			}
		}
		r.ReplyNone()
		return
	}
	r.ReplyLater(func() kmsg.Response { return s.produceResponse(r, all) })
}

func (s *Server) produceResponse(r *Request, all []produced) *kmsg.ProduceResponse {
	resp := kmsg.NewPtrProduceResponse()
	var moved []int32
	for i := range all {
		a := &all[i]
		if a.first {
			t := kmsg.NewProduceResponseTopic()
			t.Topic, t.TopicID = a.topic, a.id
			resp.Topics = append(resp.Topics, t)
		}
		t := &resp.Topics[len(resp.Topics)-1]
		t.Partitions = append(t.Partitions, producePartition(a))
		if a.Err == kerr.NotLeaderForPartition && r.Version >= 10 && a.Leadership.Leader >= 0 {
			p := &t.Partitions[len(t.Partitions)-1]
			p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = a.Leadership.Leader, a.Leadership.LeaderEpoch
			moved = append(moved, a.Leadership.Leader)
		}
	}
	for _, e := range s.endpoints(r, moved) {
		b := kmsg.NewProduceResponseBroker()
		b.NodeID, b.Host, b.Port, b.Rack = e.id, e.host, e.port, e.rack
		resp.Brokers = append(resp.Brokers, b)
	}
	return resp
}

func producePartition(a *produced) kmsg.ProduceResponseTopicPartition {
	p := kmsg.NewProduceResponseTopicPartition()
	p.Partition = a.index
	p.BaseOffset, p.LogAppendTime, p.LogStartOffset = a.Info.FirstOffset, a.Info.AppendTime, a.Info.LogStartOffset
	if a.Err == nil {
		return p
	}
	p.ErrorCode = a.Err.Code
	if a.Cause != nil {
		p.ErrorMessage = metadata.Message(a.Cause.Error())
	}
	var bad *record.RecordErrors
	if errors.As(a.Cause, &bad) {
		for _, e := range bad.List {
			er := kmsg.NewProduceResponseTopicPartitionErrorRecord()
			er.RelativeOffset, er.ErrorMessage = e.Index, kmsg.StringPtr(e.Msg)
			p.ErrorRecords = append(p.ErrorRecords, er)
		}
	}
	return p
}
