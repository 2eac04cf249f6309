package log

import (
	"errors"
	"math"

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
		start := l.start.Load()
		for i, s := range list {
			if l.segmentEnd(list, i) <= start {
				continue
			}
			if s.base >= upTo {
				return nil
			}
			largest, _, err := s.largest()
			if err != nil {
				return err
			}
			if largest < ts {
				continue
			}
			at, ok, err = s.firstAt(ts, max(start, s.base), upTo)
			if err != nil || ok {
				return err
			}
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
		case errors.Is(err, ErrCorrupt), errors.Is(err, ErrStorage):
			return err
		}
		return storageError("look-up", err)
	}
	return storageError("look-up", errGone)
}

// firstAt finds the first record with a timestamp of at least ts and an offset of at
// least from, below upTo.
func (s *segment) firstAt(ts, from, upTo int64) (at TimeOffset, ok bool, err error) {
	f, err := s.file.acquire()
	if err != nil {
		return at, false, err
	}
	defer s.file.release()
	s.mu.RLock()
	_, rel, _, err := s.times.floor(ts-1, (*index).key) // all up to this entry's batch are older
	s.mu.RUnlock()
	if err != nil {
		return at, false, err
	}
	limit := s.size.Load()
	pos, err := s.position(f, max(s.base+rel, from), limit)
	if err != nil {
		return at, false, err
	}
	var inner error
	err = headers(f, pos, limit, func(h header) bool {
		if h.base >= upTo {
			return false
		}
		if h.maxTs < ts {
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
				if r.Offset < upTo {
					at, ok = TimeOffset{r.Timestamp, r.Offset}, true
				}
				return false
			}
		}
		return true
	})
	return at, ok, errors.Join(err, inner)
}

// MaxTimestampOffset finds the record with the largest timestamp below upTo, the
// first one if there are several; ok is false when there is none (KIP-734).
func (l *Log) MaxTimestampOffset(upTo int64) (at TimeOffset, ok bool, err error) {
	err = l.retryGone(func(list []*segment) error {
		at, ok = TimeOffset{math.MinInt64, -1}, false
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
			if end > upTo && last >= upTo { // the largest may be above the bound: look at all below
				ts, _, err = s.largestBelow(upTo)
				if err != nil {
					return err
				}
				if ts <= at.Timestamp || ts < 0 {
					continue
				}
			}
			found, has, err := s.firstAt(ts, max(start, s.base), upTo)
			if err != nil {
				return err
			}
			if has {
				at, ok = found, true
			}
		}
		return nil
	})
	return at, ok, err
}

// largestBelow is the largest timestamp of the batches below upTo, and the last
// offset of the first batch that has it.
func (s *segment) largestBelow(upTo int64) (ts, at int64, err error) {
	f, err := s.file.acquire()
	if err != nil {
		return 0, 0, err
	}
	defer s.file.release()
	s.mu.RLock()
	ts, rel, ok, err := s.times.floor(upTo-1-s.base, (*index).value)
	s.mu.RUnlock()
	if err != nil {
		return 0, 0, err
	}
	if !ok {
		ts, rel = -1, 0
	}
	at = s.base + rel
	limit := s.size.Load()
	pos, err := s.position(f, at, limit)
	if err != nil {
		return 0, 0, err
	}
	err = headers(f, pos, limit, func(h header) bool {
		if h.last < upTo && h.maxTs > ts {
			ts, at = h.maxTs, h.last
		}
		return h.last < upTo
	})
	return ts, at, err
}
