package replica

import (
	"cmp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/mutant"
)

// Special timestamps of ListOffsets.
const (
	Latest         int64 = -1 // the high watermark, or the last stable offset
	Earliest       int64 = -2
	MaxTimestamp   int64 = -3 // KIP-734
	EarliestLocal  int64 = -4 // KIP-405
	LatestTiered   int64 = -5 // KIP-1005
	EarliestUpload int64 = -6 // KIP-1023
)

// Listed is the answer of ListOffsets for one partition; -1 means none.
type Listed struct {
	Err         *kerr.Error
	Timestamp   int64
	Offset      int64
	LeaderEpoch int32
}

// ListOffset looks an offset up by time or by one of the special timestamps. Only
// offsets that readers may see are found.
func (p *Partition) ListOffset(timestamp int64, currentEpoch int32, committed bool) Listed {
	r, lerr := p.leads(currentEpoch)
	if lerr != nil {
		return Listed{lerr, -1, -1, -1}
	}
	upTo := p.HighWatermark()
	if committed {
		upTo = p.LastStableOffset()
	}
	// A leader may know less of what is committed than the one before it; until it knows
	// that for sure, "latest" would go backwards (KIP-207).
	behind := r.epochStart > p.HighWatermark() && !mutant.On("replica/latest-goes-back")
	none := Listed{nil, -1, -1, -1}
	if behind {
		none.Err = kerr.OffsetNotAvailable
	}
	switch timestamp {
	case Latest:
		if behind {
			return none
		}
		return Listed{nil, -1, upTo, r.leaderEpoch}
	case Earliest, EarliestLocal:
		start := p.log.StartOffset()
		epoch := p.epochAt(start)
		if epoch < 0 && start == p.log.EndOffset() {
			epoch = r.leaderEpoch // the epoch that the first record will have
		}
		return Listed{nil, -1, start, epoch}
	case LatestTiered, EarliestUpload: // nothing is tiered here
		return Listed{nil, -1, -1, -1}
	case MaxTimestamp:
		if behind {
			return none
		}
		return p.found(p.log.MaxTimestampOffset(upTo))
	}
	if timestamp < 0 {
		return Listed{kerr.UnsupportedVersion, -1, -1, -1}
	}
	at := p.found(p.log.OffsetForTime(timestamp, upTo))
	if at.Err == nil && at.Offset < 0 {
		return none
	}
	return at
}

func (p *Partition) found(at log.TimeOffset, ok bool, err error) Listed {
	switch {
	case err != nil:
		return Listed{p.st.Load().readError(err), -1, -1, -1}
	case !ok:
		return Listed{nil, -1, -1, -1}
	}
	return Listed{nil, at.Timestamp, at.Offset, p.epochAt(at.Offset)}
}

// epochAt is the leader epoch in which the record at offset was written, -1 when unknown.
func (p *Partition) epochAt(offset int64) int32 { return p.log.EpochForOffset(offset) }

// EpochEnd answers OffsetForLeaderEpoch: the largest epoch not above the asked one
// and where it ended (KIP-101, KIP-279); -1, -1 when unknown. The leader's own epoch ends
// where its log does, committed or not: a reader that has met its successor may have read
// more than it knows to be committed (KIP-320).
func (p *Partition) EpochEnd(epoch, currentEpoch int32) (int32, int64, *kerr.Error) {
	r, lerr := p.leads(currentEpoch)
	if lerr != nil {
		return -1, -1, lerr
	}
	if epoch > r.leaderEpoch && len(r.replicas) > 1 {
		return -1, -1, kerr.UnknownLeaderEpoch // the reader has met a later leader
	}
	e, end := p.epochEnd(r, epoch)
	return e, end, nil
}

// Producers lists the producers that the partition remembers, by id
// (DescribeProducers).
func (p *Partition) Producers() ([]log.ProducerInfo, *kerr.Error) {
	if _, err := p.leads(-1); err != nil {
		return nil, err
	}
	all := p.log.Producers()
	slices.SortFunc(all, func(a, b log.ProducerInfo) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return all, nil
}

// Path is the log directory.
func (m *Manager) Path() string { return m.opt.Dir.Path() }

// Usage is the space of the file system that holds the log directory.
func (m *Manager) Usage() (env.Usage, error) { return m.opt.FS.Usage(m.opt.Dir.Path()) }

// Failed is why the log directory is offline, nil while it is not.
func (m *Manager) Failed() error { return m.opt.Dir.Failed() }

// Retain applies retention by time, size and start offset to every partition that
// this broker leads; failed is told of each that could not be.
func (m *Manager) Retain(now time.Time, failed func(id log.LogID, err error)) {
	m.Each(func(p *Partition) {
		if _, err := p.log.Retain(now, p.HighWatermark()); err != nil {
			failed(p.id, err)
		}
	})
}
