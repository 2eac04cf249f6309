package metadata

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestCreateTopics(t *testing.T) {
	type topic = kmsg.CreateTopicsRequestTopic
	gap := assigned("t", []int32{1}, []int32{2})
	gap.ReplicaAssignment[1].Partition = 2
	twice := assigned("t", []int32{1}, []int32{2})
	twice.ReplicaAssignment[1].Partition = 0
	withCount, withFactor := assigned("t", []int32{1}), assigned("t", []int32{1})
	withCount.NumPartitions, withFactor.ReplicationFactor = 1, 1
	null := topicAsk("t", 1, 1, [2]string{"retention.ms", ""})
	null.Configs[0].Value = nil
	for _, c := range []struct {
		name string
		ask  topic
		want *kerr.Error // nil is success
		text string
	}{
		{"plain", topicAsk("t", 3, 2), nil, ""},
		{"defaults", topicAsk("t", -1, -1), nil, ""},
		{"assigned", assigned("t", []int32{1, 2}, []int32{3, 1}), nil, ""},
		{"config", topicAsk("t", 1, 1, [2]string{"retention.ms", "5"}), nil, ""},
		{"longest name", topicAsk(strings.Repeat("a", 249), 1, 1), nil, ""},
		{"exists", topicAsk("have", 1, 1), kerr.TopicAlreadyExists, "'have' already exists"},
		{"exists with other faults", topicAsk("have.it", 0, 1), kerr.TopicAlreadyExists, ""},
		{"empty name", topicAsk("", 1, 1), kerr.InvalidTopicException, "empty"},
		{"dot", topicAsk(".", 1, 1), kerr.InvalidTopicException, ""},
		{"two dots", topicAsk("..", 1, 1), kerr.InvalidTopicException, ""},
		{"character", topicAsk("a b", 1, 1), kerr.InvalidTopicException, ""},
		{"too long", topicAsk(strings.Repeat("a", 250), 1, 1), kerr.InvalidTopicException, "249"},
		{"collision", topicAsk("have_it", 1, 1), kerr.InvalidTopicException, "have.it"},
		{"metadata topic", topicAsk("__cluster_metadata", 1, 1), kerr.InvalidRequest, "prohibited"},
		{"no partitions", topicAsk("t", 0, 1), kerr.InvalidPartitions, ""},
		{"negative partitions", topicAsk("t", -2, 1), kerr.InvalidPartitions, ""},
		{"no replicas", topicAsk("t", 1, 0), kerr.InvalidReplicationFactor, ""},
		{"negative replicas", topicAsk("t", 1, -2), kerr.InvalidReplicationFactor, ""},
		{"replicas before partitions", topicAsk("t", 0, 0), kerr.InvalidReplicationFactor, ""},
		{"too many replicas", topicAsk("t", 1, 4), kerr.InvalidReplicationFactor, "3 registered"},
		{"too many partitions", topicAsk("t", 10_001, 1), kerr.PolicyViolation, ""},
		{"overflow", topicAsk("t", 1<<31-1, 1), kerr.PolicyViolation, ""},
		{"unknown config", topicAsk("t", 1, 1, [2]string{"no.such", "1"}), kerr.InvalidConfig, "no.such"},
		{"bad config", topicAsk("t", 1, 1, [2]string{"retention.ms", "x"}), kerr.InvalidConfig, "retention.ms"},
		{"huge config", topicAsk("t", 1, 1, [2]string{"retention.ms", strings.Repeat("1", maxConfigValue+1)}), kerr.InvalidConfig, ""},
		{"null config", null, kerr.InvalidConfig, "Null value"},
		{"config before replicas", topicAsk("t", 1, 0, [2]string{"no.such", "1"}), kerr.InvalidConfig, ""},
		{"assigned with count", withCount, kerr.InvalidRequest, "numPartitions"},
		{"assigned with factor", withFactor, kerr.InvalidRequest, "replication factor"},
		{"assigned to nobody", assigned("t", []int32{}), kerr.InvalidReplicaAssignment, "empty"},
		{"assigned to a stranger", assigned("t", []int32{9}), kerr.InvalidReplicaAssignment, "no such broker"},
		{"assigned twice to one", assigned("t", []int32{1, 1}), kerr.InvalidReplicaAssignment, "more than once"},
		{"assigned unevenly", assigned("t", []int32{1}, []int32{1, 2}), kerr.InvalidReplicaAssignment, "consistent"},
		{"assigned to the fenced", assigned("t", []int32{4}), kerr.InvalidReplicaAssignment, "fenced"},
		{"assigned with a gap", gap, kerr.InvalidReplicaAssignment, "consecutive"},
		{"assigned one partition twice", twice, kerr.InvalidReplicaAssignment, "multiple"},
	} {
		for version := int16(2); version <= 7; version++ {
			t.Run(fmt.Sprintf("%s v%d", c.name, version), func(t *testing.T) {
				k := newCluster(t, 3)
				if strings.Contains(c.name, "to the fenced") {
					k.register(4, 4)
				}
				k.mustCreate(topicAsk("have", 1, 1), topicAsk("have.it", 1, 1))
				before := k.img().Index()
				req := createRequest(c.ask)
				req.Version = version
				got := k.ask(req).(*kmsg.CreateTopicsResponse).Topics[0]
				checkCreated(t, k, before, c.ask.Topic, got, c.want, c.text)
				k.checkInvariants()
			})
		}
	}
}

