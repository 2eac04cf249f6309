package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/metadata"
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

// nobody leads.
var nobody = replica.Leadership{Leader: metadata.NoLeader, LeaderEpoch: -1}

// elsewhere is what a client is told of a partition that the replicas answered err for:
// who leads it, when it exists and only not here.
func (s *Server) elsewhere(ref replica.Ref, err *kerr.Error) (*kerr.Error, replica.Leadership) {
	img := s.Image()
	if p := imagePartition(img, ref); p != nil {
		return kerr.NotLeaderForPartition, replica.Leadership{Leader: p.Leader, LeaderEpoch: p.LeaderEpoch}
	}
	if err == kerr.UnknownTopicID && img.TopicByID(ref.TopicID) != nil {
		err = kerr.UnknownTopicOrPartition
	}
	return err, nobody
}

func imagePartition(img *metadata.Image, ref replica.Ref) *metadata.Partition {
	if ref.Topic != "" {
		return img.Partition(ref.Topic, ref.Index)
	}
	return img.TopicByID(ref.TopicID).Partition(ref.Index)
}
