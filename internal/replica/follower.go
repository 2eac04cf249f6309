package replica

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/record"
)

// verdict is what a follower makes of one partition's answer.
type verdict int8

const (
	wentOn  verdict = iota // the next fetch goes on
	stale                  // the answer is of a role that is over
	wait                   // leader and follower know different metadata: soon again
	trouble                // something is wrong here or there: again after a pause
	noRoom                 // the disk is full: the leader is to know it, and again after a pause
)

// follow moves the high watermark of a follower: as far as the leader's, and what is
// safe here. mu is held; the caller runs the returned wake-ups.
func (p *Partition) follow(r *role) wakeups {
	if mutant.On("replica/follower-raises-alone") {
		return p.raise(r, p.localEnd(r))
	}
	return p.raise(r, min(p.leaderHW, p.localEnd(r)))
}

// position is where a follower fetches on, the log's end, and the leader epoch of its
// last record; -1 when it has none. It is false while a durable replica has not synced
// all of its log: what it states it must have, and what it does not state would not be
// held against the leader's. One that cannot sync states what it has synced, all the same:
// it asks for nothing, and is stuck.
func (p *Partition) position() (offset int64, lastEpoch int32, stuck, ok bool) {
	stuck, offset = p.stuck.Load(), p.log.EndOffset()
	if stuck {
		offset = min(offset, p.log.SyncedOffset())
	} else if p.localEnd(p.st.Load()) < offset && !mutant.On("replica/states-unsynced") {
		return offset, -1, false, false
	}
	if offset > p.log.StartOffset() {
		return offset, p.log.EpochForOffset(offset - 1), stuck, true
	}
	return offset, -1, stuck, true
}

// complain tells of trouble, until it has lasted for some tries. That the log was deleted, or
// is closed as this broker stops, is none: an answer came late.
func (p *Partition) complain(level slog.Level, e fmt.Stringer) {
	if f, ok := e.(ReplicaFailed); ok && (errors.Is(f.Err, log.ErrClosed) || errors.Is(f.Err, log.ErrDeleted)) {
		return
	}
	if !p.sick.Load() {
		p.m.event(level, e)
	}
}

// take takes a leader's answer for the partition, which was asked for in a leader epoch.
func (p *Partition) take(leader, epoch int32, in *kmsg.FetchResponseTopicPartition) verdict {
	switch err := kerr.TypedErrorForCode(in.ErrorCode); err {
	case nil:
	case kerr.OffsetOutOfRange:
		return p.outOfRange(leader, epoch, in)
	case kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.NotLeaderForPartition, kerr.UnknownTopicID, kerr.UnknownTopicOrPartition, kerr.ReplicaNotAvailable:
		return wait
	default:
		p.complain(slog.LevelWarn, ReplicaFailed{p.id, leader, err})
		return trouble
	}
	if in.DivergingEpoch.EndOffset >= 0 { // told twice in one answer
		return wait
	}
	r, wake, err := p.appendFetched(leader, epoch, in)
	wake.run()
	switch {
	case r == nil:
		return stale
	case errors.Is(err, record.ErrCorrupt):
		p.m.counters.corrupt.Add(1)
		p.complain(slog.LevelError, CorruptFetched{p.id, p.log.EndOffset(), leader, err})
		return trouble
	case err != nil && !log.IsFull(err):
		p.complain(slog.LevelWarn, ReplicaFailed{p.id, leader, err})
		return trouble
	}
	// The start offset follows the leader's, as far as this replica knows to be
	// committed; that is all of it, or the offset asked for would have been out of range.
	// No lock is held: moving it may call for a sync round.
	went := wentOn
	if start := min(in.LogStartOffset, p.HighWatermark()); start > p.log.RecordedStart() {
		if err := p.startAt(start); err != nil {
			p.complain(slog.LevelWarn, ReplicaFailed{p.id, leader, err})
			went = trouble
		}
	}
	if err != nil {
		return noRoom // what is deleted may make some
	}
	return went
}

// followed is the role if it still is that of a follower of leader in epoch, else nil;
// mu is held.
func (p *Partition) followed(leader, epoch int32) *role {
	if r := p.st.Load(); !r.leading && r.away == nil && r.leader == leader && r.leaderEpoch == epoch {
		return r
	}
	return nil
}

