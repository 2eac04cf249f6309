package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/config"
)

// script runs one of Kafka's scripts.
func (w *world) script(stdin, name string, args ...string) result {
	w.t.Helper()
	return w.run(stdin, append([]string{"tools", "exec", "/nowhere", name}, args...)...)
}

// scriptOK runs a script that must succeed and gives what it wrote.
func (w *world) scriptOK(stdin, name string, args ...string) string {
	w.t.Helper()
	r := w.script(stdin, name, args...)
	if r.code != 0 {
		w.t.Fatalf("%s %s: exit %d\n%s%s", name, strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
}

func TestTutorial(t *testing.T) {
	w := newWorld(t)
	b := w.servers
	if got := w.scriptOK("", "kafka-topics.sh", "--create", "--topic", "quickstart-events", "--bootstrap-server", b, "--partitions", "1"); got != "Created topic quickstart-events.\n" {
		t.Errorf("%q", got)
	}
	if got := w.scriptOK("", "kafka-topics.sh", "--list", "--bootstrap-server", b); got != "quickstart-events\n" {
		t.Errorf("%q", got)
	}
	want := regexp.MustCompile(`^Topic: quickstart-events\tTopicId: [\w-]{22}\tPartitionCount: 1\tReplicationFactor: 1\tConfigs: .*\n` +
		`\tTopic: quickstart-events\tPartition: 0\tLeader: 0\tReplicas: 0\tIsr: 0\tElr: .*\tLastKnownElr: .*\n$`)
	if got := w.scriptOK("", "kafka-topics.sh", "--describe", "--topic", "quickstart-events", "--bootstrap-server", b); !want.MatchString(got) {
		t.Errorf("%q", got)
	}
	w.scriptOK("This is my first event\nThis is my second event\n", "kafka-console-producer.sh", "--topic", "quickstart-events", "--bootstrap-server", b)
	r := w.script("", "kafka-console-consumer.sh", "--topic", "quickstart-events", "--from-beginning", "--bootstrap-server", b, "--timeout-ms", "1000")
	if r.code != 0 || r.out != "This is my first event\nThis is my second event\n" || !strings.HasSuffix(r.err, "Processed a total of 2 messages\n") {
		t.Errorf("%+v", r)
	}
}

// The forms of older tutorials: --zookeeper, --broker-list, abbreviations, "=".
func TestOldForms(t *testing.T) {
	w := newWorld(t)
	r := w.script("", "kafka-topics.sh", "--create", "--zookeeper", "localhost:2181", "--replication-factor", "1", "--partitions", "1", "--topic", "my.test")
	if r.code != 0 || !strings.HasPrefix(r.out, "WARNING: Due to limitations in metric names") || !strings.HasSuffix(r.out, "\nCreated topic my.test.\n") ||
		!strings.Contains(r.err, "Leat needs no ZooKeeper") {
		t.Errorf("%+v", r)
	}
	w.scriptOK("k1:v1\nk2:NULL\n", "kafka-console-producer.sh", "--broker-list="+w.servers, "--topic", "my.test",
		"--property", "parse.key=true", "--property", "key.separator=:", "--property", "null.marker=NULL")
	got := w.scriptOK("", "kafka-console-consumer.sh", "--bootstrap", w.servers, "--topic", "my.test", "--from-b", "--max-messages", "2",
		"--property", "print.key=true", "--property", "key.separator=|", "--property", "print.offset=true", "--property", "print.partition=true")
	if got != "Partition:0|Offset:0|k1|v1\nPartition:0|Offset:1|k2|null\n" {
		t.Errorf("%q", got)
	}
	w.scriptOK("", "kafka-topics.sh", "--zookeeper", "x", "--alter", "--topic", "my.test", "--config", "retention.ms=5000")
	if got := w.scriptOK("", "kafka-topics.sh", "--zookeeper", "x", "--describe", "--topics-with-overrides"); !strings.Contains(got, "retention.ms=5000") || strings.Contains(got, "Partition: 0") {
		t.Errorf("%q", got)
	}
}

func TestConsoleFormats(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(1, "t"))
	w.scriptOK("h1=a;h2=b#k\tv\n", "kafka-console-producer.sh", "--bootstrap-server", w.servers, "--topic", "t", "--compression-codec",
		"--reader-property", "parse.key=true", "--reader-property", "parse.headers=true", "--reader-property", "headers.delimiter=#",
		"--reader-property", "headers.separator=;", "--reader-property", "headers.key.separator==")
	got := w.scriptOK("", "kafka-console-consumer.sh", "--bootstrap-server", w.servers, "--topic", "t", "--partition", "0", "--offset", "earliest",
		"--max-messages", "1", "--formatter-property", "print.timestamp=true", "--formatter-property", "print.headers=true", "--formatter-property", "print.key=true",
		"--formatter-property", "line.separator=!")
	if !regexp.MustCompile(`^CreateTime:\d{13}\th1:a,h2:b\tk\tv!$`).MatchString(got) {
		t.Errorf("%q", got)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(w.servers, ",")...), kgo.DefaultProduceTopic("counts"), kgo.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := cl.ProduceSync(ctx, &kgo.Record{Key: []byte("all"), Value: binary.BigEndian.AppendUint64(nil, 1<<40)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	got = w.scriptOK("", "kafka-console-consumer.sh", "--bootstrap-server", w.servers, "--topic", "counts", "--from-beginning", "--max-messages", "1",
		"--formatter", "org.apache.kafka.tools.consumer.DefaultMessageFormatter", "--property", "print.key=true",
		"--property", "key.deserializer=org.apache.kafka.common.serialization.StringDeserializer",
		"--property", "value.deserializer=org.apache.kafka.common.serialization.LongDeserializer")
	if got != "all\t1099511627776\n" {
		t.Errorf("%q", got)
	}
	if got := w.scriptOK("", "kafka-console-consumer.sh", "--bootstrap-server", w.servers, "--include", "coun.*", "--from-beginning", "--max-messages", "1",
		"--formatter", "org.apache.kafka.tools.consumer.NoOpMessageFormatter"); got != "" {
		t.Errorf("%q", got)
	}
}

func TestConsumerGroupsScript(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(1, "t"))
	groups := func(args ...string) string {
		t.Helper()
		return w.scriptOK("", "kafka-consumer-groups.sh", append([]string{"--bootstrap-server", w.servers}, args...)...)
	}
	w.scriptOK("1\n2\n3\n", "kafka-console-producer.sh", "--bootstrap-server", w.servers, "--topic", "t")
	w.scriptOK("", "kafka-console-consumer.sh", "--bootstrap-server", w.servers, "--topic", "t", "--group", "g", "--from-beginning", "--max-messages", "2")
	if got := groups("--list"); got != "g\n" {
		t.Errorf("%q", got)
	}
	if got := lines(groups("--list", "--state")); len(got) != 2 || got[0] != "GROUP STATE" || got[1] != "g Empty" {
		t.Errorf("%q", got)
	}
	r := w.script("", "kafka-consumer-groups.sh", "--bootstrap-server", w.servers, "--describe", "--group", "g")
	want := "\nGROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID" +
		"\ng               t               0          2               3               1               -               -               -\n"
	if r.out != want || r.err != "\nConsumer group 'g' has no active members.\n" {
		t.Errorf("%q\n%q", r.out, r.err)
	}
	if got := lines(groups("--describe", "--group", "g", "--state")); got[1] != "GROUP COORDINATOR (ID) ASSIGNMENT-STRATEGY STATE #MEMBERS" || !strings.HasSuffix(got[2], "Empty 0") {
		t.Errorf("%q", got)
	}
	for _, c := range []struct{ args, want string }{
		{"--to-earliest", "0"}, {"--to-latest", "3"}, {"--to-offset 1", "1"}, {"--shift-by 1", "2"}, {"--shift-by -9", "0"},
		{"--to-datetime 2000-01-01T00:00:00.000", "0"}, {"--by-duration PT1H", "0"}, {"--to-current", "0"},
	} {
		args := append([]string{"--reset-offsets", "--group", "g", "--topic", "t", "--execute"}, strings.Fields(c.args)...)
		got := groups(args...)
		if l := lines(got); len(l) != 3 || l[1] != "GROUP TOPIC PARTITION NEW-OFFSET" || l[2] != "g t 0 "+c.want {
			t.Errorf("%s: %q", c.args, got)
		}
	}
	export := groups("--reset-offsets", "--group", "g", "--all-topics", "--to-latest", "--export", "--dry-run")
	if export != "\"t\",0,3\n" {
		t.Errorf("%q", export)
	}
	file := filepath.Join(t.TempDir(), "offsets.csv")
	if err := os.WriteFile(file, []byte(export), 0o600); err != nil {
		t.Fatal(err)
	}
	groups("--reset-offsets", "--group", "g", "--from-file", file, "--execute")
	if got := lines(groups("--describe", "--all-groups")); got[2] != "g t 0 3 3 0 - - -" {
		t.Errorf("%q", got)
	}
	r = w.script("", "kafka-consumer-groups.sh", "--bootstrap-server", w.servers, "--reset-offsets", "--group", "g", "--topic", "t", "--to-earliest")
	if !strings.HasPrefix(r.err, "WARN: No action will be performed") {
		t.Errorf("%+v", r)
	}
	if got := groups("--delete", "--group", "g"); got != "Deletion of requested consumer groups ('g') was successful.\n" {
		t.Errorf("%q", got)
	}
	r = w.script("", "kafka-consumer-groups.sh", "--bootstrap-server", w.servers, "--delete", "--group", "g")
	if r.code != 1 || !strings.Contains(r.out, "Error: Deletion of some consumer groups failed:\n* Group 'g' could not be deleted due to:") {
		t.Errorf("%+v", r)
	}
	if got := groups("--describe", "--group", "nope"); got != "\nError: Consumer group 'nope' does not exist.\n" {
		t.Errorf("%q", got)
	}
}

func TestScriptFailures(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(1, "t"))
	for _, c := range []struct{ name, args, out, err string }{
		{"kafka-topics.sh", "--create --topic t --bootstrap-server B", "Error while executing topic command : ", ""},
		{"kafka-topics.sh", "--delete --topic nope --bootstrap-server B", "Error while executing topic command : Topic 'nope' does not exist as expected\n", ""},
		{"kafka-topics.sh", "--create --topic x --partitions 0 --bootstrap-server B", "The partitions must be greater than 0", ""},
		{"kafka-topics.sh", "--create --bootstrap-server B", "", `Missing required argument "[topic]"`},
		{"kafka-topics.sh", "--bootstrap-server B", "", "exactly one action"},
		{"kafka-topics.sh", "--list --nonsense", "", "nonsense is not a recognized option"},
		{"kafka-console-consumer.sh", "--bootstrap-server B", "", "Exactly one of --include/--topic is required."},
		{"kafka-console-consumer.sh", "--bootstrap-server B --topic t --offset 1", "", "The partition is required when offset is specified."},
		{"kafka-console-consumer.sh", "--bootstrap-server B --topic t --formatter a.B", "", "Leat loads no Java classes"},
		{"kafka-console-producer.sh", "--bootstrap-server B", "", `Missing required argument "[topic]"`},
		{"kafka-consumer-groups.sh", "--bootstrap-server B", "", "exactly one action"},
		{"kafka-consumer-groups.sh", "--bootstrap-server B --describe", "", "takes one of these options"},
		{"kafka-consumer-groups.sh", "--bootstrap-server B --reset-offsets --group g --to-earliest --dry-run", "reset scopes should be defined", ""},
		{"kafka-storage.sh", "nonsense", "", "invalid choice: 'nonsense'"},
		{"kafka-server-start.sh", "", "", "USAGE: kafka-server-start.sh [-daemon] server.properties"},
		{"kafka-server-stop.sh", "", "No kafka server to stop\n", ""},
	} {
		r := w.script("", c.name, strings.Fields(strings.ReplaceAll(c.args, "B", w.servers))...)
		if r.code != 1 || !strings.Contains(r.out, c.out) || !strings.Contains(r.err, c.err) {
			t.Errorf("%s %s: %+v", c.name, c.args, r)
		}
	}
	r := w.script("nokey\n", "kafka-console-producer.sh", "--bootstrap-server", w.servers, "--topic", "t", "--property", "parse.key=true")
	if r.code != 1 || !strings.Contains(r.err, "line 1") {
		t.Errorf("%+v", r)
	}
	if r := w.script("", "kafka-topics.sh", "--help"); r.code != 0 || !strings.Contains(r.err, "--bootstrap-server <value>") {
		t.Errorf("%+v", r)
	}
	w.fails(2, "there is no such script", "tools", "exec", "/nowhere", "kafka-nonsense.sh")
}

func TestZookeeperAndStorageNeedNothing(t *testing.T) {
	w := &world{t: t, servers: "127.0.0.1:1"}
	if got := w.scriptOK("", "zookeeper-server-start.sh", "-daemon", "config/zookeeper.properties"); !strings.Contains(got, "needs no ZooKeeper") {
		t.Errorf("%q", got)
	}
	id := strings.TrimSpace(w.scriptOK("", "kafka-storage.sh", "random-uuid"))
	if len(id) != 22 {
		t.Errorf("%q", id)
	}
	file := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(file, []byte("log.dirs=/srv/kafka\nprocess.roles=broker,controller\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"format", "-t", id, "-c", file}, {"format", "--standalone", "--cluster-id", id, "--config", file, "-g"}} {
		if got := w.scriptOK("", "kafka-storage.sh", args...); !strings.Contains(got, "/srv/kafka") {
			t.Errorf("%q", got)
		}
	}
}

func TestServerStartScript(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, "server.properties")
	if err := os.WriteFile(file, []byte("num.partitions=3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got *config.Config
	serve := func(_ context.Context, cfg *config.Config, _ []config.Warning) error {
		got = cfg
		if files, err := filepath.Glob(filepath.Join(home, "run", "server-*.pid")); err != nil || len(files) != 1 {
			t.Errorf("%v %v", files, err)
		}
		return nil
	}
	var stdout, stderr bytes.Buffer
	code := Run(context.Background(), Options{Out: &stdout, Err: &stderr, Serve: serve},
		[]string{"tools", "exec", home, "kafka-server-start.sh", file, "--override", "num.partitions=4", "--override", "log.retention.hours=1"})
	if code != 0 || got == nil || got.Int(config.NumPartitions) != 4 || got.ResolveTopic(nil).RetentionMs != 3600_000 {
		t.Errorf("exit %d %s", code, stderr.String())
	}
	if files, err := filepath.Glob(filepath.Join(home, "run", "*")); err != nil || len(files) != 0 {
		t.Errorf("left behind: %v %v", files, err)
	}
	code = Run(context.Background(), Options{Out: &stdout, Err: &stderr, Serve: serve},
		[]string{"tools", "exec", home, "kafka-server-start.sh", "-daemon", file, "--override", "num.partitions=x"})
	if code != 1 || !strings.Contains(stderr.String(), "num.partitions=x") {
		t.Errorf("a daemon with bad settings: exit %d %s", code, stderr.String())
	}
}

func TestLink(t *testing.T) {
	w := &world{t: t, servers: "127.0.0.1:1"}
	dir := filepath.Join(t.TempDir(), "it's kafka")
	w.ok("", "tools", "link", dir)
	server := filepath.Join(dir, "config", "server.properties")
	text, err := os.ReadFile(server)
	if err != nil {
		t.Fatal(err)
	}
	cfg, warnings, err := config.Load(config.Sources{File: bytes.NewReader(text)})
	if err != nil || len(warnings) != 0 || cfg.DataDir() != filepath.Join(dir, "data") {
		t.Errorf("%v %v", warnings, err)
	}
	// The shims call leat with their directory and their arguments as they are.
	leat := filepath.Join(t.TempDir(), "leat")
	if err := os.WriteFile(leat, []byte("#!/bin/sh\nfor a in \"$@\"; do echo \"[$a]\"; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "bin", "kafka-topics.sh"), "--topic", "a b", "--list")
	cmd.Env = append(os.Environ(), "LEAT="+leat)
	got, err := cmd.Output()
	if want := "[tools]\n[exec]\n[" + dir + "]\n[kafka-topics.sh]\n[--topic]\n[a b]\n[--list]\n"; err != nil || string(got) != want {
		t.Errorf("%v\n got %q\nwant %q", err, got, want)
	}
	// Edited settings stay, and scripts of Kafka itself are not replaced.
	if err := os.WriteFile(server, []byte("node.id=7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.ok("", "tools", "link", dir)
	if text, err := os.ReadFile(server); err != nil || string(text) != "node.id=7\n" {
		t.Errorf("%q %v", text, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "kafka-topics.sh"), []byte("#!/bin/bash\nexec java\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.fails(1, "is there already, and is not Leat's; use another directory", "tools", "link", dir)
	w.ok("", "tools", "link", dir, "--force")
}
