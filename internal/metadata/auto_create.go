package metadata

import (
	"math/rand/v2"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
)

// AutoCreateTopics creates topics by their first use, with the defaults; those of
// the coordinators as their settings say. The reply's body is a
// *kmsg.CreateTopicsResponse of its newest version; a topic that exists has its id
// in it and no error.
type AutoCreateTopics struct {
	Context
	Names []string
}

func (c *Controller) autoCreate(a *AutoCreateTopics, r *rand.Rand) outcome {
	resp := kmsg.NewPtrCreateTopicsResponse()
	resp.Version = kmsg.NewPtrCreateTopicsRequest().MaxVersion()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = resp.Version
	seen := make(map[string]bool, len(a.Names))
	for _, name := range a.Names {
		if seen[name] {
			continue
		}
		seen[name] = true
		if t := c.View().Topic(name); t != nil {
			out := kmsg.NewCreateTopicsResponseTopic()
			out.Topic, out.TopicID = name, t.ID
			out.NumPartitions, out.ReplicationFactor = int32(len(t.Partitions)), int16(t.ReplicationFactor())
			resp.Topics = append(resp.Topics, out)
			continue
		}
		req.Topics = append(req.Topics, c.autoTopic(name))
	}
	o := c.createTopics(req, nil, r)
	resp.Topics = append(resp.Topics, o.body.(*kmsg.CreateTopicsResponse).Topics...)
	return outcome{body: resp, recs: o.recs}
}

// autoTopic is what a topic that nobody describes is created as.
func (c *Controller) autoTopic(name string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, -1, -1
	set := func(key, value string) {
		k := kmsg.NewCreateTopicsRequestTopicConfig()
		k.Name, k.Value = key, &value
		t.Configs = append(t.Configs, k)
	}
	s := c.settings()
	switch name {
	case OffsetsTopic:
		t.NumPartitions = int32(s.Int(config.OffsetsTopicNumPartitions))
		t.ReplicationFactor = int16(c.defaultReplicas(config.OffsetsTopicReplicationFactor))
		set("cleanup.policy", "compact")
		set("compression.type", "producer")
		set("segment.bytes", strconv.Itoa(s.Int(config.OffsetsTopicSegmentBytes)))
	case TransactionTopic:
		t.NumPartitions = int32(s.Int(config.TransactionStateLogNumPartitions))
		t.ReplicationFactor = int16(c.defaultReplicas(config.TransactionStateLogReplicationFactor))
		set("cleanup.policy", "compact")
		set("compression.type", "uncompressed")
		set("segment.bytes", strconv.Itoa(s.Int(config.TransactionStateLogSegmentBytes)))
		set("unclean.leader.election.enable", "false")
		if s.IsSet(string(config.TransactionStateLogMinIsr)) {
			set(string(config.MinInsyncReplicas), strconv.Itoa(s.Int(config.TransactionStateLogMinIsr)))
		}
	}
	return t
}
