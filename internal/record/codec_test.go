package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

// wrap is a batch around any compressed section.
func wrap(c Codec, section []byte) Batch {
	b := raw(CodecNone, section, 1)
	b.setFrame(int16(c))
	return b
}

// plains are sections of all sorts of sizes and shapes.
func plains() [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 200_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	return [][]byte{{}, {0}, noise[:10], noise, bytes.Repeat([]byte("leat"), 100_000), make([]byte, 1<<20),
		bytes.Repeat(noise[:5000], 30), noise[:xerialBlockSize], noise[:64<<10], noise[:64<<10+1]}
}

func TestCompressThenDecompress(t *testing.T) {
	for _, c := range codecs {
		for _, level := range []int{0, 1, 9, 17, -1, 1000} {
			for i, p := range plains() {
				if level != 0 && len(p) > 150_000 {
					continue
				}
				z, err := appendCompressed([]byte("x"), p, Compression{c, level})
				if err != nil {
					t.Fatalf("%s %d: %v", c, level, err)
				}
				got, err := wrap(c, z[1:]).Decompress(nil, len(p))
				if err != nil || !bytes.Equal(got, p) {
					t.Fatalf("%s level %d, section %d: %d bytes of %d, %v", c, level, i, len(got), len(p), err)
				}
				if len(p) > 0 {
					if _, err = wrap(c, z[1:]).Decompress(nil, len(p)-1); c != CodecNone && !errors.Is(err, ErrTooLarge) {
						t.Fatalf("%s: a byte above the limit: %v", c, err)
					}
				}
			}
		}
	}
}

// What franz-go compresses is read, and what is compressed here franz-go reads.
func TestCodecsOfAnotherClient(t *testing.T) {
	theirs := kgo.DefaultDecompressor()
	for c, codec := range map[Codec]kgo.CompressionCodec{CodecGzip: kgo.GzipCompression(), CodecSnappy: kgo.SnappyCompression(),
		CodecLZ4: kgo.Lz4Compression(), CodecZstd: kgo.ZstdCompression()} {
		compressor, err := kgo.DefaultCompressor(codec)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range plains()[1:] {
			z, id := compressor.Compress(new(bytes.Buffer), p)
			if Codec(id) != c {
				t.Fatalf("codec %d", id)
			}
			if got, err := wrap(c, z).Decompress(nil, len(p)); err != nil || !bytes.Equal(got, p) {
				t.Errorf("%s, section %d: theirs is not read: %v", c, i, err)
			}
			ours, err := appendCompressed(nil, p, Compression{Codec: c})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := theirs.Decompress(ours, kgo.CompressionCodecType(c)); err != nil || !bytes.Equal(got, p) {
				t.Errorf("%s, section %d: ours is not read: %v", c, i, err)
			}
		}
	}
}