func checkCreated(t *testing.T, k *cluster, before int64, name string, got kmsg.CreateTopicsResponseTopic, want *kerr.Error, text string) {
	t.Helper()
	topic := k.img().Topic(name)
	if want != nil {
		if got.ErrorCode != want.Code || !strings.Contains(deref(got.ErrorMessage), text) {
			t.Fatalf("got %d %s; want %s with %q", got.ErrorCode, deref(got.ErrorMessage), want.Message, text)
		}
		if got.NumPartitions != -1 || got.ReplicationFactor != -1 || got.Configs == nil || len(got.Configs) > 0 || got.TopicID != [16]byte{} {
			t.Errorf("a refusal says more: %+v", got)
		}
		if k.img().Index() != before {
			t.Error("a refusal wrote records")
		}
		return
	}
	if got.ErrorCode != 0 || got.ErrorMessage != nil {
		t.Fatalf("got %d %s", got.ErrorCode, deref(got.ErrorMessage))
	}
	if topic == nil || topic.ID != got.TopicID || int(got.NumPartitions) != len(topic.Partitions) || int(got.ReplicationFactor) != topic.ReplicationFactor() {
		t.Errorf("answer %+v for topic %+v", got, topic)
	}
	if len(got.Configs) < 30 || !slices.IsSortedFunc(got.Configs, func(a, b kmsg.CreateTopicsResponseTopicConfig) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("%d configs", len(got.Configs))
	}
	for _, cfg := range got.Configs {
		own, isOwn := k.img().Config(ResourceTopic, name)[cfg.Name]
		if isOwn && (cfg.Source != 1 || deref(cfg.Value) != own) || !isOwn && cfg.Source == 1 {
			t.Errorf("config %+v", cfg)
		}
	}
}

func TestCreateTopicsManyInOneRequest(t *testing.T) {
	k := newCluster(t, 1)
	got := k.create(topicAsk("a", 1, 1), topicAsk("dup", 1, 1), topicAsk("b.c", 1, 1), topicAsk("dup", 1, 1),
		topicAsk("b_c", 1, 1), topicAsk("__cluster_metadata", 1, 1), topicAsk("z", 1, 1))
	var order []string
	for _, r := range got {
		order = append(order, fmt.Sprintf("%s %d", r.Topic, r.ErrorCode))
	}
	want := []string{"a 0", "b.c 0", "b_c 17", "z 0", "dup 42", "__cluster_metadata 42"}
	if !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
	if k.img().TopicCount() != 3 {
		t.Errorf("%d topics", k.img().TopicCount())
	}
	// The limit is one of the request, not of each topic.
	for _, r := range k.create(topicAsk("p", 6000, 1), topicAsk("q", 6000, 1)) {
		if r.ErrorCode != kerr.PolicyViolation.Code {
			t.Errorf("%s: %d", r.Topic, r.ErrorCode)
		}
	}
	if r := k.create(topicAsk("p", 10_000, 1)); r[0].ErrorCode != 0 || k.img().PartitionCount() != 10_003 {
		t.Errorf("10,000 partitions: %d", r[0].ErrorCode)
	}
}

