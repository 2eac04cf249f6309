package log

import (
	"errors"
	"io/fs"
)

// A replica that begins where its leader's log starts has none of the batches before, from
// which it would know the producers: it gets them as the leader knows them there. Without,
// a batch that comes again would be out of order to it, or new.

// KnowsProducers tells whether the log knows of any.
func (l *Log) KnowsProducers() bool {
	if _, err := l.segments(); err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.producers.m) > 0
}

// ProducersAt is what the log knows of producers from the batches that end at or below
// offset, as StartAnew takes it; nil if it knows none. It reads up to a segment, and holds no
// lock that appends need meanwhile. Errors: ErrCorrupt where a batch is damaged,
// ErrStorage, ErrClosed, ErrDeleted.
func (l *Log) ProducersAt(offset int64) (state []byte, err error) {
	err = l.retryGone(func(list []*segment) error {
		if state = nil; !l.KnowsProducers() {
			return nil
		}
		prod, err := l.producersBelow(list, offset)
		if err == nil && len(prod.m) > 0 {
			state = prod.encodeSnapshot()
		}
		return err
	})
	return state, err
}

// producersBelow is the state behind the batches that end at or below offset, from the
// snapshot of the last segment that begins there, or of one before, if that has none.
func (l *Log) producersBelow(list []*segment, offset int64) (prod producers, err error) {
	most := l.cfg.Load().MaxProducers
	first := max(find(list, offset), 0)
	if len(list) > 0 {
		prod.reset(list[0].base)
	}
	for ; first >= 0 && first < len(list); first-- {
		b, err := readSmall(l.d.fs, list[first].path(snapshotSuffix), maxSnapshotBytes)
		if err == nil {
			prod, err = decodeSnapshot(b, list[first].base)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return prod, err
		}
	}
	prod.max = most
	for _, s := range list[max(first, 0):] {
		if s.base >= offset {
			break
		}
		if err := s.producersBelow(&prod, offset); err != nil {
			return prod, err
		}
	}
	prod.passed(l.hw.Load())
	return prod, nil
}

// producersBelow adds what a segment's batches tell that end at or below offset. Another
// replica will count on it: they are checked.
func (s *segment) producersBelow(prod *producers, offset int64) error {
	f, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	sc := newScanner(f, s.size.Load())
	for pos, next := int64(0), s.base; pos < sc.limit; {
		h, b, err := sc.batch(pos, next)
		if err != nil {
			return err
		}
		if h.last >= offset {
			return nil
		}
		prod.apply(b, true)
		pos, next = pos+h.size, h.last+1
	}
	return nil
}

// StartAnew drops everything and goes on at start, as TruncateFullyTo does, with what is
// known of producers there; see ProducersAt. Both are durable when it returns. ErrCorrupt, and
// nothing is dropped, if that cannot be read.
func (l *Log) StartAnew(start int64, state []byte) error {
	prod := producers{}
	if len(state) > 0 {
		var err error
		if prod, err = decodeSnapshot(state, start); err != nil {
			return err
		}
		for _, p := range prod.m {
			if p.n > 0 && p.batches[p.n-1].lastOffset >= start || p.txnFirst >= start {
				return damagedFile("state of producer %d beyond offset %d", p.id, start)
			}
		}
	}
	return l.beginAt(start, &prod)
}

// MoveStart is StartAnew of a log without records, which keeps what it knows of producers.
func (l *Log) MoveStart(start int64) error { return l.beginAt(start, nil) }

// beginAt empties the log; prod is what is known of producers then, nil for what is known
// now.
func (l *Log) beginAt(start int64, prod *producers) error {
	l.w.Lock()
	defer l.w.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	if prod == nil {
		l.mu.Lock()
		prod = &producers{m: l.producers.m, open: l.producers.open, done: l.producers.done}
		l.mu.Unlock()
	}
	if err := l.make(); err != nil {
		return err
	}
	return l.cutBack(func() error { return l.restart(start, *prod) })
}
