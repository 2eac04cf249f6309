package log

import (
	"math"

	"github.com/leat-stream/leat/internal/record"
)

// Config is what a topic's settings say about its logs, in Kafka's names and units.
// It is immutable once given to a log. Start from DefaultConfig.
type Config struct {
	// Durable: an append counts (SyncedOffset) once it is synced, by the next round.
	// Otherwise the page cache is trusted and syncs follow FlushMessages and FlushMs.
	Durable bool

	SegmentBytes       int64 // segment.bytes
	SegmentMs          int64 // segment.ms
	SegmentJitterMs    int64 // segment.jitter.ms
	IndexBytes         int64 // segment.index.bytes
	IndexIntervalBytes int64 // index.interval.bytes
	Preallocate        bool  // preallocate
	FlushMessages      int64 // flush.messages
	FlushMs            int64 // flush.ms
	FileDeleteDelayMs  int64 // file.delete.delay.ms

	MaxMessageBytes      int // max.message.bytes: of one batch
	MaxDecompressedBytes int // max.decompressed.message.bytes: of one batch
	TimestampType        record.TimestampType
	TimestampBeforeMaxMs int64 // message.timestamp.before.max.ms
	TimestampAfterMaxMs  int64 // message.timestamp.after.max.ms
	// Compression is the topic's own (compression.type and its level); it is used
	// when CompressionSet, otherwise batches keep their producer's.
	Compression    record.Compression
	CompressionSet bool

	Delete          bool  // cleanup.policy contains delete
	RetentionMs     int64 // retention.ms, -1 is none
	RetentionBytes  int64 // retention.bytes, -1 is none
	Compact         bool  // cleanup.policy contains compact
	MinCleanable    float64
	MinCompactLagMs int64 // min.compaction.lag.ms
	MaxCompactLagMs int64 // max.compaction.lag.ms
	DeleteRetention int64 // delete.retention.ms

	ProducerExpireMs int64 // producer.id.expiration.ms (broker)
	// MaxProducers bounds the producers that one log remembers. The one that wrote
	// least recently and has no open transaction is forgotten for a new one.
	MaxProducers int
}

// DefaultConfig is a durable topic with Kafka's defaults.
func DefaultConfig() Config {
	return Config{
		Durable: true,

		SegmentBytes: 1 << 30, SegmentMs: 7 * 24 * 3600_000,
		IndexBytes: 10 << 20, IndexIntervalBytes: 4096,
		FlushMessages: math.MaxInt64, FlushMs: math.MaxInt64,
		FileDeleteDelayMs: 60_000,

		MaxMessageBytes: 1_048_588, MaxDecompressedBytes: 2_147_483_639,
		TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: 3600_000,

		Delete: true, RetentionMs: 7 * 24 * 3600_000, RetentionBytes: -1,
		MinCleanable: 0.5, MaxCompactLagMs: math.MaxInt64, DeleteRetention: 24 * 3600_000,

		ProducerExpireMs: 24 * 3600_000, MaxProducers: 1 << 20,
	}
}
