package broker

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/group"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/record"
	"github.com/leat-stream/leat/internal/replica"
)

// partitionLog is a partition as the committed log of a coordinator.
type partitionLog struct{ p *replica.Partition }

var _ machine.Log = partitionLog{}

// Append builds one batch of a decision's records and appends it, if the partition is
// still led in epoch.
func (l partitionLog) Append(epoch int32, now time.Time, recs []machine.Record) (int64, error) {
	var b record.Builder
	b.Reset(record.NewHeader(0), record.Compression{})
	for _, r := range recs {
		b.Append(now.UnixMilli(), r.Key, r.Value)
	}
	batch, err := b.Build(nil)
	if err != nil {
		return 0, fmt.Errorf("building a batch for %s: %w", l.p.ID(), err)
	}
	last, err := l.p.AppendIn(epoch, batch)
	if errors.Is(err, kerr.NotLeaderForPartition) {
		return 0, machine.ErrNotLeader
	}
	return last, err
}

// Load reads the partition from its start to its end.
func (l partitionLog) Load(epoch int32, fn func(offset, ts int64, rec machine.Record) error) (int64, error) {
	end, err := l.p.ReadAll(epoch, func(b record.Batch, r record.Record) error {
		return fn(r.Offset, r.Timestamp, machine.Record{Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)})
	})
	if errors.Is(err, kerr.NotLeaderForPartition) {
		return 0, machine.ErrNotLeader
	}
	return end, err
}

// ledOffsets starts the coordinator of a partition of __consumer_offsets.
func (b *Broker) ledOffsets(p *replica.Partition, epoch int32) {
	fresh := func() machine.Machine {
		opts := groupOptions(b.config())
		opts.MaxBatchBytes = p.Settings().Log.MaxMessageBytes
		return group.New(opts)
	}
	b.groups.Lead(api.GroupShard(p.ID().Partition), epoch, partitionLog{p}, fresh)
}

func (b *Broker) resignedOffsets(p *replica.Partition, epoch int32) {
	b.groups.Resign(api.GroupShard(p.ID().Partition), epoch)
}

func (b *Broker) committedOffsets(p *replica.Partition, hw int64) {
	b.groups.Committed(api.GroupShard(p.ID().Partition), p.Leadership().LeaderEpoch, hw)
}

func groupOptions(c *config.Config) group.Options {
	return group.Options{
		InitialRebalanceDelay:         c.GroupInitialRebalanceDelay(1),
		MinSessionTimeout:             config.Millis(c, config.GroupMinSessionTimeoutMs),
		MaxSessionTimeout:             config.Millis(c, config.GroupMaxSessionTimeoutMs),
		MaxSize:                       c.Int(config.GroupMaxSize),
		OffsetMetadataMax:             c.Int(config.OffsetMetadataMaxBytes),
		OffsetsRetention:              time.Duration(c.Int(config.OffsetsRetentionMinutes)) * time.Minute,
		OffsetsRetentionCheckInterval: config.Millis(c, config.OffsetsRetentionCheckIntervalMs),
	}
}

// groupEvent follows the life of a coordinator: when it ends, or begins anew, nobody
// is in it, until it tells otherwise; once it is loaded, the offsets of
// topics that were deleted while it was not are removed.
func (b *Broker) groupEvent(e machine.Event) {
	level := slog.LevelDebug
	switch {
	case e.Kind == machine.ShardFailed:
		level = slog.LevelError
	case e.Kind == machine.ShardReload:
		level = slog.LevelWarn
	case e.Kind == machine.ShardLoaded && e.Took > time.Second:
		level = slog.LevelInfo
	}
	b.log.Log(b.ctx, level, "coordinator "+e.Kind.String(), "shard", e.Shard, "epoch", e.Epoch, "records", e.Records, "took", e.Took, "why", e.Err)
	if e.Kind != machine.ShardLoaded {
		b.members.Hold(e.Shard, 0)
	}
	if e.Kind == machine.ShardLoaded && e.Records > 0 {
		b.forgetUnknown(e.Shard)
	}
}

// forgetUnknown removes the offsets of topics that the metadata does not know: an
// offset is only committed for a topic that is there, and the image that this is held
// against is never older than that commit on a single node, so the topic was deleted.
func (b *Broker) forgetUnknown(shard string) {
	read := func(m machine.Machine) any { return m.(*group.Machine).Topics() }
	b.groups.View(shard, read, func(body any, err error) {
		if err != nil {
			return // resigned, or stopping: who loads it next does it
		}
		img := b.meta.image()
		gone := slices.DeleteFunc(body.([]group.Topic), func(t group.Topic) bool {
			if t.ID == [16]byte{} {
				return img.Topic(t.Name) != nil
			}
			return img.TopicByID(t.ID) != nil
		})
		if len(gone) > 0 {
			b.forget(shard, gone)
		}
	})
}

// forget removes the committed offsets of deleted topics from one coordinator.
func (b *Broker) forget(shard string, deleted []group.Topic) {
	b.groups.Submit(shard, group.TopicsDeleted{Topics: deleted}, func(body any, err error) {
		_, more := body.(group.Again)
		switch {
		case err == nil && !more:
		case err == nil, errors.Is(err, machine.ErrOverloaded), errors.Is(err, machine.ErrTimeout):
			b.clock.AfterFunc(forgetPause, func() { b.forget(shard, deleted) })
		default:
			// Not loaded here now: once it is, here or elsewhere, the image of then tells.
		}
	})
}

// forgetPause is the wait before a coordinator that is busy is asked again.
const forgetPause = time.Second
