package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/replica"
)

// partition finds a partition of this broker by its topic's name.
// UNKNOWN_TOPIC_OR_PARTITION when nobody has it, NOT_LEADER_OR_FOLLOWER when another
// broker has.
func (s *Server) partition(topic string, index int32) (*replica.Partition, *kerr.Error) {
	if topic == "" { // which the replicas would take for "by id"
		return nil, kerr.UnknownTopicOrPartition
	}
	p, err := s.Replicas.Find(replica.Ref{Topic: topic, Index: index})
	if err == kerr.UnknownTopicOrPartition && s.Image().Partition(topic, index) != nil {
		return nil, kerr.NotLeaderForPartition
	}
	return p, err
}