// appendFetched appends what the leader sent and takes over its high watermark.
func (p *Partition) appendFetched(leader, epoch int32, in *kmsg.FetchResponseTopicPartition) (r *role, wake wakeups, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r = p.followed(leader, epoch); r == nil {
		return nil, wake, nil
	}
	if run := in.RecordBatches; len(run) > 0 {
		if err = p.fit(run); err == nil {
			err = notLater(run, epoch)
		}
		if err == nil {
			_, err = p.log.Append(run, log.AppendOptions{Origin: log.OriginReplication, Now: p.m.now()})
		}
		switch {
		case err == nil:
			p.full.Store(false)
			p.park(pending{end: p.log.EndOffset(), bytes: len(run)})
		case !log.IsFull(err):
			return r, wake, err
		}
	}
	if in.HighWatermark >= 0 {
		p.leaderHW = in.HighWatermark
	}
	p.lag.Store(max(in.HighWatermark-p.log.EndOffset(), 0))
	if wake = p.follow(r); err != nil {
		p.lacks(leader, &p.full, err, &wake)
	}
	return r, wake, err
}

// notLater refuses batches of a later leader epoch than the one that they came from: it is
// under no checksum, and a log that took it would follow nobody any more.
func notLater(run []byte, epoch int32) error {
	for b, err := range record.Split(run) {
		if err == nil && b.LeaderEpoch() > epoch {
			return fmt.Errorf("%w: batch %d to %d of leader epoch %d, sent in epoch %d", record.ErrCorrupt, b.BaseOffset(), b.LastOffset(), b.LeaderEpoch(), epoch)
		}
	}
	return nil // what cannot be split the log refuses
}

// fit checks that a run goes on where the log ends. An empty log may have been given a
// start inside a batch, which the leader has as a whole: then it begins with the batch.
// mu is held.
func (p *Partition) fit(run []byte) error {
	b, err := record.First(run)
	if err != nil {
		if errors.Is(err, record.ErrTruncated) {
			return fmt.Errorf("%w: a batch is cut short", record.ErrCorrupt)
		}
		return err
	}
	end := p.log.EndOffset()
	switch {
	case b.BaseOffset() >= end:
		return nil
	case !b.CheckCRC():
		return fmt.Errorf("%w: its checksum is another", record.ErrCorrupt)
	case p.log.StartOffset() != end || b.NextOffset() <= end:
		return fmt.Errorf("%w: batch %d to %d, the log ends at %d", log.ErrNotInOrder, b.BaseOffset(), b.LastOffset(), end)
	}
	return p.log.MoveStart(b.BaseOffset())
}

// cut takes note that the log now ends at end; mu is held.
func (p *Partition) cut(end int64) {
	p.pending = nil
	p.leaderHW = min(p.leaderHW, end)
	if p.hw.Load() > end {
		p.hw.Store(end)
		p.log.SetHighWatermark(end)
	}
}

// outOfRange starts the log anew where the leader's starts, if that has nothing any more
// of what this replica has: it lies behind the end here, or at it.
func (p *Partition) outOfRange(leader, epoch int32, in *kmsg.FetchResponseTopicPartition) verdict {
	p.mu.Lock()
	if p.followed(leader, epoch) == nil {
		p.mu.Unlock()
		return stale
	}
	p.m.counters.outOfRange.Add(1)
	start, end := p.log.StartOffset(), p.log.EndOffset()
	if in.LogStartOffset < 0 || (in.LogStartOffset < end && start < end) {
		p.mu.Unlock()
		p.complain(slog.LevelWarn, ReplicaFailed{p.id, leader, fmt.Errorf("offset %d is out of range there, where the log starts at %d", end, in.LogStartOffset)})
		return trouble
	}
	if err := p.log.StartAnew(in.LogStartOffset, toldProducers(in)); err != nil {
		p.mu.Unlock()
		return p.failed(leader, epoch, err)
	}
	p.full.Store(false)
	p.stuck.Store(false)
	p.cut(in.LogStartOffset)
	p.leaderHW = in.HighWatermark
	wake := p.raise(p.st.Load(), in.LogStartOffset)
	p.mu.Unlock()
	wake.run()
	p.m.event(slog.LevelWarn, StartedAnew{p.id, end, in.LogStartOffset, leader})
	p.wakeFetches()
	return wentOn
}
