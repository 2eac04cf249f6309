package log

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/leat-stream/leat/internal/record"
)

var allCodecs = []record.Codec{record.CodecNone, record.CodecGzip, record.CodecSnappy, record.CodecLZ4, record.CodecZstd}

// text is a value that compresses, the better the harder one tries.
func text(i int) []byte {
	var b []byte
	for j := range 400 {
		b = fmt.Appendf(b, "%x ", (i*7919+j*j*104729)%4096)
	}
	return b
}

// compressedBatch is a batch of 20 texts by an idempotent producer.
func compressedBatch(c record.Codec, seq int32, ts int64) []byte {
	h := record.NewHeader(0)
	h.ProducerID, h.ProducerEpoch, h.BaseSequence = 9, 1, seq
	var b record.Builder
	b.Reset(h, record.Compression{Codec: c})
	for i := range 20 {
		b.Append(ts, fmt.Append(nil, i), text(i))
	}
	p, err := b.Build(nil)
	if err != nil {
		panic(err)
	}
	return p
}

// batchAt is the batch that holds an offset, as it is stored.
func batchAt(t *testing.T, l *Log, offset int64) record.Batch {
	t.Helper()
	run, err := l.Read(offset, 1, l.EndOffset(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Release()
	p := make([]byte, run.Len())
	if _, err := run.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	for b, err := range record.Split(p) {
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	t.Fatalf("no batch at %d", offset)
	return nil
}

// TestCompressionType: a topic stores its own codec, whatever came; producer keeps what
// came, byte for byte.
func TestCompressionType(t *testing.T) {
	w := newWorld(t)
	ts := w.clock.Now().UnixMilli()
	check := func(name string, of int64, want record.Codec) {
		t.Helper()
		b := batchAt(t, w.log(name), of)
		if b.Codec() != want || !b.CheckCRC() || b.BaseOffset() != of || b.ProducerID() != 9 || b.BaseSequence() != int32(of) || b.MaxTimestamp() != ts || b.Count() != 20 {
			t.Fatalf("%s at %d: codec %v, want %v: %+v", name, of, b.Codec(), want, b.Header())
		}
		i := 0
		for r, err := range b.Records(1 << 20) {
			if err != nil || r.Offset != of+int64(i) || string(r.Key) != fmt.Sprint(i) || !bytes.Equal(r.Value, text(i)) || r.Timestamp != ts {
				t.Fatalf("%s: record %d came as %d %q (%v)", name, i, r.Offset, r.Key, err)
			}
			i++
		}
		if i != 20 {
			t.Fatalf("%s: %d records", name, i)
		}
	}
	all := func(name string, own bool, codec record.Codec) {
		for i, c := range allCodecs {
			if own {
				c = codec
			}
			check(name, int64(20*i), c)
		}
	}
	for _, own := range allCodecs {
		name := own.String()
		l := w.log(name, func(c *Config) { c.Compression, c.CompressionSet = record.Compression{Codec: own}, true })
		for i, c := range allCodecs {
			sent := compressedBatch(c, int32(20*i), ts)
			if info := w.append(l, slices.Clone(sent)); info.Bytes != len(batchAt(t, l, int64(20*i))) || c == own && info.Bytes != len(sent) {
				t.Fatalf("%s to %s: %+v of %d", c, own, info, len(sent))
			}
		}
		all(name, true, own)
	}
	l := w.log("producer")
	for i, c := range allCodecs {
		sent := compressedBatch(c, int32(20*i), ts)
		w.append(l, slices.Clone(sent))
		if stored := batchAt(t, l, int64(20*i)); !bytes.Equal(stored[record.OffAttributes:], sent[record.OffAttributes:]) {
			t.Fatalf("%s: the batch was changed", c)
		}
	}
	all("producer", false, 0)
	w.sync()
	w.kill() // recovery reads them all
	for _, own := range allCodecs {
		all(own.String(), true, own)
	}
	all("producer", false, 0)
	if info := w.append(w.log("gzip"), compressedBatch(record.CodecZstd, 80, ts)); !info.Duplicate || info.FirstOffset != 80 {
		t.Fatalf("the retry of a batch that was recompressed: %+v", info)
	}
}

// TestCompressionChanges: a change of compression.type or its level holds from the next
// append on.
func TestCompressionChanges(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	var seq int32
	size := func(codec record.Codec, level int) int {
		t.Helper()
		c := *l.Config()
		c.Compression, c.CompressionSet = record.Compression{Codec: codec, Level: level}, true
		l.SetConfig(c)
		info := w.append(l, compressedBatch(record.CodecNone, seq, w.clock.Now().UnixMilli()))
		seq += 20
		if got := batchAt(t, l, info.FirstOffset).Codec(); got != codec {
			t.Fatalf("stored as %v, want %v", got, codec)
		}
		return info.Bytes
	}
	plain := size(record.CodecNone, 0)
	if s := size(record.CodecSnappy, 0); s >= plain {
		t.Fatalf("snappy: %d of %d bytes", s, plain)
	}
	for codec, levels := range map[record.Codec][2]int{
		record.CodecGzip: {1, 9}, record.CodecLZ4: {9, 8} /* 9 is the fast one */, record.CodecZstd: {3, 19},
	} {
		fast, best := size(codec, levels[0]), size(codec, levels[1])
		if fast >= plain || best >= fast {
			t.Errorf("%v: %d bytes, %d at level %d, %d at level %d", codec, plain, fast, levels[0], best, levels[1])
		}
	}
	c := *l.Config()
	c.CompressionSet = false
	l.SetConfig(c)
	info := w.append(l, compressedBatch(record.CodecLZ4, seq, w.clock.Now().UnixMilli()))
	if got := batchAt(t, l, info.FirstOffset).Codec(); got != record.CodecLZ4 {
		t.Fatalf("stored as %v, the producer's is lz4", got)
	}
}
