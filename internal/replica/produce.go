package replica

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/mutant"
)

// ProducePart is the records for one partition.
type ProducePart struct {
	Partition *Partition
	Batches   []byte // used until Produce returns
}

// Produced is the outcome for one partition.
type Produced struct {
	Err   *kerr.Error // nil when acknowledged
	Cause error       // what the log said, for the error message and per-record errors
	// Info says where the batch is, also when it was not acknowledged in time; its
	// numbers are -1 when nothing was appended.
	Info       log.AppendInfo
	Leadership Leadership // for KIP-951, when Err is NOT_LEADER_OR_FOLLOWER
}

// ProduceOp is one produce request on its way to being acknowledged.
type ProduceOp struct {
	// Results are in the order of the parts; they are stable once ready was called.
	Results []Produced

	awaiting // the high watermark
	ready    func(*ProduceOp)
}

// Produce appends each part, in order, and calls ready once: at once when nothing
// has to wait (acks 0 and 1, or every part failed), else when the high watermark
// has passed every part or timeout is over (REQUEST_TIMED_OUT for those it has not).
func (m *Manager) Produce(parts []ProducePart, acks int16, timeout time.Duration, ready func(*ProduceOp)) {
	op := &ProduceOp{Results: make([]Produced, len(parts)), ready: ready}
	op.begin()
	for i := range parts {
		parts[i].Partition.produce(parts[i].Batches, acks, op, i)
	}
	if op.begun(m.opt.Clock, timeout, op) {
		op.ready(op)
	}
}

// produce appends one part and stores its result before anybody can settle it.
func (p *Partition) produce(batches []byte, acks int16, op *ProduceOp, index int) {
	p.mu.Lock()
	r, err := p.leads(-1)
	if err == kerr.NotLeaderForPartition && mutant.On("replica/follower-appends") {
		err = nil
	}
	if err != nil {
		p.mu.Unlock()
		op.Results[index] = Refused(err, nil)
		op.Results[index].Leadership = Leadership{r.leader, r.leaderEpoch}
		return
	}
	if acks == -1 && len(r.isr) < r.minISR {
		p.refused(batches, kerr.NotEnoughReplicas)
		p.mu.Unlock()
		op.Results[index] = Refused(kerr.NotEnoughReplicas, nil)
		return
	}
	if err := p.missed(batches); err != nil {
		p.mu.Unlock()
		op.Results[index] = Refused(err, errMissed)
		return
	}
	res := p.append(r, batches, log.OriginClient)
	op.Results[index] = res
	if res.Err != nil {
		var wake wakeups
		p.refused(batches, res.Err)
		p.yield(r, &p.full, acks, res.Cause, &wake)
		var e *log.Earlier
		switch {
		case res.Err == kerr.NotLeaderForPartition:
			op.Results[index].Leadership = Leadership{r.leader, r.leaderEpoch}
		case res.Err != kerr.OutOfOrderSequenceNumber:
		case errors.As(res.Cause, &e) && acks != 0:
			op.await(index, len(op.Results))
			p.lookBack(&look{p: p, t: p.tenure, e: *e, op: op, index: index, acks: acks, res: res})
		default:
			op.Results[index], wake = p.outOfOrder(r, keyOf(batches), res)
		}
		p.mu.Unlock()
		wake.run()
		return
	}
	p.filled(batches)
	end := res.Info.LastOffset + 1
	early := mutant.On("replica/acks-at-append") || res.Info.Duplicate && mutant.On("replica/acks-duplicate-at-once")
	if acks == -1 && p.hw.Load() < end && !early {
		op.await(index, len(op.Results))
		p.park(pending{end: end, bytes: len(batches), op: op, index: index})
	} else if !res.Info.Duplicate {
		p.park(pending{end: end, bytes: len(batches)})
	}
	wake := p.grown(r)
	p.mu.Unlock()
	wake.run()
}

// append writes to the log with mu held.
func (p *Partition) append(r *role, batches []byte, origin log.Origin) Produced {
	info, err := p.log.Append(batches, log.AppendOptions{
		LeaderEpoch: r.leaderEpoch, Origin: origin, Now: p.m.now(), FromZero: p.strangers(),
	})
	if err != nil {
		return p.notAppended(err)
	}
	p.full.Store(false)
	if info.Duplicate {
		// Whatever the topic's timestamp type: the time that the batch was given.
		info.AppendTime = info.MaxTimestamp
	}
	return Produced{Info: info}
}

// park remembers an append above the high watermark, in order of its end. Appends
// come in order; only a duplicate of an uncommitted batch lands before the last one.
func (p *Partition) park(a pending) {
	i := len(p.pending)
	for i > 0 && p.pending[i-1].end > a.end {
		i--
	}
	p.pending = append(p.pending, pending{})
	copy(p.pending[i+1:], p.pending[i:])
	p.pending[i] = a
}

// settle ends the wait of one part; to is who leads now, for an error that says so.
func (op *ProduceOp) settle(index int, err *kerr.Error, to Leadership) {
	if op.awaiting.settle(index, func() { op.Results[index].Err, op.Results[index].Leadership = err, to }) {
		op.ready(op)
	}
}

// expire fails the parts that still wait.
func (op *ProduceOp) expire() {
	for i := range op.Results {
		op.settle(i, kerr.RequestTimedOut, Leadership{})
	}
}