func TestCreateTopicsValidateOnly(t *testing.T) {
	k := newCluster(t, 3)
	req := createRequest(topicAsk("t", 4, 3), topicAsk("", 1, 1))
	req.ValidateOnly = true
	got := k.ask(req).(*kmsg.CreateTopicsResponse).Topics
	if got[0].ErrorCode != 0 || got[0].NumPartitions != 4 || got[1].ErrorCode != kerr.InvalidTopicException.Code {
		t.Errorf("%+v", got)
	}
	if len(k.records) != 0 {
		t.Error("records were written")
	}
}

// TestDefaults is the rule of replication: min(3, live brokers) when nothing is
// asked for, and min.insync.replicas 2 from three replicas on.
func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		brokers            int
		ask                kmsg.CreateTopicsRequestTopic
		sets               []string
		partitions, factor int
		minISR             string
	}{
		{1, topicAsk("t", -1, -1), nil, 1, 1, ""},
		{2, topicAsk("t", -1, -1), nil, 1, 2, ""},
		{3, topicAsk("t", -1, -1), nil, 1, 3, "2"},
		{5, topicAsk("t", -1, -1), nil, 1, 3, "2"},
		{5, topicAsk("t", 2, 5), nil, 2, 5, "2"},
		{5, topicAsk("t", 2, 2), nil, 2, 2, ""},
		{3, topicAsk("t", -1, -1), []string{"default.replication.factor=1", "num.partitions=6"}, 6, 1, ""},
		{3, topicAsk("t", -1, -1), []string{"min.insync.replicas=1"}, 1, 3, ""},
		{3, topicAsk("t", -1, -1, [2]string{"min.insync.replicas", "3"}), nil, 1, 3, "3"},
		{3, assigned("t", []int32{1, 2, 3}), nil, 1, 3, "2"},
	} {
		k := newCluster(t, c.brokers, c.sets...)
		k.mustCreate(c.ask)
		topic := k.img().Topic("t")
		if len(topic.Partitions) != c.partitions || topic.ReplicationFactor() != c.factor || k.img().Config(ResourceTopic, "t")["min.insync.replicas"] != c.minISR {
			t.Errorf("%d brokers, %v: %d partitions of %d replicas, configs %v", c.brokers, c.sets, len(topic.Partitions), topic.ReplicationFactor(), k.img().Config(ResourceTopic, "t"))
		}
	}
	k := newCluster(t, 3, "default.replication.factor=4")
	if r := k.create(topicAsk("t", -1, -1)); r[0].ErrorCode != kerr.InvalidReplicationFactor.Code {
		t.Errorf("a given default that cannot be had: %+v", r[0])
	}
	k = newCluster(t, 0)
	k.register(1, 1)
	if r := k.create(topicAsk("t", -1, -1)); r[0].ErrorCode != kerr.InvalidReplicationFactor.Code || !strings.Contains(*r[0].ErrorMessage, "fenced") {
		t.Errorf("all fenced: %+v", r[0])
	}
}

// TestNewPartitionState: leader, ISR and directories of partitions on brokers of
// which some are fenced and one has several directories.
func TestNewPartitionState(t *testing.T) {
	k := newCluster(t, 3)
	req := registrationRequest(k.img(), 4, 4)
	req.LogDirs = append(req.LogDirs, id(150))
	k.do(&RegisterBroker{Req: req})
	k.mustCreate(assigned("t", []int32{4, 2, 1}))
	k.expect("t", 0, "leader 2 epoch 0 isr [2 1]")
	p := k.img().Partition("t", 0)
	if p.Directory(2) != id(202) || p.Directory(1) != id(201) || p.Directory(4) != [16]byte{} {
		t.Errorf("directories %v", p.Directories)
	}
}

