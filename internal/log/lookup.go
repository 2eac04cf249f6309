package log

import (
	"errors"
	"math"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

// TimeOffset is a record found by time.
type TimeOffset struct{ Timestamp, Offset int64 }

// maxLookup bounds what one batch may decompress to in a look-up by time.
const maxLookup = 256 << 20

// OffsetForTime finds the first record below upTo, by offset, whose timestamp is at
// least ts; ok is false when there is none.
func (l *Log) OffsetForTime(ts, upTo int64) (at TimeOffset, ok bool, err error) {
	err = l.retryGone(func(list []*segment) error {
		start, unsure := l.start.Load(), false
		for i, s := range list {
			if l.segmentEnd(list, i) <= start {
				continue
			}
			if s.base >= upTo {
				break
			}
			largest, _, err := s.largest()
			if err != nil {
				return err
			}
			if largest < ts {
				unsure = false
				continue
			}
			at, ok, err = s.firstAt(ts, max(start, s.base), upTo, &unsure)
			if err != nil || ok {
				return err
			}
		}
		if unsure {
			return damaged("what stands before offset %d", upTo)
		}
		return nil
	})
	return at, ok, err
}

// retryGone runs a look-up again if a segment left the log meanwhile.
func (l *Log) retryGone(fn func(list []*segment) error) error {
	for range 10 {
		list, err := l.segments()
		if err != nil {
			return err
		}
		err = fn(list)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errGone):
			if p := l.closed.Load(); p != nil {
				return *p
			}
			l.awaitWriter()
			continue
		case errors.Is(err, ErrCorrupt), errors.Is(err, ErrStorage), errors.Is(err, ErrOutOfOrderSequence):
			return err
		}
		return storageError("look-up", err)
	}
	return storageError("look-up", errGone)
}

// firstAt finds the first record with a timestamp of at least ts and an offset of at
// least from, below upTo. Refused batches are passed over: ErrCorrupt if they stand where the
// answer would be the next batch. If they stand at the end unsure is set, for who looks into
// the next segment.
func (s *segment) firstAt(ts, from, upTo int64, unsure *bool) (at TimeOffset, ok bool, err error) {
	f, err := s.file.acquire()
	if err != nil {
		return at, false, err
	}
	defer s.file.release()
	limit := s.size.Load()
	older, err := s.olderThan(f, ts)
	if err != nil {
		return at, false, err
	}
	pos, err := s.position(f, max(older, from), limit)
	if err != nil {
		return at, false, err
	}
	var inner error
	if pos > 0 { // what is before is older
		*unsure = false
	}
	next := from
	err = s.headers(f, pos, limit, func(h header) bool {
		if h.base >= upTo {
			return false
		}
		*unsure = *unsure || h.pos != pos // behind a hole
		pos, next = h.pos+h.size, h.last+1
		if s.l.hasDamage.Load() {
			if d, ok := s.l.nextDamage(h.base); ok && d.from <= h.base {
				*unsure = true
				return true
			}
		}
		if h.maxTs < ts {
			*unsure = false
			return true
		}
		var b record.Batch
		if b, inner = readBatch(f, h.pos, limit); inner != nil {
			return false
		}
		for r, err := range b.Records(maxLookup) {
			if inner = err; err != nil {
				return false
			}
			if r.Timestamp >= ts && r.Offset >= from {
				if *unsure {
					inner = damaged("what stands before offset %d", r.Offset)
				} else if r.Offset < upTo {
					at, ok = TimeOffset{r.Timestamp, r.Offset}, true
				}
				return false
			}
		}
		return true
	})
	if _, hole := s.passed().over(pos, limit); hole && next < upTo {
		*unsure = true
	}
	return at, ok, errors.Join(err, inner)
}

// olderThan is an offset such that all batches before the one that holds it are older
// than ts, by the time index.
func (s *segment) olderThan(f env.File, ts int64) (int64, error) {
	_, at, err := s.stamped(f, ts-1, (*index).key)
	return at, err
}

