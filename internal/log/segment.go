package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

// segment is one file of batches with its indexes. The last one of a log is active:
// only it grows. All others are sealed.
type segment struct {
	l    *Log
	base int64
	file handle
	size atomic.Int64 // bytes of whole batches; readers never look beyond
	gaps atomic.Pointer[holes]

	mending sync.Mutex   // one look, or building of indexes, at a time; before mu
	mu      sync.RWMutex // guards what follows
	offsets index
	times   index
	maxTs   int64 // largest timestamp; -1: none, unknownTs: not read yet
	maxTsAt int64 // last offset of the batch that has it
	txns    txnIndex
	ill     bool            // the indexes are being built again
	met     map[string]bool // damage that was told

	// Only the log's writer uses these.
	looked     bool  // look was called
	reserved   bool  // the file is longer than its batches (preallocate)
	sinceIndex int64 // bytes since the last index entry
	firstTs    int64 // largest timestamp of the first batch; unknownTs: not read yet
	created    int64 // wall clock in ms when it was created or loaded
}

// unknownTs marks a timestamp that has not been read from the file yet.
const unknownTs = math.MinInt64

func newSegment(l *Log, base int64) *segment {
	s := &segment{l: l, base: base, maxTs: -1, maxTsAt: base, firstTs: unknownTs}
	s.file = handle{cache: l.d.files, seg: s, kind: logKind}
	s.offsets = index{width: offsetEntrySize, file: handle{cache: l.d.files, seg: s, kind: indexKind}}
	s.times = index{width: timeEntrySize, file: handle{cache: l.d.files, seg: s, kind: timeIndexKind}}
	s.file.state.Store(-1)
	s.offsets.file.state.Store(-1)
	s.times.file.state.Store(-1)
	return s
}

func (s *segment) path(suffix string) string {
	return *s.l.path.Load() + "/" + segmentName(s.base, suffix)
}

// retire closes the segment's files once nobody uses them; nobody opens them again.
func (s *segment) retire() {
	s.file.retire()
	s.offsets.file.retire()
	s.times.file.retire()
}

// appended accounts for one batch that was written.
func (s *segment) appended(h header, interval int64) {
	s.mu.Lock()
	if h.maxTs > s.maxTs {
		s.maxTs, s.maxTsAt = h.maxTs, h.last
	}
	if s.sinceIndex > interval {
		s.addIndex(h.last, h.pos)
	}
	s.mu.Unlock()
	if h.pos == 0 {
		s.firstTs = h.maxTs
	}
	s.sinceIndex += h.size
}

// addIndex adds an entry for the batch at pos to the offset index and, if the
// largest timestamp grew, one to the time index; mu is held.
func (s *segment) addIndex(last, pos int64) {
	s.offsets.add(last-s.base, pos)
	s.addTime()
	s.sinceIndex = 0
}

// addTime records the largest timestamp in the time index unless it is there; mu is held.
func (s *segment) addTime() {
	if s.maxTs < 0 {
		return
	}
	if ts, _, ok, err := s.times.last(); err == nil && ok && ts >= s.maxTs {
		return
	}
	s.times.add(s.maxTs, s.maxTsAt-s.base)
}

// indexFull tells whether either index has no room for another batch.
func (s *segment) indexFull(limit int64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return int64(s.offsets.count()) >= limit/offsetEntrySize || int64(s.times.count()) >= limit/timeEntrySize-1
}

