//go:build conformance

package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/conformance/harness"
)

// The topic that is moved about: three partitions of two replicas each.
const moved = "moved"

// many is three brokers, and the tools that need more than one.
type many struct {
	*bench
	kind    harness.Kind
	brokers []*harness.Broker
	cl      *kgo.Client
	adm     *kadm.Client
}

// TestClusterTools tells one story with the tools that move replicas, leaders and
// votes between three nodes; the parts build on each other.
func TestClusterTools(t *testing.T) {
	kind, err := harness.Chosen()
	if err != nil {
		t.Fatal(err)
	}
	jars, err := harness.KafkaToolsJars()
	harness.Need(t, "Apache Kafka's tools", err)
	version := harness.KafkaVersion(jars)
	// Nobody but the tools chooses leaders.
	c := harness.StartClusterFor(t, kind, 3, harness.Options{Set: map[string]string{"auto.leader.rebalance.enable": "false"}})
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.MetadataMinAge(50*time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	m := &many{bench: &bench{t: t, jars: jars, broker: c.Brokers[0]}, kind: kind, brokers: c.Brokers, cl: cl, adm: kadm.NewClient(cl)}
	m.prepare(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"kafka-metadata-quorum describe", m.quorum},
		{"kafka-reassign-partitions", m.reassign},
		{"kafka-leader-election", m.elect},
		{"kafka-metadata-quorum remove-controller, add-controller", m.voters},
	} {
		if !t.Run(part.name, func(t *testing.T) {
			harness.Report(t, "Apache Kafka's tools", version, part.name, kind)
			part.run(t)
		}) {
			return
		}
	}
}

// prepare creates the topic, and fills it with more than a slow move copies in the time
// of a few tools.
func (m *many) prepare(t *testing.T) {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = moved, -1, -1
	for p, replicas := range [][]int32{{1, 2}, {2, 3}, {3, 1}} {
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: int32(p), Replicas: replicas})
	}
	one := "1"
	topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: "min.insync.replicas", Value: &one})
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(t.Context(), m.cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.produce(t, 64, 0, 1, 2)
}