func TestAutoCreateTopics(t *testing.T) {
	k := newCluster(t, 1)
	k.mustCreate(topicAsk("have", 2, 1))
	resp := k.do(&AutoCreateTopics{Names: []string{"have", "new", "new", OffsetsTopic, TransactionTopic, "b ad"}}).(*kmsg.CreateTopicsResponse)
	codes := map[string]int16{}
	for _, r := range resp.Topics {
		codes[r.Topic] = r.ErrorCode
		if r.ErrorCode == 0 && r.TopicID != k.img().Topic(r.Topic).ID {
			t.Errorf("id of %s", r.Topic)
		}
	}
	if len(resp.Topics) != 5 || codes["have"] != 0 || codes["new"] != 0 || codes[OffsetsTopic] != 0 || codes[TransactionTopic] != 0 || codes["b ad"] != 17 {
		t.Errorf("answers %v", codes)
	}
	if n := len(k.img().Topic(OffsetsTopic).Partitions); n != 50 {
		t.Errorf("%d partitions of %s", n, OffsetsTopic)
	}
	for name, want := range map[string]map[string]string{
		OffsetsTopic:     {"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600"},
		TransactionTopic: {"cleanup.policy": "compact", "compression.type": "uncompressed", "segment.bytes": "104857600", "unclean.leader.election.enable": "false"},
		"new":            nil,
	} {
		if got := k.img().Config(ResourceTopic, name); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("configs of %s: %v", name, got)
		}
	}
	// A second request changes nothing.
	if k.do(&AutoCreateTopics{Names: []string{"new", OffsetsTopic}}); len(k.records) != 0 {
		t.Errorf("%d records for topics that exist", len(k.records))
	}
	k = newCluster(t, 3, "transaction.state.log.min.isr=1", "offsets.topic.replication.factor=1")
	k.do(&AutoCreateTopics{Names: []string{OffsetsTopic, TransactionTopic}})
	if k.img().Topic(OffsetsTopic).ReplicationFactor() != 1 || k.img().Topic(TransactionTopic).ReplicationFactor() != 3 ||
		k.img().Config(ResourceTopic, TransactionTopic)["min.insync.replicas"] != "1" {
		t.Error("settings of the internal topics are not followed")
	}
}

func TestCreatePartitions(t *testing.T) {
	lists := func(ids ...[]int32) []kmsg.CreatePartitionsRequestTopicAssignment {
		out := []kmsg.CreatePartitionsRequestTopicAssignment{}
		for _, l := range ids {
			a := kmsg.NewCreatePartitionsRequestTopicAssignment()
			a.Replicas = l
			out = append(out, a)
		}
		return out
	}
	for _, c := range []struct {
		name   string
		topic  string
		count  int32
		assign []kmsg.CreatePartitionsRequestTopicAssignment
		want   *kerr.Error
	}{
		{"more", "t", 5, nil, nil},
		{"assigned", "t", 4, lists([]int32{3, 1}, []int32{1, 2}), nil},
		{"unknown", "x", 5, nil, kerr.UnknownTopicOrPartition},
		{"same", "t", 2, nil, kerr.InvalidPartitions},
		{"fewer", "t", 1, nil, kerr.InvalidPartitions},
		{"negative", "t", -1, nil, kerr.InvalidPartitions},
		{"huge", "t", 1<<31 - 1, nil, kerr.PolicyViolation},
		{"at the limit", "t", 10_002, nil, nil},
		{"over the limit", "t", 10_003, nil, kerr.PolicyViolation},
		{"too few lists", "t", 4, lists([]int32{1, 2}), kerr.InvalidReplicaAssignment},
		{"empty lists", "t", 4, lists(), kerr.InvalidReplicaAssignment},
		{"too many lists", "t", 3, lists([]int32{1, 2}, []int32{1, 2}), kerr.InvalidReplicaAssignment},
		{"another factor", "t", 3, lists([]int32{1}), kerr.InvalidReplicaAssignment},
		{"twice the same", "t", 3, lists([]int32{1, 1}), kerr.InvalidReplicaAssignment},
		{"a stranger", "t", 3, lists([]int32{1, 9}), kerr.InvalidReplicaAssignment},
		{"nobody alive", "t", 3, lists([]int32{4, 5}), kerr.InvalidReplicaAssignment},
	} {
		for version := int16(0); version <= 3; version++ {
			for _, validate := range []bool{false, true} {
				k := newCluster(t, 3)
				k.register(4, 4)
				k.register(5, 5)
				k.mustCreate(topicAsk("t", 2, 2))
				req := kmsg.NewPtrCreatePartitionsRequest()
				req.Version, req.ValidateOnly = version, validate
				ask := kmsg.NewCreatePartitionsRequestTopic()
				ask.Topic, ask.Count, ask.Assignment = c.topic, c.count, c.assign
				req.Topics = append(req.Topics, ask)
				got := k.ask(req).(*kmsg.CreatePartitionsResponse).Topics
				want, partitions := int16(0), int(c.count)
				if c.want != nil {
					want = c.want.Code
				}
				if c.want != nil || validate {
					partitions = 2
				}
				if len(got) != 1 || got[0].Topic != c.topic || got[0].ErrorCode != want {
					t.Errorf("%s v%d: %+v", c.name, version, got)
				}
				if n := len(k.img().Topic("t").Partitions); n != partitions {
					t.Errorf("%s v%d: %d partitions", c.name, version, n)
				}
				k.checkInvariants()
			}
		}
	}
	k := newCluster(t, 1)
	k.mustCreate(topicAsk("a", 1, 1), topicAsk("b", 1, 1))
	req := kmsg.NewPtrCreatePartitionsRequest()
	for _, name := range []string{"a", "b", "a"} {
		ask := kmsg.NewCreatePartitionsRequestTopic()
		ask.Topic, ask.Count = name, 3
		req.Topics = append(req.Topics, ask)
	}
	got := k.ask(req).(*kmsg.CreatePartitionsResponse).Topics
	if len(got) != 2 || got[0].ErrorCode != kerr.InvalidRequest.Code || got[1].ErrorCode != 0 {
		t.Errorf("duplicates: %+v", got)
	}
}

