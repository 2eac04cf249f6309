//go:build conformance

package tools

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/conformance/harness"
)

// toolLimit bounds one tool's run.
const toolLimit = 90 * time.Second

// classes are what Kafka's scripts of these names start.
var classes = map[string]string{
	"kafka-topics":                    "org.apache.kafka.tools.TopicCommand",
	"kafka-configs":                   "kafka.admin.ConfigCommand",
	"kafka-console-producer":          "org.apache.kafka.tools.ConsoleProducer",
	"kafka-console-consumer":          "org.apache.kafka.tools.consumer.ConsoleConsumer",
	"kafka-consumer-groups":           "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"kafka-groups":                    "org.apache.kafka.tools.GroupsCommand",
	"kafka-get-offsets":               "org.apache.kafka.tools.GetOffsetShell",
	"kafka-delete-records":            "org.apache.kafka.tools.DeleteRecordsCommand",
	"kafka-log-dirs":                  "org.apache.kafka.tools.LogDirsCommand",
	"kafka-dump-log":                  "org.apache.kafka.tools.DumpLogSegments",
	"kafka-verifiable-producer":       "org.apache.kafka.tools.VerifiableProducer",
	"kafka-verifiable-consumer":       "org.apache.kafka.tools.VerifiableConsumer",
	"kafka-producer-perf-test":        "org.apache.kafka.tools.ProducerPerformance",
	"kafka-consumer-perf-test":        "org.apache.kafka.tools.ConsumerPerformance",
	"kafka-broker-api-versions":       "org.apache.kafka.tools.BrokerApiVersionsCommand",
	"kafka-cluster":                   "org.apache.kafka.tools.ClusterTool",
	"kafka-e2e-latency":               "org.apache.kafka.tools.EndToEndLatency",
	"kafka-transactions":              "org.apache.kafka.tools.TransactionsCommand",
	"kafka-features":                  "org.apache.kafka.tools.FeatureCommand",
	"kafka-leader-election":           "org.apache.kafka.tools.LeaderElectionCommand",
	"kafka-reassign-partitions":       "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
	"kafka-metadata-quorum":           "org.apache.kafka.tools.MetadataQuorumCommand",
	"kafka-replica-verification-tool": "org.apache.kafka.tools.ReplicaVerificationTool",
}

// bench is the tools and the broker they run against.
type bench struct {
	t      *testing.T
	jars   string
	broker *harness.Broker
}

// run runs a tool with a standard input and returns what it wrote. {} in an
// argument stands for the broker's address.
func (b *bench) run(t *testing.T, stdin, tool string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolLimit)
	defer cancel()
	argv := []string{"-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(b.jars, "*"), classes[tool]}
	for _, a := range args {
		argv = append(argv, strings.ReplaceAll(a, "{}", b.broker.Addr))
	}
	cmd := exec.CommandContext(ctx, "java", argv...)
	cmd.Dir = t.TempDir()
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// ok runs a tool that must succeed, and whose output must match each pattern.
func (b *bench) ok(t *testing.T, stdin, tool string, args []string, patterns ...string) string {
	t.Helper()
	out, err := b.run(t, stdin, tool, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, out)
	}
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(out) {
			t.Fatalf("%s %s: no match for %q in\n%s", tool, strings.Join(args, " "), p, out)
		}
	}
	return out
}

// fails runs a tool that must say a certain error.
func (b *bench) fails(t *testing.T, tool string, args []string, pattern string) {
	t.Helper()
	out, _ := b.run(t, "", tool, args...)
	if !regexp.MustCompile(pattern).MatchString(out) {
		t.Fatalf("%s %s: no match for %q in\n%s", tool, strings.Join(args, " "), pattern, out)
	}
}

// words are a tool's arguments, split at spaces.
func words(line string) []string { return strings.Fields(line) }