// produce sends records of 32 KiB to partitions, and waits until they are acknowledged.
func (m *many) produce(t *testing.T, records int, partitions ...int32) {
	t.Helper()
	var all []*kgo.Record
	for _, p := range partitions {
		for i := range records {
			// Repeated enough to differ, and not to be compressed to nothing.
			value := make([]byte, 32<<10)
			for at, x := 0, uint32(i)*2654435761+uint32(p)+1; at < len(value); at++ {
				x ^= x << 13
				x ^= x >> 17
				x ^= x << 5
				value[at] = byte(x)
			}
			all = append(all, &kgo.Record{Topic: moved, Partition: p, Value: value})
		}
	}
	if err := m.cl.ProduceSync(t.Context(), all...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// await waits for a condition that the cluster brings about.
func await(t *testing.T, what string, holds func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for lacks := error(nil); ; {
		err := holds(ctx)
		switch {
		case err == nil:
			return
		case ctx.Err() != nil:
			t.Fatalf("waited in vain for %s: %v", what, lacks)
		}
		lacks = err
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// partition is what the cluster says of a partition of the topic.
func (m *many) partition(ctx context.Context, p int32) (kadm.PartitionDetail, error) {
	topics, err := m.adm.ListTopics(ctx, moved)
	if err != nil {
		return kadm.PartitionDetail{}, err
	}
	return topics[moved].Partitions[p], errors.Join(topics[moved].Err, topics[moved].Partitions[p].Err)
}

// awaitPartition waits until a partition has replicas, all of them in sync, and a leader.
func (m *many) awaitPartition(t *testing.T, p int32, leader int32, replicas ...int32) {
	t.Helper()
	await(t, fmt.Sprintf("partition %d to be led by %d of %v", p, leader, replicas), func(ctx context.Context) error {
		d, err := m.partition(ctx, p)
		if err == nil && (d.Leader != leader || !slices.Equal(d.Replicas, replicas) || len(d.ISR) != len(replicas)) {
			err = fmt.Errorf("led by %d of %v, in sync %v", d.Leader, d.Replicas, d.ISR)
		}
		return err
	})
}

// limits are the settings that limit the rate of moves, with their values.
func (m *many) limits(t *testing.T) []string {
	t.Helper()
	topics, err := m.adm.DescribeTopicConfigs(t.Context(), moved)
	if err != nil {
		t.Fatal(err)
	}
	brokers, err := m.adm.DescribeBrokerConfigs(t.Context(), 1, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, rc := range append(topics, brokers...) {
		if rc.Err != nil {
			t.Fatal(rc.Err)
		}
		for _, c := range rc.Configs {
			dynamic := c.Source == kmsg.ConfigSourceDynamicTopicConfig || c.Source == kmsg.ConfigSourceDynamicBrokerConfig
			if dynamic && strings.Contains(c.Key, ".replication.throttled.") {
				all = append(all, fmt.Sprintf("%s %s=%s", rc.Name, c.Key, c.MaybeValue()))
			}
		}
	}
	slices.Sort(all)
	return all
}

// file writes a file for a tool to read.
func file(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// voter matches what the tool shows of one.
const voter = `\{"id": %d, "directoryId": "?[\w-]+"?, "endpoints": \["CONTROLLER://127\.0\.0\.1:\d+"\]\}`

func (m *many) quorum(t *testing.T) {
	// Kafka's cluster of listed voters knows neither directories nor endpoints of them.
	shown := `CurrentVoters:\s+\[.*"id": 1,.*"id": 2,.*"id": 3,.*\]`
	if m.kind == harness.Leat {
		shown = `CurrentVoters:\s+\[` + fmt.Sprintf(voter+", "+voter+", "+voter, 1, 2, 3) + `\]`
	}
	status := []string{`ClusterId:\s+[\w-]{22}`, `LeaderId:\s+[123]\n`, `LeaderEpoch:\s+[1-9]\d*\n`, `HighWatermark:\s+[1-9]\d*\n`,
		`MaxFollowerLag:\s+\d+\n`, `MaxFollowerLagTimeMs:\s+\d+\n`, shown, `CurrentObservers:\s+\[\]`}
	m.ok(t, "", "kafka-metadata-quorum", words("--bootstrap-server {} describe --status"), status...)
	m.ok(t, "", "kafka-metadata-quorum", words("--bootstrap-controller "+m.brokers[2].Controller()+" describe --status"), status...)
	out := m.ok(t, "", "kafka-metadata-quorum", words("--bootstrap-server {} describe --replication"),
		`NodeId\s+DirectoryId\s+LogEndOffset\s+Lag\s+LastFetchTimestamp\s+LastCaughtUpTimestamp\s+Status`)
	var nodes []string
	leaders := 0
	for _, row := range regexp.MustCompile(`(?m)^([123])\s+[\w-]{22}\s+[1-9]\d*\s+\d+\s+[1-9]\d{12}\s+[1-9]\d{12}\s+(Leader|Follower)`).FindAllStringSubmatch(out, -1) {
		nodes = append(nodes, row[1])
		if row[2] == "Leader" {
			leaders++
		}
	}
	if slices.Sort(nodes); !slices.Equal(nodes, []string{"1", "2", "3"}) || leaders != 1 {
		t.Errorf("of three voters, one of which leads, are shown %v, %d of which lead:\n%s", nodes, leaders, out)
	}
}

func (m *many) reassign(t *testing.T) {
	const tool, server = "kafka-reassign-partitions", "--bootstrap-server {} "
	topics := file(t, "topics.json", `{"version":1,"topics":[{"topic":"`+moved+`"}]}`)
	out := m.ok(t, "", tool, words(server+"--generate --broker-list 1,2,3 --topics-to-move-json-file "+topics),
		`Current partition replica assignment\n\{.*"partition":0,"replicas":\[1,2\]`)
	_, proposal, _ := strings.Cut(out, "Proposed partition reassignment configuration\n")
	var proposed struct {
		Partitions []struct {
			Topic    string
			Replicas []int32
		}
	}
	if err := json.Unmarshal([]byte(strings.TrimSpace(proposal)), &proposed); err != nil || len(proposed.Partitions) != 3 {
		t.Fatalf("the proposal is %+v: %v:\n%s", proposed, err, out)
	}
	for _, p := range proposed.Partitions {
		if p.Topic != moved || len(p.Replicas) != 2 {
			t.Errorf("proposed: %+v", p)
		}
	}

	// Too slow to end: it is shown, and taken back.
	plan := file(t, "plan.json", `{"version":1,"partitions":[{"topic":"`+moved+`","partition":0,"replicas":[3,2]},{"topic":"`+moved+`","partition":1,"replicas":[3,2]}]}`)
	m.ok(t, "", tool, words(server+"--execute --throttle 1000 --reassignment-json-file "+plan),
		`The inter-broker throttle limit was set to 1000 B/s`, `Successfully started partition reassignments for moved-0,moved-1`)
	want := []string{
		"1 follower.replication.throttled.rate=1000", "1 leader.replication.throttled.rate=1000",
		"2 follower.replication.throttled.rate=1000", "2 leader.replication.throttled.rate=1000",
		"3 follower.replication.throttled.rate=1000", "3 leader.replication.throttled.rate=1000",
		"moved follower.replication.throttled.replicas=0:3", "moved leader.replication.throttled.replicas=0:1,0:2,1:2,1:3",
	}
	if got := m.limits(t); !slices.Equal(got, want) {
		t.Errorf("the limits are %q, not %q", got, want)
	}
	// The order of a partition's replicas alone is changed at once.
	m.awaitPartition(t, 1, 2, 3, 2)
	m.ok(t, "", tool, words(server+"--list"), `moved-0: replicas: 3,2,1\. adding: 3\. removing: 1\.`)
	m.ok(t, "", tool, words(server+"--verify --preserve-throttles --reassignment-json-file "+plan),
		`Reassignment of partition moved-0 is still in progress`, `Reassignment of partition moved-1 is completed`)
	m.ok(t, "", tool, words(server+"--cancel --reassignment-json-file "+plan), `Successfully cancelled partition reassignments? for: moved-0`)
	m.awaitPartition(t, 0, 1, 2, 1) // the order is that of what was asked for
	if got := m.limits(t); len(got) > 0 {
		t.Errorf("after the move is taken back, these limits stay: %q", got)
	}
	m.ok(t, "", tool, words(server+"--list"), `No partition reassignments found`)

	// Fast enough.
	m.ok(t, "", tool, words(server+"--execute --throttle 100000000 --reassignment-json-file "+plan), `Successfully started partition reassignments? for moved-0`)
	m.awaitPartition(t, 0, 3, 3, 2)
	m.ok(t, "", tool, words(server+"--verify --reassignment-json-file "+plan), `Reassignment of partition moved-0 is completed`,
		`Clearing broker-level throttles on brokers 1,2,3`, `Clearing topic-level throttles on topic moved`)
	if got := m.limits(t); len(got) > 0 {
		t.Errorf("after the move has ended, these limits stay: %q", got)
	}
	m.fails(t, tool, words(server+"--execute --reassignment-json-file "+file(t, "bad.json", `{"version":1,"partitions":[{"topic":"`+moved+`","partition":0,"replicas":[3,9]}]}`)),
		`Unknown broker id 9`)
}

func (m *many) elect(t *testing.T) {
	const tool, server = "kafka-leader-election", "--bootstrap-server {} "
	m.awaitPartition(t, 1, 2, 3, 2) // not the first replica
	m.ok(t, "", tool, words(server+"--election-type preferred --all-topic-partitions"), `Successfully completed leader election \(PREFERRED\) for partitions moved-1\n`)
	m.awaitPartition(t, 1, 3, 3, 2)
	m.ok(t, "", tool, words(server+"--election-type preferred --topic moved --partition 1"), `Valid replica already elected for partitions moved-1`)
	m.fails(t, tool, words(server+"--election-type preferred --topic moved --partition 77"), `UnknownTopicOrPartition`)

	// Partition 1 loses its last in-sync replica, and one that lacks records is all that is up.
	two, three := m.brokers[1], m.brokers[2]
	if err := two.Kill(); err != nil {
		t.Fatal(err)
	}
	await(t, "node 2 to be out of sync", func(ctx context.Context) error {
		d, err := m.partition(ctx, 1)
		if err == nil && !slices.Equal(d.ISR, []int32{3}) {
			err = fmt.Errorf("in sync %v", d.ISR)
		}
		return err
	})
	m.produce(t, 1, 1)
	if err := three.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := two.Launch(); err != nil {
		t.Fatal(err)
	}
	await(t, "node 2 to be up, and partition 1 without a leader", func(ctx context.Context) error {
		meta, err := m.adm.Metadata(ctx, moved)
		if err == nil && (!slices.Contains(meta.Brokers.NodeIDs(), 2) || slices.Contains(meta.Brokers.NodeIDs(), 3) || meta.Topics[moved].Partitions[1].Leader != -1) {
			err = fmt.Errorf("brokers %v, led by %d", meta.Brokers.NodeIDs(), meta.Topics[moved].Partitions[1].Leader)
		}
		return err
	})
	m.fails(t, tool, words(server+"--election-type preferred --topic moved --partition 1"), `PreferredLeaderNotAvailable`)
	m.ok(t, "", tool, words(server+"--election-type unclean --topic moved --partition 1"), `Successfully completed leader election \(UNCLEAN\) for partitions moved-1\n`)
	await(t, "partition 1 to be led by node 2", func(ctx context.Context) error {
		d, err := m.partition(ctx, 1)
		if err == nil && d.Leader != 2 {
			err = fmt.Errorf("led by %d", d.Leader)
		}
		return err
	})
	if err := three.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.awaitPartition(t, 1, 2, 3, 2)
}

// voters takes a vote away and gives it back.
func (m *many) voters(t *testing.T) {
	if m.kind == harness.Kafka {
		t.Skip("the voters of Apache Kafka's cluster are configured beforehand, and do not change")
	}
	const tool, server = "kafka-metadata-quorum", "--bootstrap-server {} "
	out := m.ok(t, "", tool, words(server+"describe --replication"))
	row := regexp.MustCompile(`(?m)^3\s+([\w-]{22})\s`).FindStringSubmatch(out)
	if row == nil {
		t.Fatalf("no node 3 in\n%s", out)
	}
	directory := row[1]
	m.ok(t, "", tool, words(server+"remove-controller --controller-id 3 --controller-directory-id="+directory), `Removed +KRaft controller 3 with directory id `+directory)
	m.ok(t, "", tool, words(server+"describe --status"), `CurrentVoters:\s+\[`+fmt.Sprintf(voter+", "+voter, 1, 2)+`\]`, `CurrentObservers:\s+\[.*"id": 3,.*\]`)
	m.fails(t, tool, words(server+"remove-controller --controller-id 3 --controller-directory-id="+directory), `VoterNotFound`)
	three := m.brokers[2]
	config := file(t, "controller.properties", strings.Join([]string{
		"process.roles=broker,controller", "node.id=3", "controller.listener.names=CONTROLLER",
		"listeners=PLAINTEXT://" + three.Addr + ",CONTROLLER://" + three.Controller(),
		"log.dirs=" + three.Data, "controller.quorum.bootstrap.servers=" + three.Controller(), "",
	}, "\n"))
	m.ok(t, "", tool, words("--command-config "+config+" "+server+"add-controller"), `Added controller 3 with directory id `+directory)
	m.ok(t, "", tool, words(server+"describe --status"), `CurrentVoters:\s+\[`+fmt.Sprintf(voter+", "+voter+", "+voter, 1, 2, 3)+`\]`)
}
