package sim

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/sim/history"
)

// reader reads a topic that is made anew, from the start of each life that it hears of. By
// name it cannot tell one from another, and what it is given is only read.
type reader struct {
	*Client
	a    *anew
	id   [16]byte
	at   map[int32]int64
	byID bool
	only *life // if not nil, what it reads
}

func newReader(a *anew, name string) *reader {
	r := &reader{Client: newClient(a.c.World, name, a.c.brokers(), &a.c.Rec), a: a, at: map[int32]int64{}}
	if name == "last anew" {
		r.versions = nil
	}
	r.byID = r.version(kmsg.Fetch.Int16()) >= fetchByID
	return r
}

func (r *reader) start() { r.retry() }

func (r *reader) retry() {
	r.after(r.backoff(), func() { r.refresh([]string{anewTopic}, func(bool) { r.work() }) })
}

func (r *reader) work() {
	t := r.topics[anewTopic]
	part := r.rng.Int32N(r.a.parts)
	lead, ok := r.leader(tp{anewTopic, part})
	if !ok || r.only != nil && t.id != r.only.id {
		r.retry()
		return
	}
	if t.id != r.id {
		if r.id != [16]byte{} {
			r.w.Count["reader in a topic made anew"]++
		}
		r.id = t.id
		clear(r.at)
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = -1, int32(r.rng.IntN(300)), 1, 1<<20, -1
	rt, rp := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	rt.Topic, rt.TopicID = anewTopic, t.id
	rp.Partition, rp.CurrentLeaderEpoch, rp.FetchOffset, rp.PartitionMaxBytes = part, lead.epoch, r.at[part], 1<<16
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	begin, id, at := r.now(), t.id, r.at[part]
	r.call(lead.node, req, requestTimeout, func(resp kmsg.Response) {
		got, ok := resp.(*kmsg.FetchResponse)
		if !ok || r.noted("Fetch", got.ErrorCode) != nil || len(got.Topics) == 0 || len(got.Topics[0].Partitions) == 0 {
			r.retry()
			return
		}
		r.fetched(id, part, at, begin, &got.Topics[0].Partitions[0])
	})
}

func (r *reader) fetched(id [16]byte, part int32, at int64, begin history.Time, got *kmsg.FetchResponseTopicPartition) {
	err := r.noted("Fetch", got.ErrorCode)
	if gone(err) {
		r.w.Count["fetch of a topic that is gone"]++
	}
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange) && r.byID:
		r.w.Failf("%s: %d is out of range in %s", r.h.Name, at, (&life{id: id}).history(part))
		return
	case errors.Is(err, kerr.OffsetOutOfRange):
		r.at[part] = 0
		r.retry()
		return
	case err != nil:
		r.retry()
		return
	}
	recs, err := parse(got.RecordBatches, at)
	if garbled(err) && r.w.Count["bit flipped"] > 0 {
		r.retry()
		return
	}
	if err != nil {
		r.w.Failf("%s: fetch of %s from %d: %w", r.h.Name, anewTopic, at, err)
		return
	}
	if len(recs) > 0 {
		r.at[part] = recs[len(recs)-1].Offset + 1
	}
	if r.byID && len(recs) > 0 {
		rd := history.Read{Consumer: r.h.Name, Partition: (&life{id: id}).history(part), From: at, Begin: begin, End: r.now()}
		for _, rec := range recs {
			rd.Records = append(rd.Records, rec.Record)
		}
		r.rec.Reads = append(r.rec.Reads, rd)
	}
	r.after(r.a.c.calm(time.Millisecond+r.upTo(100*time.Millisecond)), r.work)
}

// end asks where a partition of the last life ends.
func (r *reader) end(part int32, done func(end int64, ok bool)) {
	t := r.topics[anewTopic]
	lead, ok := r.leader(tp{anewTopic, part})
	if !ok || t.id != r.only.id {
		done(0, false)
		return
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	rt, rp := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
	rt.Topic, rp.Partition, rp.CurrentLeaderEpoch, rp.Timestamp = anewTopic, part, lead.epoch, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	r.call(lead.node, req, requestTimeout, func(resp kmsg.Response) {
		got, ok := resp.(*kmsg.ListOffsetsResponse)
		if !ok || len(got.Topics) == 0 || len(got.Topics[0].Partitions) == 0 || r.noted("ListOffsets", got.Topics[0].Partitions[0].ErrorCode) != nil {
			done(0, false)
			return
		}
		done(got.Topics[0].Partitions[0].Offset, true)
	})
}
