package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/replica"
)

// DeleteRecords, key 21: raises the log start offset; -1 is the high watermark. It is
// answered once the new start is durable on every replica that counts (package replica).
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
	var parts []replica.DeletePart
	var at [][2]int // of each part in the answer
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
			if part, err := s.deleteFrom(r, in.Topic, ask.Partition); err != nil {
				p.ErrorCode = err.Code
			} else {
				parts = append(parts, replica.DeletePart{Partition: part, Before: offset})
				at = append(at, [2]int{i, len(out.Partitions)})
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	op := s.Replicas.DeleteRecords(parts, time.Duration(req.TimeoutMillis)*time.Millisecond, func(op *replica.DeleteOp) {
		for i, got := range op.Results {
			p := &resp.Topics[at[i][0]].Partitions[at[i][1]]
			p.LowWatermark = got.LowWatermark
			if got.Err != nil {
				p.ErrorCode = got.Err.Code
			}
		}
		r.Reply(resp)
	})
	r.OnCancel(op.Cancel)
}

// deleteFrom is the partition of which records may be deleted.
func (s *Server) deleteFrom(r *Request, topic string, index int32) (*replica.Partition, *kerr.Error) {
	if !s.Allowed(r, kmsg.ACLOperationDelete, kmsg.ACLResourceTypeTopic, topic) {
		return nil, kerr.TopicAuthorizationFailed
	}
	return s.partition(topic, index)
}