func TestDeleteTopics(t *testing.T) {
	type ask struct {
		name string
		id   byte
	}
	byName := func(n string) ask { return ask{name: n} }
	for _, c := range []struct {
		title string
		asks  []ask
		want  []string // name, id, code in order
		left  int
	}{
		{"by name", []ask{byName("a")}, []string{"a a 0"}, 2},
		{"by id", []ask{{id: 'a'}}, []string{"a a 0"}, 2},
		{"unknown name", []ask{byName("x")}, []string{"x - 3"}, 3},
		{"unknown id", []ask{{id: 'x'}}, []string{"<null> x 100"}, 3},
		{"name twice", []ask{byName("a"), byName("b"), byName("a")}, []string{"a - 42", "b b 0"}, 2},
		{"id twice", []ask{{id: 'a'}, {id: 'a'}}, []string{"<null> a 42"}, 3},
		{"name and its id", []ask{byName("a"), {id: 'a'}}, []string{"a - 42", "<null> a 42"}, 3},
		{"neither", []ask{{}, byName("b")}, []string{"<null> - 42", "b b 0"}, 2},
		{"both", []ask{{"a", 'a'}}, []string{"a a 42"}, 3},
		{"all", []ask{byName("a"), {id: 'b'}, byName("c")}, []string{"a a 0", "b b 0", "c c 0"}, 0},
	} {
		t.Run(c.title, func(t *testing.T) {
			k := newCluster(t, 1)
			k.mustCreate(topicAsk("a", 2, 1), topicAsk("b", 1, 1, [2]string{"retention.ms", "1"}), topicAsk("c", 1, 1))
			ids := map[byte][16]byte{0: {}, 'x': id('x')}
			names := map[[16]byte]string{{}: "-", id('x'): "x"}
			for topic := range k.img().Topics() {
				ids[topic.Name[0]], names[topic.ID] = topic.ID, topic.Name
			}
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.Version = 6
			for _, a := range c.asks {
				d := kmsg.NewDeleteTopicsRequestTopic()
				if d.TopicID = ids[a.id]; a.name != "" {
					d.Topic = &a.name
				}
				req.Topics = append(req.Topics, d)
			}
			var got []string
			for _, r := range k.ask(req).(*kmsg.DeleteTopicsResponse).Topics {
				got = append(got, fmt.Sprintf("%s %s %d", deref(r.Topic), names[r.TopicID], r.ErrorCode))
				if (r.ErrorCode == 0) != (r.ErrorMessage == nil) {
					t.Errorf("message %s", deref(r.ErrorMessage))
				}
			}
			if !slices.Equal(got, c.want) || k.img().TopicCount() != c.left {
				t.Errorf("got %q, want %q; %d topics left", got, c.want, k.img().TopicCount())
			}
			k.checkInvariants()
		})
	}
	for version := int16(1); version <= 6; version++ {
		k := newCluster(t, 1, "delete.topic.enable=false")
		k.mustCreate(topicAsk("a", 1, 1))
		req := deleteRequest(version, "a")
		want := kerr.TopicDeletionDisabled.Code
		if version < 3 {
			want = kerr.InvalidRequest.Code
		}
		if got := k.ask(req).(*kmsg.DeleteTopicsResponse).Topics; len(got) != 1 || got[0].ErrorCode != want {
			t.Errorf("deletion disabled, v%d: %+v", version, got)
		}
		k = newCluster(t, 1)
		k.mustCreate(topicAsk("a", 1, 1))
		if got := k.ask(req).(*kmsg.DeleteTopicsResponse).Topics; len(got) != 1 || got[0].ErrorCode != 0 || k.img().TopicCount() != 0 {
			t.Errorf("v%d: %+v", version, got)
		}
	}
}

