package api_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/record"
	"github.com/leat-stream/leat/leattest"
)

// TestAcks: all, leader and none append alike and in order; without acks no answer comes.
func TestAcks(t *testing.T) {
	p := dial(t, leattest.Start(t))
	to := p.create("acks", 1)
	for v := int16(3); v <= produceByID; v++ {
		base := int64(v-3) * 3
		for i, acks := range []int16{-1, 1} {
			out := produced(ask[*kmsg.ProduceResponse](p, v, produceRequest(to, 0, acks, values(fmt.Sprint(v, acks)).bytes(t))))
			want(t, "produce", out.ErrorCode, nil)
			if out.BaseOffset != base+int64(i) {
				t.Fatalf("version %d acks %d: offset %d, want %d", v, acks, out.BaseOffset, base+int64(i))
			}
		}
		p.post(v, produceRequest(to, 0, 0, values(fmt.Sprint(v, 0)).bytes(t)))
		ask[*kmsg.ApiVersionsResponse](p, 0, kmsg.NewPtrApiVersionsRequest()) // the next answer, not one to the produce
	}
	end := p.produce(to, 0, values("end"))
	part := p.fetch(to, 0, 0)
	got := texts(t, &part, 0)
	if int64(len(got)) != end+1 || got[0] != "3 -1" || got[1] != "3 1" || got[2] != "3 0" {
		t.Errorf("%d records, the first %q", len(got), got[:3])
	}
}

// TestAcksNoneAndAnError: a closed connection is the only sign there is.
func TestAcksNoneAndAnError(t *testing.T) {
	node := leattest.Start(t)
	setup := dial(t, node)
	to := setup.create("t", 1)
	for what, req := range map[string]*kmsg.ProduceRequest{
		"an unknown partition": produceRequest(to, 7, 0, values("x").bytes(t)),
		"an unknown topic":     produceRequest(topic{"nobody", [16]byte{9}}, 0, 0, values("x").bytes(t)),
		"a damaged batch":      produceRequest(to, 0, 0, values("x").bytes(t)[:40]),
	} {
		p := dial(t, node)
		p.post(produceByID, req)
		p.wantClosed(what)
	}
	if got := setup.listed(to, 0, -1); got.Offset != 0 {
		t.Errorf("%d records were taken", got.Offset)
	}
}

// TestProduceToInternalTopics: only Kafka's own administration writes there.
func TestProduceToInternalTopics(t *testing.T) {
	node := leattest.Start(t)
	p := dial(t, node)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorType, find.CoordinatorKeys = 1, []string{"txn"}
	want(t, "FindCoordinator", ask[*kmsg.FindCoordinatorResponse](p, 6, find).Coordinators[0].ErrorCode, nil)
	internal := topic{name: "__transaction_state"}
	keyed := values("x")
	out := produced(ask[*kmsg.ProduceResponse](p, 12, produceRequest(internal, 0, -1, keyed.bytes(t))))
	want(t, "produce as anybody", out.ErrorCode, kerr.InvalidTopicException)
	admin := dialAs(t, node, "__admin_client")
	out = produced(ask[*kmsg.ProduceResponse](admin, 12, produceRequest(internal, 0, -1, keyed.bytes(t))))
	// It gets past the rule, to the log, where a compacted topic wants keys.
	want(t, "produce as the admin client", out.ErrorCode, kerr.InvalidRecord)
	if len(out.ErrorRecords) != 1 || out.ErrorRecords[0].RelativeOffset != 0 || out.LogStartOffset != 0 {
		t.Errorf("%+v", out)
	}
}

// TestDuplicatesAreAnsweredWithTheirOffset: within the window of five batches, also of
// a batch that is not durable yet, and after a restart.
func TestDuplicatesAreAnsweredWithTheirOffset(t *testing.T) {
	node := leattest.Start(t)
	p := dial(t, node)
	to := p.create("idempotent", 1)
	b := batch{values: []string{"a", "b"}, at: 1000, producer: p.producerID()}
	const n = 7
	var first [n]*kmsg.ProduceRequest
	for i := range int32(n) {
		b.sequence = 2 * i
		first[i] = produceRequest(to, 0, -1, b.bytes(t))
		// The same bytes twice, the second before the first can be durable.
		p.post(produceByID, first[i])
		p.post(produceByID, first[i])
		for try := range 2 {
			out := produced(await[*kmsg.ProduceResponse](p, first[i]))
			want(t, fmt.Sprintf("batch %d, try %d", i, try), out.ErrorCode, nil)
			if out.BaseOffset != int64(2*i) {
				t.Fatalf("batch %d, try %d: offset %d", i, try, out.BaseOffset)
			}
		}
	}
	again := func(when string) {
		t.Helper()
		for i, req := range first {
			out := produced(ask[*kmsg.ProduceResponse](p, produceByID, req))
			want(t, fmt.Sprintf("%s: batch %d", when, i), out.ErrorCode, nil)
			if out.BaseOffset != int64(2*i) || out.LogAppendTime != 1001 {
				t.Fatalf("%s: batch %d: %+v", when, i, out)
			}
		}
		if end := p.listed(to, 0, -1).Offset; end != 2*n {
			t.Fatalf("%s: the log ends at %d", when, end)
		}
	}
	again("at once")
	node.Restart()
	p = dial(t, node)
	again("after a restart")
	b.sequence = 2 * n
	if at := p.produce(to, 0, b); at != 2*n {
		t.Errorf("the next batch is at %d", at)
	}
}

