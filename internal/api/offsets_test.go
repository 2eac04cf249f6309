package api_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/leattest"
)

// Special timestamps, and the version that knew each first.
var specials = []struct {
	timestamp int64
	since     int16
	offset    int64 // in a partition that begins at 2 and ends at 6, its newest record at 3
}{
	{-1, 1, 6}, {-2, 1, 2}, {-3, 7, 3}, {-4, 8, 2}, {-5, 9, -1}, {-6, 11, -1}, {-7, 99, -1}, {-1 << 62, 99, -1},
}

// TestListOffsetsSpecials: every special timestamp in every version, in a partition
// with records and without.
func TestListOffsetsSpecials(t *testing.T) {
	p := dial(t, leattest.Start(t))
	of := p.create("list", 2)
	for _, at := range []int64{1000, 5000, 3000} { // the second batch is the newest
		p.produce(of, 0, batch{values: []string{"a", "b"}, at: at})
	}
	p.trim(of, 0, 2)
	for v := int16(1); v <= 11; v++ {
		for _, special := range specials {
			for _, committed := range []int8{0, 1} {
				what := fmt.Sprintf("timestamp %d, version %d, isolation %d", special.timestamp, v, committed)
				req := listRequest(of, 0, special.timestamp)
				req.IsolationLevel = committed
				got := ask[*kmsg.ListOffsetsResponse](p, v, req).Topics[0].Partitions[0]
				if v < special.since {
					want(t, what, got.ErrorCode, kerr.UnsupportedVersion)
					continue
				}
				want(t, what, got.ErrorCode, nil)
				if got.Offset != special.offset {
					t.Errorf("%s: offset %d, want %d", what, got.Offset, special.offset)
				}
			}
			if special.since <= v {
				empty := ask[*kmsg.ListOffsetsResponse](p, v, listRequest(of, 1, special.timestamp)).Topics[0].Partitions[0]
				if nothing := special.timestamp <= -3 && special.timestamp != -4; empty.ErrorCode != 0 || (empty.Offset == -1) != nothing {
					t.Errorf("timestamp %d, version %d, an empty partition: %+v", special.timestamp, v, empty)
				}
			}
		}
	}
}

// TestListOffsetsByTime: the first offset whose record is not older.
func TestListOffsetsByTime(t *testing.T) {
	p := dial(t, leattest.Start(t))
	of := p.create("times", 1)
	for _, at := range []int64{1000, 5000, 3000} {
		p.produce(of, 0, batch{values: []string{"a", "b"}, at: at})
	}
	for timestamp, offset := range map[int64]int64{0: 0, 1000: 0, 1001: 1, 1002: 2, 3000: 2, 5000: 2, 5001: 3, 5002: -1, 1 << 60: -1} {
		got := p.listed(of, 0, timestamp)
		want(t, "list", got.ErrorCode, nil)
		if got.Offset != offset || (got.Timestamp >= timestamp) != (offset >= 0) {
			t.Errorf("time %d: offset %d at %d, want %d", timestamp, got.Offset, got.Timestamp, offset)
		}
	}
}

// TestListOffsetsRefused: unknown partitions, and those that are named twice.
func TestListOffsetsRefused(t *testing.T) {
	p := dial(t, leattest.Start(t))
	of := p.create("refused", 2)
	want(t, "an unknown partition", p.listed(of, 5, -1).ErrorCode, kerr.UnknownTopicOrPartition)
	want(t, "an unknown topic", p.listed(topic{name: "nobody"}, 0, -1).ErrorCode, kerr.UnknownTopicOrPartition)
	want(t, "no name", p.listed(topic{}, 0, -1).ErrorCode, kerr.UnknownTopicOrPartition)
	req := listRequest(of, 0, -1)
	parts := req.Topics[0].Partitions
	other := parts[0]
	other.Partition = 1
	req.Topics[0].Partitions = []kmsg.ListOffsetsRequestTopicPartition{parts[0], other, parts[0], parts[0]}
	got := ask[*kmsg.ListOffsetsResponse](p, 11, req).Topics[0].Partitions
	if len(got) != 2 {
		t.Fatalf("%d answers for two partitions", len(got))
	}
	want(t, "named thrice", got[0].ErrorCode, kerr.InvalidRequest)
	want(t, "named once", got[1].ErrorCode, nil)
}

