package metadata

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/schema"
)

// Kafka's types of elections (KIP-460).
const (
	electPreferred int8 = 0
	electUnclean   int8 = 1
)

// electLeaders answers ElectLeaders (versions 0 to 2) for the listed partitions,
// or for all; of all, those that have the leader asked for are left out.
func (c *Controller) electLeaders(req *kmsg.ElectLeadersRequest) outcome {
	resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
	kind := req.ElectionType
	if req.Version < 1 {
		kind = electPreferred
	}
	var refused error
	if kind != electPreferred && kind != electUnclean {
		refused = refuse(kerr.InvalidRequest, "Unknown election type %d", kind)
		resp.ErrorCode, _ = code(refused)
	}
	var recs []schema.Record
	seen := map[TopicPartition]bool{}
	one := func(out *kmsg.ElectLeadersResponseTopic, t *Topic, index int32, all bool) {
		err := refused
		if err == nil {
			var rec *schema.PartitionChange
			switch {
			case t == nil:
				err = refuse(kerr.UnknownTopicOrPartition, "No such topic as %.300s", out.Topic)
			case seen[TopicPartition{t.ID, index}]:
				err = refuse(kerr.InvalidRequest, "The partition appears twice.")
			default:
				seen[TopicPartition{t.ID, index}] = !all
				rec, err = c.electLeader(t, index, kind)
			}
			if rec != nil {
				recs = append(recs, rec)
			}
		}
		p := kmsg.NewElectLeadersResponseTopicPartition()
		p.Partition = index
		p.ErrorCode, p.ErrorMessage = code(err)
		if !all || p.ErrorCode != kerr.ElectionNotNeeded.Code {
			out.Partitions = append(out.Partitions, p)
		}
	}
	if req.Topics == nil && refused == nil {
		for t := range c.View().Topics() {
			out := kmsg.NewElectLeadersResponseTopic()
			out.Topic = t.Name
			for _, p := range t.Partitions {
				one(&out, t, p.Index, true)
			}
			resp.Topics = append(resp.Topics, out)
		}
	}
	for i := range req.Topics {
		out := kmsg.NewElectLeadersResponseTopic()
		out.Topic = req.Topics[i].Topic
		for _, index := range req.Topics[i].Partitions {
			one(&out, c.View().Topic(out.Topic), index, false)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return outcome{body: resp, recs: recs}
}

// electLeader decides one partition.
func (c *Controller) electLeader(t *Topic, index int32, kind int8) (*schema.PartitionChange, error) {
	p := t.Partition(index)
	switch {
	case p == nil:
		return nil, refuse(kerr.UnknownTopicOrPartition, "No such partition as %s-%d", t.Name, index)
	case kind == electPreferred && p.Leader == p.Replicas[0], kind == electUnclean && p.Leader != NoLeader:
		return nil, refuse(kerr.ElectionNotNeeded, "Leader election not needed for topic partition.")
	}
	e := c.electionOf(t, p)
	e.preferred, e.unclean = kind == electPreferred, kind == electUnclean
	r := e.decide()
	if r == nil && kind == electUnclean {
		r = c.electEmpty(t, p)
	}
	switch {
	case r != nil:
		return r, nil
	case kind == electPreferred:
		return nil, refuse(kerr.PreferredLeaderNotAvailable, "The preferred leader was not available.")
	}
	return nil, refuse(kerr.EligibleLeadersNotAvailable, "Eligible topic partition leaders are not available.")
}

// electEmpty elects a live broker whose replica was in a directory that is gone, with
// nothing, from the directory that it has now; nil without one. It is the way out for
// a partition whose only disk will not come back.
func (c *Controller) electEmpty(t *Topic, p *Partition) *schema.PartitionChange {
	for i, id := range p.Replicas {
		dir := c.directoryOfNew(id)
		if !c.View().Active(id) || dir == [16]byte{} {
			continue
		}
		r := schema.NewPartitionChange()
		r.TopicID, r.Index, r.Leader, r.Recovering = t.ID, p.Index, id, 1
		r.ISR, r.ELR, r.LastKnownELR = []int32{id}, []int32{}, []int32{}
		r.Directories = make([][16]byte, len(p.Replicas))
		copy(r.Directories, p.Directories)
		r.Directories[i] = dir
		return r
	}
	return nil
}