// TestTools tells one story with many tools; the parts build on each other.
func TestTools(t *testing.T) {
	kind, err := harness.Chosen()
	if err != nil {
		t.Fatal(err)
	}
	jars, err := harness.KafkaToolsJars()
	harness.Need(t, "Apache Kafka's tools", err)
	version := harness.KafkaVersion(jars)
	b := &bench{t: t, jars: jars, broker: harness.StartFor(t, kind, harness.Options{})}
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"kafka-topics", b.topics},
		{"kafka-configs", b.configs},
		{"kafka-console-producer and -consumer", b.console},
		{"kafka-consumer-groups", b.groups},
		{"kafka-get-offsets, -delete-records, -log-dirs", b.logs},
		{"kafka-producer-perf-test and -consumer-perf-test", b.performance},
		{"kafka-verifiable-producer and -consumer", b.verifiable},
		{"kafka-broker-api-versions, -cluster, -groups, -features", b.cluster},
		{"kafka-dump-log", b.dump},
	} {
		if !t.Run(part.name, func(t *testing.T) {
			harness.Report(t, "Apache Kafka's tools", version, part.name, kind)
			part.run(t)
		}) {
			return
		}
	}
}

func (b *bench) topics(t *testing.T) {
	const server = "--bootstrap-server {} "
	b.ok(t, "", "kafka-topics", words(server+"--create --topic first --partitions 3 --replication-factor 1 --config segment.bytes=1048576 --config index.interval.bytes=512"), `Created topic first\.`)
	b.ok(t, "", "kafka-topics", words(server+"--create --topic defaults"), `Created topic defaults\.`)
	b.ok(t, "", "kafka-topics", words(server+"--create --topic first --if-not-exists"))
	b.fails(t, "kafka-topics", words(server+"--create --topic first"), `Topic 'first' already exists`)
	b.ok(t, "", "kafka-topics", words(server+"--list"), `(?m)^defaults$`, `(?m)^first$`)
	b.ok(t, "", "kafka-topics", words(server+"--describe --topic first"),
		`Topic: first\tTopicId: [\w-]{22}\tPartitionCount: 3\tReplicationFactor: 1\tConfigs: .*segment\.bytes=1048576`,
		`Topic: first\tPartition: 2\tLeader: 1\tReplicas: 1\tIsr: 1`)
	b.ok(t, "", "kafka-topics", words(server+"--alter --topic first --partitions 4"))
	b.ok(t, "", "kafka-topics", words(server+"--describe --topic first"), `PartitionCount: 4`)
	b.fails(t, "kafka-topics", words(server+"--alter --topic first --partitions 2"), `(?i)partition`)
	b.fails(t, "kafka-topics", words(server+"--describe --topic nowhere"), `Topic 'nowhere' does not exist`)
	b.ok(t, "", "kafka-topics", words(server+"--delete --topic defaults"))
	if out := b.ok(t, "", "kafka-topics", words(server+"--list")); strings.Contains(out, "defaults") {
		t.Errorf("the deleted topic is listed:\n%s", out)
	}
	if out := b.ok(t, "", "kafka-topics", words(server+"--describe --under-replicated-partitions")); strings.Contains(out, "Topic:") {
		t.Errorf("under-replicated partitions on a single node:\n%s", out)
	}
}

