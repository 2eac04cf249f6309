package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeProducers, key 61: the idempotent producers that a partition remembers (KIP-664).
var _ = register(Handler{
	Key:    kmsg.DescribeProducers,
	Needs:  []Need{{kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic}},
	Handle: handleDescribeProducers,
})

func handleDescribeProducers(s *Server, r *Request) {
	req := r.Msg.(*kmsg.DescribeProducersRequest)
	resp := kmsg.NewPtrDescribeProducersResponse()
	for i := range req.Topics {
		in := &req.Topics[i]
		out := kmsg.NewDescribeProducersResponseTopic()
		out.Topic = in.Topic
		for _, index := range in.Partitions {
			p := s.describeProducers(r, in.Topic, index)
			if !s.grow(r, 128+128*int64(len(p.ActiveProducers))) {
				s.tooLarge(r)
				return
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	r.Reply(resp)
}

func (s *Server) describeProducers(r *Request, topic string, index int32) kmsg.DescribeProducersResponseTopicPartition {
	p := kmsg.NewDescribeProducersResponseTopicPartition()
	p.Partition = index
	fail := func(err *kerr.Error) kmsg.DescribeProducersResponseTopicPartition {
		p.ErrorCode, p.ErrorMessage = err.Code, kmsg.StringPtr(err.Description)
		return p
	}
	if !s.Allowed(r, kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic, topic) {
		return fail(kerr.TopicAuthorizationFailed)
	}
	part, err := s.partition(topic, index)
	if err != nil {
		return fail(err)
	}
	producers, err := part.Producers()
	if err != nil {
		return fail(err)
	}
	for _, known := range producers {
		a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		a.ProducerID, a.ProducerEpoch, a.LastSequence = known.ProducerID, int32(known.ProducerEpoch), known.LastSequence
		a.LastTimestamp, a.CoordinatorEpoch, a.CurrentTxnStartOffset = known.LastTimestamp, known.CoordinatorEpoch, known.TxnStartOffset
		p.ActiveProducers = append(p.ActiveProducers, a)
	}
	return p
}