// TestBatchesOfATopicThatComesLater: the first batch came before the topic was known here,
// the second after it.
func TestBatchesOfATopicThatComesLater(t *testing.T) {
	p := dial(t, leattest.Start(t))
	to := topic{name: "later"}
	id := p.producerID()
	send := func(sequence int32, code *kerr.Error) {
		t.Helper()
		b := batch{values: []string{"a"}, at: 1000, producer: id, sequence: sequence}
		want(t, fmt.Sprint("batch ", sequence), produced(ask[*kmsg.ProduceResponse](p, 12, produceRequest(to, 0, -1, b.bytes(t)))).ErrorCode, code)
	}
	send(0, kerr.UnknownTopicOrPartition)
	p.create("later", 1)
	send(1, kerr.NotLeaderForPartition)
	send(0, nil)
	send(1, nil)
}

// TestSequences: what continues is taken, anything else refused, and nothing of a
// refused batch is seen.
func TestSequences(t *testing.T) {
	p := dial(t, leattest.Start(t))
	to := p.create("sequences", 1)
	b := batch{values: []string{"x"}, at: 1000, producer: p.producerID()}
	try := func(what string, epoch int16, sequence int32, is *kerr.Error) {
		t.Helper()
		b.epoch, b.sequence = epoch, sequence
		out := produced(ask[*kmsg.ProduceResponse](p, produceByID, produceRequest(to, 0, -1, b.bytes(t))))
		want(t, what, out.ErrorCode, is)
	}
	try("the first", 0, 0, nil)
	try("a gap", 0, 2, kerr.OutOfOrderSequenceNumber)
	try("the next", 0, 1, nil)
	try("a new epoch in the middle", 1, 2, kerr.OutOfOrderSequenceNumber)
	try("the old epoch goes on", 0, 2, nil)
	try("a new epoch", 1, 0, nil)
	try("the old epoch", 0, 3, kerr.InvalidProducerEpoch)
	try("the new epoch goes on", 1, 1, nil)
	part := p.fetch(to, 0, 0)
	if got := texts(t, &part, 0); len(got) != 5 {
		t.Errorf("%d records, want 5", len(got))
	}
}

// TestProduceTimeout: acks=all that may not wait for the disk is answered at once, with
// where the batch is, and the batch is kept.
func TestProduceTimeout(t *testing.T) {
	p := dial(t, leattest.Start(t))
	to := p.create("timeout", 1)
	p.produce(to, 0, values("before"))
	req := produceRequest(to, 0, -1, values("late").bytes(t))
	req.TimeoutMillis = 0
	out := produced(ask[*kmsg.ProduceResponse](p, produceByID, req))
	want(t, "no time", out.ErrorCode, kerr.RequestTimedOut)
	if out.BaseOffset != 1 || out.LogStartOffset != 0 {
		t.Errorf("%+v", out)
	}
	if at := p.produce(to, 0, values("after")); at != 2 {
		t.Errorf("the next batch is at %d", at)
	}
	part := p.fetch(to, 0, 0)
	if got := texts(t, &part, 0); !slices.Equal(got, []string{"before", "late", "after"}) {
		t.Errorf("%q", got)
	}
}

// TestOnePartitionTwice: the first mention is taken and the others are refused, among
// few partitions and among many.
func TestOnePartitionTwice(t *testing.T) {
	p := dial(t, leattest.Start(t))
	for _, partitions := range []int32{2, 50} {
		to := p.create(fmt.Sprint("twice-", partitions), partitions)
		req := produceRequest(to, 0, -1, values("first").bytes(t))
		for i := int32(1); i < partitions; i++ {
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: i, Records: values("first").bytes(t)})
		}
		for i := range partitions {
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: i, Records: values("second").bytes(t)})
		}
		for i, out := range ask[*kmsg.ProduceResponse](p, produceByID, req).Topics[0].Partitions {
			if int32(i) < partitions {
				want(t, "the first mention", out.ErrorCode, nil)
			} else {
				want(t, "the second mention", out.ErrorCode, kerr.InvalidRequest)
			}
		}
		for i := range partitions {
			part := p.fetch(to, i, 0)
			if got := texts(t, &part, 0); !slices.Equal(got, []string{"first"}) {
				t.Errorf("partition %d of %d: %q", i, partitions, got)
			}
		}
	}
}

