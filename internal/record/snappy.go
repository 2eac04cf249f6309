package record

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/klauspost/compress/snappy"
)

// Snappy sections come in two shapes: the framing of the xerial library, which
// the Java client writes (magic, two int32 versions, then blocks of an int32
// length and raw snappy), and one raw snappy block, which others write.
const (
	xerialMagic     = "\x82SNAPPY\x00"
	xerialHeader    = len(xerialMagic) + 8
	xerialBlockSize = 32 << 10
	// snappyKeep bounds the block buffer that a pooled stream keeps.
	snappyKeep = 1 << 20
	// snappyMaxRatio bounds how many bytes one byte of snappy can stand for: three
	// bytes copy 64 at most.
	snappyMaxRatio = 22
)

var errSnappy = errors.New("snappy: corrupt input")

type snappyStream struct {
	in     []byte // what has not been decoded
	framed bool
	buf    []byte // block buffer
	out    []byte // decoded and not yet read: a view of buf
}

func (s *snappyStream) reset(section []byte) error {
	s.in, s.out, s.framed = section, nil, false
	if cap(s.buf) > snappyKeep {
		s.buf = nil
	}
	if len(section) >= xerialHeader && string(section[:len(xerialMagic)]) == xerialMagic {
		s.in, s.framed = section[xerialHeader:], true
	}
	return nil
}

func (s *snappyStream) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		block, err := s.next()
		if err != nil {
			return 0, err
		}
		size, err := snappy.DecodedLen(block)
		if err != nil {
			return 0, err
		}
		if int64(size) > int64(len(block))*snappyMaxRatio {
			return 0, errSnappy
		}
		if size > cap(s.buf) {
			s.buf = make([]byte, size)
		}
		if s.out, err = snappy.DecodeStrict(s.buf[:0:cap(s.buf)], block); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// next is the next raw block, or io.EOF. Frames may follow each other.
func (s *snappyStream) next() ([]byte, error) {
	if len(s.in) == 0 {
		return nil, io.EOF
	}
	if !s.framed {
		block := s.in
		s.in = nil
		return block, nil
	}
	if len(s.in) >= xerialHeader && string(s.in[:len(xerialMagic)]) == xerialMagic {
		if s.in = s.in[xerialHeader:]; len(s.in) == 0 {
			return nil, io.EOF
		}
	}
	if len(s.in) < 4 {
		return nil, io.ErrUnexpectedEOF
	}
	n := int(int32(binary.BigEndian.Uint32(s.in)))
	if n < 0 || n > len(s.in)-4 {
		return nil, errSnappy
	}
	block := s.in[4 : 4+n]
	s.in = s.in[4+n:]
	return block, nil
}

// appendXerial appends src as the Java client frames it.
func appendXerial(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = append(dst, 0, 0, 0, 1, 0, 0, 0, 1)
	for len(src) > 0 {
		n := min(len(src), xerialBlockSize)
		at := len(dst)
		need := 4 + snappy.MaxEncodedLen(n)
		dst = slices.Grow(dst, need)
		block := snappy.Encode(dst[at+4:at+need], src[:n])
		dst = dst[:at+4+len(block)]
		binary.BigEndian.PutUint32(dst[at:], uint32(len(block)))
		src = src[n:]
	}
	return dst
}
