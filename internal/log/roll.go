package log

import (
	"errors"
	"hash/fnv"
	"math"
	"time"

	"github.com/leat-stream/leat/internal/record"
)

// segmentFor is the segment that takes the run, whose last offset is next-1: the
// active one, or a new one if that is due; w is held.
func (l *Log) segmentFor(run []byte, next int64, cfg *Config, now time.Time) (*segment, error) {
	seg, err := l.pickSegment(run, next, cfg, now)
	if err != nil {
		return nil, err
	}
	if seg.base > l.end.Load() {
		l.gap = true
		l.end.Store(seg.base)
	}
	if l.gap {
		if err := l.recordGap(); err != nil {
			return nil, storageError("begin segment", err)
		}
		l.gap = false
	}
	return seg, nil
}

// recordGap makes the recovery point the base of the active segment, which begins behind
// offsets that no record has. Recovery would otherwise take the segment for one that
// follows something that was lost. Nobody is told: the append that is under way will be.
func (l *Log) recordGap() error {
	l.d.round.Lock()
	defer l.d.round.Unlock()
	return l.saveEnd()
}

func (l *Log) pickSegment(run []byte, next int64, cfg *Config, now time.Time) (*segment, error) {
	first := record.Batch(run)
	seg := l.active()
	if seg == nil {
		if err := l.make(); err != nil {
			return nil, err
		}
		base := l.end.Load()
		if first.BaseOffset()-base > math.MaxInt32 || next-1-base > math.MaxInt32 {
			base = first.BaseOffset()
		}
		return l.addSegment(base, now)
	}
	if !seg.looked { // before its indexes grow
		if err := seg.look(); err != nil {
			return nil, storageError("append", err)
		}
		seg.looked = true
	}
	due, err := l.rollDue(seg, int64(len(run)), first.MaxTimestamp(), next-1, cfg, now)
	if err != nil || !due {
		return seg, err
	}
	base := l.end.Load()
	if next-1-base > math.MaxInt32 {
		base = first.BaseOffset()
	}
	if base == seg.base { // an empty segment at the right place: only offsets that do not fit get here
		return seg, nil
	}
	return l.roll(base, now)
}

// rollDue tells whether the active segment must not take bytes more bytes: for its
// size, its age by the timestamps of its batches, a full index, or offsets that do
// not fit into 31 bits.
func (l *Log) rollDue(seg *segment, bytes, ts, last int64, cfg *Config, now time.Time) (bool, error) {
	size := seg.size.Load()
	if last-seg.base > math.MaxInt32 {
		return true, nil
	}
	if size == 0 {
		return false, nil
	}
	if size > cfg.SegmentBytes-bytes || seg.indexFull(cfg.IndexBytes) {
		return true, nil
	}
	age, err := seg.age(ts, now)
	return age > cfg.SegmentMs-l.jitter(seg.base, cfg), err
}

// age is how long the segment has waited for its roll, in ms: from its first batch to
// a batch with timestamp ts; by the wall clock if there are no timestamps.
func (s *segment) age(ts int64, now time.Time) (int64, error) {
	first, err := s.firstTimestamp()
	if err != nil {
		return 0, storageError("read", err)
	}
	if first >= 0 && ts >= 0 {
		return ts - first, nil
	}
	return now.UnixMilli() - s.created, nil
}

// jitter is how much earlier than segment.ms a segment rolls, so that the segments
// of many partitions do not roll at once. It follows from the names alone.
func (l *Log) jitter(base int64, cfg *Config) int64 {
	limit := min(cfg.SegmentJitterMs, cfg.SegmentMs)
	if limit <= 0 {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(l.ID().String()))
	h.Write([]byte(segmentName(base, "")))
	return int64(h.Sum64() % uint64(limit))
}

// roll seals the active segment and starts a new one at base; w is held. Until it
// succeeds the log stays as it is, and the roll can be tried again.
func (l *Log) roll(base int64, now time.Time) (*segment, error) {
	old := l.active()
	if err := old.seal(); err != nil {
		return nil, storageError("roll", err)
	}
	if err := l.writeSnapshot(base); err != nil {
		return nil, storageError("roll", err)
	}
	seg, err := l.addSegment(base, now)
	if err != nil {
		return nil, err
	}
	l.d.event(Rolled{Log: l.ID(), Base: base, Sealed: old.base, Bytes: old.size.Load()})
	return seg, nil
}

// seal completes the indexes of a segment that grows no more.
func (s *segment) seal() error {
	if err := s.look(); err != nil {
		return err
	}
	if err := s.giveBack(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addTime()
	return s.flushIndexes()
}

// giveBack cuts off what was reserved and not used (preallocate).
func (s *segment) giveBack() error {
	if !s.reserved {
		return nil
	}
	f, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	if err := f.Truncate(s.size.Load()); err != nil {
		return err
	}
	s.reserved = false
	return nil
}

// flushIndexes writes the entries that are in memory to the index files; mu is held.
func (s *segment) flushIndexes() error {
	if err := s.offsets.flush(); err != nil {
		return err
	}
	if err := s.times.flush(); err != nil {
		return err
	}
	return s.flushTxns()
}

// addSegment creates an empty active segment; w is held.
func (l *Log) addSegment(base int64, now time.Time) (*segment, error) {
	seg := newSegment(l, base)
	seg.created = now.UnixMilli()
	f, err := l.d.files.create(&seg.file)
	if err != nil {
		return nil, storageError("create segment", err)
	}
	defer seg.file.release()
	if cfg := l.cfg.Load(); cfg.Preallocate {
		if err := f.Preallocate(cfg.SegmentBytes); err != nil {
			seg.file.gone.Store(true)
			err = errors.Join(err, l.d.fs.Remove(seg.path(logSuffix))) // the log goes on without it
			return nil, storageError("preallocate segment", err)
		}
		seg.reserved = true
	}
	list := *l.segs.Load()
	grown := make([]*segment, len(list)+1)
	copy(grown, list)
	grown[len(list)] = seg
	l.mu.Lock()
	l.setSegments(grown)
	if len(list) > 0 {
		l.dirty.sealed = append(l.dirty.sealed, list[len(list)-1])
	}
	l.dirty.newFiles = true
	l.touch()
	l.queue()
	l.mu.Unlock()
	return seg, nil
}
