package config

import (
	"fmt"
	"strings"
	"testing"
)

// recorded is the configuration of the broker whose answers are in testdata, and
// the dynamic values and overrides that it was given.
func recorded(t *testing.T) *Config {
	c := load(t, Sources{},
		"process.roles=broker,controller", "node.id=1", "controller.quorum.bootstrap.servers=localhost:39093",
		"listeners=PLAINTEXT://127.0.0.1:39092,CONTROLLER://127.0.0.1:39093", "advertised.listeners=PLAINTEXT://127.0.0.1:39092",
		"controller.listener.names=CONTROLLER", "log.dirs=/srv/kafka", "log.retention.hours=24", "num.io.threads=4",
		"my.own.name=x", "offsets.topic.replication.factor=1", "offsets.topic.num.partitions=3")
	c, warns := c.WithDynamic(
		map[string]string{"log.retention.ms": "7000", "nope.nope": "1"},
		map[string]string{"log.retention.ms": "0", "min.insync.replicas": "1", "log.cleaner.min.compaction.lag.ms": "10",
			"log.cleaner.max.compaction.lag.ms": "5"})
	if len(warns) != 0 {
		t.Fatal(warns)
	}
	return c
}

func text(p *string) string {
	if p == nil {
		return "<null>"
	}
	return *p
}

func synonymsText(e Entry) string {
	var parts []string
	for _, s := range e.Synonyms {
		parts = append(parts, fmt.Sprintf("%d:%s=%s", s.Source, s.Name, text(s.Value)))
	}
	return strings.Join(parts, " ")
}

// byName indexes what was described.
func byName(t *testing.T, entries []Entry) map[string]Entry {
	m := map[string]Entry{}
	for _, e := range entries {
		if _, twice := m[e.Name]; twice {
			t.Errorf("%s is described twice", e.Name)
		}
		m[e.Name] = e
	}
	return m
}

func TestTopicIsDescribedAsKafkaDoes(t *testing.T) {
	entries := byName(t, recorded(t).DescribeTopic(map[string]string{"retention.ms": " 5000", "min.cleanable.dirty.ratio": "0.50",
		"cleanup.policy": "delete,delete", "local.retention.ms": "99999999999"}))
	for _, r := range readTSV(t, "kafka-describe-topic.tsv") {
		e, ok := entries[r[0]]
		got := []string{e.Name, text(e.Value), fmt.Sprintf("src=%d", e.Source), synonymsText(e)}
		if !ok || strings.Join(got, "\t") != strings.Join(r, "\t") {
			t.Errorf("\n got %q\nwant %q", got, r)
		}
		delete(entries, r[0])
	}
	delete(entries, "leat.durability")
	if len(entries) != 0 {
		t.Errorf("also described: %v", entries)
	}
}

func TestGroupIsDescribedAsKafkaDoes(t *testing.T) {
	entries := byName(t, recorded(t).DescribeGroup(map[string]string{"consumer.session.timeout.ms": "46000", "consumer.heartbeat.interval.ms": "15000"}))
	for _, r := range readTSV(t, "kafka-describe-group.tsv") {
		e, ok := entries[r[0]]
		got := []string{e.Name, text(e.Value), fmt.Sprintf("src=%d", e.Source), synonymsText(e)}
		if !ok || strings.Join(got, "\t") != strings.Join(r, "\t") {
			t.Errorf("\n got %q\nwant %q", got, r)
		}
		delete(entries, r[0])
	}
	if len(entries) != 0 {
		t.Errorf("also described: %v", entries)
	}
}

func TestBrokerIsDescribedAsKafkaDoes(t *testing.T) {
	entries := byName(t, recorded(t).DescribeBroker())
	for _, r := range readTSV(t, "kafka-describe-broker.tsv") {
		e, ok := entries[r[0]]
		if d := BrokerDef(r[0]); d != nil && d.Difference != "" || r[0] == "leat.durability" {
			continue
		}
		got := []string{e.Name, fmt.Sprintf("src=%d", e.Source), fmt.Sprintf("ro=%v", e.ReadOnly),
			fmt.Sprintf("sens=%v", e.Sensitive), fmt.Sprintf("type=%d", e.Type), synonymsText(e)}
		if !ok || strings.Join(got, "\t") != strings.Join(r, "\t") {
			t.Errorf("\n got %q\nwant %q", got, r)
		}
	}
}

// Internal settings are described where they are given; the limits of the rate of
// moves so show while there are any.
func TestInternalSettingsAreDescribedWhereTheyAreGiven(t *testing.T) {
	const leaders, followers = "leader.replication.throttled.rate", "follower.replication.throttled.rate"
	c, _ := load(t, Sources{}, "log.initial.task.delay.ms=7").WithDynamic(map[string]string{leaders: "1000"}, map[string]string{followers: "5", leaders: "9"})
	entries := byName(t, c.DescribeBroker())
	for name, want := range map[string]string{
		leaders: "1000 2 2:" + leaders + "=1000 3:" + leaders + "=9", followers: "5 3 3:" + followers + "=5",
		"log.initial.task.delay.ms": "7 4 4:log.initial.task.delay.ms=7 5:log.initial.task.delay.ms=30000",
	} {
		e := entries[name]
		if got := fmt.Sprintf("%s %d %s", text(e.Value), e.Source, synonymsText(e)); got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
	entries = byName(t, load(t, Sources{}).DescribeBroker())
	for name := range entries {
		if BrokerDef(name).Internal {
			t.Errorf("%s is described, and was given by nobody", name)
		}
	}
}

func TestBrokerDefaultsAreTheDynamicOnes(t *testing.T) {
	var got []string
	for _, e := range recorded(t).DescribeBrokerDefaults() {
		got = append(got, fmt.Sprintf("%s=%s %d %v %s", e.Name, text(e.Value), e.Source, e.ReadOnly, synonymsText(e)))
	}
	want := "log.cleaner.max.compaction.lag.ms=5 3 false 3:log.cleaner.max.compaction.lag.ms=5\n" +
		"log.cleaner.min.compaction.lag.ms=10 3 false 3:log.cleaner.min.compaction.lag.ms=10\n" +
		"log.retention.ms=0 3 false 3:log.retention.ms=0\n" +
		"min.insync.replicas=1 3 false 3:min.insync.replicas=1"
	if strings.Join(got, "\n") != want {
		t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestClientMetricsAreDescribed(t *testing.T) {
	e := byName(t, load(t, Sources{}).DescribeClientMetrics(map[string]string{"interval.ms": "5000"}))
	if got := e["interval.ms"]; text(got.Value) != "5000" || got.Source != SourceClientMetrics || len(e) != 3 {
		t.Errorf("%+v", e)
	}
}

// A secret is never shown, neither as a value nor as a synonym.
func TestSecretsAreNotShown(t *testing.T) {
	c := load(t, Sources{}, "who.knows=hunter2")
	c, _ = c.WithDynamic(map[string]string{"ssl.key.password": "hunter2"}, map[string]string{"ssl.key.password": "hunter2", "other": "hunter2"})
	all := fmt.Sprintf("%+v", func() (lines []string) {
		for _, e := range append(c.DescribeBroker(), c.DescribeBrokerDefaults()...) {
			lines = append(lines, e.Name, text(e.Value), synonymsText(e))
		}
		return lines
	}())
	if strings.Contains(all, "hunter2") {
		t.Error("a secret is shown")
	}
}