func deleteRequest(version int16, names ...string) *kmsg.DeleteTopicsRequest {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version = version
	for _, name := range names {
		if version < 6 {
			req.TopicNames = append(req.TopicNames, name)
			continue
		}
		d := kmsg.NewDeleteTopicsRequestTopic()
		d.Topic = &name
		req.Topics = append(req.Topics, d)
	}
	return req
}

// TestRecreatedTopicIsAnother: a name used again gets a new id and none of the old configs.
func TestRecreatedTopicIsAnother(t *testing.T) {
	k := newCluster(t, 1)
	k.mustCreate(topicAsk("a.b", 1, 1, [2]string{"retention.ms", "1"}))
	old := k.img().Topic("a.b").ID
	k.ask(deleteRequest(6, "a.b"))
	k.mustCreate(topicAsk("a_b", 1, 1)) // collides with nothing any more
	k.ask(deleteRequest(5, "a_b"))
	k.mustCreate(topicAsk("a.b", 1, 1))
	if k.img().Topic("a.b").ID == old || k.img().Config(ResourceTopic, "a.b") != nil {
		t.Error("the new topic inherits from the old")
	}
	if id := k.img().Topic("a.b").ID; id[6]>>4 != 4 || id[8]>>6 != 2 {
		t.Errorf("topic id %x is no version 4 id", id)
	}
}

// TestCreateTopicsAgain: a creation whose answer was lost, and that is asked again, has
// made its topics; another one is told that they exist. An id never comes again.
func TestCreateTopicsAgain(t *testing.T) {
	k := newCluster(t, 3)
	create := func(creation string, topics ...kmsg.CreateTopicsRequestTopic) []kmsg.CreateTopicsResponseTopic {
		req := createRequest(topics...)
		req.Version = 7
		return k.do(&Request{Req: req, Creation: []byte(creation)}).(*kmsg.CreateTopicsResponse).Topics
	}
	first := create("one", topicAsk("a", 3, 2, [2]string{"retention.ms", "5"}))[0]
	again := create("one", topicAsk("a", 3, 2, [2]string{"retention.ms", "5"}), topicAsk("b", 1, 1))
	if !reflect.DeepEqual(again[0], first) {
		t.Errorf("first %+v\nagain %+v", first, again[0])
	}
	if again[1].ErrorCode != 0 {
		t.Errorf("beside it: %+v", again[1])
	}
	for _, other := range []string{"two", ""} {
		if got := create(other, topicAsk("a", 3, 2))[0]; got.ErrorCode != kerr.TopicAlreadyExists.Code {
			t.Errorf("creation %q: %+v", other, got)
		}
	}
	gone := kmsg.NewPtrDeleteTopicsRequest()
	gone.Version = 1
	gone.TopicNames = []string{"a"}
	if got := k.ask(gone).(*kmsg.DeleteTopicsResponse).Topics[0]; got.ErrorCode != 0 {
		t.Fatalf("%+v", got)
	}
	if late := create("one", topicAsk("a", 3, 2))[0]; late.ErrorCode != 0 || late.TopicID == first.TopicID {
		t.Errorf("after its deletion: %+v", late)
	}
	k.checkInvariants()
}
