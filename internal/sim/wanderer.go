package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/sim/history"
)

// wanderer is an idempotent producer that writes to a topic that is made anew, one record
// at a time. By id it tries again as long as the topic is the one that it was given for; by
// name it tries once, or nobody could tell in how many topics the record is.
type wanderer struct {
	*Client
	a        *anew
	id       int64
	epoch    int16
	life     [16]byte // that the sequences are of
	sequence map[int32]int32
	number   int64
	pending  *wandering
	byID     bool
}

type wandering struct {
	op   int
	part int32
	life [16]byte
	by   time.Duration
	seq  int32
}

func newWanderer(a *anew, name string) *wanderer {
	w := &wanderer{Client: newClient(a.c.World, name, a.c.brokers(), &a.c.Rec), a: a, id: -1, sequence: map[int32]int32{}}
	w.byID = w.version(kmsg.Produce.Int16()) >= produceByID
	return w
}

func (w *wanderer) idle() bool { return w.stopped && w.pending == nil }

func (w *wanderer) start() { w.refresh([]string{anewTopic}, func(bool) { w.work() }) }

func (w *wanderer) again() {
	w.after(w.a.c.calm(10*time.Millisecond+w.upTo(100*time.Millisecond)), w.work)
}

// retry asks for the metadata before it goes on.
func (w *wanderer) retry() {
	w.after(w.backoff(), func() { w.refresh([]string{anewTopic}, func(bool) { w.work() }) })
}

func (w *wanderer) work() {
	switch {
	case w.pending == nil && w.stopped:
	case w.id < 0:
		w.askID()
	case w.pending == nil:
		w.give()
	default:
		w.send()
	}
}

func (w *wanderer) askID() {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	w.callHost(w.any(), req, requestTimeout, func(r kmsg.Response) {
		if resp, ok := r.(*kmsg.InitProducerIDResponse); ok && w.noted("InitProducerID", resp.ErrorCode) == nil {
			w.id, w.epoch = resp.ProducerID, resp.ProducerEpoch
		}
		w.again()
	})
}

// give makes a record for the topic that is known now.
func (w *wanderer) give() {
	t := w.topics[anewTopic]
	if t == nil {
		w.retry()
		return
	}
	if t.id != w.life {
		w.life = t.id
		w.bump()
	}
	part := w.rng.Int32N(w.a.parts)
	w.number++
	name := history.Partition{Topic: nameless, Number: part}
	if w.byID {
		name = (&life{id: t.id}).history(part)
	}
	w.pending = &wandering{op: len(w.rec.Produces), part: part, life: t.id, by: w.w.Now() + 10*time.Second, seq: w.sequence[part]}
	w.rec.Produces = append(w.rec.Produces, history.Produce{
		Producer: w.h.Name, Number: w.number, Partition: name, Value: fmt.Sprintf("%s-%d", w.h.Name, w.number), Begin: w.now(),
		End: history.Never, Offset: -1, Promised: true, Idempotent: true,
	})
	w.send()
}

// bump begins anew with all sequences.
func (w *wanderer) bump() {
	w.epoch++
	clear(w.sequence)
}

// giveUp leaves open what became of a record.
func (w *wanderer) giveUp() {
	w.pending = nil
	w.bump()
	w.retry()
}

func (w *wanderer) send() {
	b := w.pending
	lead, ok := w.leader(tp{anewTopic, b.part})
	t := w.topics[anewTopic]
	switch {
	case w.byID && t.id != b.life, w.w.Now() > b.by:
		w.giveUp()
		return
	case !ok:
		w.retry()
		return
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 3000
	rt, rp := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	rt.Topic, rt.TopicID, rp.Partition = anewTopic, b.life, b.part
	op := &w.rec.Produces[b.op]
	rp.Records = batch(w.id, w.epoch, b.seq, w.h.Clock.Now().UnixMilli(), []string{op.Value}, 10)
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	w.call(lead.node, req, 8*time.Second, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.ProduceResponse)
		if !ok || len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
			w.failed(errNoAnswer)
			return
		}
		rp := resp.Topics[0].Partitions[0]
		if err := w.noted("Produce", rp.ErrorCode); err != nil {
			w.failed(err)
			return
		}
		op := &w.rec.Produces[b.op]
		op.Outcome, op.End, op.Offset = history.OK, w.now(), rp.BaseOffset
		w.sequence[b.part]++
		w.pending = nil
		w.again()
	})
}

var errNoAnswer = errors.New("no answer")

func (w *wanderer) failed(err error) {
	if gone(err) {
		w.w.Count["produce to a topic that is gone"]++
	}
	switch {
	case errors.Is(err, kerr.OutOfOrderSequenceNumber) && w.byID, !errors.Is(err, errNoAnswer) && !errors.Is(err, kerr.OutOfOrderSequenceNumber) && !kerr.IsRetriable(err):
		w.w.Failf("%s: a record alone under way (sequence %d, epoch %d) was answered %w", w.h.Name, w.pending.seq, w.epoch, err)
	case w.byID:
		w.retry()
	default:
		w.giveUp()
	}
}
