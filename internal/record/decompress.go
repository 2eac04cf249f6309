package record

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// zstdWindow is the largest window for which a zstd stream is decoded through
	// pooled buffers; it is what the format's standard asks every decoder to support.
	zstdWindow = 8 << 20
	// zstdMaxWindow is the largest window that is decoded at all (level 22).
	zstdMaxWindow = 128 << 20
	// zstdMaxWhole bounds what a frame with a window above zstdWindow may decompress
	// to, since such a frame is decoded into memory as a whole.
	zstdMaxWhole = 64 << 20
	// zstdWindowAt is where a frame that is not a single segment states its window, and
	// zstdWholeWindow is that statement for zstdMaxWhole (RFC 8878, 3.1.1.1.2).
	zstdWindowAt    = 5
	zstdWholeWindow = (26 - 10) << 3
	// zstdMaxRatio bounds how many bytes one byte of zstd can stand for: a block of
	// 128 KiB takes four bytes at least.
	zstdMaxRatio = 128 << 10 / 4
)

// stream decompresses one section as a reader. Its memory does not depend on
// what the section claims about itself beyond the limits above.
type stream interface {
	io.Reader
	// reset starts on a section; it must be called with nil before the stream is
	// put back, to let the section go.
	reset(section []byte) error
}

var streams = [...]sync.Pool{
	CodecGzip:   {New: func() any { return new(gzipStream) }},
	CodecSnappy: {New: func() any { return new(snappyStream) }},
	CodecLZ4:    {New: func() any { return new(lz4Stream) }},
	CodecZstd:   {New: func() any { return new(zstdStream) }},
}

// openStream takes a stream of the pool. The caller gives it back by closeStream
// whether or not there was an error.
func openStream(c Codec, section []byte) (stream, error) {
	s := streams[c].Get().(stream)
	return s, s.reset(section)
}

func closeStream(c Codec, s stream) {
	_ = s.reset(nil) // only lets go of the section
	streams[c].Put(s)
}

// Decompress appends the plain records section to dst. It reads at most max bytes
// (ErrTooLarge when there are more). An uncompressed section is returned as it is,
// not copied: a view of the batch.
func (b Batch) Decompress(dst []byte, max int) ([]byte, error) {
	c, section := b.Codec(), b.Section()
	if !c.Known() {
		return nil, unknownCodec(c)
	}
	if c == CodecNone {
		return section, nil
	}
	s, err := openStream(c, section)
	defer closeStream(c, s)
	if err != nil {
		return nil, undecodable(c, err)
	}
	base := len(dst)
	dst = slices.Grow(dst, min(max, 4*len(section))+1)
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, 1)
		}
		n, err := s.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst)-base > max {
			return nil, tooLarge("records decompress to more than %d bytes", max)
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return nil, undecodable(c, err)
		}
	}
}

// undecodable is the error for a section whose codec failed.
func undecodable(c Codec, err error) error {
	switch {
	case errors.Is(err, ErrTooLarge):
		return err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return tooLarge("%s: %v", c, err)
	}
	return invalid("records do not decompress as %s: %v", c, err)
}

type gzipStream struct {
	in bytes.Reader
	r  gzip.Reader
}

func (s *gzipStream) reset(section []byte) error {
	s.in.Reset(section)
	if section == nil {
		return nil
	}
	return s.r.Reset(&s.in)
}

func (s *gzipStream) Read(p []byte) (int, error) { return s.r.Read(p) }

// zstdStream streams frames with common windows; the rare others are decoded whole.
type zstdStream struct {
	in    bytes.Reader
	dec   *zstd.Decoder
	whole []byte // what is left of a frame decoded whole
	big   bool
}

func (s *zstdStream) reset(section []byte) error {
	s.whole, s.big = nil, false
	s.in.Reset(section)
	if section == nil {
		if s.dec != nil {
			return s.dec.Reset(nil)
		}
		return nil
	}
	var h zstd.Header
	if err := h.Decode(section); err != nil {
		return err
	}
	if !h.Skippable && h.WindowSize > zstdWindow {
		return s.resetWhole(section, h)
	}
	if s.dec != nil {
		return s.dec.Reset(&s.in)
	}
	dec, err := zstd.NewReader(&s.in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecodeBuffersBelow(0))
	if err != nil {
		return err
	}
	s.dec = dec
	return nil
}

func (s *zstdStream) resetWhole(section []byte, h zstd.Header) error {
	if h.WindowSize > zstdMaxWindow || h.HasFCS && h.FrameContentSize > min(zstdMaxWhole, uint64(len(section))*zstdMaxRatio) {
		return tooLarge("zstd frame of %d bytes with a window of %d", h.FrameContentSize, h.WindowSize)
	}
	if !h.SingleSegment && h.WindowSize > zstdMaxWhole {
		// No match reaches further back than the content, which is bounded by
		// zstdMaxWhole: that window will do, and the decoder's bound wants no larger one.
		section = bytes.Clone(section)
		section[zstdWindowAt] = zstdWholeWindow
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(zstdMaxWhole))
	if err != nil {
		return err
	}
	defer dec.Close()
	s.big = true
	s.whole, err = dec.DecodeAll(section, nil)
	return err
}

func (s *zstdStream) Read(p []byte) (int, error) {
	if !s.big {
		return s.dec.Read(p)
	}
	if len(s.whole) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.whole)
	s.whole = s.whole[n:]
	return n, nil
}
