package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/replica"
)

// ListOffsets, key 2: offsets by time, and the special ones (latest, earliest, max
// timestamp, and those of tiered storage, which hold nothing here).
var _ = register(Handler{
	Key:    kmsg.ListOffsets,
	Early:  true,
	Needs:  []Need{{kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic}},
	Handle: handleListOffsets,
})

// offsetNotAvailable is the first version that tells of a leader whose high watermark is
// not known yet (KIP-207).
const offsetNotAvailable = 5

// specialSince is the first version that knows a special timestamp.
var specialSince = map[int64]int16{
	replica.Latest: 0, replica.Earliest: 0, replica.MaxTimestamp: 7,
	replica.EarliestLocal: 8, replica.LatestTiered: 9, replica.EarliestUpload: 11,
}

func handleListOffsets(s *Server, r *Request) {
	req := r.Msg.(*kmsg.ListOffsetsRequest)
	resp := kmsg.NewPtrListOffsetsResponse()
	type place struct {
		topic string
		index int32
	}
	asked := map[place]int{}
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			asked[place{req.Topics[i].Topic, req.Topics[i].Partitions[j].Partition}]++
		}
	}
	for i := range req.Topics {
		in := &req.Topics[i]
		out := kmsg.NewListOffsetsResponseTopic()
		out.Topic = in.Topic
		for j := range in.Partitions {
			ask := &in.Partitions[j]
			var at replica.Listed
			switch here := (place{in.Topic, ask.Partition}); {
			case asked[here] == 1:
				at = s.listOffset(r, in.Topic, ask, req.IsolationLevel == 1)
			case asked[here] > 1: // refused, which is said once
				at = replica.Listed{Err: kerr.InvalidRequest, Timestamp: -1, Offset: -1, LeaderEpoch: -1}
				asked[here] = 0
			default:
				continue
			}
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition, p.Timestamp, p.Offset, p.LeaderEpoch = ask.Partition, at.Timestamp, at.Offset, at.LeaderEpoch
			if at.Err == kerr.OffsetNotAvailable && r.Version < offsetNotAvailable {
				at.Err = kerr.LeaderNotAvailable
			}
			if at.Err != nil {
				p.ErrorCode = at.Err.Code
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	r.Reply(resp)
}

func (s *Server) listOffset(r *Request, topic string, ask *kmsg.ListOffsetsRequestTopicPartition, committed bool) replica.Listed {
	none := replica.Listed{Timestamp: -1, Offset: -1, LeaderEpoch: -1}
	if !s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, topic) {
		none.Err = kerr.TopicAuthorizationFailed
		return none
	}
	if since, known := specialSince[ask.Timestamp]; ask.Timestamp < 0 && (!known || r.Version < since) {
		none.Err = kerr.UnsupportedVersion
		return none
	}
	p, err := s.partition(topic, ask.Partition)
	if err != nil {
		none.Err = err
		return none
	}
	return p.ListOffset(ask.Timestamp, ask.CurrentLeaderEpoch, committed)
}
