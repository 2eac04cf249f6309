package api_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/leattest"
)

// TestLongPollWakesOnAppend: with every kind of acks, and by a partition of many.
func TestLongPollWakesOnAppend(t *testing.T) {
	node := leattest.Start(t)
	reader, writer := dial(t, node), dial(t, node)
	from := writer.create("poll", 3)
	offsets := make([]int64, 3)
	for i, acks := range []int16{-1, 1, 0, -1} {
		to := int32(i % 3)
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes, req.SessionEpoch = 64<<20, -1
		for part := range int32(3) {
			addPartition(req, from, part, offsets[part])
		}
		reader.post(latestFetch, waiting(req))
		value := fmt.Sprint("value ", i)
		write := produceRequest(from, to, acks, values(value).bytes(t))
		writer.post(produceByID, write)
		if acks != 0 {
			want(t, "produce", produced(await[*kmsg.ProduceResponse](writer, write)).ErrorCode, nil)
		}
		var got []string
		for _, topic := range await[*kmsg.FetchResponse](reader, req).Topics {
			for _, part := range topic.Partitions {
				got = append(got, texts(t, &part, offsets[part.Partition])...)
			}
		}
		if !slices.Equal(got, []string{value}) {
			t.Fatalf("acks %d: got %q", acks, got)
		}
		offsets[to]++
	}
}

// TestLongPollWaitsForMinBytes: what is there at first and what comes add up.
func TestLongPollWaitsForMinBytes(t *testing.T) {
	node := leattest.Start(t)
	reader, writer := dial(t, node), dial(t, node)
	from := writer.create("min", 2)
	one := len(values("x").bytes(t))
	writer.produce(from, 0, values("x"))
	req := waiting(addPartition(fetchRequest(from, 0, 0), from, 1, 0))
	req.MinBytes = int32(4 * one)
	reader.post(latestFetch, req)
	for i := range int32(3) {
		writer.produce(from, i%2, values("x"))
	}
	size := 0
	for _, topic := range await[*kmsg.FetchResponse](reader, req).Topics {
		for _, part := range topic.Partitions {
			size += len(part.RecordBatches)
		}
	}
	if size != 4*one {
		t.Errorf("%d bytes, want %d", size, 4*one)
	}
}

// TestLongPollEnds: at the end of the wait with nothing, on an error at once, and when
// what it waits for is deleted.
func TestLongPollEnds(t *testing.T) {
	node := leattest.Start(t)
	reader, writer := dial(t, node), dial(t, node)
	from := writer.create("ends", 1)
	req := fetchRequest(from, 0, 0)
	req.MinBytes, req.MaxWaitMillis = 1, 20
	part := fetched(ask[*kmsg.FetchResponse](reader, latestFetch, req))
	want(t, "nothing came", part.ErrorCode, nil)
	if len(part.RecordBatches) != 0 || part.HighWatermark != 0 {
		t.Errorf("%+v", part)
	}
	req = waiting(addPartition(fetchRequest(from, 0, 0), from, 9, 0))
	all := ask[*kmsg.FetchResponse](reader, latestFetch, req).Topics[0].Partitions
	want(t, "the partition that is there", all[0].ErrorCode, nil)
	want(t, "the one that is not", all[1].ErrorCode, kerr.UnknownTopicOrPartition)
	want(t, "an offset beyond the end", fetched(ask[*kmsg.FetchResponse](reader, latestFetch, waiting(fetchRequest(from, 0, 1)))).ErrorCode, kerr.OffsetOutOfRange)

	req = waiting(fetchRequest(from, 0, 0))
	reader.post(latestFetch, req)
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TopicNames = []string{from.name}
	want(t, "delete", ask[*kmsg.DeleteTopicsResponse](writer, 5, del).Topics[0].ErrorCode, nil)
	want(t, "the deleted topic", fetched(await[*kmsg.FetchResponse](reader, req)).ErrorCode, kerr.UnknownTopicID)
}

// TestAtLeastOneBatch: the first partition that has records gives one whole batch,
// whatever the limits say; the others stay within them.
func TestAtLeastOneBatch(t *testing.T) {
	p := dial(t, leattest.Start(t))
	from := p.create("whole", 3)
	long := strings.Repeat("x", 5000)
	for range 2 {
		for part := int32(1); part < 3; part++ {
			p.produce(from, part, values(long))
		}
	}
	one := len(values(long).bytes(t))
	for _, limits := range [][2]int32{{1, 64 << 20}, {64 << 20, 1}, {1, 1}, {0, 0}, {-1, -1}} {
		for v := int16(4); v <= latestFetch; v++ {
			req := addPartition(addPartition(fetchRequest(from, 0, 0), from, 1, 0), from, 2, 0)
			req.MaxBytes = limits[1]
			for i := range req.Topics {
				req.Topics[i].Partitions[0].PartitionMaxBytes = limits[0]
			}
			var sizes []int
			for _, topic := range ask[*kmsg.FetchResponse](p, v, req).Topics {
				for _, part := range topic.Partitions {
					sizes = append(sizes, len(part.RecordBatches))
				}
			}
			if !slices.Equal(sizes, []int{0, one, 0}) {
				t.Errorf("limits %d, version %d: %d bytes", limits, v, sizes)
			}
		}
	}
}

