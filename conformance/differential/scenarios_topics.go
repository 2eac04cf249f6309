package differential

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// newTopic is one topic of a CreateTopics request.
func newTopic(name string, partitions int32, replication int16, configs ...string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, replication
	for i := 0; i+1 < len(configs); i += 2 {
		t.Configs = append(t.Configs, config(configs[i], configs[i+1]))
	}
	return t
}

func createTopicsRequest(topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	req.Topics = topics
	return req
}

// assigned gives a topic's partitions to brokers by hand.
func assigned(t kmsg.CreateTopicsRequestTopic, partitions map[int32][]int32) kmsg.CreateTopicsRequestTopic {
	for p := range int32(10) {
		if replicas, ok := partitions[p]; ok {
			a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			a.Partition, a.Replicas = p, replicas
			t.ReplicaAssignment = append(t.ReplicaAssignment, a)
		}
	}
	return t
}

func createTopics(s *Session) {
	s.Each(kmsg.CreateTopics, func(v int16) {
		name := fmt.Sprintf("create-v%d", v)
		s.Do("one partition", v, createTopicsRequest(newTopic(name, 1, 1)))
		s.AwaitTopic(name, 1)
		s.Do("the same again", v, createTopicsRequest(newTopic(name, 1, 1)))
		s.Do("nothing", v, createTopicsRequest())

		configured := newTopic(name+"-configured", 3, 1, "cleanup.policy", "compact", "segment.bytes", "1048576", "max.message.bytes", "2000")
		s.Do("with configs", v, createTopicsRequest(configured))
		s.AwaitTopic(name+"-configured", 3)

		if v >= 4 {
			s.Do("default counts", v, createTopicsRequest(newTopic(name+"-default", -1, -1)))
			s.AwaitTopic(name+"-default", 1)
		} else {
			s.Do("default counts before they were known", v, createTopicsRequest(newTopic(name+"-default", -1, -1)))
		}
		s.Do("assigned by hand", v, createTopicsRequest(
			assigned(newTopic(name+"-assigned", -1, -1), map[int32][]int32{0: {1}, 1: {1}})))
		s.AwaitTopic(name+"-assigned", 2)

		dry := createTopicsRequest(newTopic(name+"-dry", 2, 1), newTopic(name, 1, 1))
		dry.ValidateOnly = true
		s.Do("only validated", v, dry)
	})

	s.From(kmsg.CreateTopics, 5, func(v int16) {
		bad := func(label string, t kmsg.CreateTopicsRequestTopic) {
			s.Do(label, v, createTopicsRequest(t))
		}
		bad("no name", newTopic("", 1, 1))
		bad("a name of one dot", newTopic(".", 1, 1))
		bad("a name of two dots", newTopic("..", 1, 1))
		bad("a name with a slash", newTopic("a/b", 1, 1))
		bad("a name with a space", newTopic("a b", 1, 1))
		bad("a name beyond ASCII", newTopic("größe", 1, 1))
		bad("a name of 249 letters, validated", newTopic(strings.Repeat("a", 250), 1, 1))
		bad("no partitions", newTopic("create-bad", 0, 1))
		bad("a negative count", newTopic("create-bad", -2, 1))
		bad("no replicas", newTopic("create-bad", 1, 0))
		bad("negative replicas", newTopic("create-bad", 1, -2))
		bad("more replicas than brokers", newTopic("create-bad", 1, 3))
		bad("an unknown config", newTopic("create-bad", 1, 1, "no.such.config", "1"))
		bad("a config out of its range", newTopic("create-bad", 1, 1, "segment.bytes", "10"))
		bad("a config that is no number", newTopic("create-bad", 1, 1, "retention.ms", "soon"))
		bad("an unknown cleanup policy", newTopic("create-bad", 1, 1, "cleanup.policy", "shred"))
		bad("a broker config", newTopic("create-bad", 1, 1, "log.retention.ms", "1"))
		null := newTopic("create-bad", 1, 1)
		null.Configs = append(null.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: "retention.ms"})
		bad("a config without a value", null)
		bad("assigned to an unknown broker", assigned(newTopic("create-bad", -1, -1), map[int32][]int32{0: {99}}))
		bad("assigned twice to a broker", assigned(newTopic("create-bad", -1, -1), map[int32][]int32{0: {1, 1}}))
		bad("assigned to nobody", assigned(newTopic("create-bad", -1, -1), map[int32][]int32{0: {}}))
		bad("assigned with a gap", assigned(newTopic("create-bad", -1, -1), map[int32][]int32{0: {1}, 2: {1}}))
		bad("assigned and counted", assigned(newTopic("create-bad", 1, 1), map[int32][]int32{0: {1}}))
		s.Do("one name twice", v, createTopicsRequest(newTopic("create-twice", 1, 1), newTopic("create-twice", 1, 1)))
		s.Do("names that collide", v, createTopicsRequest(newTopic("create.collide", 1, 1)))
		s.Do("names that collide, the second", v, createTopicsRequest(newTopic("create_collide", 1, 1)))
		s.Do("one good, one bad", v, createTopicsRequest(newTopic(fmt.Sprintf("create-good-v%d", v), 1, 1), newTopic("create-bad", 0, 1)))
		s.AwaitTopic(fmt.Sprintf("create-good-v%d", v), 1)
	})
	s.AwaitTopic("create.collide", 1)
}

