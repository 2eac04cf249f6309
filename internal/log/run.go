package log

import (
	"cmp"
	"errors"
	"io"
	"os"
	"sync/atomic"
)

// Run is a run of whole batches in one segment file. The file stays open, and its
// bytes stay, until Release, which must be called exactly once.
type Run struct {
	seg      *segment
	pos      int64
	size     int
	next     int64
	released atomic.Bool
}

// Len is the run's size in bytes.
func (r *Run) Len() int { return r.size }

// NextOffset is the offset at which the next read goes on: one past the last offset
// in the run. For an empty run it is the offset that was asked for.
func (r *Run) NextOffset() int64 { return r.next }

// LastOffset is NextOffset-1.
func (r *Run) LastOffset() int64 { return r.next - 1 }

// File is the operating system's file and the position of the run in it, for
// sendfile; nil for an empty run and on a simulated disk.
func (r *Run) File() (*os.File, int64) {
	if r.size == 0 {
		return nil, 0
	}
	return r.seg.file.file.OS(), r.pos
}

// ReadAt reads the run's bytes from off on, as io.ReaderAt.
func (r *Run) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(r.size) {
		return 0, io.EOF
	}
	short := int64(len(p)) > int64(r.size)-off
	if short {
		p = p[:int64(r.size)-off]
	}
	if len(p) == 0 {
		if short {
			return 0, io.EOF
		}
		return 0, nil
	}
	n, err := r.seg.file.file.ReadAt(p, r.pos+off)
	switch {
	case n < len(p):
		r.Failed(cmp.Or(err, io.ErrUnexpectedEOF))
		return n, readError(err)
	case short:
		return n, io.EOF
	}
	return n, nil
}

// Failed is told why the bytes could not be sent as File says: where the disk does not
// give them, the segment is looked at.
func (r *Run) Failed(err error) {
	if r.size > 0 && (unreadable(err) || errors.Is(err, io.ErrUnexpectedEOF)) {
		r.seg.l.met(readError(err), r.seg, r.next-1)
	}
}

// Check looks at the checksums of the first upTo bytes of the run, a batch more if need be.
// Damage is ErrCorrupt, and counts as met by a reader, as does what the disk does not give.
func (r *Run) Check(upTo int64) error {
	if r.size == 0 {
		return nil
	}
	end := r.pos + int64(r.size)
	sc := &scanner{f: r.seg.file.file, limit: end, buf: make([]byte, min(scanChunk, max(int64(r.size), headerRead)))}
	for pos, next := r.pos, int64(0); pos < min(end, r.pos+upTo); {
		h, _, err := sc.batch(pos, next)
		if err != nil && end > r.seg.size.Load() {
			return nil // cut off meanwhile
		}
		if err != nil {
			return r.seg.l.readFailure(err, r.seg, cmp.Or(next, h.base))
		}
		pos, next = h.pos+h.size, h.last+1
	}
	return nil
}

// Release lets go of the file.
func (r *Run) Release() {
	if r.size > 0 && !r.released.Swap(true) {
		r.seg.file.release()
	}
}
