package replica

import (
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/mutant"
)

// A batch that lies before all that is remembered of its producer may be a duplicate (see
// log.Earlier). The log is looked through for it, beside the requests and without the
// partition's lock. What is found is answered as any duplicate; what must have been written
// but is not there any more with DUPLICATE_SEQUENCE_NUMBER, which producers take for an
// acknowledgement without an offset; anything else is out of order.

// look is one batch that is looked for, and who waits for it.
type look struct {
	p     *Partition
	t     *tenure // in which the batch came in: the log is not truncated within it
	e     log.Earlier
	op    *ProduceOp
	index int
	acks  int16
	res   Produced // when it is out of order
}

// maxLooks bounds the batches that wait to be looked for; more are to come again.
const maxLooks = 1000

// looks are the batches to be looked for, one at a time.
type looks struct {
	mu      sync.Mutex
	list    []*look
	running bool
}

// lookBack has a batch looked for, whose op waits; mu is held.
func (p *Partition) lookBack(k *look) {
	ls := &p.m.looks
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(ls.list) >= maxLooks {
		r := p.st.Load()
		k.res = Refused(kerr.NotLeaderForPartition, k.res.Cause)
		k.res.Leadership = Leadership{r.leader, r.leaderEpoch}
		p.m.opt.Clock.AfterFunc(0, func() { k.op.resolve(k.index, k.res) })
		return
	}
	ls.list = append(ls.list, k)
	if !ls.running {
		ls.running = true
		p.m.opt.Clock.AfterFunc(0, ls.run)
	}
}

func (ls *looks) run() {
	for {
		ls.mu.Lock()
		if len(ls.list) == 0 {
			ls.list, ls.running = nil, false
			ls.mu.Unlock()
			return
		}
		k := ls.list[0]
		ls.list = ls.list[1:]
		ls.mu.Unlock()
		info, found, err := k.p.log.FindEarlier(k.e)
		k.ended(info, found, err)
	}
}

// ended answers once the log was looked through.
func (k *look) ended(info log.AppendInfo, found bool, err error) {
	p := k.p
	p.mu.Lock()
	r := p.st.Load()
	var wake wakeups
	var end int64 // of what has to be committed before the answer
	res := k.res
	switch {
	case p.tenure != k.t || !r.leading:
		res = Refused(kerr.NotLeaderForPartition, nil)
		res.Leadership = Leadership{r.leader, r.leaderEpoch}
	case err != nil && !errors.Is(err, log.ErrOutOfOrderSequence):
		res = Refused(kerr.KafkaStorageError, err)
	case found:
		p.m.counters.oldDuplicates.Add(1)
		info.AppendTime = info.MaxTimestamp // as for any duplicate
		res, end = Produced{Info: info}, info.LastOffset+1
	case err == nil && k.e.Written || mutant.On("replica/earlier-is-written"):
		p.m.counters.lostDuplicates.Add(1)
		res = p.notAppended(fmt.Errorf("%w: the batch was written, and is not found in the log any more", log.ErrDuplicateSequence))
		end = k.e.Below
	default:
		res, wake = p.outOfOrder(r, batchKey{k.e.ProducerID, k.e.ProducerEpoch, k.e.Sequence}, res)
	}
	if k.acks == -1 && p.hw.Load() < end && !mutant.On("replica/acks-duplicate-at-once") {
		if k.op.told(k.index, res) {
			p.park(pending{end: end, op: k.op, index: k.index, code: res.Err})
		}
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	k.op.resolve(k.index, res)
	wake.run()
}

// told stores the result of a part that waits on; false when it does not any more.
func (op *ProduceOp) told(index int, res Produced) bool {
	return op.awaiting.told(index, func() { op.Results[index] = res })
}

// resolve stores the result of a part, and ends its wait.
func (op *ProduceOp) resolve(index int, res Produced) {
	if op.told(index, res) {
		op.settle(index, res.Err, res.Leadership)
	}
}
