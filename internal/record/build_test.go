package record

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

var codecs = []Codec{CodecNone, CodecGzip, CodecSnappy, CodecLZ4, CodecZstd}

// rec is a record to build.
type rec struct {
	gap        int64
	ts         int64
	key, value []byte
	headers    []Header
}

func genBytes(max int) *rapid.Generator[[]byte] {
	return rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, max),
		rapid.Map(rapid.IntRange(0, 20*max), func(n int) []byte { return bytes.Repeat([]byte("ab"), n) }))
}

var genRecord = rapid.Custom(func(t *rapid.T) rec {
	return rec{
		gap:   rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 1000)).Draw(t, "gap"),
		ts:    rapid.Int64Range(-1, 1<<42).Draw(t, "ts"),
		key:   genBytes(10).Draw(t, "key"),
		value: genBytes(100).Draw(t, "value"),
		headers: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Header {
			return Header{Key: rapid.StringN(0, 5, 10).Draw(t, "hk"), Value: genBytes(5).Draw(t, "hv")}
		}), 0, 3).Draw(t, "headers"),
	}
})

var genHeader = rapid.Custom(func(t *rapid.T) BatchHeader {
	h := NewHeader(rapid.Int64Range(0, 1<<50).Draw(t, "base"))
	h.LeaderEpoch = rapid.Int32Range(-1, math.MaxInt32).Draw(t, "epoch")
	h.ProducerID = rapid.Int64Min(-1).Draw(t, "pid")
	h.ProducerEpoch = rapid.Int16Min(-1).Draw(t, "pepoch")
	h.BaseSequence = rapid.Int32Min(-1).Draw(t, "seq")
	h.Transactional, h.Control = rapid.Bool().Draw(t, "txn"), rapid.Bool().Draw(t, "control")
	h.HasDeleteHorizon = rapid.Bool().Draw(t, "horizon")
	if h.HasDeleteHorizon {
		h.DeleteHorizon = rapid.Int64Range(0, 1<<42).Draw(t, "at")
	}
	if rapid.Bool().Draw(t, "append") {
		h.TimestampType, h.AppendTime = LogAppendTime, rapid.Int64Range(0, 1<<42).Draw(t, "now")
	}
	return h
})

