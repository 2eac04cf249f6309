package metadata

import (
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/schema"
)

// createPartitions answers CreatePartitions (versions 0 to 3). Each topic succeeds
// or fails by itself.
func (c *Controller) createPartitions(req *kmsg.CreatePartitionsRequest, r *rand.Rand) outcome {
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	count := map[string]int{}
	total := int64(0)
	for i := range req.Topics {
		t := &req.Topics[i]
		count[t.Topic]++
		if of := c.View().Topic(t.Topic); of != nil && int(t.Count) > len(of.Partitions) {
			total += int64(t.Count) - int64(len(of.Partitions))
		}
	}
	var recs []schema.Record
	done := map[string]bool{}
	for i := range req.Topics {
		t := &req.Topics[i]
		if done[t.Topic] {
			continue
		}
		done[t.Topic] = true
		var err error
		var made []schema.Record
		switch {
		case count[t.Topic] > 1:
			err = refuse(kerr.InvalidRequest, "Duplicate topic name.")
		case total > maxRecords:
			err = refuse(kerr.PolicyViolation, "Excessively large number of partitions per request.")
		default:
			made, err = c.addPartitions(t, r)
		}
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic = t.Topic
		out.ErrorCode, out.ErrorMessage = code(err)
		resp.Topics = append(resp.Topics, out)
		recs = append(recs, made...)
	}
	if req.ValidateOnly {
		recs = nil
	}
	return outcome{body: resp, recs: recs}
}

// addPartitions decides one topic.
func (c *Controller) addPartitions(ask *kmsg.CreatePartitionsRequestTopic, r *rand.Rand) ([]schema.Record, error) {
	t := c.View().Topic(ask.Topic)
	if t == nil {
		return nil, refuse(kerr.UnknownTopicOrPartition, "")
	}
	have, factor := len(t.Partitions), t.ReplicationFactor()
	switch {
	case int(ask.Count) == have:
		return nil, refuse(kerr.InvalidPartitions, "Topic already has %d partition(s).", have)
	case int(ask.Count) < have:
		return nil, refuse(kerr.InvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.", t.Name, have, ask.Count)
	}
	more := int(ask.Count) - have
	var lists [][]int32
	if ask.Assignment != nil {
		if len(ask.Assignment) != more {
			return nil, refuse(kerr.InvalidReplicaAssignment,
				"Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", more, len(ask.Assignment))
		}
		for i := range ask.Assignment {
			replicas := ask.Assignment[i].Replicas
			if err := c.checkAssignment(int32(have+i), replicas, factor); err != nil {
				return nil, err
			}
			lists = append(lists, replicas)
		}
	} else {
		var err error
		if lists, err = c.placed(more, factor, r); err != nil {
			return nil, err
		}
	}
	var recs []schema.Record
	for i, replicas := range lists {
		recs = append(recs, c.newPartition(t.ID, int32(have+i), replicas))
	}
	return recs, nil
}
