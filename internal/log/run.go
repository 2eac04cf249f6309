package log

import (
	"cmp"
	"errors"
	"io"
	"os"
	"sync/atomic"
)

// Run is a run of whole batches in one segment file. Its bytes can be read until Release,
// which must be called exactly once; the file is open only while they are. Of segments that
// left the log meanwhile only some can: ReadAt, Open and Check fail for others.
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

// Open is the operating system's file and the position of the run in it, for sendfile,
// until Close. There is none, and nothing to close, for an empty run, on a simulated disk,
// and when so many are open already that the files for everything else would run short: the
// bytes are to be had by ReadAt. Errors: ErrStorage.
func (r *Run) Open() (f *os.File, pos int64, err error) {
	if r.size == 0 {
		return nil, 0, nil
	}
	file, ok, err := r.seg.file.acquireToSend()
	if err != nil {
		r.Failed(err)
		return nil, 0, storageError("read", err)
	}
	if ok {
		if f = file.OS(); f == nil {
			r.seg.file.sent()
		}
	}
	return f, r.pos, nil
}

// Close ends the use of what Open gave.
func (r *Run) Close() { r.seg.file.sent() }

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
	f, err := r.seg.file.acquire()
	if err != nil {
		r.Failed(err)
		return 0, storageError("read", err)
	}
	n, err := f.ReadAt(p, r.pos+off)
	r.seg.file.release()
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

// Suspect has the scrubber look at the segment: from an offset on the bytes could not be used.
// It may be called after Release.
func (r *Run) Suspect(offset int64) {
	if r.size > 0 {
		r.seg.l.suspect(r.seg, offset)
	}
}

// Check looks at the checksums of the first upTo bytes of the run, a batch more if need be.
// Damage is ErrCorrupt, and counts as met by a reader, as does what the disk does not give.
func (r *Run) Check(upTo int64) error {
	if r.size == 0 {
		return nil
	}
	f, err := r.seg.file.acquire()
	if errors.Is(err, errGone) {
		return nil // nobody is sent it
	}
	if err != nil {
		return r.seg.l.readFailure(err, r.seg, r.next-1)
	}
	defer r.seg.file.release()
	end := r.pos + int64(r.size)
	sc := &scanner{f: f, limit: end, buf: make([]byte, min(scanChunk, max(int64(r.size), headerRead)))}
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

// Release gives up the run.
func (r *Run) Release() {
	if r.size > 0 && !r.released.Swap(true) {
		r.seg.file.unclaim()
	}
}
