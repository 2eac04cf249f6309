package node

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
func (n *Node) ledOffsets(p *replica.Partition, epoch int32) {
	fresh := func() machine.Machine {
		opts := groupOptions(n.Config())
		opts.MaxBatchBytes = p.Settings().Log.MaxMessageBytes
		return group.New(opts)
	}
	n.groups.Lead(api.GroupShard(p.ID().Partition), epoch, partitionLog{p}, fresh)
}

func (n *Node) resignedOffsets(p *replica.Partition, epoch int32) {
	n.groups.Resign(api.GroupShard(p.ID().Partition), epoch)
}

func (n *Node) committedOffsets(p *replica.Partition, hw int64) {
	n.groups.Committed(api.GroupShard(p.ID().Partition), p.Leadership().LeaderEpoch, hw)
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
func (n *Node) groupEvent(e machine.Event) {
	level := slog.LevelDebug
	switch {
	case e.Kind == machine.ShardFailed:
		level = slog.LevelError
	case e.Kind == machine.ShardReload:
		level = slog.LevelWarn
	case e.Kind == machine.ShardLoaded && e.Took > time.Second:
		level = slog.LevelInfo
	}
	n.log.Log(n.ctx, level, "coordinator "+e.Kind.String(), "shard", e.Shard, "epoch", e.Epoch, "records", e.Records, "took", e.Took, "why", e.Err)
	if e.Kind != machine.ShardLoaded {
		n.members.Hold(e.Shard, 0)
	}
	if e.Kind == machine.ShardLoaded && e.Records > 0 {
		n.forgetUnknown(e.Shard)
	}
}

// forgetUnknown removes the offsets of topics that the metadata does not know: an
// offset is only committed for a topic that is there, and the image that this is held
// against is never older than that commit on a single node, so the topic was deleted.
func (n *Node) forgetUnknown(shard string) {
	read := func(m machine.Machine) any { return m.(*group.Machine).Topics() }
	n.groups.View(shard, read, func(body any, err error) {
		if err != nil {
			return // resigned, or stopping: who loads it next does it
		}
		img := n.Image()
		gone := slices.DeleteFunc(body.([]group.Topic), func(t group.Topic) bool {
			if t.ID == [16]byte{} {
				return img.Topic(t.Name) != nil
			}
			return img.TopicByID(t.ID) != nil
		})
		if len(gone) > 0 {
			n.forget(shard, gone)
		}
	})
}

// forget removes the committed offsets of deleted topics from one coordinator.
func (n *Node) forget(shard string, deleted []group.Topic) {
	n.groups.Submit(shard, group.TopicsDeleted{Topics: deleted}, func(body any, err error) {
		_, more := body.(group.Again)
		switch {
		case err == nil && !more:
		case err == nil, errors.Is(err, machine.ErrOverloaded), errors.Is(err, machine.ErrTimeout):
			n.clock.AfterFunc(forgetPause, func() { n.forget(shard, deleted) })
		default:
			// Not loaded here now: once it is, here or elsewhere, the image of then tells.
		}
	})
}

// forgetPause is the wait before a coordinator that is busy is asked again.
const forgetPause = time.Second
