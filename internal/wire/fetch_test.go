package wire

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// encode writes a kmsg response by the encoder, runs being the bytes themselves.
func encode(e *FetchEncoder[[]byte], r *kmsg.FetchResponse, correlationID int32) []Piece[[]byte] {
	e.Begin(r.Version, correlationID, r.ThrottleMillis, r.ErrorCode, r.SessionID, len(r.Topics))
	for i := range r.Topics {
		t := &r.Topics[i]
		e.Topic(t.Topic, t.TopicID, len(t.Partitions))
		for j := range t.Partitions {
			p := &t.Partitions[j]
			m := NewFetchPartition(p.Partition)
			m.Code, m.HighWatermark, m.LastStableOffset = p.ErrorCode, p.HighWatermark, p.LastStableOffset
			m.LogStartOffset, m.PreferredReadReplica = p.LogStartOffset, p.PreferredReadReplica
			m.DivergingEpoch, m.DivergingEndOffset = p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset
			m.LeaderID, m.LeaderEpoch = p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch
			m.SnapshotEndOffset, m.SnapshotEpoch = p.SnapshotID.EndOffset, p.SnapshotID.Epoch
			p.UnknownTags.Each(func(tag uint32, b []byte) { m.Own, m.OwnTag = b, tag })
			if p.AbortedTransactions != nil {
				m.Aborted = []AbortedTxn{}
			}
			for _, a := range p.AbortedTransactions {
				m.Aborted = append(m.Aborted, AbortedTxn{a.ProducerID, a.FirstOffset})
			}
			n := len(p.RecordBatches)
			if p.RecordBatches == nil {
				n = NullRecords
			}
			e.Partition(&m, p.RecordBatches, n)
		}
	}
	return e.End(r.Brokers)
}

// sameFetch holds the encoder against kmsg, with the runs put in their places.
func sameFetch(t *testing.T, e *FetchEncoder[[]byte], r *kmsg.FetchResponse) {
	t.Helper()
	pieces := encode(e, r, 77)
	var got []byte
	for _, p := range pieces {
		if (len(p.Bytes) > 0) == (p.Len > 0) {
			t.Fatalf("piece of %d bytes and a run of %d", len(p.Bytes), p.Len)
		}
		got = append(append(got, p.Bytes...), p.Run[:p.Len]...)
	}
	want := AppendResponseHeader(nil, 1, r.Version, 77)
	want = r.AppendTo(want)
	PatchSize(want, 0)
	if !bytes.Equal(got, want) {
		t.Fatalf("version %d: %+v:\n got %x\nwant %x", r.Version, r, got, want)
	}
	if e.Size() != len(got) || int(binary.BigEndian.Uint32(got)) != len(got)-4 {
		t.Fatalf("size %d, frame of %d", e.Size(), len(got))
	}
}

// stripTags removes unknown tagged fields: of those the encoder writes one of a partition.
func stripTags(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			stripTags(v.Index(i))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[kmsg.Tags]() {
			v.SetZero()
			return
		}
		for i := range v.NumField() {
			stripTags(v.Field(i))
		}
	}
}

func randomFetch(r *rand.Rand, version int16) *kmsg.FetchResponse {
	resp := kmsg.NewPtrFetchResponse()
	fill(reflect.ValueOf(resp).Elem(), r, 4)
	stripTags(reflect.ValueOf(resp).Elem())
	resp.Version = version
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			p := &resp.Topics[i].Partitions[j]
			if r.IntN(2) == 0 {
				p.DivergingEpoch.Default()
				p.SnapshotID.Default()
			}
			if r.IntN(2) == 0 {
				p.CurrentLeader.Default()
			}
			if r.IntN(3) == 0 {
				p.UnknownTags.Set(20_000+r.Uint32N(3), make([]byte, 1+r.IntN(300)))
			}
			switch r.IntN(6) {
			case 0:
				p.RecordBatches, p.AbortedTransactions = nil, nil
			case 1:
				p.RecordBatches = []byte{}
			case 2:
				p.RecordBatches = make([]byte, 200)
			}
		}
	}
	return resp
}

func TestFetchEncoder(t *testing.T) {
	var e FetchEncoder[[]byte]
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		for v := int16(4); v <= 18; v++ {
			sameFetch(t, &e, randomFetch(r, v))
		}
	}
}

func TestFetchEncoderLetsGo(t *testing.T) {
	var e FetchEncoder[[]byte]
	r := randomFetch(rand.New(rand.NewPCG(1, 1)), 18)
	p := kmsg.NewFetchResponseTopicPartition()
	p.RecordBatches = make([]byte, 10)
	r.Topics = append(r.Topics, kmsg.FetchResponseTopic{Partitions: []kmsg.FetchResponseTopicPartition{p}})
	encode(&e, r, 1)
	e.Release()
	for _, run := range e.runs[:cap(e.runs)] {
		if run.run != nil {
			t.Error("holds a run")
		}
	}
	for _, p := range e.pieces[:cap(e.pieces)] {
		if p.Run != nil || p.Bytes != nil {
			t.Error("holds a piece")
		}
	}
}

func TestFetchEncoderRefusesMiscount(t *testing.T) {
	for name, f := range map[string]func(e *FetchEncoder[[]byte]){
		"no topic":     func(e *FetchEncoder[[]byte]) {},
		"no partition": func(e *FetchEncoder[[]byte]) { e.Topic("t", [16]byte{}, 1) },
		"two topics": func(e *FetchEncoder[[]byte]) {
			e.Topic("t", [16]byte{}, 0)
			e.Topic("t", [16]byte{}, 0)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			var e FetchEncoder[[]byte]
			e.Begin(12, 1, 0, 0, 0, 1)
			f(&e)
			e.End(nil)
		}()
	}
}

func FuzzFetchEncoder(f *testing.F) {
	f.Add(uint64(1), uint64(2), int16(4))
	f.Add(uint64(3), uint64(4), int16(12))
	f.Add(uint64(5), uint64(6), int16(18))
	f.Fuzz(func(t *testing.T, a, b uint64, version int16) {
		var e FetchEncoder[[]byte]
		sameFetch(t, &e, randomFetch(rand.New(rand.NewPCG(a, b)), 4+int16(uint16(version)%15)))
	})
}

func BenchmarkFetchEncoder(b *testing.B) {
	var e FetchEncoder[[]byte]
	run := make([]byte, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		e.Begin(18, 1, 0, 0, 1, 1)
		e.Topic("", [16]byte{1}, 12)
		for i := range int32(12) {
			p := NewFetchPartition(i)
			e.Partition(&p, run, len(run))
		}
		if len(e.End(nil)) != 25 {
			b.Fatal("pieces")
		}
	}
}
