package sim

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/sim/history"
)

// consumer reads partitions from their start, with the leader epochs that it knows
// (KIP-320): it would notice if what it has read were truncated.
type consumer struct {
	*Client
	parts map[tp]*position
	pace  time.Duration
	busy  map[int32]bool // brokers with a fetch under way

	renewing bool

	// group, member and generation when the consumer is in a group.
	group, member string
	generation    int32
	// given is told of each answer with records; it may be nil.
	given func()
}

type position struct {
	at      int64 // next offset
	epoch   int32 // of the last record read; -1: none
	checked int32 // leader epoch in which the position was validated
	asking  bool
	paused  time.Duration // until
}

func newConsumer(c *Client, parts []tp) *consumer {
	k := &consumer{Client: c, parts: map[tp]*position{}, pace: 20*time.Millisecond + c.upTo(100*time.Millisecond), busy: map[int32]bool{}}
	for _, t := range parts {
		k.parts[t] = &position{epoch: -1, checked: -1}
	}
	return k
}

// sorted is the partitions in an order that does not depend on a map's.
func (k *consumer) sorted() []tp {
	return slices.SortedFunc(maps.Keys(k.parts), compareTP)
}

func compareTP(a, b tp) int {
	switch {
	case a.topic != b.topic && a.topic < b.topic:
		return -1
	case a.topic != b.topic:
		return 1
	}
	return int(a.part - b.part)
}

func (k *consumer) topicNames() (names []string) {
	for _, t := range k.sorted() {
		names = append(names, t.topic)
	}
	return slices.Compact(names)
}

func (k *consumer) start() { k.refresh(k.topicNames(), func(bool) { k.poll() }) }

// poll fetches again and again.
func (k *consumer) poll() {
	if k.stopped {
		return
	}
	if !k.pollOnce() {
		k.renew()
	}
	k.after(k.pace, k.poll)
}

// pollOnce fetches from every leader that has no fetch under way; false when the leader
// of some partition is not known.
func (k *consumer) pollOnce() bool {
	by := map[int32][]tp{}
	var order []int32
	unknown := false
	for _, t := range k.sorted() {
		l, ok := k.leader(t)
		p := k.parts[t]
		switch {
		case !ok:
			unknown = true
		case k.busy[l.node] || p.asking || p.paused > k.w.Now():
		case l.epoch >= 0 && p.epoch > l.epoch:
			// Read where the epoch was not asked for (Fetch below version 9): what is known of
			// the leader is older than the record, and such a leader would answer from what it
			// had, before it hears that it is one no more.
			unknown = true
		case p.checked < l.epoch && p.epoch >= 0:
			k.validate(t, p, l)
		default:
			if by[l.node] == nil {
				order = append(order, l.node)
			}
			by[l.node] = append(by[l.node], t)
		}
	}
	for _, node := range order {
		k.fetch(node, by[node])
	}
	return !unknown
}

// validate asks where the leader's log ends for the epoch of the last record.
func (k *consumer) validate(t tp, p *position, l leader) {
	p.asking = true
	at, epoch := p.at, p.epoch // a fetch that is under way to another leader may yet move it
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	rt, rp := kmsg.NewOffsetForLeaderEpochRequestTopic(), kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	rt.Topic, rp.Partition, rp.CurrentLeaderEpoch, rp.LeaderEpoch = t.topic, t.part, l.epoch, p.epoch
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	k.call(l.node, req, requestTimeout, func(r kmsg.Response) {
		p.asking = false
		resp, ok := r.(*kmsg.OffsetForLeaderEpochResponse)
		if !ok || len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
			k.retry(p)
			return
		}
		a := resp.Topics[0].Partitions[0]
		if k.noted("OffsetForLeaderEpoch", a.ErrorCode) != nil {
			k.retry(p)
			return
		}
		if a.EndOffset < at {
			k.w.Failf("%s: %v was truncated to %d (epoch %d) below %d, which was read in epoch %d",
				k.h.Name, t, a.EndOffset, a.LeaderEpoch, at, epoch)
		}
		p.checked = max(p.checked, l.epoch)
	})
}

func (k *consumer) retry(p *position) {
	wait := k.backoff()
	p.paused = k.w.Now() + wait
	k.renew()
}

// renew asks for the metadata again, once at a time.
func (k *consumer) renew() {
	if k.renewing {
		return
	}
	k.renewing = true
	k.after(k.backoff(), func() { k.refresh(k.topicNames(), func(bool) { k.renewing = false }) })
}

