package api

import (
	"errors"
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

// oldestProduce is the first version whose batches are of today's format.
const oldestProduce = 3

func handleProduce(s *Server, r *Request) {
	if r.Version < oldestProduce {
		s.Log.Warn("produce request refused", "why", "message formats before v2 are not taken", "version", r.Version, "client", r.ClientID)
		r.Hangup()
		return
	}
	req := produceRequests.Get().(*wire.Produce)
	defer produceRequests.Put(req)
	if err := req.Parse(r.Version, r.Body); err != nil {
		s.Log.Warn("produce request refused", "why", err, "client", r.ClientID)
		r.Hangup()
		return
	}
	all := make([]produced, 0, req.Count())
	send := make([]replica.ProducePart, 0, req.Count())
	at := make([]int, 0, req.Count())
	for i := range req.Topics {
		t := &req.Topics[i]
		for j, q := range req.Partitions(t) {
			a := produced{id: t.ID, index: q.Index, first: j == 0}
			var part *replica.Partition
			part, a.Err = s.produceTo(r, req, t, q.Index)
			if part != nil {
				a.topic, a.id = part.ID().Topic, part.ID().TopicID
			} else {
				a.topic = string(t.Name)
			}
			if a.Err == nil {
				a.Err, a.Cause = checkBatch(r.Version, q.Records)
			}
			if a.Err == nil {
				send = append(send, replica.ProducePart{Partition: part, Batches: q.Records})
				at = append(at, len(all))
			}
			all = append(all, a)
		}
	}
	acks := req.Acks
	s.Replicas.Produce(send, acks, time.Duration(req.TimeoutMillis)*time.Millisecond, func(op *replica.ProduceOp) {
		for i := range op.Results {
			all[at[i]].Produced = op.Results[i]
		}
		s.answerProduce(r, all, acks)
	})
}

// produceTo finds the partition to write to and says why it may not be written.
func (s *Server) produceTo(r *Request, req *wire.Produce, t *wire.ProduceTopic, index int32) (*replica.Partition, *kerr.Error) {
	ref := replica.Ref{TopicID: t.ID, Index: index}
	if r.Version < 13 {
		// A view of the frame: it serves the look-up only.
		ref.Topic = unsafe.String(unsafe.SliceData(t.Name), len(t.Name))
	}
	p, err := s.Replicas.Find(ref)
	switch {
	case req.Acks < -1 || req.Acks > 1:
		return p, kerr.InvalidRequiredAcks
	case err != nil && r.Version < 13:
		return nil, s.elsewhere(string(t.Name), index, err)
	case err != nil:
		return nil, err
	case !s.Allowed(r, kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic, p.ID().Topic):
		return p, kerr.TopicAuthorizationFailed
	case metadata.IsInternal(p.ID().Topic) && r.ClientID != adminClient:
		return p, kerr.InvalidTopicException
	case req.TransactionalID != nil:
		return p, kerr.InvalidTxnState
	}
	return p, nil
}

// checkBatch checks what a version asks of a partition's bytes as a whole: exactly
// one batch, and zstd from version 7 on.
func checkBatch(version int16, run []byte) (*kerr.Error, error) {
	b, err := record.Sole(run)
	switch {
	case errors.Is(err, record.ErrInvalid):
		return kerr.InvalidRecord, err
	case err != nil:
		return kerr.CorruptMessage, err
	case version < 7 && b.Codec() == record.CodecZstd:
		return kerr.UnsupportedCompressionType, record.ErrCodec
	case b.IsTransactional():
		return kerr.InvalidTxnState, nil
	}
	return nil, nil
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
	p.BaseOffset, p.LogAppendTime, p.LogStartOffset = -1, -1, -1
	if a.Err == nil {
		p.BaseOffset, p.LogAppendTime, p.LogStartOffset = a.Info.FirstOffset, a.Info.AppendTime, a.Info.LogStartOffset
		return p
	}
	p.ErrorCode = a.Err.Code
	if a.Cause != nil {
		p.ErrorMessage = kmsg.StringPtr(a.Cause.Error())
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
