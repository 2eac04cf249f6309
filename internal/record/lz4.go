package record

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"

	"github.com/pierrec/lz4/v4"
)

// An LZ4 frame as Kafka reads it: version 1, blocks that do not depend on each
// other, the descriptor's checksum verified, the content's not, and nothing read
// behind the end mark. The frame is decoded here rather than by a general reader,
// so that what is stored is what every client can read.
const (
	lz4Magic          = 0x184D2204
	lz4FlagVersion    = 0xC0 // must be 0x40
	lz4FlagIndep      = 0x20
	lz4FlagBlockSum   = 0x10
	lz4FlagSize       = 0x08
	lz4FlagReserved   = 0x03 // bit 0 would announce a dictionary
	lz4Uncompressed   = 1 << 31
	lz4MinDescription = 7 // magic, flags, block size, checksum
)

var (
	errLZ4Magic = errors.New("lz4: not a frame")
	errLZ4Flags = errors.New("lz4: unsupported frame flags")
	errLZ4Sum   = errors.New("lz4: checksum mismatch")
	errLZ4Block = errors.New("lz4: corrupt block")
)

type lz4Stream struct {
	in       []byte
	blockSum bool
	max      int    // of one block, decompressed
	buf      []byte // block buffer, at most 4 MiB
	out      []byte // decoded and not yet read
	done     bool
}

func (s *lz4Stream) reset(section []byte) error {
	s.in, s.out, s.done = nil, nil, false
	if section == nil {
		return nil
	}
	if len(section) < lz4MinDescription {
		return io.ErrUnexpectedEOF
	}
	if binary.LittleEndian.Uint32(section) != lz4Magic {
		return errLZ4Magic
	}
	flags, size := section[4], section[5]
	if flags&lz4FlagVersion != 0x40 || flags&lz4FlagIndep == 0 || flags&lz4FlagReserved != 0 {
		return errLZ4Flags
	}
	id := size >> 4 & 7
	if id < 4 || size&0x8F != 0 {
		return errLZ4Flags
	}
	end := 6
	if flags&lz4FlagSize != 0 {
		end += 8
	}
	if len(section) <= end {
		return io.ErrUnexpectedEOF
	}
	if section[end] != byte(xxh32(section[4:end])>>8) {
		return errLZ4Sum
	}
	s.in, s.blockSum, s.max = section[end+1:], flags&lz4FlagBlockSum != 0, 1<<(8+2*id)
	return nil
}

func (s *lz4Stream) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		if s.done {
			return 0, io.EOF
		}
		if err := s.block(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

func (s *lz4Stream) block() error {
	if len(s.in) < 4 {
		return io.ErrUnexpectedEOF
	}
	head := binary.LittleEndian.Uint32(s.in)
	s.in = s.in[4:]
	n := int(head &^ lz4Uncompressed)
	if n == 0 {
		s.done = true
		return nil
	}
	if n > s.max {
		return errLZ4Block
	}
	need := n
	if s.blockSum {
		need += 4
	}
	if len(s.in) < need {
		return io.ErrUnexpectedEOF
	}
	block := s.in[:n]
	if s.blockSum && binary.LittleEndian.Uint32(s.in[n:]) != xxh32(block) {
		return errLZ4Sum
	}
	s.in = s.in[need:]
	if head&lz4Uncompressed != 0 {
		s.out = block
		return nil
	}
	// A block of n bytes cannot stand for more than 255 times as many.
	size := min(s.max, 255*n)
	if cap(s.buf) < size {
		s.buf = make([]byte, size)
	}
	got, err := lz4.UncompressBlock(block, s.buf[:size])
	if err != nil {
		return errLZ4Block
	}
	s.out = s.buf[:got]
	return nil
}

// xxh32 is xxHash32 with seed 0.
func xxh32(p []byte) uint32 {
	const p1, p2, p3, p4, p5 uint32 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
	n := uint32(len(p))
	h := p5
	if len(p) >= 16 {
		var v [4]uint32
		v[0] += p1
		v[0] += p2
		v[1] = p2
		v[3] -= p1
		for ; len(p) >= 16; p = p[16:] {
			for i := range v {
				v[i] = bits.RotateLeft32(v[i]+binary.LittleEndian.Uint32(p[4*i:])*p2, 13) * p1
			}
		}
		h = bits.RotateLeft32(v[0], 1) + bits.RotateLeft32(v[1], 7) + bits.RotateLeft32(v[2], 12) + bits.RotateLeft32(v[3], 18)
	}
	h += n
	for ; len(p) >= 4; p = p[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(p)*p3, 17) * p4
	}
	for _, c := range p {
		h = bits.RotateLeft32(h+uint32(c)*p5, 11) * p1
	}
	h = (h ^ h>>15) * p2
	h = (h ^ h>>13) * p3
	return h ^ h>>16
}