// stamped is the last entry of the time index whose field is at most x; -1 and the base
// if there is none. What the index says is held against the log.
func (s *segment) stamped(f env.File, x int64, field func(*index, []byte) int64) (ts, offset int64, err error) {
	if err := s.look(); err != nil {
		return 0, 0, err
	}
	for range 2 {
		s.mu.RLock()
		ts, rel, ok, err := s.times.floor(x, field)
		s.mu.RUnlock()
		if err != nil || !ok {
			return -1, s.base, err
		}
		pos, err := s.position(f, s.base+rel, s.size.Load())
		if err != nil {
			return 0, 0, err
		}
		if s.verify(f, pos, rel, ts) {
			return ts, s.base + rel, nil
		}
		if err := s.reindex(damagedFile("not of this segment")); err != nil {
			return 0, 0, err
		}
	}
	return -1, s.base, nil
}

// MaxTimestampOffset finds the record with the largest timestamp below upTo, the
// first one if there are several; ok is false when there is none (KIP-734).
func (l *Log) MaxTimestampOffset(upTo int64) (at TimeOffset, ok bool, err error) {
	err = l.retryGone(func(list []*segment) error {
		at, ok = TimeOffset{math.MinInt64, -1}, false
		refused := int64(math.MinInt64)
		start := l.start.Load()
		for i, s := range list {
			end := l.segmentEnd(list, i)
			if end <= start || s.base >= upTo {
				continue
			}
			ts, last, err := s.largest()
			if err != nil {
				return err
			}
			if ts <= at.Timestamp || ts < 0 {
				continue
			}
			switch { // the largest may be outside the bounds
			case last < start:
				ts, err = s.largestIn(start, upTo)
			case last >= upTo:
				if ts, last, err = s.largestBelow(upTo); last < start {
					ts, err = s.largestIn(start, upTo)
				}
			}
			if err != nil {
				return err
			}
			if ts <= at.Timestamp || ts < 0 {
				continue
			}
			unsure := false
			found, has, err := s.firstAt(ts, max(start, s.base), upTo, &unsure)
			if err != nil {
				return err
			}
			if has {
				at, ok = found, true
			} else if unsure {
				refused = max(refused, ts)
			}
		}
		if refused > at.Timestamp {
			return damaged("what has the timestamp %d", refused)
		}
		return nil
	})
	return at, ok, err
}

// largestBelow is the largest timestamp of the batches below upTo, and the last
// offset of the first batch that has it.
func (s *segment) largestBelow(upTo int64) (ts, at int64, err error) {
	return s.largestBefore(upTo, s.size.Load())
}

// largestBefore is largestBelow for who knows that nothing behind the position limit counts.
func (s *segment) largestBefore(upTo, limit int64) (ts, at int64, err error) {
	f, err := s.file.acquire()
	if err != nil {
		return 0, 0, err
	}
	defer s.file.release()
	if ts, at, err = s.stamped(f, upTo-1-s.base, (*index).value); err != nil {
		return 0, 0, err
	}
	pos, err := s.position(f, at, limit)
	if err != nil {
		return 0, 0, err
	}
	err = s.headers(f, pos, limit, func(h header) bool {
		if h.last < upTo && h.maxTs > ts {
			ts, at = h.maxTs, h.last
		}
		return h.last < upTo
	})
	return ts, at, err
}

// largestIn is the largest timestamp of the batches with offsets in from…upTo-1, by
// looking at each.
func (s *segment) largestIn(from, upTo int64) (ts int64, err error) {
	f, err := s.file.acquire()
	if err != nil {
		return 0, err
	}
	defer s.file.release()
	limit := s.size.Load()
	pos, err := s.position(f, from, limit)
	if err != nil {
		return 0, err
	}
	ts = -1
	err = s.headers(f, pos, limit, func(h header) bool {
		if h.last < upTo {
			ts = max(ts, h.maxTs)
		}
		return h.last < upTo
	})
	return ts, err
}
