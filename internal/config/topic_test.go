package config

import (
	"math"
	"reflect"
	"testing"
)

func TestTopicTakesTheStrongestLayer(t *testing.T) {
	static := load(t, Sources{}, "log.segment.bytes=2000000")
	def := load(t, Sources{})
	dynamicDefault, _ := static.WithDynamic(nil, map[string]string{"log.segment.bytes": "3000000"})
	dynamicBroker, _ := static.WithDynamic(map[string]string{"log.segment.bytes": "4000000"}, map[string]string{"log.segment.bytes": "3000000"})
	own := map[string]string{"segment.bytes": "5000000"}
	for _, c := range []struct {
		name      string
		cfg       *Config
		overrides map[string]string
		want      int
	}{
		{"default", def, nil, 1 << 30},
		{"static", static, nil, 2000000},
		{"dynamic of all brokers", dynamicDefault, nil, 3000000},
		{"dynamic of this broker", dynamicBroker, nil, 4000000},
		{"the topic's own", dynamicBroker, own, 5000000},
		{"a bad one of its own counts as absent", dynamicBroker, map[string]string{"segment.bytes": "5"}, 4000000},
		{"small segments for tests", dynamicBroker, map[string]string{"internal.segment.bytes": "512"}, 512},
	} {
		if got := c.cfg.ResolveTopic(c.overrides).SegmentBytes; got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if static.ResolveTopic(nil).SegmentBytes != 2000000 {
		t.Error("a Config was changed by WithDynamic")
	}
}

func TestTopicDefaults(t *testing.T) {
	want := Topic{CleanupDelete: true, CompressionType: "producer", CompressionGzipLevel: -1, CompressionLz4Level: 9, CompressionZstdLevel: 3,
		DeleteRetentionMs: 86400000, FileDeleteDelayMs: 60000, FlushMessages: math.MaxInt64, FlushMs: math.MaxInt64, IndexIntervalBytes: 4096,
		MaxCompactionLagMs: math.MaxInt64, MaxDecompressedMessageBytes: 2147483639, MaxMessageBytes: 1048588,
		MessageTimestampAfterMaxMs: 3600000, MessageTimestampBeforeMaxMs: math.MaxInt64, MinCleanableDirtyRatio: 0.5, MinInsyncReplicas: 1,
		RetentionBytes: -1, RetentionMs: 604800000, SegmentBytes: 1 << 30, SegmentIndexBytes: 10485760, SegmentMs: 604800000}
	if got := load(t, Sources{}).ResolveTopic(nil); got != want {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

// Every field follows an override of its own setting: none is left out.
func TestEveryTopicFieldIsResolved(t *testing.T) {
	c := load(t, Sources{})
	got := c.ResolveTopic(map[string]string{
		"cleanup.policy": "compact", "compression.type": "zstd", "compression.gzip.level": "1", "compression.lz4.level": "2",
		"compression.zstd.level": "4", "delete.retention.ms": "5", "file.delete.delay.ms": "6", "flush.messages": "7", "flush.ms": "8",
		"index.interval.bytes": "9", "max.compaction.lag.ms": "10", "max.decompressed.message.bytes": "11", "max.message.bytes": "12",
		"message.timestamp.after.max.ms": "13", "message.timestamp.before.max.ms": "14", "message.timestamp.type": "LogAppendTime",
		"min.cleanable.dirty.ratio": "0.25", "min.compaction.lag.ms": "15", "min.insync.replicas": "16", "preallocate": "true",
		"retention.bytes": "17", "retention.ms": "18", "segment.bytes": "1048577", "segment.index.bytes": "19", "segment.jitter.ms": "20",
		"segment.ms": "21", "unclean.leader.election.enable": "true", "leat.durability": "relaxed"})
	want := Topic{true, false, "zstd", 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, true, 0.25, 15, 16, true, 17, 18, 1048577, 19, 20, 21, true, true}
	if got != want {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

func TestCleanupPolicies(t *testing.T) {
	c := load(t, Sources{})
	for text, want := range map[string][2]bool{"": {false, false}, "compact": {true, false}, "delete": {false, true},
		"compact, delete": {true, true}, "delete,delete": {false, true}} {
		got := c.ResolveTopic(map[string]string{"cleanup.policy": text})
		if [2]bool{got.CleanupCompact, got.CleanupDelete} != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestUnitsOfSynonyms(t *testing.T) {
	c := load(t, Sources{}, "log.roll.hours=2", "log.roll.jitter.hours=1", "log.flush.scheduler.interval.ms=77", "log.retention.hours=2147483647")
	got := c.ResolveTopic(nil)
	if got.SegmentMs != 7200000 || got.SegmentJitterMs != 3600000 || got.FlushMs != 77 || got.RetentionMs != 2147483647*3600000 {
		t.Errorf("%+v", got)
	}
	if scaled(math.MaxInt64/2, 60000) != math.MaxInt64 || scaled(-5, 60000) != -1 || scaled(-5, 0) != -5 {
		t.Error("scaling")
	}
}

// Dynamic values that are no longer valid are left out and reported.
func TestBadDynamicValuesAreLeftOut(t *testing.T) {
	c := load(t, Sources{}, "num.partitions=3")
	c, warns := c.WithDynamic(map[string]string{"message.max.bytes": "x", "compression.type": "zstd"}, nil)
	if len(warns) != 1 || warns[0].Kind != Ignored || warns[0].Name != "message.max.bytes" {
		t.Errorf("%v", warns)
	}
	if c.Int(MessageMaxBytes) != 1048588 || c.String(CompressionType) != "zstd" || c.Int(NumPartitions) != 3 {
		t.Errorf("%d %s", c.Int(MessageMaxBytes), c.String(CompressionType))
	}
	if v, ok := c.Lookup("compression.type"); !ok || v.Text() != "zstd" || !reflect.DeepEqual(c.List(ProcessRoles), []string{"broker", "controller"}) {
		t.Error("look-up")
	}
}
