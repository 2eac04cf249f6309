package replica

import (
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/mutant"
)

// DeleteRecords: the leader moves its log start, durably; followers hear of it in the
// answers to their fetches, move theirs, and state it in their next fetch. The low
// watermark is the least start of those that count. It is answered when the low watermark
// has reached the offset: whoever is elected then starts no lower.
//
// As with Kafka every replica counts whose broker lives. Here those count as well, dead or
// not, from which the next leader may be elected.

// DeletePart asks for what one partition has below an offset to go; -1 is the high
// watermark.
type DeletePart struct {
	Partition *Partition
	Before    int64
}

// Deleted is the outcome for one partition. The low watermark is also told with
// REQUEST_TIMED_OUT, as it was at first; -1 when nothing was done.
type Deleted struct {
	Err          *kerr.Error
	LowWatermark int64
}

// DeleteOp is one DeleteRecords request on its way.
type DeleteOp struct {
	// Results are in the order of the parts; they are stable once ready was called.
	Results []Deleted

	awaiting // the low watermarks
	parts    []DeletePart
	ready    func(*DeleteOp)
}

// deleting is a deletion for which the low watermark is too low.
type deleting struct {
	target int64
	op     *DeleteOp
	index  int
}

// DeleteRecords moves the start of each part and calls ready once: when every low watermark
// is where it should be, or timeout is over. It syncs, and must be called without locks.
func (m *Manager) DeleteRecords(parts []DeletePart, timeout time.Duration, ready func(*DeleteOp)) *DeleteOp {
	op := &DeleteOp{Results: make([]Deleted, len(parts)), parts: parts, ready: ready}
	op.begin()
	for i := range parts {
		parts[i].Partition.deleteRecords(parts[i].Before, op, i)
	}
	if op.begun(m.opt.Clock, timeout, op) {
		op.ready(op)
	}
	return op
}

// Cancel ends the wait, for a connection that went away.
func (op *DeleteOp) Cancel() { op.expire() }

func (op *DeleteOp) expire() {
	for i := range op.parts {
		op.parts[i].Partition.forgetDeletion(op, i)
		op.settle(i, kerr.RequestTimedOut, -1)
	}
}

// settle ends the wait of one part; a low watermark of -1 leaves the one that was told.
func (op *DeleteOp) settle(index int, err *kerr.Error, low int64) {
	over := op.awaiting.settle(index, func() {
		r := &op.Results[index]
		r.Err = err
		if low >= 0 {
			r.LowWatermark = low
		}
	})
	if over {
		op.ready(op)
	}
}

// deleteRecords begins with one part, whose result it sets.
func (p *Partition) deleteRecords(before int64, op *DeleteOp, index int) {
	target, err := p.moveStart(before)
	if err != nil {
		op.Results[index] = Deleted{err, -1}
		return
	}
	p.mu.Lock()
	r, err := p.leads(-1)
	if err != nil {
		p.mu.Unlock()
		op.Results[index] = Deleted{err, -1}
		return
	}
	low := p.lowWatermark(r)
	op.Results[index] = Deleted{nil, low}
	if low < target && !mutant.On("replica/deletes-alone") {
		op.await(index, len(op.Results))
		p.deletes = append(p.deletes, deleting{target, op, index})
		p.m.deleting.Add(1)
	}
	wake := wakeups{fire: p.pollers.all()} // followers hear of it at once
	p.mu.Unlock()
	wake.run()
}

// moveStart moves the start of a led partition up to before, durably, and returns the
// offset that -1 stands for.
func (p *Partition) moveStart(before int64) (target int64, err *kerr.Error) {
	r, lerr := p.leads(-1)
	if lerr != nil {
		return -1, lerr
	}
	if !r.Deletes {
		return -1, kerr.PolicyViolation
	}
	hw := p.HighWatermark()
	if before == -1 {
		before = hw
	}
	if before < 0 || before > hw {
		return -1, kerr.OffsetOutOfRange
	}
	// No lock is held here: a sync round calls back into the partition. A relaxed
	// partition shows records that are not synced yet; its start must not overtake what is.
	if p.log.SyncedOffset() < before {
		p.log.Flush()
		if _, cause := p.m.opt.Dir.SyncRound(); cause != nil || p.log.SyncedOffset() < before {
			return -1, kerr.KafkaStorageError
		}
	}
	if cause := p.startAt(before); cause != nil {
		if errors.Is(cause, log.ErrOffsetOutOfRange) {
			return -1, kerr.OffsetOutOfRange
		}
		return -1, kerr.KafkaStorageError
	}
	return before, nil
}

// startAt moves the log's start, durably. Where there is not even room to note it, it is moved
// all the same, so that retention makes some, and noted then: the error says that it is not done
// yet. No lock is held.
func (p *Partition) startAt(offset int64) error {
	err := p.log.SetStartOffset(offset)
	if log.IsFull(err) {
		p.log.AdvanceStart(offset)
	}
	return err
}

// lowWatermark is the least start of the replicas that count, -1 while one of them has not
// told it in this leader epoch; mu is held.
func (p *Partition) lowWatermark(r *role) int64 {
	low, t, img := p.log.StartOffset(), p.tenure, p.m.image()
	for _, id := range r.replicas {
		if id == p.m.opt.NodeID || t == nil {
			continue
		}
		if b := img.Broker(id); b != nil && !b.Fenced || slices.Contains(r.isr, id) || slices.Contains(r.eligible, id) ||
			t.change != nil && slices.Contains(t.change.isr, id) {
			low = min(low, t.start(id))
		}
	}
	return low
}

// deleted takes out what the low watermark has reached; mu is held.
func (p *Partition) deleted(r *role, wake *wakeups) {
	if len(p.deletes) == 0 || !r.leading {
		return
	}
	low := p.lowWatermark(r)
	p.deletes = slices.DeleteFunc(p.deletes, func(d deleting) bool {
		if d.target > low {
			return false
		}
		p.m.deleting.Add(-1)
		wake.deleted, wake.low = append(wake.deleted, d), low
		return true
	})
}

func (p *Partition) forgetDeletion(op *DeleteOp, index int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deletes = slices.DeleteFunc(p.deletes, func(d deleting) bool {
		if d.op != op || d.index != index {
			return false
		}
		p.m.deleting.Add(-1)
		return true
	})
}

// failDeletes fails every deletion that waits.
func (p *Partition) failDeletes(err *kerr.Error) {
	p.mu.Lock()
	list := p.deletes
	p.deletes = nil
	p.m.deleting.Add(int64(-len(list)))
	p.mu.Unlock()
	for _, d := range list {
		d.op.settle(d.index, err, -1)
	}
}

// lookAtDeletes takes note that brokers came or went: those that are gone do not count.
func (m *Manager) lookAtDeletes() {
	if m.deleting.Load() == 0 {
		return
	}
	m.Each(func(p *Partition) {
		var wake wakeups
		p.mu.Lock()
		p.deleted(p.st.Load(), &wake)
		p.mu.Unlock()
		wake.run()
	})
}