func TestOtherShapesOfStreams(t *testing.T) {
	p := bytes.Repeat([]byte("some text, "), 20_000)
	lz := func(opts ...lz4.Option) []byte {
		var b bytes.Buffer
		w := lz4.NewWriter(&b)
		if err := w.Apply(opts...); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(p)
		_ = w.Close()
		return b.Bytes()
	}
	streamed := func(opts ...zstd.EOption) []byte {
		var b bytes.Buffer
		e, err := zstd.NewWriter(&b, opts...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 { // so that the size is not known beforehand
			_, _ = e.Write(p[i*len(p)/10 : (i+1)*len(p)/10])
			_ = e.Flush()
		}
		_ = e.Close()
		return b.Bytes()
	}
	frame := appendXerial(nil, p)
	for name, c := range map[string]struct {
		codec   Codec
		section []byte
		want    error
	}{
		"raw snappy":                   {CodecSnappy, snappy.Encode(nil, p), nil},
		"two xerial frames":            {CodecSnappy, append(appendXerial(nil, p[:99]), appendXerial(nil, p[99:])...), nil},
		"xerial, cut in a length":      {CodecSnappy, frame[:xerialHeader+2], ErrInvalid},
		"xerial, cut in a block":       {CodecSnappy, frame[:len(frame)-1], ErrInvalid},
		"xerial, negative block":       {CodecSnappy, append(append([]byte{}, frame[:xerialHeader]...), 0xff, 0xff, 0xff, 0xff, 1), ErrInvalid},
		"snappy of a hostile length":   {CodecSnappy, binary.AppendUvarint(nil, 1<<31), ErrInvalid},
		"snappy, bad varint":           {CodecSnappy, bytes.Repeat([]byte{0xff}, 20), ErrInvalid},
		"lz4, block checksums":         {CodecLZ4, lz(lz4.BlockChecksumOption(true)), nil},
		"lz4, content size, 4 MiB":     {CodecLZ4, lz(lz4.SizeOption(uint64(len(p))), lz4.BlockSizeOption(lz4.Block4Mb)), nil},
		"lz4, no end mark":             {CodecLZ4, lz(lz4.ChecksumOption(false))[:20], ErrInvalid},
		"lz4, something behind":        {CodecLZ4, append(lz(lz4.ChecksumOption(false)), 1, 2, 3), nil},
		"lz4, wrong magic":             {CodecLZ4, []byte("not an lz4 frame"), ErrInvalid},
		"lz4, short":                   {CodecLZ4, lz()[:6], ErrInvalid},
		"lz4, header checksum":         {CodecLZ4, flip(lz(), 6), ErrInvalid},
		"lz4, dependent blocks":        {CodecLZ4, flip(lz(), 4), ErrInvalid},
		"lz4, block checksum":          {CodecLZ4, flip(lz(lz4.BlockChecksumOption(true), lz4.BlockSizeOption(lz4.Block4Mb)), 200), ErrInvalid},
		"zstd, streamed":               {CodecZstd, streamed(), nil},
		"zstd, window of level 22":     {CodecZstd, streamed(zstd.WithWindowSize(128 << 20)), nil},
		"zstd, window beyond level 22": {CodecZstd, streamed(zstd.WithWindowSize(256 << 20)), ErrTooLarge},
		"zstd, two frames":             {CodecZstd, append(zstdOf(t, p[:99]), zstdOf(t, p[99:])...), nil},
		"zstd, cut":                    {CodecZstd, zstdOf(t, p)[:30], ErrInvalid},
		"zstd, not zstd":               {CodecZstd, p[:100], ErrInvalid},
		"zstd, nothing":                {CodecZstd, nil, ErrInvalid},
		"gzip, not gzip":               {CodecGzip, p[:100], ErrInvalid},
		"gzip, nothing":                {CodecGzip, nil, ErrInvalid},
	} {
		got, err := wrap(c.codec, c.section).Decompress(nil, len(p))
		if !errors.Is(err, c.want) || err == nil && !bytes.Equal(got, p) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func zstdOf(t *testing.T, p []byte) []byte {
	t.Helper()
	z, err := appendZstd(nil, p, 0)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// flip changes one byte.
func flip(p []byte, at int) []byte {
	p = append([]byte(nil), p...)
	p[at] ^= 0x20
	return p
}

// A batch of a few KiB whose one record has a value of 64 MiB: decompressing stops at
// the limit, validating takes it in a fraction of that memory.
func TestBombs(t *testing.T) {
	const size = 64 << 20
	zeros := make([]byte, 1<<20)
	head := binary.AppendVarint(nil, 4+4+size+1)
	head = append(head, 0, 0, 0, 1)
	head = binary.AppendVarint(head, size)
	bomb := func(open func(io.Writer) io.WriteCloser) []byte {
		var b bytes.Buffer
		w := open(&b)
		_, _ = w.Write(head)
		for range size / len(zeros) {
			_, _ = w.Write(zeros)
		}
		_, _ = w.Write([]byte{0})
		_ = w.Close()
		return b.Bytes()
	}
	for c, section := range map[Codec][]byte{
		CodecGzip: bomb(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }),
		CodecLZ4:  bomb(func(w io.Writer) io.WriteCloser { return lz4.NewWriter(w) }),
		CodecZstd: bomb(func(w io.Writer) io.WriteCloser {
			e, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}),
		CodecSnappy: bomb(func(w io.Writer) io.WriteCloser { return &xerialWriter{w: w} }),
	} {
		b := wrap(c, section)
		if _, err := b.Decompress(nil, 1<<20); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", c, err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		info, err := Validate(b, wide)
		runtime.ReadMemStats(&after)
		if err != nil || info.Plain < size {
			t.Errorf("%s: %+v %v", c, info, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > size/2 {
			t.Errorf("%s: validation allocates %d bytes", c, got)
		}
		limited := wide
		limited.MaxRecordBytes = size
		if _, err := Validate(b, limited); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: record above its limit: %v", c, err)
		}
	}
	// A frame that claims a large window and content in a few bytes.
	claim := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 3}
	if _, err := wrap(CodecZstd, claim).Decompress(nil, math.MaxInt32); !errors.Is(err, ErrTooLarge) {
		t.Errorf("zstd claim: %v", err)
	}
}

// xerialWriter frames every write as one block.
type xerialWriter struct {
	w     io.Writer
	begun bool
}

func (x *xerialWriter) Write(p []byte) (int, error) {
	var b []byte
	if !x.begun {
		b, x.begun = appendXerial(nil, nil), true
	}
	z := snappy.Encode(nil, p)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(z))), z...)
	_, err := x.w.Write(b)
	return len(p), err
}

func (x *xerialWriter) Close() error { return nil }

func TestXXH32(t *testing.T) {
	// The algorithm's own vectors for seed 0.
	for in, want := range map[string]uint32{"": 0x02cc5d05, "a": 0x550d7456, "abc": 0x32d153ff} {
		if got := xxh32([]byte(in)); got != want {
			t.Errorf("%q: %08x", in, got)
		}
	}
	// Longer inputs are held against the writer's block checksums in TestOtherShapesOfStreams.
}