func (b *bench) configs(t *testing.T) {
	const topic = "--bootstrap-server {} --entity-type topics --entity-name first "
	b.ok(t, "", "kafka-configs", words(topic+"--alter --add-config retention.ms=123456789,cleanup.policy=[compact,delete]"), `Completed updating config for topic first`)
	b.ok(t, "", "kafka-configs", words(topic+"--describe"), `retention\.ms=123456789`, `cleanup\.policy=compact,delete`, `DYNAMIC_TOPIC_CONFIG`)
	b.ok(t, "", "kafka-configs", words(topic+"--alter --delete-config cleanup.policy"))
	b.ok(t, "", "kafka-configs", words(topic+"--describe --all"), `cleanup\.policy=delete`, `retention\.ms=123456789`, `max\.message\.bytes=1048588`)
	b.fails(t, "kafka-configs", words(topic+"--alter --add-config no.such=1"), `(?i)InvalidConfig|unknown topic config`)
	b.ok(t, "", "kafka-configs", words("--bootstrap-server {} --entity-type brokers --entity-name 1 --describe --all"), `log\.segment\.bytes=1073741824`)
	b.ok(t, "", "kafka-configs", words("--bootstrap-server {} --entity-type brokers --entity-default --alter --add-config log.cleaner.threads=2"))
	b.ok(t, "", "kafka-configs", words("--bootstrap-server {} --entity-type brokers --entity-default --describe"), `log\.cleaner\.threads=2`)
	b.ok(t, "", "kafka-configs", words("--bootstrap-server {} --entity-type brokers --entity-default --alter --delete-config log.cleaner.threads"))
}

func (b *bench) console(t *testing.T) {
	b.ok(t, "one\ntwo\nthree\n", "kafka-console-producer", words("--bootstrap-server {} --topic console"))
	out := b.ok(t, "", "kafka-console-consumer", words("--bootstrap-server {} --topic console --from-beginning --max-messages 3"))
	if !strings.Contains(out, "one\ntwo\nthree\n") {
		t.Errorf("read back:\n%s", out)
	}
	b.ok(t, "k1:v1\nk2:v2\n", "kafka-console-producer", words("--bootstrap-server {} --topic keyed --reader-property parse.key=true --reader-property key.separator=: --compression-codec zstd --request-required-acks all"))
	b.ok(t, "", "kafka-console-consumer", words("--bootstrap-server {} --topic keyed --from-beginning --max-messages 2 --formatter-property print.key=true --formatter-property print.offset=true --formatter-property print.partition=true"),
		`Partition:0\tOffset:0\tk1\tv1\nPartition:0\tOffset:1\tk2\tv2`)
	b.ok(t, "", "kafka-console-consumer", words("--bootstrap-server {} --topic console --partition 0 --offset 1 --max-messages 1"), `(?m)^two$`)
	b.ok(t, "", "kafka-console-consumer", words("--bootstrap-server {} --topic console --group shell --from-beginning --max-messages 2"), `(?m)^one\ntwo$`)
	b.ok(t, "", "kafka-console-consumer", words("--bootstrap-server {} --topic console --group shell --max-messages 1"), `(?m)^three$`)
}

func (b *bench) groups(t *testing.T) {
	const server = "--bootstrap-server {} "
	b.ok(t, "", "kafka-consumer-groups", words(server+"--list"), `(?m)^shell$`)
	b.ok(t, "", "kafka-consumer-groups", words(server+"--list --state"), `shell\s+.*Empty`)
	b.ok(t, "", "kafka-consumer-groups", words(server+"--describe --group shell"), `shell\s+console\s+0\s+3\s+3\s+0\s`)
	b.ok(t, "", "kafka-consumer-groups", words(server+"--describe --group shell --state"), `shell\s.*Empty`)
	b.ok(t, "", "kafka-consumer-groups", words(server+"--group shell --topic console --reset-offsets --to-earliest --dry-run"), `console\s+0\s+0`)
	b.ok(t, "", "kafka-consumer-groups", words(server+"--describe --group shell"), `console\s+0\s+3\s+3\s+0\s`)
	b.ok(t, "", "kafka-consumer-groups", words(server+"--group shell --topic console --reset-offsets --shift-by -2 --execute"), `console\s+0\s+1`)
	b.ok(t, "", "kafka-consumer-groups", words(server+"--describe --group shell"), `console\s+0\s+1\s+3\s+2\s`)
	b.ok(t, "", "kafka-consumer-groups", words(server+"--group shell --topic console --reset-offsets --to-datetime 2000-01-01T00:00:00.000 --execute"), `console\s+0\s+0`)
	b.ok(t, "", "kafka-consumer-groups", words(server+"--group shell --topic console --delete-offsets"), `console\s+0\s+Successful`)
	b.ok(t, "", "kafka-consumer-groups", words(server+"--group shell --topic console:0 --reset-offsets --to-latest --execute"), `console\s+0\s+3`)
	b.ok(t, "", "kafka-consumer-groups", words(server+"--delete --group shell"), `Deletion of requested consumer groups \('shell'\) was successful`)
	b.fails(t, "kafka-consumer-groups", words(server+"--describe --group shell"), `(?i)not found|does not exist`)
}