// What was built is read back, under every codec, with gaps, and kmsg agrees on the header.
func TestBuildThenParse(t *testing.T) {
	var b Builder
	rapid.Check(t, func(t *rapid.T) {
		h := genHeader.Draw(t, "header")
		recs := rapid.SliceOfN(genRecord, 1, 20).Draw(t, "records")
		c := rapid.SampledFrom(codecs).Draw(t, "codec")
		b.Reset(h, Compression{Codec: c})
		want := addAll(t, &b, h, recs)
		raw, err := b.Build([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		batch, err := First(raw[6:])
		if err != nil || len(batch) != len(raw)-6 || !batch.CheckCRC() || batch.Codec() != c {
			t.Fatalf("%v %x", err, raw)
		}
		if got := batch.Header(); got != h {
			t.Fatalf("header %+v, want %+v", got, h)
		}
		if batch.LastOffset() != want[len(want)-1].Offset || int(batch.Count()) != len(want) {
			t.Fatalf("last offset %d, count %d", batch.LastOffset(), batch.Count())
		}
		sameRecords(t, batch, want)
		sameAsKmsg(t, batch)
		info, err := Validate(batch, Rules{Origin: Coordinator, BeforeMax: math.MaxInt64, AfterMax: math.MaxInt64, TimestampType: LogAppendTime})
		if h.TimestampType == CreateTime && (err != nil || info.MaxTimestamp != batch.MaxTimestamp()) {
			t.Fatal(info, err)
		}
	})
}

// addAll adds the records at their offsets; it returns them as they should be read.
func addAll(t *rapid.T, b *Builder, h BatchHeader, recs []rec) (want []Record) {
	offset := h.BaseOffset
	for _, r := range recs {
		offset += r.gap
		x := Record{Offset: offset, Timestamp: r.ts, Key: r.key, Value: r.value, HeaderCount: len(r.headers), RawHeaders: AppendHeaders(nil, r.headers...)}
		if err := b.Add(&x); err != nil {
			t.Fatal(err)
		}
		x.OffsetDelta = int32(offset - h.BaseOffset)
		if h.TimestampType == LogAppendTime {
			x.Timestamp = h.AppendTime
		}
		want = append(want, x)
		offset++
		if got := slices.Collect(x.Headers()); !slices.EqualFunc(got, r.headers, func(a, b Header) bool { return a.Key == b.Key && same(a.Value, b.Value) }) {
			t.Fatalf("headers %v, want %v", got, r.headers)
		}
	}
	return want
}

func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func sameRecords(t fataler, b Batch, want []Record) {
	t.Helper()
	i := 0
	for got, err := range b.Records(1 << 30) {
		if err != nil {
			t.Fatal(err)
		}
		w := want[i]
		if got.Offset != w.Offset || got.Timestamp != w.Timestamp || got.OffsetDelta != w.OffsetDelta || !same(got.Key, w.Key) ||
			!same(got.Value, w.Value) || got.HeaderCount != w.HeaderCount || !bytes.Equal(got.RawHeaders, w.RawHeaders) {
			t.Fatalf("record %d: %+v, want %+v", i, got, w)
		}
		i++
	}
	if i != len(want) {
		t.Fatalf("%d records, want %d", i, len(want))
	}
}

// sameAsKmsg holds header and, without compression, records against kmsg's reading.
func sameAsKmsg(t fataler, b Batch) {
	t.Helper()
	var k kmsg.RecordBatch
	if err := k.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	if k.FirstOffset != b.BaseOffset() || k.Length != b.Length() || k.PartitionLeaderEpoch != b.LeaderEpoch() || k.Magic != b.Magic() ||
		uint32(k.CRC) != b.CRC() || k.Attributes != b.Attributes() || k.LastOffsetDelta != b.LastOffsetDelta() ||
		k.FirstTimestamp != b.FirstTimestamp() || k.MaxTimestamp != b.MaxTimestamp() || k.ProducerID != b.ProducerID() ||
		k.ProducerEpoch != b.ProducerEpoch() || k.FirstSequence != b.BaseSequence() || k.NumRecords != b.Count() {
		t.Fatalf("kmsg reads %+v", k)
	}
	if !bytes.Equal(k.AppendTo(nil), b) {
		t.Fatal("kmsg writes other bytes")
	}
	if b.Codec() != CodecNone {
		return
	}
	rest := k.Records
	for r, err := range b.Records(0) {
		var kr kmsg.Record
		if err != nil || kr.ReadFrom(rest) != nil {
			t.Fatal(err)
		}
		if kr.OffsetDelta != r.OffsetDelta || !same(kr.Key, r.Key) || !same(kr.Value, r.Value) || len(kr.Headers) != r.HeaderCount ||
			b.TimestampType() == CreateTime && b.BaseTimestamp()+kr.TimestampDelta64 != r.Timestamp {
			t.Fatalf("kmsg reads %+v, not %+v", kr, r)
		}
		n := len(kr.AppendTo(nil))
		if !bytes.Equal(kr.AppendTo(nil), rest[:n]) {
			t.Fatal("kmsg writes another record")
		}
		rest = rest[n:]
	}
}

func TestAppendNumbersRecords(t *testing.T) {
	var b Builder
	b.Reset(NewHeader(5), Compression{})
	b.Append(10, []byte("k"), nil)
	b.Append(9, nil, []byte{}, Header{Key: "h"})
	raw, err := b.Build(nil)
	if err != nil || b.Count() != 2 || b.Size() != len(raw) {
		t.Fatal(err, b.Count(), b.Size())
	}
	sameRecords(t, raw, []Record{
		{Offset: 5, Timestamp: 10, Key: []byte("k")},
		{Offset: 6, Timestamp: 9, OffsetDelta: 1, Value: []byte{}, HeaderCount: 1, RawHeaders: []byte{2, 'h', 1}},
	})
	if Batch(raw).MaxTimestamp() != 10 || Batch(raw).NextOffset() != 7 {
		t.Error("header")
	}
}

func TestBuilderRefuses(t *testing.T) {
	var b Builder
	b.Reset(NewHeader(100), Compression{})
	if _, err := b.Build(nil); !errors.Is(err, ErrInvalid) {
		t.Error("empty batch without offsets:", err)
	}
	for _, o := range []int64{99, 100 + 1<<31} {
		if err := b.Add(&Record{Offset: o}); !errors.Is(err, ErrInvalid) {
			t.Errorf("offset %d: %v", o, err)
		}
		if err := b.SetLastOffset(o); !errors.Is(err, ErrInvalid) {
			t.Errorf("last offset %d: %v", o, err)
		}
	}
	if err := b.Add(&Record{Offset: 103}); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(&Record{Offset: 103}); !errors.Is(err, ErrInvalid) {
		t.Error("same offset twice:", err)
	}
	if err := b.SetLastOffset(102); !errors.Is(err, ErrInvalid) {
		t.Error("last offset before the last record:", err)
	}
	b.Reset(NewHeader(0), Compression{Codec: 6})
	b.Append(0, nil, nil)
	if _, err := b.Build(nil); !errors.Is(err, ErrCodec) {
		t.Error("codec 6:", err)
	}
}

// What compaction leaves of an idempotent producer's last batch: no record, all offsets.
func TestEmptyBatch(t *testing.T) {
	h := NewHeader(40)
	h.ProducerID, h.ProducerEpoch, h.BaseSequence = 7, 1, math.MaxInt32
	var b Builder
	b.Reset(h, Compression{Codec: CodecZstd})
	if err := b.SetLastOffset(49); err != nil {
		t.Fatal(err)
	}
	raw, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	batch := Batch(raw)
	if len(raw) != HeaderSize || batch.LastOffset() != 49 || batch.Count() != 0 || batch.LastSequence() != 8 || batch.Codec() != CodecNone {
		t.Errorf("%x", raw)
	}
	sameRecords(t, batch, nil)
}

func TestSequenceWraps(t *testing.T) {
	for _, c := range [][3]int32{{0, 0, 0}, {5, 4, 9}, {math.MaxInt32, 0, math.MaxInt32}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 5, 3}} {
		if got := IncrementSequence(c[0], c[1]); got != c[2] {
			t.Errorf("%d + %d = %d, want %d", c[0], c[1], got, c[2])
		}
	}
}

func TestEndTxn(t *testing.T) {
	h := NewHeader(9)
	h.ProducerID, h.ProducerEpoch = 4, 2
	raw, err := AppendEndTxn(nil, h, ControlCommit, 77, 1234)
	if err != nil {
		t.Fatal(err)
	}
	b := Batch(raw)
	if !b.IsControl() || !b.IsTransactional() || b.BaseSequence() != NoSequence || b.Count() != 1 || b.ProducerID() != 4 {
		t.Errorf("%x", raw)
	}
	for r, err := range b.Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		kind, kerr := ControlKey(r.Key)
		epoch, verr := EndTxnMarker(r.Value)
		if kerr != nil || verr != nil || kind != ControlCommit || epoch != 77 || r.Timestamp != 1234 {
			t.Error(kind, kerr, epoch, verr)
		}
		var k kmsg.ControlRecordKey
		var v kmsg.EndTxnMarker
		if k.ReadFrom(r.Key) != nil || k.Type != kmsg.ControlRecordKeyTypeCommit || v.ReadFrom(r.Value) != nil || v.CoordinatorEpoch != 77 {
			t.Error(k, v)
		}
	}
	for _, bad := range [][]byte{nil, {0, 0, 0}, {0xff, 0, 0, 0, 0, 0}} {
		if _, err := ControlKey(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("key %x: %v", bad, err)
		}
		if _, err := EndTxnMarker(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("marker %x: %v", bad, err)
		}
	}
}
