package consume

import (
	"context"
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The last records before an end may be gone by compaction. The client then asks on and
// on, and does not tell that there is nothing: so the partitions are asked here.

// probes bounds the requests for one partition; each one passes emptied batches.
const probes = 100

// dropGone takes partitions out of which nothing is left between where the reading has
// come to and its end. What cannot be told stays.
func (p *plan) dropGone(ctx context.Context, cl *kgo.Client, committed bool) {
	md, err := kadm.NewClient(cl).Metadata(ctx, p.topics...)
	if err != nil {
		return
	}
	for topic, ends := range p.until {
		t := md.Topics[topic]
		for n, end := range ends {
			from, _ := p.from.Lookup(topic, n)
			if part, ok := t.Partitions[n]; ok && gone(ctx, cl, t, part, from.At, end, committed) {
				delete(ends, n)
			}
		}
	}
}

// gone says whether no record is left at or behind at and before end.
func gone(ctx context.Context, cl *kgo.Client, t kadm.TopicDetail, p kadm.PartitionDetail, at, end int64, committed bool) bool {
	for range probes {
		req := kmsg.NewPtrFetchRequest()
		req.ReplicaID, req.SessionEpoch, req.MaxBytes = -1, -1, 1<<20
		if committed {
			req.IsolationLevel = 1
		}
		rt, rp := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
		rt.Topic, rt.TopicID = t.Topic, t.ID
		rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = p.Partition, at, 1<<20
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		resp, err := cl.Broker(int(p.Leader)).RetriableRequest(ctx, req)
		if err != nil {
			return false
		}
		fetched, ok := resp.(*kmsg.FetchResponse)
		if !ok || fetched.ErrorCode != 0 || len(fetched.Topics) != 1 || len(fetched.Topics[0].Partitions) != 1 {
			return false
		}
		got := &fetched.Topics[0].Partitions[0]
		reached := got.HighWatermark
		if committed {
			reached = got.LastStableOffset
		}
		next, records := passEmpty(got.RecordBatches, at)
		switch {
		case got.ErrorCode != 0 || reached < end:
			return false
		case next >= end, len(got.RecordBatches) == 0:
			return true
		case records || next == at:
			return false
		}
		at = next
	}
	return false
}

// The fields of a batch that tell where it is and whether anything is in it.
const (
	batchLength    = 8
	batchMagic     = 16
	batchLastDelta = 23
	batchCount     = 57
	batchHeader    = 61
)

// passEmpty goes past batches that are behind or have no records: next is what comes
// then, records that there are some.
func passEmpty(b []byte, at int64) (next int64, records bool) {
	next = at
	for len(b) >= batchHeader && b[batchMagic] == 2 {
		base := int64(binary.BigEndian.Uint64(b))
		last := base + int64(int32(binary.BigEndian.Uint32(b[batchLastDelta:])))
		if last >= next {
			if binary.BigEndian.Uint32(b[batchCount:]) > 0 {
				return max(next, base), true
			}
			next = last + 1
		}
		size := int64(binary.BigEndian.Uint32(b[batchLength:])) + batchLength + 4
		if size < batchHeader || size > int64(len(b)) {
			break
		}
		b = b[size:]
	}
	return next, false
}