func (b *bench) logs(t *testing.T) {
	const server = "--bootstrap-server {} "
	b.ok(t, "", "kafka-get-offsets", words(server+"--topic console"), `console:0:3`)
	b.ok(t, "", "kafka-get-offsets", words(server+"--topic console --time earliest"), `console:0:0`)
	b.ok(t, "", "kafka-get-offsets", words(server+"--topic console --time max-timestamp"), `console:0:[012]`)
	b.ok(t, "", "kafka-get-offsets", words(server+"--topic console --time 0"), `console:0:0`)
	file := filepath.Join(t.TempDir(), "offsets.json")
	if err := os.WriteFile(file, []byte(`{"partitions":[{"topic":"console","partition":0,"offset":2}],"version":1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	b.ok(t, "", "kafka-delete-records", append(words(server+"--offset-json-file"), file), `partition: console-0\s+low_watermark: 2`)
	b.ok(t, "", "kafka-get-offsets", words(server+"--topic console --time earliest"), `console:0:2`)
	b.ok(t, "", "kafka-log-dirs", words(server+"--describe --topic-list console"), `"partition":"console-0","size":[1-9]`)
}

func (b *bench) performance(t *testing.T) {
	// Data for the dump below: several segments of each codec, from an idempotent producer.
	for _, codec := range []string{"none", "lz4", "gzip"} {
		b.ok(t, "", "kafka-producer-perf-test", words("--bootstrap-server {} --topic first --num-records 6000 --record-size 1000 --throughput -1 --command-property acks=all compression.type="+codec),
			`6000 records sent`)
	}
	out := b.ok(t, "", "kafka-consumer-perf-test", words("--bootstrap-server {} --topic first --num-records 18000 --timeout 60000"))
	last := strings.Split(strings.TrimSpace(out), "\n")
	fields := strings.Split(last[len(last)-1], ",")
	if len(fields) < 5 || strings.TrimSpace(fields[4]) != "18000" {
		t.Errorf("not 18000 records:\n%s", out)
	}
}

func (b *bench) verifiable(t *testing.T) {
	out := b.ok(t, "", "kafka-verifiable-producer", words("--bootstrap-server {} --topic verified --max-messages 2000 --throughput -1 --acks -1"))
	if n := strings.Count(out, `"producer_send_success"`); n != 2000 {
		t.Errorf("%d of 2000 sends acknowledged", n)
	}
	out = b.ok(t, "", "kafka-verifiable-consumer", words("--bootstrap-server {} --topic verified --group-id verified --reset-policy earliest --max-messages 2000 --enable-autocommit"))
	total := 0
	for _, m := range regexp.MustCompile(`"name":"records_consumed"[^\n]*`).FindAllString(out, -1) {
		c := regexp.MustCompile(`"count":(\d+)`).FindStringSubmatch(m)
		if c == nil {
			t.Fatalf("no count in %s", m)
		}
		n, err := strconv.Atoi(c[1])
		if err != nil {
			t.Fatal(err)
		}
		total = max(total, n)
	}
	if !strings.Contains(out, `"partitions_assigned"`) || total == 0 {
		t.Errorf("consumed:\n%s", out)
	}
	b.ok(t, "", "kafka-e2e-latency", words("--bootstrap-server {} --topic latency --num-records 50 --producer-acks all --record-size 100"), `Avg latency`)
}

func (b *bench) cluster(t *testing.T) {
	b.ok(t, "", "kafka-broker-api-versions", words("--bootstrap-server {}"), `Produce\(0\): 0 to 13`, `Fetch\(1\): 4 to 18`, `ApiVersions\(18\): 0 to 5`)
	b.ok(t, "", "kafka-cluster", words("cluster-id --bootstrap-server {}"), `Cluster ID: \S{22}`)
	b.ok(t, "", "kafka-groups", words("--bootstrap-server {} --list"), `verified\s+.*(?i)classic`)
	b.ok(t, "", "kafka-features", words("--bootstrap-server {} describe"))
	b.ok(t, "", "kafka-transactions", words("--bootstrap-server {} describe-producers --topic first --partition 0"), `ProducerId`)
}

// dump stops the broker and lets Kafka's dump tool read every file it left.
func (b *bench) dump(t *testing.T) {
	if err := b.broker.Stop(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	records := 0
	for p := range 4 {
		dir := filepath.Join(b.broker.Data, "first-"+strconv.Itoa(p))
		logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		if len(logs) == 0 {
			t.Fatalf("no log in %s", dir)
		}
		out := b.dumped(t, strings.Join(logs, ","), "--print-data-log", "--deep-iteration")
		records += strings.Count(out, "| offset: ")
		var rest []string
		for _, suffix := range []string{"*.index", "*.timeindex", "*.snapshot", "*.txnindex"} {
			found, err := filepath.Glob(filepath.Join(dir, suffix))
			if err != nil {
				t.Fatal(err)
			}
			rest = append(rest, found...)
		}
		// The dump tool looks for an index's log beside it.
		b.dumped(t, strings.Join(rest, ","))
		b.dumped(t, strings.Join(rest, ","), "--index-sanity-check")
	}
	if records != 18000 {
		t.Errorf("the dump shows %d of 18000 records", records)
	}

	snapshots, err := filepath.Glob(filepath.Join(b.broker.Data, "first-*", "*.snapshot"))
	if err != nil {
		t.Fatal(err)
	}
	if len(snapshots) == 0 {
		t.Error("no producer snapshot")
	} else if out := b.dumped(t, strings.Join(snapshots, ",")); !strings.Contains(out, "producerId: ") {
		t.Errorf("no producer in the snapshots:\n%s", out)
	}

	offsets, err := filepath.Glob(filepath.Join(b.broker.Data, "__consumer_offsets-*", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	out := b.dumped(t, strings.Join(offsets, ","), "--offsets-decoder", "--print-data-log")
	for _, want := range []string{`"group":"shell"`, `"topic":"console"`, `"group":"verified"`, `"protocolType":"consumer"`} {
		if !strings.Contains(out, want) {
			t.Errorf("the decoded offsets do not hold %s", want)
		}
	}
}

// wrong is what the dump tool writes of files that it does not like.
var wrong = regexp.MustCompile(`(?i)isvalid: false|mismatch|corrupt|exception|out of order|non-consecutive|is followed by|found .* instead|sanity check failed|could not`)

// firstOffset is what the dump tool says of the first record of every segment but
// the first.
var firstOffset = regexp.MustCompile(`Non-consecutive offsets in \S+\n  -1 is followed by \d+\n`)

// dumped runs the dump tool over files, which it must like.
func (b *bench) dumped(t *testing.T, files string, args ...string) string {
	t.Helper()
	out := b.ok(t, "", "kafka-dump-log", append([]string{"--files", files}, args...))
	out = firstOffset.ReplaceAllString(out, "")
	if bad := wrong.FindString(out); bad != "" {
		at := strings.Index(out, bad)
		t.Errorf("kafka-dump-log %s: %q\n%s", strings.Join(args, " "), bad, out[max(0, at-1000):min(len(out), at+1000)])
	}
	return out
}