func (k *consumer) fetch(node int32, parts []tp) {
	k.busy[node] = true
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = -1, int32(k.rng.IntN(500)), 1, 1<<20
	req.SessionEpoch = -1
	v := k.version(req.Key())
	asked := map[string]map[int32]tp{}
	from := map[tp]int64{}
	for _, t := range parts {
		p := k.parts[t]
		tt := k.topics[t.topic]
		i := slices.IndexFunc(req.Topics, func(rt kmsg.FetchRequestTopic) bool { return rt.Topic == t.topic })
		if i < 0 {
			i = len(req.Topics)
			rt := kmsg.NewFetchRequestTopic()
			rt.Topic, rt.TopicID = t.topic, tt.id
			req.Topics = append(req.Topics, rt)
			asked[placeOf(v, fetchByID, t.topic, tt.id)] = map[int32]tp{}
		}
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.CurrentLeaderEpoch, rp.LastFetchedEpoch = t.part, tt.parts[t.part].epoch, p.epoch
		rp.FetchOffset, rp.PartitionMaxBytes = p.at, int32(1+k.rng.IntN(64<<10))
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
		asked[placeOf(v, fetchByID, t.topic, tt.id)][t.part] = t
		from[t] = p.at
	}
	begin := k.now()
	generation, member := k.generation, k.member
	k.call(node, req, requestTimeout, func(r kmsg.Response) {
		k.busy[node] = false
		resp, ok := r.(*kmsg.FetchResponse)
		if !ok || k.noted("Fetch", resp.ErrorCode) != nil || generation != k.generation || member != k.member {
			k.renew()
			return
		}
		for _, rt := range resp.Topics {
			for _, rp := range rt.Partitions {
				if t, ok := asked[placeOf(v, fetchByID, rt.Topic, rt.TopicID)][rp.Partition]; ok && k.parts[t] != nil && k.parts[t].at == from[t] {
					k.fetched(t, k.parts[t], &rp, begin)
				}
			}
		}
		if k.given != nil {
			k.given()
		}
	})
}

func (k *consumer) fetched(t tp, p *position, rp *kmsg.FetchResponseTopicPartition, begin history.Time) {
	err := k.noted("Fetch", rp.ErrorCode)
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange):
		k.earliest(t, p)
		return
	case err != nil:
		k.retry(p)
		return
	case rp.DivergingEpoch.EndOffset >= 0:
		k.w.Failf("%s: %v diverges from %d (epoch %d) below %d, which was read in epoch %d",
			k.h.Name, t, rp.DivergingEpoch.EndOffset, rp.DivergingEpoch.Epoch, p.at, p.epoch)
		return
	}
	recs, perr := parse(rp.RecordBatches, p.at)
	if garbled(perr) && k.w.Count["bit flipped"] > 0 {
		k.w.Count["damaged batch at a consumer"]++ // as with Kafka, who reads checks; it asks again until it is mended
		k.retry(p)
		return
	}
	if perr != nil {
		k.w.Failf("%s: fetch of %v from %d: %w", k.h.Name, t, p.at, perr)
		return
	}
	if len(recs) == 0 {
		return
	}
	rd := history.Read{
		Consumer: k.h.Name, Partition: t.history(), From: p.at, Begin: begin, End: k.now(),
		Group: k.group, Member: k.member, Generation: k.generation,
	}
	for _, r := range recs {
		if r.Offset >= rp.HighWatermark {
			k.w.Failf("%s: %v gave offset %d at a high watermark of %d", k.h.Name, t, r.Offset, rp.HighWatermark)
		}
		rd.Records = append(rd.Records, r.Record)
	}
	last := recs[len(recs)-1]
	p.at, p.epoch = last.Offset+1, last.epoch
	k.rec.Reads = append(k.rec.Reads, rd)
}

// told tells whether the consumer says with a fetch in which epoch it takes a node for the
// leader: without, a node answers that was one and has not heard yet that it is no more.
func told(k *consumer, t tp) bool {
	l, _ := k.leader(t)
	return l.epoch >= 0
}

// earliest moves a position that is out of range to the start; that the log ends before
// it must not be.
func (k *consumer) earliest(t tp, p *position) {
	begin, at := k.now(), p.at
	k.list(t, -2, func(start int64, ok bool) {
		if ok {
			k.rec.Starts = append(k.rec.Starts, history.Start{Consumer: k.h.Name, Partition: t.history(), Begin: begin, End: k.now(), Offset: start})
		}
		switch {
		case !ok, p.at != at:
			k.retry(p)
		case start <= p.at && k.rec.mayStart(t.history()) > p.at:
			k.retry(p) // a leader had begun to delete, and another leads
		case start <= p.at && !told(k, t): // one that was deposed may have said so
			k.retry(p)
		case start <= p.at:
			k.w.Failf("%s: %d of %v is out of range, and the log starts at %d", k.h.Name, p.at, t, start)
		default:
			p.at, p.epoch = start, -1
			k.w.Count["position below the start"]++
		}
	})
}

// latest asks where a partition ends, now and then.
func (k *consumer) latest() {
	if k.stopped {
		return
	}
	all := k.sorted()
	t := all[k.rng.IntN(len(all))]
	begin := k.now()
	k.list(t, -1, func(end int64, ok bool) {
		if ok && told(k, t) { // to others, one that was deposed may have said so, as with Kafka
			k.rec.Latests = append(k.rec.Latests, history.Latest{Consumer: k.h.Name, Partition: t.history(), Begin: begin, End: k.now(), Offset: end})
		}
		k.after(k.backoff(), k.latest)
	})
}

func (k *consumer) list(t tp, at int64, done func(offset int64, ok bool)) {
	l, ok := k.leader(t)
	if !ok {
		k.renew()
		done(0, false)
		return
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	rt, rp := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
	rt.Topic, rp.Partition, rp.CurrentLeaderEpoch, rp.Timestamp = t.topic, t.part, l.epoch, at
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	k.call(l.node, req, requestTimeout, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.ListOffsetsResponse)
		if !ok || len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 ||
			k.noted("ListOffsets", resp.Topics[0].Partitions[0].ErrorCode) != nil {
			k.renew()
			done(0, false)
			return
		}
		done(resp.Topics[0].Partitions[0].Offset, true)
	})
}
