package api_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/conformance/raw"
	"github.com/leat-stream/leat/internal/record"
	"github.com/leat-stream/leat/leattest"
)

// The tests of this package go through the public door: a real node, and requests as
// bytes on a socket.

// patience bounds the wait for an answer that never comes.
const patience = 30 * time.Second

// peer is one connection to a node.
type peer struct {
	t testing.TB
	*raw.Conn
}

func dial(t testing.TB, node *leattest.Node) *peer { return dialAs(t, node, "test") }

func dialAs(t testing.TB, node *leattest.Node, client string) *peer {
	t.Helper()
	c, err := raw.Dial(node.Addr(), client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &peer{t, c}
}

// ask exchanges a request at a version for its answer.
func ask[R kmsg.Response](p *peer, version int16, req kmsg.Request) R {
	p.t.Helper()
	p.post(version, req)
	return await[R](p, req)
}

// post sends a request and waits for nothing.
func (p *peer) post(version int16, req kmsg.Request) {
	p.t.Helper()
	req.SetVersion(version)
	if err := p.Send(p.Frame(req)); err != nil {
		p.t.Fatalf("%s version %d: %v", kmsg.NameForKey(req.Key()), version, err)
	}
}

// await reads the next answer, which has to be that to req.
func await[R kmsg.Response](p *peer, req kmsg.Request) R {
	p.t.Helper()
	resp, err := p.Receive(req, patience)
	if err != nil {
		p.t.Fatalf("%s version %d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	return resp.(R)
}

// correlation reads the next answer's correlation id.
func (p *peer) correlation() int32 {
	p.t.Helper()
	b, err := p.ReceiveBytes(patience)
	if err != nil {
		p.t.Fatal(err)
	}
	return int32(binary.BigEndian.Uint32(b))
}

// wantClosed waits for the end of the connection, which has to come without an answer.
func (p *peer) wantClosed(what string) {
	p.t.Helper()
	b, err := p.ReceiveBytes(patience)
	if !errors.Is(err, raw.ErrClosed) {
		p.t.Fatalf("%s: answered by %d bytes, %v; want the connection closed", what, len(b), err)
	}
}

// want fails the test when an error code is another one.
func want(t testing.TB, what string, code int16, is *kerr.Error) {
	t.Helper()
	expected := int16(0)
	if is != nil {
		expected = is.Code
	}
	if code != expected {
		t.Fatalf("%s: error %d (%v), want %d", what, code, kerr.ErrorForCode(code), expected)
	}
}

// batch describes a batch to produce.
type batch struct {
	values        []string
	at            int64 // timestamp of the first record, ms; each next one is 1 ms later
	producer      int64 // 0 is none: ids begin at 1 here
	epoch         int16
	sequence      int32
	transactional bool
}

func values(vs ...string) batch { return batch{values: vs, at: 1000} }

func (b batch) bytes(t testing.TB) []byte {
	t.Helper()
	h := record.NewHeader(0)
	if b.producer != 0 {
		h.ProducerID, h.ProducerEpoch, h.BaseSequence = b.producer-1, b.epoch, b.sequence
	}
	h.Transactional = b.transactional
	var builder record.Builder
	builder.Reset(h, record.Compression{})
	for i, v := range b.values {
		builder.Append(b.at+int64(i), nil, []byte(v))
	}
	out, err := builder.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// topic is a topic that a test made.
type topic struct {
	name string
	id   [16]byte
}

// create makes a topic; settings are names and values in turn.
func (p *peer) create(name string, partitions int32, settings ...string) topic {
	p.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	in := kmsg.NewCreateTopicsRequestTopic()
	in.Topic, in.NumPartitions, in.ReplicationFactor = name, partitions, 1
	for i := 0; i+1 < len(settings); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = settings[i], &settings[i+1]
		in.Configs = append(in.Configs, c)
	}
	req.Topics = append(req.Topics, in)
	out := ask[*kmsg.CreateTopicsResponse](p, 7, req).Topics[0]
	want(p.t, "creating "+name, out.ErrorCode, nil)
	return topic{name, out.TopicID}
}

// Versions at which the helpers speak, and at which topics are named by id.
const (
	produceByID, fetchByID = 13, 13
	latestFetch            = 18
)

// produceRequest is a request of one partition.
func produceRequest(to topic, partition int32, acks int16, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 20_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = to.name, to.id
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// produced is the only partition of an answer.
func produced(resp *kmsg.ProduceResponse) kmsg.ProduceResponseTopicPartition {
	return resp.Topics[0].Partitions[0]
}

// produce appends a batch with acks=all and returns its base offset.
func (p *peer) produce(to topic, partition int32, b batch) int64 {
	p.t.Helper()
	out := produced(ask[*kmsg.ProduceResponse](p, produceByID, produceRequest(to, partition, -1, b.bytes(p.t))))
	want(p.t, "produce to "+to.name, out.ErrorCode, nil)
	return out.BaseOffset
}

// fetchRequest is a sessionless request of one partition that does not wait.
func fetchRequest(from topic, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = 0, 1, 64<<20, -1
	return addPartition(req, from, partition, offset)
}

// addPartition adds a partition to a fetch request.
func addPartition(req *kmsg.FetchRequest, from topic, partition int32, offset int64) *kmsg.FetchRequest {
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = from.name, from.id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 64<<20
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// waiting makes a fetch request wait for one byte, as long as a test may run.
func waiting(req *kmsg.FetchRequest) *kmsg.FetchRequest {
	req.MinBytes, req.MaxWaitMillis = 1, int32(2*patience/time.Millisecond)
	return req
}

// fetched is the only partition of an answer.
func fetched(resp *kmsg.FetchResponse) kmsg.FetchResponseTopicPartition {
	return resp.Topics[0].Partitions[0]
}

// fetch reads a partition from an offset on, without waiting.
func (p *peer) fetch(from topic, partition int32, offset int64) kmsg.FetchResponseTopicPartition {
	p.t.Helper()
	return fetched(ask[*kmsg.FetchResponse](p, latestFetch, fetchRequest(from, partition, offset)))
}

// texts are the values of the records that an answer brought, from an offset on.
func texts(t testing.TB, part *kmsg.FetchResponseTopicPartition, from int64) []string {
	t.Helper()
	var all []string
	for b, err := range record.Split(part.RecordBatches) {
		if err != nil {
			t.Fatal(err)
		}
		if !b.CheckCRC() {
			t.Fatalf("batch at %d: its checksum does not fit", b.BaseOffset())
		}
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Offset >= from {
				all = append(all, string(r.Value))
			}
		}
	}
	return all
}

// listed looks an offset up by a timestamp.
func (p *peer) listed(of topic, partition int32, timestamp int64) kmsg.ListOffsetsResponseTopicPartition {
	p.t.Helper()
	return ask[*kmsg.ListOffsetsResponse](p, 11, listRequest(of, partition, timestamp)).Topics[0].Partitions[0]
}

func listRequest(of topic, partition int32, timestamp int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = of.name
	ask := kmsg.NewListOffsetsRequestTopicPartition()
	ask.Partition, ask.Timestamp = partition, timestamp
	t.Partitions = append(t.Partitions, ask)
	req.Topics = append(req.Topics, t)
	return req
}

// producerID asks for a producer id, plus one, as batch has it.
func (p *peer) producerID() int64 {
	p.t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp := ask[*kmsg.InitProducerIDResponse](p, 5, req)
	want(p.t, "InitProducerID", resp.ErrorCode, nil)
	return resp.ProducerID + 1
}
