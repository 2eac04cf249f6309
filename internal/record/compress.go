package record

import (
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// sliceWriter appends what is written to it.
type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// Encoders are pooled by codec and level; a level out of range takes the nearest.
var (
	gzipPools [gzip.BestCompression + 1]sync.Pool // 0 is the default level
	lz4Pools  [10]sync.Pool                       // 0 is the fast compressor
	zstdPools [zstd.SpeedBestCompression + 1]sync.Pool
)

// lz4DefaultLevel is the level that means the fast compressor, as in Kafka; every
// other one is a high compression level.
const lz4DefaultLevel = 9

// zstdDefaultLevel is compression.zstd.level's default.
const zstdDefaultLevel = 3

// appendCompressed appends section, compressed, to dst.
func appendCompressed(dst, section []byte, c Compression) ([]byte, error) {
	switch c.Codec {
	case CodecNone:
		return append(dst, section...), nil
	case CodecGzip:
		return appendGzip(dst, section, c.Level)
	case CodecSnappy:
		return appendXerial(dst, section), nil
	case CodecLZ4:
		return appendLZ4(dst, section, c.Level)
	case CodecZstd:
		return appendZstd(dst, section, c.Level)
	}
	return nil, unknownCodec(c.Codec)
}

func appendGzip(dst, section []byte, level int) ([]byte, error) {
	level = min(max(level, 0), gzip.BestCompression)
	w, _ := gzipPools[level].Get().(*gzip.Writer)
	out := &sliceWriter{b: dst}
	if w == nil {
		l := level
		if l == 0 {
			l = gzip.DefaultCompression
		}
		var err error
		if w, err = gzip.NewWriterLevel(out, l); err != nil {
			return nil, err
		}
	}
	w.Reset(out)
	err := writeAll(w, section)
	w.Reset(io.Discard)
	gzipPools[level].Put(w)
	return out.b, err
}

func appendLZ4(dst, section []byte, level int) ([]byte, error) {
	index, l := 0, lz4.Fast
	if level != 0 && level != lz4DefaultLevel {
		index = min(max(level, 1), 9)
		l = lz4.CompressionLevel(1 << (8 + index))
	}
	w, _ := lz4Pools[index].Get().(*lz4.Writer)
	out := &sliceWriter{b: dst}
	if w == nil {
		w = lz4.NewWriter(out)
		err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false),
			lz4.ConcurrencyOption(1), lz4.CompressionLevelOption(l))
		if err != nil {
			return nil, err
		}
	}
	w.Reset(out)
	err := writeAll(w, section)
	w.Reset(io.Discard)
	lz4Pools[index].Put(w)
	return out.b, err
}

func appendZstd(dst, section []byte, level int) ([]byte, error) {
	if level == 0 {
		level = zstdDefaultLevel
	}
	l := zstd.EncoderLevelFromZstd(level)
	e, _ := zstdPools[l].Get().(*zstd.Encoder)
	if e == nil {
		var err error
		e, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(l), zstd.WithEncoderConcurrency(1),
			zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true), zstd.WithWindowSize(zstdWindow))
		if err != nil {
			return nil, err
		}
	}
	dst = e.EncodeAll(section, dst)
	zstdPools[l].Put(e)
	return dst, nil
}

func writeAll(w io.WriteCloser, p []byte) error {
	if _, err := w.Write(p); err != nil {
		return err
	}
	return w.Close()
}