// trim deletes the records below an offset and returns the low watermark.
func (p *peer) trim(of topic, partition int32, before int64) int64 {
	p.t.Helper()
	got := p.tryTrim(of, partition, before)
	want(p.t, "DeleteRecords", got.ErrorCode, nil)
	return got.LowWatermark
}

func (p *peer) tryTrim(of topic, partition int32, before int64) kmsg.DeleteRecordsResponseTopicPartition {
	p.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: of.name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: before}}}}
	return ask[*kmsg.DeleteRecordsResponse](p, 2, req).Topics[0].Partitions[0]
}

// TestDeleteRecords: nothing below the new start is read again, also after a restart.
func TestDeleteRecords(t *testing.T) {
	node := leattest.Start(t)
	p := dial(t, node)
	of := p.create("trim", 1)
	for _, v := range []string{"a", "b", "c", "d"} {
		p.produce(of, 0, values(v))
	}
	if low := p.trim(of, 0, 2); low != 2 {
		t.Fatalf("low watermark %d", low)
	}
	check := func(when string) {
		t.Helper()
		want(t, when+", below the start", p.fetch(of, 0, 1).ErrorCode, kerr.OffsetOutOfRange)
		part := p.fetch(of, 0, 2)
		if got := texts(t, &part, 2); !slices.Equal(got, []string{"c", "d"}) || part.LogStartOffset != 2 {
			t.Fatalf("%s: %q from start %d", when, got, part.LogStartOffset)
		}
		if at := p.listed(of, 0, 0).Offset; at != 2 {
			t.Fatalf("%s: the oldest record by time is %d", when, at)
		}
		if low := p.trim(of, 0, 1); low != 2 {
			t.Fatalf("%s: the start went back to %d", when, low)
		}
		want(t, when+", beyond the end", p.tryTrim(of, 0, 5).ErrorCode, kerr.OffsetOutOfRange)
		want(t, when+", a negative offset", p.tryTrim(of, 0, -2).ErrorCode, kerr.OffsetOutOfRange)
	}
	check("at once")
	node.Restart()
	p = dial(t, node)
	check("after a restart")
	if low := p.trim(of, 0, -1); low != 4 {
		t.Fatalf("all of it: low watermark %d", low)
	}
	if at := p.produce(of, 0, values("e")); at != 4 {
		t.Errorf("the next record is at %d", at)
	}
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Topics = []kmsg.DeleteRecordsRequestTopic{
		{Topic: of.name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 1}, {Offset: 9}}},
		{Topic: of.name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 5}}},
	}
	got := ask[*kmsg.DeleteRecordsResponse](p, 2, req).Topics
	if len(got[0].Partitions) != 1 || len(got[1].Partitions) != 0 || got[0].Partitions[0].LowWatermark != 5 {
		t.Errorf("named three times: %+v", got)
	}
	kept := p.create("kept", 1, "cleanup.policy", "compact")
	want(t, "a topic that only compacts", p.tryTrim(kept, 0, 0).ErrorCode, kerr.PolicyViolation)
}

// epochEnd asks where a leader epoch ended.
func (p *peer) epochEnd(of topic, current, epoch int32) kmsg.OffsetForLeaderEpochResponseTopicPartition {
	p.t.Helper()
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	t := kmsg.NewOffsetForLeaderEpochRequestTopic()
	t.Topic = of.name
	part := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	part.CurrentLeaderEpoch, part.LeaderEpoch = current, epoch
	t.Partitions = append(t.Partitions, part)
	req.Topics = append(req.Topics, t)
	return ask[*kmsg.OffsetForLeaderEpochResponse](p, 4, req).Topics[0].Partitions[0]
}

// leaderEpoch is the present one, by Metadata.
func (p *peer) leaderEpoch(of topic) int32 {
	p.t.Helper()
	return ask[*kmsg.MetadataResponse](p, 12, metadataRequest(of.name)).Topics[0].Partitions[0].LeaderEpoch
}