// largest is the largest timestamp and the last offset of the batch that has it.
func (s *segment) largest() (ts, offset int64, err error) {
	if err := s.look(); err != nil {
		return 0, 0, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.maxTs, s.maxTsAt, nil
}

// header is what a scan needs of a batch's header.
type header struct {
	pos        int64
	base, last int64
	size       int64
	maxTs      int64
	epoch      int32 // of the leader
}

const headerRead = record.HeaderSize

func headerOf(b record.Batch, pos int64) header {
	return header{pos: pos, base: b.BaseOffset(), last: b.LastOffset(), size: int64(len(b)), maxTs: b.MaxTimestamp(), epoch: b.LeaderEpoch()}
}

// parseHeader reads the header at pos from p. It distrusts every field: the batch
// must start at or behind the offset after, and end within limit.
func parseHeader(p []byte, pos, limit, after int64) (h header, err error) {
	b := record.Batch(p[:headerRead:headerRead])
	h = header{pos: pos, base: b.BaseOffset(), size: int64(b.Length()) + record.Overhead, maxTs: b.MaxTimestamp(), epoch: b.LeaderEpoch()}
	delta := b.LastOffsetDelta()
	h.last = h.base + int64(delta)
	if b.Magic() != record.Magic || h.size < record.HeaderSize || h.base < 0 || delta < 0 || h.last < h.base {
		return h, damaged("no batch at position %d", pos)
	}
	if pos+h.size > limit {
		return h, damaged("batch at position %d is longer than the file", pos)
	}
	if h.base < after {
		return h, damaged("offset %d at position %d, expected %d or more", h.base, pos, after)
	}
	return h, nil
}

// scanBuffer is the unit of reading in which headers are looked for: an index
// interval and a header.
const scanBuffer = 4096 + headerRead

var scanBuffers = sync.Pool{New: func() any { return new([scanBuffer]byte) }}

// headers calls fn for the header of every batch from position pos up to limit, in
// order, until fn says stop. Holes are passed over.
func (s *segment) headers(f io.ReaderAt, pos, limit int64, fn func(header) (more bool)) error {
	return rawHeaders(f, s.base, s.passed(), pos, limit, func(h header, _ record.Batch) bool { return fn(h) })
}

// headers is segment.headers of a file with that base, and no holes: offsets ascend from it.
func headers(f io.ReaderAt, base, pos, limit int64, fn func(header) (more bool)) error {
	return rawHeaders(f, base, nil, pos, limit, func(h header, _ record.Batch) bool { return fn(h) })
}

// rawHeaders is headers with the header's bytes, which are a view for the call only.
func rawHeaders(f io.ReaderAt, base int64, over holes, pos, limit int64, fn func(header, record.Batch) (more bool)) error {
	buf := scanBuffers.Get().(*[scanBuffer]byte)
	defer scanBuffers.Put(buf)
	var chunk []byte // what is read from at on
	at, next := pos, base
	for pos < limit {
		if h, ok := over.over(pos, limit); ok {
			pos, next = h.to, h.next
			continue
		}
		if limit-pos < headerRead {
			return damaged("%d bytes at position %d are no batch", limit-pos, pos)
		}
		if off := pos - at; off+headerRead > int64(len(chunk)) {
			n := min(int64(scanBuffer), limit-pos)
			if got, err := f.ReadAt(buf[:n], pos); int64(got) < n {
				return readError(err)
			}
			chunk, at = buf[:n], pos
		}
		h, err := parseHeader(chunk[pos-at:], pos, limit, next)
		if err == nil && h.last-base > math.MaxInt32 {
			err = damaged("offset %d at position %d of segment %d", h.last, pos, base)
		}
		if err != nil {
			return err
		}
		if !fn(h, record.Batch(chunk[pos-at:][:headerRead])) {
			return nil
		}
		pos, next = pos+h.size, h.last+1
	}
	return nil
}

func readError(err error) error {
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return storageError("read", err)
}

// locate is the position of the first batch whose last offset is at least offset,
// at or behind from; the size when there is none. It is where a hole begins if that is
// between the batch and the offset.
func (s *segment) locate(f env.File, offset, from, limit int64) (pos int64, err error) {
	pos = limit
	behind := from // the batch before
	err = s.headers(f, from, limit, func(h header) bool {
		if h.last < offset {
			behind = h.pos + h.size
			return true
		}
		pos = h.pos
		return false
	})
	for h, ok := s.passed().over(behind, limit); ok; h, ok = s.passed().over(h.to, limit) { // holes may touch
		if offset < h.next {
			return h.at, err
		}
	}
	return pos, err
}

// nearest is the position of a batch at or before the one that holds offset, by the
// index. What the index says is held against the log, since its last entries may not
// have survived a power cut whole.
func (s *segment) nearest(f env.File, offset int64) (int64, error) {
	return s.indexed(f, offset-s.base, (*index).key)
}

// boundary is the start of a batch at or before position x, by the index.
func (s *segment) boundary(f env.File, x int64) (int64, error) {
	return s.indexed(f, x, (*index).value)
}

// indexed is the position in the last index entry whose field is at most x; 0 if
// there is none.
func (s *segment) indexed(f env.File, x int64, field func(*index, []byte) int64) (int64, error) {
	if err := s.look(); err != nil {
		return 0, err
	}
	for range 2 {
		s.mu.RLock()
		last, pos, ok, err := s.offsets.floor(x, field)
		s.mu.RUnlock()
		if err != nil || !ok {
			return 0, err
		}
		if s.verify(f, pos, last, unknownTs) {
			return pos, nil
		}
		if err := s.reindex(damagedFile("not of this segment")); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// verify tells whether the batch at pos ends with the offset last, relative to the
// base, and has the largest timestamp ts unless that is unknownTs.
func (s *segment) verify(f env.File, pos, last, ts int64) bool {
	limit := s.size.Load()
	if pos+headerRead > limit {
		return false
	}
	h, err := s.headerAt(f, pos, limit)
	if errors.Is(err, ErrStorage) {
		return true // whoever reads on meets the failure
	}
	return err == nil && h.last == s.base+last && (ts == unknownTs || h.maxTs == ts)
}

// headerAt is the header of the batch at pos.
func (s *segment) headerAt(f io.ReaderAt, pos, limit int64) (header, error) {
	if limit-pos < headerRead {
		return header{}, damaged("%d bytes at position %d are no batch", limit-pos, pos)
	}
	buf := scanBuffers.Get().(*[scanBuffer]byte)
	defer scanBuffers.Put(buf)
	if n, err := f.ReadAt(buf[:headerRead], pos); n < headerRead {
		return header{}, readError(err)
	}
	return parseHeader(buf[:], pos, limit, s.base)
}

// nearestIn is nearest for who has not opened the file.
func (s *segment) nearestIn(offset int64) (int64, error) {
	f, err := s.file.acquire()
	if err != nil {
		return 0, err
	}
	defer s.file.release()
	return s.nearest(f, offset)
}

// firstTimestamp is the largest timestamp of the first batch, by which the segment's
// age is told; -1 when there is none.
func (s *segment) firstTimestamp() (int64, error) {
	if s.firstTs != unknownTs || s.size.Load() == 0 {
		return s.firstTs, nil
	}
	f, err := s.file.acquire()
	if err != nil {
		return 0, err
	}
	defer s.file.release()
	var p [headerRead]byte
	if n, err := f.ReadAt(p[:], 0); n < headerRead {
		return 0, readError(err)
	}
	s.firstTs = record.Batch(p[:]).MaxTimestamp()
	return s.firstTs, nil
}

// readBatch reads the whole batch at pos, which ends before limit.
func readBatch(f io.ReaderAt, pos, limit int64) (record.Batch, error) {
	var p [headerRead]byte
	if n, err := f.ReadAt(p[:], pos); n < headerRead {
		return nil, readError(err)
	}
	size := int64(int32(binary.BigEndian.Uint32(p[record.OffLength:]))) + record.Overhead
	if size < record.HeaderSize || pos+size > limit {
		return nil, damaged("batch at position %d is longer than the file", pos)
	}
	b := make(record.Batch, size)
	if n, err := f.ReadAt(b, pos); int64(n) < size {
		return nil, readError(err)
	}
	if !b.CheckCRC() {
		return nil, damaged("checksum of the batch at position %d", pos)
	}
	return b, nil
}

func (s *segment) String() string { return fmt.Sprintf("%v/%d", s.l.ID(), s.base) }
