package differential

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Versions at which set-ups speak: the newest that carry names.
const (
	setupCreateTopics = 7
	setupMetadata     = 12
	setupProduce      = 9
)

// Topic makes a topic and waits until its partitions have leaders. configs are
// names and values in turn. It is deleted when the scenario ends. Unless configs say
// otherwise, it keeps its records, which are of 1970: Kafka looks for expired ones 30
// seconds after its start.
func (s *Session) Topic(name string, partitions int32, configs ...string) [16]byte {
	if !slices.Contains(configs, "retention.ms") {
		configs = append(configs, "retention.ms", "-1")
	}
	return s.PlainTopic(name, partitions, configs...)
}

// PlainTopic is Topic without a setting that is not given.
func (s *Session) PlainTopic(name string, partitions int32, configs ...string) [16]byte {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = setupCreateTopics
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	for i := 0; i+1 < len(configs); i += 2 {
		t.Configs = append(t.Configs, config(configs[i], configs[i+1]))
	}
	req.Topics = append(req.Topics, t)
	s.Until("create topic "+name, func() error {
		resp, err := s.Ask(req)
		if err != nil {
			return err
		}
		err = kerr.ErrorForCode(resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
		if errors.Is(err, kerr.TopicAlreadyExists) {
			return nil // an earlier try that was not answered in time
		}
		return err
	})
	return s.AwaitTopic(name, partitions)
}

// AwaitTopic waits until metadata names a topic with that many led partitions
// and returns the topic's id. The topic is deleted when the scenario ends.
func (s *Session) AwaitTopic(name string, partitions int32) (id [16]byte) {
	s.topics = append(s.topics, name)
	s.Until("topic "+name, func() error {
		t, err := s.describe(name)
		if err != nil {
			return err
		}
		if len(t.Partitions) != int(partitions) {
			return fmt.Errorf("%d partitions", len(t.Partitions))
		}
		id = t.TopicID
		return s.led(name, partitions)
	})
	s.names.topic(id, name)
	return id
}

// led says whether the broker leads every partition of a topic: metadata may
// name a leader before the leader knows of it.
func (s *Session) led(topic string, partitions int32) error {
	req := listOffsets(topic, 0, -1)
	req.Version = 7
	for p := range partitions - 1 {
		next := req.Topics[0].Partitions[0]
		next.Partition = p + 1
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, next)
	}
	resp, err := s.Ask(req)
	if err != nil {
		return err
	}
	for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("partition %d: %w", p.Partition, err)
			}
		}
	}
	return nil
}

// AwaitNoTopic waits until metadata no longer names a topic.
func (s *Session) AwaitNoTopic(name string) {
	s.Until("topic "+name+" to go", func() error {
		_, err := s.describe(name)
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			return nil
		case err == nil:
			return errors.New("it is still there")
		default:
			return err
		}
	})
}

// describe asks for one topic's metadata without creating it.
func (s *Session) describe(name string) (*kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = setupMetadata
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &name
	req.Topics = append(req.Topics, t)
	resp, err := s.Ask(req)
	if err != nil {
		return nil, err
	}
	got := resp.(*kmsg.MetadataResponse).Topics
	if len(got) != 1 {
		return nil, fmt.Errorf("metadata of one topic holds %d", len(got))
	}
	return &got[0], kerr.ErrorForCode(got[0].ErrorCode)
}

// Fill appends batches to a partition, one request each, and fails the scenario
// when one is not taken.
func (s *Session) Fill(topic string, partition int32, batches ...batch) {
	for _, b := range batches {
		req := produce(topic, [16]byte{}, partition, b.bytes())
		req.Version = setupProduce
		s.Until("produce to "+topic, func() error {
			resp, err := s.Ask(req)
			if err != nil {
				return err
			}
			return kerr.ErrorForCode(resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
		})
	}
}

// Coordinator waits until the broker coordinates a group and has loaded it. The
// group is deleted when the scenario ends.
func (s *Session) Coordinator(group string) {
	s.groups = append(s.groups, group)
	s.Until("coordinator of "+group, func() error {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.Version = 3
		req.CoordinatorKey = group
		resp, err := s.Ask(req)
		if err != nil {
			return err
		}
		if err := kerr.ErrorForCode(resp.(*kmsg.FindCoordinatorResponse).ErrorCode); err != nil {
			return err
		}
		of := kmsg.NewPtrOffsetFetchRequest()
		of.Version, of.Group = 7, group
		resp, err = s.Ask(of)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.(*kmsg.OffsetFetchResponse).ErrorCode)
	})
}

// clean deletes what a scenario made, as far as the broker lets it: a scenario
// that follows has names of its own, so nothing depends on it.
func (s *Session) clean() {
	if len(s.groups) > 0 {
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Version, req.Groups = 2, s.groups
		_, _ = s.Ask(req)
	}
	if len(s.topics) > 0 {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Version, req.TopicNames, req.TimeoutMillis = 5, s.topics, 5000
		_, _ = s.Ask(req)
	}
}

func config(name, value string) kmsg.CreateTopicsRequestTopicConfig {
	c := kmsg.NewCreateTopicsRequestTopicConfig()
	c.Name, c.Value = name, &value
	return c
}

// produce is a request of one partition with acks=all. The id is what versions
// from 13 on name the topic by.
func produce(topic string, id [16]byte, partition int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// fetch is a sessionless request of one partition that does not wait.
func fetch(topic string, id [16]byte, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 0, 0, 10<<20
	req.SessionEpoch = -1
	req.Topics = append(req.Topics, fetchTopic(topic, id, partition, offset))
	return req
}

func fetchTopic(topic string, id [16]byte, partition int32, offset int64) kmsg.FetchRequestTopic {
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
	t.Partitions = append(t.Partitions, p)
	return t
}

// listOffsets asks one partition for one timestamp.
func listOffsets(topic string, partition int32, timestamp int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	req.TimeoutMillis = 5000
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, timestamp
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func ptr[T any](v T) *T { return &v }