func createPartitions(s *Session) {
	grow := func(topic string, count int32, assignment ...[]int32) *kmsg.CreatePartitionsRequest {
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.TimeoutMillis = 10_000
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = topic, count
		for _, replicas := range assignment {
			t.Assignment = append(t.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: replicas})
		}
		req.Topics = append(req.Topics, t)
		return req
	}
	s.Each(kmsg.CreatePartitions, func(v int16) {
		name := fmt.Sprintf("grow-v%d", v)
		s.Topic(name, 1)
		s.Do("to three", v, grow(name, 3))
		s.AwaitTopic(name, 3)
		s.Do("to what it has", v, grow(name, 3))
		s.Do("to fewer", v, grow(name, 2))
		s.Do("to none", v, grow(name, 0))
		s.Do("to a negative count", v, grow(name, -1))
		s.Do("an unknown topic", v, grow("grow-unknown", 3))
		s.Do("assigned by hand", v, grow(name, 4, []int32{1}))
		s.AwaitTopic(name, 4)
		s.Do("assigned too few", v, grow(name, 6, []int32{1}))
		s.Do("assigned to an unknown broker", v, grow(name, 5, []int32{99}))
		s.Do("assigned to too many", v, grow(name, 5, []int32{1, 2}))
		dry := grow(name, 9)
		dry.ValidateOnly = true
		s.Do("only validated", v, dry)
		twice := grow(name, 9)
		twice.Topics = append(twice.Topics, twice.Topics[0])
		s.Do("one topic twice", v, twice)
		s.Do("beyond what a topic may have", v, grow(name, 1<<30))
	})
}

func deleteTopics(s *Session) {
	s.Each(kmsg.DeleteTopics, func(v int16) {
		name := fmt.Sprintf("delete-v%d", v)
		id := s.Topic(name, 2)
		byName := func(names ...string) *kmsg.DeleteTopicsRequest {
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.TimeoutMillis = 10_000
			req.TopicNames = names
			for _, n := range names {
				req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestTopic{Topic: ptr(n)})
			}
			return req
		}
		s.Do("a topic and an unknown one", v, byName(name, "delete-unknown"))
		s.AwaitNoTopic(name)
		s.Do("the same again", v, byName(name))
		s.Do("nothing", v, byName())
		s.Do("one name twice", v, byName("delete-twice", "delete-twice"))
		s.Do("no name", v, byName(""))
		if v < 6 {
			return
		}
		byID := func(id [16]byte, name *string) *kmsg.DeleteTopicsRequest {
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.TimeoutMillis = 10_000
			req.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: name, TopicID: id}}
			return req
		}
		s.Do("the id of a deleted topic", v, byID(id, nil))
		s.Do("neither name nor id", v, byID([16]byte{}, nil))
		second := s.Topic(name+"-by-id", 1)
		s.Do("name and id", v, byID(second, ptr(name+"-by-id")))
		s.Do("an id", v, byID(second, nil))
		s.AwaitNoTopic(name + "-by-id")
	})
}

