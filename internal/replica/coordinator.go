package replica

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/record"
)

// AppendIn appends one batch that a coordinator decided, if this broker still leads
// the partition in exactly that epoch. It returns the offset of the last record,
// which is not committed yet: Options.Committed tells when it is.
func (p *Partition) AppendIn(epoch int32, batch []byte) (last int64, err error) {
	p.mu.Lock()
	r := p.st.Load()
	if !r.leading || r.leaderEpoch != epoch {
		p.mu.Unlock()
		return 0, kerr.NotLeaderForPartition
	}
	if len(r.isr) < r.minISR {
		p.mu.Unlock()
		return 0, kerr.NotEnoughReplicas
	}
	res := p.append(r, batch, log.OriginCoordinator)
	if res.Err != nil {
		var wake wakeups
		p.yield(r, &p.full, -1, res.Cause, &wake)
		p.mu.Unlock()
		wake.run()
		return 0, fmt.Errorf("%w: %w", res.Err, res.Cause)
	}
	p.park(pending{end: res.Info.LastOffset + 1, bytes: len(batch)})
	wake := p.grown(r)
	p.mu.Unlock()
	wake.run()
	return res.Info.LastOffset, nil
}

// loadChunk is how much a coordinator reads at a time while it loads.
const loadChunk = 1 << 20

// maxDecompressed bounds one batch of a coordinator's log, in bytes; coordinators
// write far smaller ones.
const maxDecompressed = 256 << 20

// ReadAll calls fn for every record from the log's start to its end, committed or
// not, while this broker leads in epoch. Keys and values are valid during the call
// only. It returns the end offset.
//
// Damage ends it with an error, record.ErrCorrupt or that of the read: somebody else is to lead
// who is whole. Only what the controller says that nobody else has is left out.
func (p *Partition) ReadAll(epoch int32, fn func(b record.Batch, r record.Record) error) (end int64, err error) {
	next := p.log.StartOffset()
	buf := []byte(nil)
	for {
		r := p.st.Load()
		if !r.leading || r.leaderEpoch != epoch {
			return next, kerr.NotLeaderForPartition
		}
		end := p.log.EndOffset()
		if next >= end {
			return end, nil
		}
		run, err := p.log.Read(next, loadChunk, end, true)
		if err != nil {
			to, damaged := p.log.DamagedTo(next)
			if !damaged || !p.damagedAlone() {
				return next, err
			}
			// Without it the coordinator may know less than was committed; with an error
			// its groups would be gone for good.
			p.m.opt.Logger.Error("coordinator loads without a damaged range", "partition", p.id.String(), "from", next, "to", to, "why", err)
			next = to
			continue
		}
		if run.Len() == 0 {
			run.Release()
			return end, nil
		}
		buf = append(buf[:0], make([]byte, run.Len())...)
		_, err = run.ReadAt(buf, 0)
		run.Release()
		if err != nil {
			return next, err
		}
		if next, err = eachRecord(buf, next, min(end, run.NextOffset()), fn); err != nil {
			if errors.Is(err, record.ErrCorrupt) {
				run.Suspect(next) // the scrubber finds out how far it goes, and sets it aside
			}
			return next, err
		}
	}
}

// damagedAlone tells whether the controller said that nobody else has what is damaged here.
func (p *Partition) damagedAlone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.damage != nil && p.damage.alone
}

// eachRecord walks the data records of whole batches, skipping those below from and
// control batches; it returns the offset after the last batch. A batch without its
// checksum ends it with record.ErrCorrupt, as do lengths that lead to none and offsets, which are
// under no checksum, that do not ascend up to end: what these hold cannot be believed.
func eachRecord(buf []byte, from, end int64, fn func(b record.Batch, r record.Record) error) (next int64, err error) {
	next = from
	first := true
	for b, err := range record.Split(buf) {
		if err != nil {
			return next, fmt.Errorf("%w: behind offset %d: %w", record.ErrCorrupt, next-1, err)
		}
		if !b.CheckCRC() {
			return next, fmt.Errorf("%w: the batch at offset %d has another checksum", record.ErrCorrupt, b.BaseOffset())
		}
		if least := b.BaseOffset(); least < next && !first || b.NextOffset() <= next || b.NextOffset() > end {
			return next, fmt.Errorf("%w: the batch at offset %d, where %d or more is expected, and less than %d", record.ErrCorrupt, least, next, end)
		}
		first = false
		if !b.IsControl() {
			for r, err := range b.Records(maxDecompressed) {
				if err != nil {
					return next, err
				}
				if r.Offset < from {
					continue
				}
				if err := fn(b, r); err != nil {
					return next, err
				}
			}
		}
		next = b.LastOffset() + 1
	}
	return next, nil
}
