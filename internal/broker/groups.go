package broker

import (
	"bytes"
	"errors"
	"fmt"
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
	opts := groupOptions(b.config())
	b.groups.Lead(api.GroupShard(p.ID().Partition), epoch, partitionLog{p}, func() machine.Machine { return group.New(opts) })
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
