package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteRecords, key 21: raises the log start offset; -1 is the high watermark. The
// new start is durable before it is answered.
var _ = register(Handler{
	Key:    kmsg.DeleteRecords,
	Needs:  []Need{{kmsg.ACLOperationDelete, kmsg.ACLResourceTypeTopic}},
	Handle: handleDeleteRecords,
})

func handleDeleteRecords(s *Server, r *Request) {
	req := r.Msg.(*kmsg.DeleteRecordsRequest)
	// The new start is synced: not on the connection's reading goroutine alone, but
	// nothing else of this connection may overtake it either.
	resp := kmsg.NewPtrDeleteRecordsResponse()
	// Each new start is a sync: of a partition that is named again the last offset counts.
	type place struct {
		topic string
		index int32
	}
	last := map[place]int64{}
	for i := range req.Topics {
		for _, ask := range req.Topics[i].Partitions {
			last[place{req.Topics[i].Topic, ask.Partition}] = ask.Offset
		}
	}
	for i := range req.Topics {
		in := &req.Topics[i]
		out := kmsg.NewDeleteRecordsResponseTopic()
		out.Topic = in.Topic
		for j := range in.Partitions {
			ask := &in.Partitions[j]
			offset, due := last[place{in.Topic, ask.Partition}]
			if !due {
				continue // it is done
			}
			delete(last, place{in.Topic, ask.Partition})
			p := kmsg.NewDeleteRecordsResponseTopicPartition()
			p.Partition, p.LowWatermark = ask.Partition, -1
			start, err := s.deleteRecords(r, in.Topic, ask.Partition, offset)
			if err != nil {
				p.ErrorCode = err.Code
			} else {
				p.LowWatermark = start
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	r.Reply(resp)
}

func (s *Server) deleteRecords(r *Request, topic string, index int32, before int64) (int64, *kerr.Error) {
	if !s.Allowed(r, kmsg.ACLOperationDelete, kmsg.ACLResourceTypeTopic, topic) {
		return -1, kerr.TopicAuthorizationFailed
	}
	p, err := s.partition(topic, index)
	if err != nil {
		return -1, err
	}
	return p.DeleteRecords(before)
}
