package config

import (
	"math"
	"slices"
)

// Topic is the resolved settings of one topic, by Kafka's names; the unit is last
// in a field's name. Negative sizes and times mean "no limit" where Kafka's do.
type Topic struct {
	CleanupCompact, CleanupDelete bool   // cleanup.policy; neither keeps everything for ever
	CompressionType               string // producer, uncompressed, gzip, snappy, lz4, zstd
	CompressionGzipLevel          int    // -1 is the codec's default
	CompressionLz4Level           int
	CompressionZstdLevel          int
	DeleteRetentionMs             int64
	FileDeleteDelayMs             int64
	FlushMessages                 int64
	FlushMs                       int64
	IndexIntervalBytes            int
	MaxCompactionLagMs            int64
	MaxDecompressedMessageBytes   int
	MaxMessageBytes               int
	MessageTimestampAfterMaxMs    int64
	MessageTimestampBeforeMaxMs   int64
	LogAppendTime                 bool // message.timestamp.type
	MinCleanableDirtyRatio        float64
	MinCompactionLagMs            int64
	MinInsyncReplicas             int
	Preallocate                   bool
	RetentionBytes                int64
	RetentionMs                   int64
	SegmentBytes                  int
	SegmentIndexBytes             int
	SegmentJitterMs               int64
	SegmentMs                     int64
	UncleanLeaderElectionEnable   bool
	// Relaxed partitions acknowledge what is in the page cache (leat.durability);
	// the others only what is on disk.
	Relaxed bool
}

// ResolveTopic is the settings of a topic: its own overrides, else the broker's
// dynamic, static or default values. An override that its definition refuses (the
// cluster may hold one of an older release) counts as absent.
func (c *Config) ResolveTopic(overrides map[string]string) Topic {
	val := func(name string) Value {
		v, _ := c.topicValue(Lookup(ScopeTopic, name), overrides)
		return v
	}
	t := Topic{
		CleanupCompact:              slices.Contains(val("cleanup.policy").list, "compact"),
		CleanupDelete:               slices.Contains(val("cleanup.policy").list, "delete"),
		CompressionType:             val("compression.type").s,
		CompressionGzipLevel:        int(val("compression.gzip.level").i),
		CompressionLz4Level:         int(val("compression.lz4.level").i),
		CompressionZstdLevel:        int(val("compression.zstd.level").i),
		DeleteRetentionMs:           val("delete.retention.ms").i,
		FileDeleteDelayMs:           val("file.delete.delay.ms").i,
		FlushMessages:               val("flush.messages").i,
		FlushMs:                     val("flush.ms").i,
		IndexIntervalBytes:          int(val("index.interval.bytes").i),
		MaxCompactionLagMs:          val("max.compaction.lag.ms").i,
		MaxDecompressedMessageBytes: int(val("max.decompressed.message.bytes").i),
		MaxMessageBytes:             int(val("max.message.bytes").i),
		MessageTimestampAfterMaxMs:  val("message.timestamp.after.max.ms").i,
		MessageTimestampBeforeMaxMs: val("message.timestamp.before.max.ms").i,
		LogAppendTime:               val("message.timestamp.type").s == "LogAppendTime",
		MinCleanableDirtyRatio:      val("min.cleanable.dirty.ratio").f,
		MinCompactionLagMs:          val("min.compaction.lag.ms").i,
		MinInsyncReplicas:           int(val("min.insync.replicas").i),
		Preallocate:                 val("preallocate").b,
		RetentionBytes:              val("retention.bytes").i,
		RetentionMs:                 val("retention.ms").i,
		SegmentBytes:                int(val("segment.bytes").i),
		SegmentIndexBytes:           int(val("segment.index.bytes").i),
		SegmentJitterMs:             val("segment.jitter.ms").i,
		SegmentMs:                   val("segment.ms").i,
		UncleanLeaderElectionEnable: val("unclean.leader.election.enable").b,
		Relaxed:                     val("leat.durability").s == "relaxed",
	}
	if v := val("internal.segment.bytes"); !v.Null {
		t.SegmentBytes = int(v.i)
	}
	return t
}

// topicValue is a topic setting's value, and whether the topic itself has it.
func (c *Config) topicValue(d *Def, overrides map[string]string) (v Value, own bool) {
	if text, ok := overrides[d.Name]; ok {
		if v, err := d.Parse(text); err == nil {
			return v, true
		}
	}
	for _, s := range d.Synonyms {
		if v := c.values[s.Name]; !v.Null {
			if v.Type == List && d.Type == String && len(v.list) > 0 {
				v.s = v.list[0] // the first one is the default
			}
			v.Type = d.Type
			v.i = scaled(v.i, s.Scale)
			return v, false
		}
	}
	return d.defaultValue(), false
}

// scaled converts a time from a synonym's unit; negative means for ever.
func scaled(n, scale int64) int64 {
	switch {
	case scale == 0:
		return n
	case n < 0:
		return -1
	case n > math.MaxInt64/scale:
		return math.MaxInt64
	}
	return n * scale
}
