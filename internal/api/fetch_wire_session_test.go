package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/leattest"
)

// sessionFetch is a fetch within a session.
func sessionFetch(id, epoch int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionID, req.SessionEpoch = 64<<20, id, epoch
	return req
}

// shown lists an answer's partitions, in order, with the first letter of each value.
func shown(t *testing.T, resp *kmsg.FetchResponse) string {
	t.Helper()
	want(t, "fetch", resp.ErrorCode, nil)
	var all []string
	for _, topic := range resp.Topics {
		for _, part := range topic.Partitions {
			s := fmt.Sprint(part.Partition)
			for _, v := range texts(t, &part, 0) {
				s += v[:1]
			}
			if part.ErrorCode != 0 {
				s += "!" + fmt.Sprint(part.ErrorCode)
			}
			all = append(all, s)
		}
	}
	return strings.Join(all, " ")
}

// TestFetchSession: answers carry what has news, and nothing else (KIP-227).
func TestFetchSession(t *testing.T) {
	node := leattest.Start(t)
	p, writer := dial(t, node), dial(t, node)
	from := writer.create("session", 4)
	writer.produce(from, 0, values("a"))
	for v := int16(7); v <= latestFetch; v++ {
		req := sessionFetch(0, 0)
		for part := range int32(3) {
			addPartition(req, from, part, 0)
		}
		resp := ask[*kmsg.FetchResponse](p, v, req)
		id := resp.SessionID
		if got := shown(t, resp); id == 0 || !strings.HasPrefix(got, "0a") || len(resp.Topics) == 0 {
			t.Fatalf("version %d: session %d, %s", v, id, got)
		}
		epoch := int32(0)
		next := func(what, expect string, req *kmsg.FetchRequest) {
			t.Helper()
			epoch++
			req.SessionID, req.SessionEpoch = id, epoch
			resp := ask[*kmsg.FetchResponse](p, v, req)
			if got := shown(t, resp); got != expect || resp.SessionID != id {
				t.Fatalf("version %d, %s: %q in session %d, want %q", v, what, got, resp.SessionID, expect)
			}
		}
		end := writer.listed(from, 0, -1).Offset
		next("moved to the end", "", addPartition(sessionFetch(0, 0), from, 0, end))
		next("nothing new", "", sessionFetch(0, 0))
		writer.produce(from, 0, values("b"))
		next("a record came", "0b", sessionFetch(0, 0))
		next("it is still to be read", "0b", sessionFetch(0, 0))
		next("it was read", "", addPartition(sessionFetch(0, 0), from, 0, end+1))
		next("a partition joins", "3", addPartition(sessionFetch(0, 0), from, 3, 0))
		forget := sessionFetch(0, 0)
		forget.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: from.name, TopicID: from.id, Partitions: []int32{0}}}
		next("one is forgotten", "", forget)
		writer.produce(from, 0, values("c"))
		next("the forgotten one has a record", "", sessionFetch(0, 0))
		next("it comes back", "0c", addPartition(sessionFetch(0, 0), from, 0, end+1))
		end = writer.listed(from, 0, -1).Offset

		bad := ask[*kmsg.FetchResponse](p, v, sessionFetch(id, epoch))
		want(t, "the same epoch again", bad.ErrorCode, kerr.InvalidFetchSessionEpoch)
		bad = ask[*kmsg.FetchResponse](p, v, sessionFetch(id^1, 1))
		want(t, "another session", bad.ErrorCode, kerr.FetchSessionIDNotFound)

		// A session belongs to who knows its id: it outlives the connection.
		p = dial(t, node)
		next("from another connection", "", addPartition(sessionFetch(0, 0), from, 0, end))
		final := ask[*kmsg.FetchResponse](p, v, addPartition(sessionFetch(id, -1), from, 0, end))
		if final.SessionID != 0 {
			t.Fatalf("version %d: closed, and yet session %d", v, final.SessionID)
		}
		want(t, "after its end", ask[*kmsg.FetchResponse](p, v, sessionFetch(id, epoch+1)).ErrorCode, kerr.FetchSessionIDNotFound)
	}
}

// TestFetchSessionTakesTurns: under a byte limit every partition gets its turn.
func TestFetchSessionTakesTurns(t *testing.T) {
	p := dial(t, leattest.Start(t))
	from := p.create("turns", 3)
	for part := range int32(3) {
		for range 3 {
			p.produce(from, part, values(strings.Repeat(string(rune('a'+part)), 1000)))
		}
	}
	req := sessionFetch(0, 0)
	for part := range int32(3) {
		addPartition(req, from, part, 0)
	}
	var order []int32
	offsets := map[int32]int64{}
	id := int32(0)
	for epoch := range int32(9) {
		req.SessionID, req.SessionEpoch, req.MaxBytes = id, epoch, 1
		resp := ask[*kmsg.FetchResponse](p, latestFetch, req)
		want(t, "fetch", resp.ErrorCode, nil)
		id = resp.SessionID
		req = sessionFetch(0, 0)
		for _, topic := range resp.Topics {
			for _, part := range topic.Partitions {
				if len(part.RecordBatches) > 0 {
					order = append(order, part.Partition)
					offsets[part.Partition]++
					addPartition(req, from, part.Partition, offsets[part.Partition])
				}
			}
		}
	}
	if !slices.Equal(order, []int32{0, 1, 2, 0, 1, 2, 0, 1, 2}) {
		t.Errorf("partitions in the order %d", order)
	}
}

// TestFetchSessionSlots: without a free slot a fetch is answered without a session.
func TestFetchSessionSlots(t *testing.T) {
	p := dial(t, leattest.Start(t, leattest.Set("max.incremental.fetch.session.cache.slots", "2")))
	from := p.create("slots", 1)
	p.produce(from, 0, values("a"))
	var ids []int32
	for range 4 {
		resp := ask[*kmsg.FetchResponse](p, latestFetch, addPartition(sessionFetch(0, 0), from, 0, 0))
		if got := shown(t, resp); got != "0a" {
			t.Fatalf("%q", got)
		}
		ids = append(ids, resp.SessionID)
	}
	if ids[0] == 0 || ids[1] == 0 || ids[0] == ids[1] || ids[2] != 0 || ids[3] != 0 {
		t.Fatalf("sessions %d", ids)
	}
	// Epoch 0 with an id gives that session up and opens another.
	resp := ask[*kmsg.FetchResponse](p, latestFetch, addPartition(sessionFetch(ids[0], 0), from, 0, 0))
	if resp.SessionID == 0 || resp.SessionID == ids[0] {
		t.Errorf("session %d", resp.SessionID)
	}
}
