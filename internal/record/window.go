package record

import (
	"errors"
	"io"
	"sync"
)

const windowSize = 32 << 10

// maxPlain bounds what one batch may decompress to while it is validated, in bytes:
// sizes beyond it do not fit the protocol's integers, and reading on would only be
// slow.
const maxPlain = 1<<31 - 1

// window walks the records of a stream without holding more than windowSize bytes.
type window struct {
	src  io.Reader
	r, w int
	err  error // of src; io.EOF at its end
	read int64 // bytes consumed
	buf  [windowSize]byte
}

var windows = sync.Pool{New: func() any { return new(window) }}

func openWindow(src io.Reader) *window {
	w := windows.Get().(*window)
	w.src, w.r, w.w, w.err, w.read = src, 0, 0, nil, 0
	return w
}

func closeWindow(w *window) {
	w.src = nil
	windows.Put(w)
}

// fill gets more bytes into an empty buffer; false at the end or on an error.
func (w *window) fill() bool {
	w.r, w.w = 0, 0
	for range 100 {
		if w.err != nil {
			return false
		}
		w.w, w.err = w.src.Read(w.buf[:])
		if w.w > 0 {
			return true
		}
	}
	w.err = io.ErrNoProgress
	return false
}

func (w *window) byte() (byte, bool) {
	if w.r == w.w && !w.fill() {
		return 0, false
	}
	c := w.buf[w.r]
	w.r++
	w.read++
	return c, true
}

// skip drops n bytes.
func (w *window) skip(n int64) bool {
	for n > 0 {
		if w.r == w.w && !w.fill() {
			return false
		}
		k := min(n, int64(w.w-w.r))
		w.r += int(k)
		w.read += k
		n -= k
	}
	return true
}

func (w *window) varint64() (int64, bool) {
	var u uint64
	for shift := 0; shift < 70; shift += 7 {
		c, ok := w.byte()
		if !ok || shift == 63 && c > 1 {
			return 0, false
		}
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return int64(u>>1) ^ -int64(u&1), true
		}
	}
	return 0, false
}

func (w *window) varint32() (int32, bool) {
	v, ok := w.varint64()
	return int32(v), ok && v == int64(int32(v))
}

// failure is the error of a walk that could not go on: the stream's, or that of its structure.
func (w *window) failure(c Codec, structure error) error {
	switch {
	case w.err == nil:
		return structure
	case w.err == io.EOF, errors.Is(w.err, io.ErrUnexpectedEOF):
		return errPremature
	}
	return undecodable(c, w.err)
}

// record walks one record. It fills of r only what validation looks at: OffsetDelta, and
// Key as nil or not.
func (w *window) record(r *Record, c Codec, maxSize int) (delta int64, err error) {
	size, ok := w.varint32()
	if !ok {
		return 0, w.failure(c, errPremature)
	}
	if size < 0 {
		return 0, invalid("record size %d is negative", size)
	}
	if maxSize > 0 && int(size) > maxSize {
		return 0, invalid("record size %d exceeds the configured maximum record size of %d", size, maxSize)
	}
	if w.read+int64(size) > maxPlain {
		return 0, tooLarge("records decompress to more than %d bytes", maxPlain)
	}
	start := w.read
	if delta, ok = w.fields(r); !ok || w.read-start != int64(size) {
		return 0, w.failure(c, errStructure)
	}
	return delta, nil
}

var present = []byte{}

func (w *window) fields(r *Record) (delta int64, ok bool) {
	if _, ok = w.byte(); !ok {
		return
	}
	if delta, ok = w.varint64(); !ok {
		return
	}
	if r.OffsetDelta, ok = w.varint32(); !ok {
		return
	}
	var n int32
	if n, ok = w.varint32(); !ok || !w.skip(int64(n)) {
		return 0, false
	}
	r.Key = nil
	if n >= 0 {
		r.Key = present
	}
	if n, ok = w.varint32(); !ok || !w.skip(int64(n)) {
		return 0, false
	}
	count, ok := w.varint32()
	if !ok || count < 0 {
		return 0, false
	}
	for range count {
		if n, ok = w.varint32(); !ok || n < 0 || !w.skip(int64(n)) {
			return 0, false
		}
		if n, ok = w.varint32(); !ok || !w.skip(int64(n)) {
			return 0, false
		}
	}
	return delta, true
}

// end tells whether nothing is left. A stream that breaks at its very end is an error too.
func (w *window) end(c Codec) error {
	if _, ok := w.byte(); ok {
		return errRemaining
	}
	if w.err != io.EOF {
		return undecodable(c, w.err)
	}
	return nil
}
