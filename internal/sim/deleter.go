package sim

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/sim/history"
)

// deleter deletes records now and then (DeleteRecords).
type deleter struct {
	*consumer
	c   *Cluster
	all []tp
}

func newDeleter(c *Cluster, name string, parts []tp) *deleter {
	return &deleter{consumer: newConsumer(newClient(c.World, name, c.brokers(), &c.Rec), parts), c: c, all: parts}
}

func (d *deleter) start() { d.refresh(d.topicNames(), func(bool) { d.work() }) }

func (d *deleter) work() {
	if d.stopped {
		return
	}
	t := d.all[d.rng.IntN(len(d.all))]
	d.list(t, -1, func(end int64, ok bool) {
		if ok && end > 0 && !d.stopped {
			// Mostly little: what is deleted cannot be missed at the end.
			before := d.rng.Int64N(end) / 4
			switch d.rng.IntN(8) {
			case 0:
				before = -1
			case 1:
				before = end
			case 2:
				before = end + 1 + d.rng.Int64N(3) // may be there by then
			}
			d.delete(t, before)
			return
		}
		d.again()
	})
}

func (d *deleter) again() { d.after(500*time.Millisecond+d.upTo(6*time.Second), d.work) }

func (d *deleter) delete(t tp, before int64) {
	l, ok := d.leader(t)
	if !ok {
		d.renew()
		d.again()
		return
	}
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = int32(d.rng.IntN(8000))
	if d.rng.IntN(2) == 0 {
		req.TimeoutMillis = int32(d.rng.IntN(100)) // less than most replicas take
	}
	rt, rp := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
	rt.Topic, rp.Partition, rp.Offset = t.topic, t.part, before
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	at := len(d.rec.Deletions)
	d.rec.Deletions = append(d.rec.Deletions, history.Deletion{
		Client: d.h.Name, Partition: t.history(), Before: before, Begin: d.now(), End: history.Never, Low: -1,
	})
	id := log.LogID{Topic: t.topic, TopicID: d.topics[t.topic].id, Partition: t.part}
	d.call(l.node, req, time.Duration(req.TimeoutMillis)*time.Millisecond+requestTimeout, func(r kmsg.Response) {
		d.again()
		resp, ok := r.(*kmsg.DeleteRecordsResponse)
		if !ok || len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
			d.renew()
			return
		}
		got, op := resp.Topics[0].Partitions[0], &d.rec.Deletions[at]
		switch err := d.noted("DeleteRecords", got.ErrorCode); {
		case err == nil:
			op.Outcome, op.End, op.Low = history.OK, d.now(), got.LowWatermark
			d.w.Count["records deleted"]++
			d.c.inv.acknowledged(id, got.LowWatermark)
		case errors.Is(err, kerr.OffsetOutOfRange):
			op.Outcome, op.End = history.Failed, d.now()
		case errors.Is(err, kerr.RequestTimedOut):
			d.w.Count["deletion timed out"]++
		case kerr.IsRetriable(err):
			d.renew()
		default:
			d.w.Failf("%s: deleting records of %v was answered %w", d.h.Name, t, err)
		}
	})
}

// mayStart is how far records may be deleted by now, as far as clients asked.
func (r *Recorder) mayStart(p history.Partition) (at int64) {
	for i := range r.Deletions {
		if d := &r.Deletions[i]; d.Partition == p {
			if d.Before < 0 {
				return 1<<63 - 1
			}
			at = max(at, d.Before)
		}
	}
	return at
}

// acknowledged: whoever is in sync or may be elected has deleted what clients were told is.
func (v *invariants) acknowledged(id log.LogID, low int64) {
	v.deleted[id] = max(v.deleted[id], low)
	v.onEveryMember(id)
}
