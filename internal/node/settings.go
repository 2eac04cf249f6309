package node

import (
	"strings"
	"time"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/record"
	"github.com/leat-stream/leat/internal/replica"
)

// codecs maps compression.type; "producer" is absent, since it leaves batches alone.
var codecs = map[string]record.Codec{
	"uncompressed": record.CodecNone, "gzip": record.CodecGzip, "snappy": record.CodecSnappy,
	"lz4": record.CodecLZ4, "zstd": record.CodecZstd,
}

// topicSettings resolves what the replicas need to know of a topic.
func topicSettings(cfg *config.Config, img *metadata.Image, topic string) replica.Settings {
	t := cfg.ResolveTopic(img.Config(metadata.ResourceTopic, topic))
	return replica.Settings{
		Log:     logConfig(cfg, &t),
		MinISR:  img.MinISR(topic),
		Durable: !t.Relaxed,
		Watched: topic == metadata.OffsetsTopic,
		Deletes: t.CleanupDelete || !t.CleanupCompact,
		Unclean: t.UncleanLeaderElectionEnable,

		LeaderThrottled:   replica.ParseThrottled(throttled(img, topic, "leader.replication.throttled.replicas")),
		FollowerThrottled: replica.ParseThrottled(throttled(img, topic, "follower.replication.throttled.replicas")),
	}
}

// throttled is a topic's list of throttled replicas.
func throttled(img *metadata.Image, topic, name string) string {
	return img.Config(metadata.ResourceTopic, topic)[name]
}

// rackAware is what replica.selector.class is set to for fetches from the nearest
// replica (KIP-392).
const rackAware = "RackAwareReplicaSelector"

// tuning is what the settings say of replication.
func (n *Node) tuning(*metadata.Image) replica.Tuning {
	c := n.Config()
	return replica.Tuning{
		LagMax:            time.Duration(c.Long(config.ReplicaLagTimeMaxMs)) * time.Millisecond,
		ResponseMaxBytes:  int32(c.Int(config.ReplicaFetchResponseMaxBytes)),
		PartitionMaxBytes: int32(c.Int(config.ReplicaFetchMaxBytes)),
		MinBytes:          int32(c.Int(config.ReplicaFetchMinBytes)),
		MaxWait:           config.Millis(c, config.ReplicaFetchWaitMaxMs),
		Backoff:           config.Millis(c, config.ReplicaFetchBackoffMs),
		StrangersWait:     config.Millis(c, config.LeatUnknownProducerWaitMs),
		RackAware:         strings.HasSuffix(c.String(config.ReplicaSelectorClass), rackAware),
		LeaderRate:        c.Long(config.LeaderReplicationThrottledRate),
		FollowerRate:      c.Long(config.FollowerReplicationThrottledRate),
	}
}

func logConfig(cfg *config.Config, t *config.Topic) log.Config {
	c := log.DefaultConfig()
	c.Durable = !t.Relaxed
	c.SegmentBytes, c.SegmentMs, c.SegmentJitterMs = int64(t.SegmentBytes), t.SegmentMs, t.SegmentJitterMs
	c.IndexBytes, c.IndexIntervalBytes = int64(t.SegmentIndexBytes), int64(t.IndexIntervalBytes)
	c.Preallocate = t.Preallocate
	c.FlushMessages, c.FlushMs = t.FlushMessages, t.FlushMs
	c.FileDeleteDelayMs = t.FileDeleteDelayMs
	c.MaxMessageBytes = max(t.MaxMessageBytes, 1) // 0 refuses all, as 1 does
	c.MaxDecompressedBytes = t.MaxDecompressedMessageBytes
	c.TimestampType = record.CreateTime
	if t.LogAppendTime {
		c.TimestampType = record.LogAppendTime
	}
	c.TimestampBeforeMaxMs, c.TimestampAfterMaxMs = t.MessageTimestampBeforeMaxMs, t.MessageTimestampAfterMaxMs
	if codec, own := codecs[t.CompressionType]; own {
		c.CompressionSet = true
		c.Compression = record.Compression{Codec: codec, Level: compressionLevel(t, codec)}
	}
	c.Delete, c.RetentionMs, c.RetentionBytes = t.CleanupDelete, t.RetentionMs, t.RetentionBytes
	c.Compact, c.MinCleanable = t.CleanupCompact, t.MinCleanableDirtyRatio
	c.MinCompactLagMs, c.MaxCompactLagMs, c.DeleteRetention = t.MinCompactionLagMs, t.MaxCompactionLagMs, t.DeleteRetentionMs
	c.ProducerExpireMs = int64(cfg.Int(config.ProducerIdExpirationMs))
	return c
}

// compressionLevel is the level that a topic asks of its codec.
func compressionLevel(t *config.Topic, codec record.Codec) int {
	switch codec {
	case record.CodecGzip:
		return t.CompressionGzipLevel
	case record.CodecLZ4:
		return t.CompressionLz4Level
	case record.CodecZstd:
		return t.CompressionZstdLevel
	}
	return 0
}
