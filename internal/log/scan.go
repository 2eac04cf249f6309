package log

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"math"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

// scanChunk is how much a scan reads at a time.
const scanChunk = 256 << 10

// scanner reads batches one after the other and checks them. It needs a fixed amount
// of memory, whatever the lengths in the file say.
type scanner struct {
	f     env.File
	limit int64 // the file's size
	buf   []byte
	chunk []byte // what buf holds, from at on
	at    int64
}

func newScanner(f env.File, limit int64) *scanner {
	return &scanner{f: f, limit: limit, buf: make([]byte, min(scanChunk, max(limit, headerRead)))}
}

// bytes is a view of n bytes at pos, n at most scanChunk; valid until the next call.
func (s *scanner) bytes(pos, n int64) ([]byte, error) {
	if off := pos - s.at; off >= 0 && off+n <= int64(len(s.chunk)) {
		return s.chunk[off : off+n], nil
	}
	want := min(int64(len(s.buf)), s.limit-pos)
	got, err := s.f.ReadAt(s.buf[:want], pos)
	if err == io.EOF && int64(got) == want {
		err = nil
	}
	if unreadable(err) && n < want { // it may be what comes behind
		want = n
		if got, err = s.f.ReadAt(s.buf[:want], pos); err == io.EOF && int64(got) == want {
			err = nil
		}
	}
	if err != nil {
		s.chunk = nil
		return nil, readError(err)
	}
	s.chunk, s.at = s.buf[:want], pos
	return s.chunk[:n], nil
}

// header reads the header at pos.
func (s *scanner) header(pos int64) (header, error) {
	if s.limit-pos < headerRead {
		return header{pos: pos}, damaged("%d bytes at position %d are no batch", s.limit-pos, pos)
	}
	p, err := s.bytes(pos, headerRead)
	if err != nil {
		return header{pos: pos}, err
	}
	return parseHeader(p, pos, s.limit, 0)
}

// batch reads and checks the batch at pos, whose offsets must not be below next. The
// batch is whole if it fits into the buffer, otherwise its header only: enough for
// everything but a marker, which is small. Errors: ErrCorrupt, ErrStorage; one that is whole
// is given even so when only its checksum is wrong.
func (s *scanner) batch(pos, next int64) (header, record.Batch, error) {
	h, err := s.header(pos)
	if err != nil {
		return h, nil, err
	}
	if h.base < next {
		return h, nil, damaged("offset %d at position %d, expected %d or more", h.base, pos, next)
	}
	if h.size <= int64(len(s.buf)) {
		p, err := s.bytes(pos, h.size)
		if err != nil {
			return h, nil, err
		}
		b := record.Batch(p)
		if !b.CheckCRC() {
			return h, b, damaged("checksum of the batch at position %d", pos)
		}
		return h, b, nil
	}
	var head [headerRead]byte
	p, err := s.bytes(pos, headerRead)
	if err != nil {
		return h, nil, err
	}
	copy(head[:], p)
	b := record.Batch(head[:])
	crc := uint32(0)
	for at := pos + record.OffAttributes; at < pos+h.size; {
		n := min(int64(len(s.buf)), pos+h.size-at)
		if p, err = s.bytes(at, n); err != nil {
			return h, nil, err
		}
		crc = crc32.Update(crc, castagnoli, p)
		at += n
	}
	if crc != b.CRC() {
		return h, nil, damaged("checksum of the batch at position %d", pos)
	}
	if b.IsControl() {
		return h, nil, damaged("control batch of %d bytes at position %d", h.size, pos)
	}
	return h, b, nil
}

// resync looks for the next good batch at or behind pos, and before upTo, with an offset of at
// least next, of those whose headers may be true. A batch can only be where a byte of its
// format's number stands at the right place.
func (s *scanner) resync(pos, upTo, next int64, may func(header) bool) (header, bool, error) {
	upTo = min(upTo, s.limit-headerRead+1)
	for pos < upTo {
		if _, err := s.bytes(pos, headerRead); err != nil {
			return header{}, false, err
		}
		p := s.chunk[pos-s.at:] // all that was read
		n := int64(len(p))
		i := bytes.IndexByte(p[record.OffMagic:n-headerRead+record.OffMagic+1], record.Magic)
		if i < 0 {
			pos += n - headerRead + 1
			continue
		}
		if pos += int64(i); pos >= upTo {
			break
		}
		h, err := s.header(pos)
		if err == nil && h.base >= next && h.base-next <= math.MaxInt32 && may(h) {
			if h, _, err = s.batch(pos, next); err == nil {
				return h, true, nil
			}
		}
		if !errors.Is(err, ErrCorrupt) && err != nil {
			return header{}, false, err
		}
		pos++
	}
	return header{}, false, nil
}

// zeros tells whether nothing but zeros is left from pos on: space that was reserved,
// or the size of a write whose bytes were lost.
func (s *scanner) zeros(pos int64) (bool, error) {
	for pos < s.limit {
		n := min(int64(len(zeroPage)), int64(len(s.buf)), s.limit-pos)
		p, err := s.bytes(pos, n)
		if err != nil || !bytes.Equal(p, zeroPage[:n]) {
			return false, err
		}
		pos += n
	}
	return true, nil
}

var zeroPage [64 << 10]byte