func metadata(s *Session) {
	ask := func(topics ...string) *kmsg.MetadataRequest {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{}
		for _, t := range topics {
			req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: ptr(t)})
		}
		return req
	}
	id := s.Topic("metadata-known", 2)
	s.Each(kmsg.Metadata, func(v int16) {
		s.Do("a topic", v, ask("metadata-known"))
		s.Do("a topic twice", v, ask("metadata-known", "metadata-known"))
		if v >= 1 {
			s.Do("no topics", v, ask())
		}
		if v >= 4 {
			s.Do("an unknown topic, not to be created", v, ask("metadata-unknown"))
			s.Do("a bad name, not to be created", v, ask("a/b"))
		}
		creating := ask(fmt.Sprintf("metadata-created-v%d", v))
		creating.AllowAutoTopicCreation = true
		s.Do("an unknown topic, to be created", v, creating)
		s.AwaitTopic(fmt.Sprintf("metadata-created-v%d", v), 1)
		bad := ask("a/b")
		bad.AllowAutoTopicCreation = true
		s.Do("a bad name, to be created", v, bad)
		empty := ask("")
		empty.AllowAutoTopicCreation = true
		s.Do("an empty name, to be created", v, empty)
		if v >= 8 {
			authorized := ask("metadata-known")
			authorized.IncludeTopicAuthorizedOperations = true
			authorized.IncludeClusterAuthorizedOperations = true
			s.Do("with authorized operations", v, authorized)
		}
		if v >= 10 {
			byID := func(id [16]byte, name *string) *kmsg.MetadataRequest {
				req := ask()
				req.Topics = []kmsg.MetadataRequestTopic{{TopicID: id, Topic: name}}
				return req
			}
			s.Do("by id", v, byID(id, nil))
			s.Do("by an unknown id", v, byID([16]byte{1, 2, 3}, nil))
			s.Do("neither name nor id", v, byID([16]byte{}, nil))
			s.Do("by name and id", v, byID(id, ptr("metadata-known")))
			s.Do("by another's name and id", v, byID(id, ptr("metadata-other")))
		}
	})
}

func describeTopicPartitions(s *Session) {
	s.Topic("describe-a", 3)
	s.Topic("describe-b", 2)
	s.Each(kmsg.DescribeTopicPartitions, func(v int16) {
		ask := func(limit int32, topics ...string) *kmsg.DescribeTopicPartitionsRequest {
			req := kmsg.NewPtrDescribeTopicPartitionsRequest()
			req.ResponsePartitionLimit = limit
			for _, t := range topics {
				req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: t})
			}
			return req
		}
		from := func(req *kmsg.DescribeTopicPartitionsRequest, topic string, partition int32) *kmsg.DescribeTopicPartitionsRequest {
			req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: topic, Partition: partition}
			return req
		}
		s.Do("two topics", v, ask(100, "describe-b", "describe-a"))
		s.Do("an unknown topic", v, ask(100, "describe-unknown"))
		s.Do("a bad name", v, ask(100, "a/b"))
		s.Do("a page of two", v, ask(2, "describe-a", "describe-b"))
		s.Do("a page that ends with a topic", v, ask(3, "describe-a", "describe-b"))
		s.Do("a page of none", v, ask(0, "describe-a"))
		s.Do("a negative page", v, ask(-1, "describe-a"))
		s.Do("from a cursor", v, from(ask(2, "describe-a", "describe-b"), "describe-a", 2))
		s.Do("from a cursor's topic that was not asked for", v, from(ask(100, "describe-b"), "describe-a", 0))
		s.Do("from a cursor beyond the topics", v, from(ask(100, "describe-a"), "describe-z", 0))
		s.Do("from a cursor beyond the partitions", v, from(ask(100, "describe-a"), "describe-a", 50))
		s.Do("from a negative partition", v, from(ask(100, "describe-a"), "describe-a", -1))
	})
}