func TestCodecNames(t *testing.T) {
	for _, c := range codecs {
		if got, ok := ParseCodec(c.String()); !ok || got != c || !c.Known() {
			t.Error(c)
		}
	}
	if c, ok := ParseCodec("uncompressed"); !ok || c != CodecNone {
		t.Error("uncompressed")
	}
	if _, ok := ParseCodec("producer"); ok || Codec(5).Known() || Codec(5).String() != "codec(5)" {
		t.Error("unknown codecs")
	}
}

func TestRecompress(t *testing.T) {
	h := NewHeader(0)
	h.ProducerID, h.ProducerEpoch, h.BaseSequence, h.Transactional = 1, 2, 3, true
	for _, from := range codecs {
		for _, to := range codecs {
			for _, gaps := range []bool{false, true} {
				var b Builder
				b.Reset(h, Compression{Codec: from})
				var want []Record
				for i := range int64(10) {
					r := Record{Offset: i, OffsetDelta: int32(i), Timestamp: 100 - i, Key: []byte{byte(i)}, Value: make([]byte, 1000)}
					if gaps {
						r.Offset = 3*i + 1
					}
					if err := b.Add(&r); err != nil {
						t.Fatal(err)
					}
					r.Offset = i
					want = append(want, r)
				}
				src, err := b.Build(nil)
				if err != nil {
					t.Fatal(err)
				}
				out, err := Recompress([]byte("before"), src, Compression{Codec: to}, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				if out.Header() != Batch(src).Header() || out.Codec() != to || out.LastOffsetDelta() != 9 || out.MaxTimestamp() != 100 || !out.CheckCRC() {
					t.Errorf("%s to %s: %x", from, to, out[:HeaderSize])
				}
				sameRecords(t, out, want)
			}
		}
	}
	if _, err := Recompress(nil, benchBatch(CodecZstd), Compression{}, 1000); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if _, err := Recompress(nil, benchBatch(CodecNone), Compression{Codec: 5}, 1000); !errors.Is(err, ErrCodec) {
		t.Error(err)
	}
	if _, err := Recompress(nil, raw(CodecGzip, two, 3), Compression{}, 1000); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err := wrap(6, nil).Decompress(nil, 1); !errors.Is(err, ErrCodec) {
		t.Error(err)
	}
}

func FuzzDecompress(f *testing.F) {
	for _, c := range codecs {
		z, _ := appendCompressed(nil, two, Compression{Codec: c})
		f.Add(int8(c), z)
		z, _ = appendCompressed(nil, make([]byte, 100_000), Compression{Codec: c})
		f.Add(int8(c), z)
	}
	f.Add(int8(CodecSnappy), snappy.Encode(nil, two))
	f.Fuzz(func(t *testing.T, c int8, section []byte) {
		const max = 1 << 20
		b := wrap(Codec(c)&7, section)
		got, err := b.Decompress(nil, max)
		if err == nil && b.Codec() != CodecNone && len(got) > max {
			t.Fatalf("%d bytes", len(got))
		}
		again, err2 := b.Decompress(make([]byte, 0, 100), max)
		if (err == nil) != (err2 == nil) || !bytes.Equal(got, again) {
			t.Fatal("pooled state shows:", err, err2)
		}
	})
}

func FuzzRecords(f *testing.F) {
	f.Add(two, int32(2))
	f.Add(section(Record{Key: []byte("k"), HeaderCount: 1, RawHeaders: AppendHeaders(nil, Header{"h", []byte("v")})}), int32(1))
	f.Fuzz(func(t *testing.T, p []byte, count int32) {
		b := raw(CodecNone, p, count)
		var bl Builder
		bl.Reset(b.Header(), Compression{})
		n := int32(0)
		for r, err := range b.Records(0) {
			if err != nil {
				return
			}
			n++
			headers := 0
			for range r.Headers() {
				headers++
			}
			if headers != r.HeaderCount {
				t.Fatalf("%d headers of %d", headers, r.HeaderCount)
			}
			_ = bl.Add(&r)
		}
		if n != count && count >= 0 {
			t.Fatalf("%d records of %d", n, count)
		}
		if bl.Count() != int(count) || count == 0 {
			return // offsets did not ascend
		}
		out, err := bl.Build(nil)
		if err != nil {
			t.Fatal(err)
		}
		var a, z []Record
		for r := range b.Records(0) {
			a = append(a, r)
		}
		for r := range Batch(out).Records(0) {
			z = append(z, r)
		}
		for i := range a {
			if !same(a[i].Key, z[i].Key) || !same(a[i].Value, z[i].Value) || a[i].Offset != z[i].Offset || a[i].Timestamp != z[i].Timestamp || !bytes.Equal(a[i].RawHeaders, z[i].RawHeaders) {
				t.Fatalf("%+v became %+v", a[i], z[i])
			}
		}
	})
}