// TestFetchedBytesAreTheProducedOnes: small runs, which are copied, and large ones,
// which the kernel sends from the file.
func TestFetchedBytesAreTheProducedOnes(t *testing.T) {
	p := dial(t, leattest.Start(t))
	from := p.create("bytes", 1)
	offset := int64(0)
	for _, size := range []int{1, 1000, 60_000, 70_000, 900_000} {
		b := values(strings.Repeat("v", size), "second")
		sent := b.bytes(t)
		p.produce(from, 0, b)
		got := p.fetch(from, 0, offset).RecordBatches
		// Offset and leader epoch are the log's; all else is the producer's.
		if !bytes.Equal(got[17:], sent[17:]) {
			t.Fatalf("a batch of %d bytes came back as another of %d", len(sent), len(got))
		}
		offset += 2
	}
	whole := p.fetch(from, 0, 0)
	if got := texts(t, &whole, 0); len(got) != 10 || len(got[8]) != 900_000 {
		t.Errorf("%d records", len(got))
	}
	inside := p.fetch(from, 0, 3)
	if got := texts(t, &inside, 3); len(got) != 7 || got[0] != "second" {
		t.Errorf("from inside a batch: %d records", len(got))
	}
}

// TestReadCommitted: without transactions the last stable offset is the high watermark,
// and the list of aborted transactions is there and empty.
func TestReadCommitted(t *testing.T) {
	node := leattest.Start(t)
	p := dial(t, node)
	from := p.create("committed", 1)
	b := batch{values: []string{"a", "b"}, at: 1000, producer: p.producerID()}
	p.produce(from, 0, b)
	for v := int16(4); v <= latestFetch; v++ {
		for level, aborted := range []bool{false, true} {
			req := fetchRequest(from, 0, 0)
			req.IsolationLevel = int8(level)
			part := fetched(ask[*kmsg.FetchResponse](p, v, req))
			want(t, "fetch", part.ErrorCode, nil)
			if got := texts(t, &part, 0); !slices.Equal(got, b.values) || part.LastStableOffset != 2 || part.HighWatermark != 2 {
				t.Errorf("version %d: %q, %+v", v, got, part)
			}
			if (part.AbortedTransactions != nil) != aborted {
				t.Errorf("version %d level %d: aborted %v", v, level, part.AbortedTransactions)
			}
		}
	}
	req := waiting(fetchRequest(from, 0, 2))
	req.IsolationLevel = 1
	p.post(latestFetch, req)
	dial(t, node).produce(from, 0, values("c"))
	part := fetched(await[*kmsg.FetchResponse](p, req))
	if got := texts(t, &part, 2); !slices.Equal(got, []string{"c"}) {
		t.Errorf("a poll for committed records got %q", got)
	}
	list := listRequest(from, 0, -1)
	list.IsolationLevel = 1
	if at := ask[*kmsg.ListOffsetsResponse](p, 11, list).Topics[0].Partitions[0].Offset; at != 3 {
		t.Errorf("the last stable offset is listed as %d", at)
	}
}

// TestOnePartitionTwiceInAFetch: answered once, by the last mention.
func TestOnePartitionTwiceInAFetch(t *testing.T) {
	p := dial(t, leattest.Start(t))
	from := p.create("twice", 1)
	p.produce(from, 0, values("a"))
	p.produce(from, 0, values("b"))
	for v := int16(4); v <= latestFetch; v++ {
		req := addPartition(fetchRequest(from, 0, 0), from, 0, 1)
		resp := ask[*kmsg.FetchResponse](p, v, req)
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			t.Fatalf("version %d: %d topics", v, len(resp.Topics))
		}
		part := fetched(resp)
		if got := texts(t, &part, 0); !slices.Equal(got, []string{"b"}) {
			t.Errorf("version %d: %q", v, got)
		}
	}
}

// TestFetchAsBroker: no other broker belongs to this cluster.
func TestFetchAsBroker(t *testing.T) {
	node := leattest.Start(t)
	p := dial(t, node)
	from := p.create("follower", 1)
	p.produce(from, 0, values("a"))
	for v := int16(4); v <= latestFetch; v++ {
		req := fetchRequest(from, 0, 0)
		if v < 15 {
			req.ReplicaID = 2
		} else {
			req.ReplicaState.ID = 2
		}
		resp := ask[*kmsg.FetchResponse](p, v, req)
		part := fetched(resp)
		want(t, fmt.Sprint("version ", v), part.ErrorCode, kerr.NotLeaderForPartition)
		if tells := part.CurrentLeader.LeaderID >= 0; tells != (v >= 16) || len(part.RecordBatches) != 0 || len(resp.Brokers) != 0 {
			t.Errorf("version %d: %+v, brokers %v", v, part, resp.Brokers)
		}
	}
	req := fetchRequest(from, 0, 0)
	req.ReplicaState.ID = 2
	p.post(12, req)
	p.wantClosed("a field of version 15 in version 12")
}