// TestTransactionalBatches: one without a transaction fails its whole request, so that
// no part of a transaction is written without it.
func TestTransactionalBatches(t *testing.T) {
	p := dial(t, leattest.Start(t))
	to := p.create("txn", 2)
	b := batch{values: []string{"x"}, at: 1000, producer: p.producerID(), transactional: true}
	req := produceRequest(to, 0, -1, values("plain").bytes(t))
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: 1, Records: b.bytes(t)})
	for i, out := range ask[*kmsg.ProduceResponse](p, produceByID, req).Topics[0].Partitions {
		want(t, fmt.Sprint("without a transactional id, partition ", i), out.ErrorCode, kerr.TransactionalIDAuthorizationFailed)
	}
	req.TransactionID = kmsg.StringPtr("id")
	parts := ask[*kmsg.ProduceResponse](p, produceByID, req).Topics[0].Partitions
	want(t, "a plain batch with a transactional id", parts[0].ErrorCode, nil)
	want(t, "a transactional batch with one", parts[1].ErrorCode, kerr.InvalidTxnState)
	if end := p.listed(to, 1, -1).Offset; end != 0 {
		t.Errorf("%d records of a transaction that is not there", end)
	}
}

// TestOldProduceVersionsClose: they are in the range that is advertised, for old
// clients' sake, and their formats are not taken.
func TestOldProduceVersionsClose(t *testing.T) {
	node := leattest.Start(t)
	to := dial(t, node).create("old", 1)
	for v := range int16(3) {
		p := dial(t, node)
		p.post(v, produceRequest(to, 0, -1, values("x").bytes(t)))
		p.wantClosed(fmt.Sprint("version ", v))
	}
}

// TestTooLargeBatch: the limit is the topic's, and the connection lives on.
func TestTooLargeBatch(t *testing.T) {
	p := dial(t, leattest.Start(t))
	to := p.create("large", 1, "max.message.bytes", "2000")
	out := produced(ask[*kmsg.ProduceResponse](p, produceByID, produceRequest(to, 0, -1, values(strings.Repeat("x", 2000)).bytes(t))))
	want(t, "too large", out.ErrorCode, kerr.MessageTooLarge)
	if out.BaseOffset != -1 || out.ErrorMessage == nil || *out.ErrorMessage == "" {
		t.Errorf("%+v", out)
	}
	if at := p.produce(to, 0, values("small")); at != 0 {
		t.Errorf("the next batch is at %d", at)
	}
}

// TestProducerIDsAreUnique: over blocks, connections and restarts.
func TestProducerIDsAreUnique(t *testing.T) {
	node := leattest.Start(t)
	seen := map[int64]bool{}
	for range 3 {
		p := dial(t, node)
		req := kmsg.NewPtrInitProducerIDRequest()
		req.ProducerID, req.ProducerEpoch = -1, -1
		const n = 700
		for range n {
			p.post(5, req)
		}
		for range n {
			resp := await[*kmsg.InitProducerIDResponse](p, req)
			want(t, "InitProducerID", resp.ErrorCode, nil)
			if seen[resp.ProducerID] || resp.ProducerEpoch != 0 {
				t.Fatalf("id %d again, or epoch %d", resp.ProducerID, resp.ProducerEpoch)
			}
			seen[resp.ProducerID] = true
		}
		node.Restart()
	}
}

// TestProduceNeverAnswersUnknownServerError: whatever is wrong with the bytes. A producer
// takes that error for one that may pass, and writes again.
func TestProduceNeverAnswersUnknownServerError(t *testing.T) {
	p := dial(t, leattest.Start(t))
	to := p.create("t", 1)
	good := values("one", "two").bytes(t)
	send := func(records []byte) int16 {
		return produced(ask[*kmsg.ProduceResponse](p, produceByID, produceRequest(to, 0, -1, records))).ErrorCode
	}
	seal := func(b []byte) []byte {
		record.Batch(b).SetCRC()
		return b
	}
	for at := range good {
		for _, v := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			for name, change := range map[string]func([]byte) []byte{
				"flipped": func(b []byte) []byte { return b },
				"sealed":  seal,
			} {
				b := bytes.Clone(good)
				b[at] = v
				if code := send(change(b)); code == kerr.UnknownServerError.Code {
					t.Errorf("byte %d set to %d, %s: UNKNOWN_SERVER_ERROR", at, v, name)
				}
			}
		}
		if code := send(good[:at]); code == kerr.UnknownServerError.Code || code == 0 {
			t.Errorf("cut to %d bytes: error %d", at, code)
		}
	}
	if code := send(append(bytes.Clone(good), good...)); code != kerr.InvalidRecord.Code {
		t.Errorf("two batches: error %d", code)
	}
}