// TestEpochsOverRestarts: no epoch is led twice, records keep the epoch in which they
// were written, and where each ended is known.
func TestEpochsOverRestarts(t *testing.T) {
	node := leattest.Start(t)
	p := dial(t, node)
	of := p.create("epochs", 1)
	var epochs []int32 // in which one record each was written, but for the third
	for i := range 4 {
		epochs = append(epochs, p.leaderEpoch(of))
		if i != 2 {
			p.produce(of, 0, values("x"))
		}
		node.Restart()
		p = dial(t, node)
	}
	now := p.leaderEpoch(of)
	if sorted := append(slices.Clone(epochs), now); !slices.IsSorted(sorted) || len(slices.Compact(sorted)) != 5 {
		t.Fatalf("epochs %d, now %d", epochs, now)
	}
	for i, expect := range []struct {
		epoch int32
		end   int64
	}{{epochs[0], 1}, {epochs[1], 2}, {epochs[1], 2}, {epochs[3], 3}} {
		got := p.epochEnd(of, now, epochs[i])
		want(t, "OffsetForLeaderEpoch", got.ErrorCode, nil)
		if got.EndOffset != expect.end || got.LeaderEpoch != expect.epoch && i != 2 {
			t.Errorf("epoch %d: ends as %d at %d, want %d at %d", epochs[i], got.LeaderEpoch, got.EndOffset, expect.epoch, expect.end)
		}
	}
	if got := p.epochEnd(of, -1, now); got.LeaderEpoch != now || got.EndOffset != 3 {
		t.Errorf("the present epoch: %+v", got)
	}
	if got := p.epochEnd(of, -1, now+1); got.ErrorCode != 0 || got.LeaderEpoch != -1 || got.EndOffset != -1 {
		t.Errorf("an epoch to come: %+v", got)
	}
	if got := p.listed(of, 0, -2); got.LeaderEpoch != epochs[0] {
		t.Errorf("the first record is of epoch %d, want %d", got.LeaderEpoch, epochs[0])
	}
	if got := p.listed(of, 0, -1); got.LeaderEpoch != now || got.Offset != 3 {
		t.Errorf("the end: %+v", got)
	}
}

// TestEpochsOfRequests: who states an epoch is told that it is old, or to come, and
// where its log parts from ours (KIP-320, KIP-595).
func TestEpochsOfRequests(t *testing.T) {
	node := leattest.Start(t)
	p := dial(t, node)
	of := p.create("stated", 1)
	first := p.leaderEpoch(of)
	p.produce(of, 0, values("a"))
	node.Restart()
	p = dial(t, node)
	now := p.leaderEpoch(of)
	p.produce(of, 0, values("b"))
	for current, is := range map[int32]*kerr.Error{-1: nil, now: nil, first: kerr.FencedLeaderEpoch, now + 1: kerr.UnknownLeaderEpoch} {
		what := fmt.Sprintf("stated %d, it is %d", current, now)
		want(t, what, p.epochEnd(of, current, first).ErrorCode, is)
		list := listRequest(of, 0, -1)
		list.Topics[0].Partitions[0].CurrentLeaderEpoch = current
		want(t, what, ask[*kmsg.ListOffsetsResponse](p, 11, list).Topics[0].Partitions[0].ErrorCode, is)
		req := fetchRequest(of, 0, 0)
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = current
		want(t, what, fetched(ask[*kmsg.FetchResponse](p, latestFetch, req)).ErrorCode, is)
	}
	last := func(epoch int32, offset int64) kmsg.FetchResponseTopicPartition {
		req := fetchRequest(of, 0, offset)
		req.Topics[0].Partitions[0].LastFetchedEpoch = epoch
		return fetched(ask[*kmsg.FetchResponse](p, latestFetch, req))
	}
	if got := last(first, 1); got.ErrorCode != 0 || got.DivergingEpoch.EndOffset != -1 || len(got.RecordBatches) == 0 {
		t.Errorf("a reader that has read what we have: %+v", got)
	}
	if got := last(first, 2); got.DivergingEpoch.Epoch != first || got.DivergingEpoch.EndOffset != 1 || len(got.RecordBatches) != 0 {
		t.Errorf("a reader that has read more in the first epoch: %+v", got.DivergingEpoch)
	}
	want(t, "a reader from the future", last(now+1, 1).ErrorCode, kerr.OffsetOutOfRange)
}
