package log

import (
	"errors"
	"fmt"
	"math"

	"github.com/leat-stream/leat/internal/env"
)

// Read returns a run of whole batches of one segment, the first of which holds
// offset, or is the first one behind it when compaction removed that. The run ends
// before upTo (a high watermark or last stable offset), and has at most maxBytes
// bytes, unless minOne asks for at least one batch. An empty run means that there is
// nothing to read there yet, or that the first batch is larger than maxBytes.
//
// Errors: ErrOffsetOutOfRange when offset is below the start or above the end;
// ErrCorrupt when the batches there are damaged; ErrStorage; ErrClosed; ErrDeleted.
func (l *Log) Read(offset int64, maxBytes int, upTo int64, minOne bool) (*Run, error) {
	for range 10 {
		if _, err := l.segments(); err != nil {
			return nil, err
		}
		start, end := l.start.Load(), l.end.Load()
		list := *l.segs.Load() // holds what is below end
		if offset < start || offset > end {
			return nil, fmt.Errorf("%w: %d, the log has %d to %d", ErrOffsetOutOfRange, offset, start, end)
		}
		upTo = min(upTo, end)
		if offset >= upTo || (maxBytes <= 0 && !minOne) {
			return &Run{next: offset}, nil
		}
		before, err := l.beforeDamage(offset, upTo)
		if err != nil {
			return nil, err
		}
		run, err := l.readFrom(list, offset, maxBytes, before, minOne)
		if err == nil && run.size == 0 && before < upTo && minOne {
			return nil, damaged("offsets from %d on are quarantined, and nothing is left from %d up to them", before, offset)
		}
		if !errors.Is(err, errGone) {
			return run, err
		}
		if p := l.closed.Load(); p != nil {
			return nil, *p
		}
		l.awaitWriter()
	}
	return nil, storageError("read", errGone)
}

// awaitWriter lets whoever is taking segments out of the log finish.
func (l *Log) awaitWriter() {
	l.w.Lock()
	defer l.w.Unlock()
}

// beforeDamage refuses an offset that is known to be damaged, and bounds a read at the
// next damage.
func (l *Log) beforeDamage(offset, upTo int64) (int64, error) {
	if !l.hasDamage.Load() {
		return upTo, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.damage {
		switch {
		case offset >= d.from && offset < d.to:
			return 0, damaged("offsets %d to %d are quarantined", d.from, d.to-1)
		case offset < d.from && upTo > d.from:
			upTo = d.from
		}
	}
	return upTo, nil
}

// DamagedTo tells whether an offset lies in a quarantined range, or compaction left nothing from
// there up to one, and the first offset behind that range: where a reader that can do without
// it goes on.
func (l *Log) DamagedTo(offset int64) (to int64, damaged bool) {
	r, ok := l.nextDamage(offset)
	if !ok || r.from <= offset {
		return max(offset, r.to), ok
	}
	run, err := l.Read(offset, 1, r.from, true)
	if err != nil {
		return offset, false
	}
	defer run.Release()
	if run.Len() > 0 {
		return offset, false
	}
	return r.to, true
}

// nextDamage is the first quarantined range that ends behind an offset.
func (l *Log) nextDamage(offset int64) (d damagedRange, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.damage {
		if offset < d.to {
			return d, true
		}
	}
	return damagedRange{}, false
}

// readFrom looks through the segments from the one that may hold offset on.
func (l *Log) readFrom(list []*segment, offset int64, maxBytes int, upTo int64, minOne bool) (*Run, error) {
	gen := l.gen.Load()
	for i := max(find(list, offset), 0); i < len(list) && list[i].base < upTo; i++ {
		s := list[i]
		f, err := s.file.acquire()
		if err != nil {
			return nil, l.readFailure(err, s, offset)
		}
		b := l.bounds(list, i, gen)
		pos, size, next, err := s.window(f, offset, maxBytes, min(upTo, b.end), b, minOne)
		if err != nil {
			s.file.release()
			if l.gen.Load() != gen { // the log was cut off while we looked
				return nil, errGone
			}
			return nil, l.readFailure(err, s, offset)
		}
		if size > 0 {
			s.file.claim()
			s.file.release()
			return &Run{seg: s, pos: pos, size: int(size), next: next}, nil
		}
		s.file.release()
		if next < b.end || next >= upTo {
			return &Run{next: offset}, nil
		}
		offset = next // compaction left nothing at the end of this segment
	}
	return &Run{next: offset}, nil
}

// bounds are how far a segment goes: its bytes and the offset behind them, of one moment.
// gen is the value of Log.gen before.
type bounds struct {
	limit, end int64
	gen        uint32
}

func (l *Log) bounds(list []*segment, i int, gen uint32) bounds {
	if i+1 < len(list) {
		return bounds{list[i].size.Load(), list[i+1].base, gen}
	}
	l.mu.Lock() // an append changes both
	defer l.mu.Unlock()
	return bounds{list[i].size.Load(), l.end.Load(), gen}
}

// window finds the bytes to read: from the batch that holds offset, below upTo, at
// most maxBytes. next is the offset behind them; when there are none, it is the segment's
// end if that has nothing at or behind offset, and offset otherwise. A run ends before
// damage that is met on the way.
func (s *segment) window(f env.File, offset int64, maxBytes int, upTo int64, b bounds, minOne bool) (pos, size, next int64, err error) {
	if pos, err = s.first(f, offset, b); err != nil {
		return 0, 0, 0, err
	}
	if pos >= b.limit {
		return 0, 0, b.end, nil
	}
	stop, next := b.limit, upTo
	if upTo < b.end {
		if stop, next, err = s.stop(f, upTo, pos, b); err != nil {
			return 0, 0, 0, err
		}
	}
	if stop <= pos {
		return 0, 0, offset, nil
	}
	if stop-pos <= int64(maxBytes) {
		s.know(next, stop, b)
		return pos, stop - pos, next, nil
	}
	return s.trim(f, pos, stop, offset, maxBytes, minOne, b)
}

// know remembers where a run ended.
func (s *segment) know(next, stop int64, b bounds) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if pos, ok := s.l.knows(next, s); !ok || pos != stop {
		s.l.know(next, s, stop, b.gen)
	}
}

// trim ends the run that starts at pos at the last batch boundary within maxBytes.
func (s *segment) trim(f env.File, pos, stop, offset int64, maxBytes int, minOne bool, b bounds) (int64, int64, int64, error) {
	target := pos + int64(maxBytes)
	from, err := s.boundary(f, target)
	if err != nil {
		return 0, 0, 0, err
	}
	from = max(from, pos)
	cut, next := pos, offset
	err = s.headers(f, from, stop, func(h header) bool {
		if h.pos > pos { // a boundary within the target, at least the index's
			cut, next = h.pos, h.base
		}
		fits := h.pos+h.size <= target
		if fits || (minOne && h.pos == pos) {
			cut, next = h.pos+h.size, h.last+1
		}
		return fits
	})
	if err != nil && (cut <= pos || !errors.Is(err, ErrCorrupt)) {
		return 0, 0, 0, err
	}
	if cut <= pos {
		return 0, 0, offset, nil
	}
	s.know(next, cut, b)
	return pos, cut - pos, next, nil
}

// first is where the batch starts that holds offset or is the first behind it. Its base
// offset is under no checksum, and readers take it for true: it must fit what is asked and the
// batches around it, whoever wrote it.
func (s *segment) first(f env.File, offset int64, b bounds) (int64, error) {
	pos, ok := s.l.known(offset, s)
	if ok && pos <= b.limit {
		if pos == b.limit {
			return pos, nil
		}
		if h, err := s.headerAt(f, pos, b.limit); err == nil && h.base == offset && h.last < b.end {
			return pos, nil
		}
	}
	pos = 0
	if offset > s.base {
		var err error
		if pos, err = s.nearest(f, offset); err != nil {
			return 0, err
		}
	}
	next := int64(math.MaxInt64) // the offset that the next batch should have
	if pos == 0 {                // otherwise the index knows the batch
		next = s.base
	}
	at := header{pos: b.limit}
	met := false
	err := s.headers(f, min(pos, b.limit), b.limit, func(h header) bool {
		if met {
			return false // h is behind it
		}
		gap := h.base > next // of a compaction, or damage: then the next one tells
		if next = h.last + 1; next <= offset {
			return true
		}
		at, met = h, true
		return gap
	})
	if err == nil && met && at.last >= b.end {
		err = damaged("offsets %d to %d at position %d of a segment that ends before %d", at.base, at.last, at.pos, b.end)
	}
	return at.pos, err
}

// stop is where the batch starts that holds upTo, at or behind from, or where damage
// before it starts; next is the offset there.
func (s *segment) stop(f env.File, upTo, from int64, b bounds) (stop, next int64, err error) {
	if pos, ok := s.l.known(upTo, s); ok && pos <= b.limit {
		return max(pos, from), upTo, nil
	}
	near, err := s.nearest(f, upTo)
	if err != nil {
		return 0, 0, err
	}
	stop = min(max(near, from), b.limit)
	err = s.headers(f, stop, b.limit, func(h header) bool {
		if h.last >= upTo { // stop is there, or before a hole
			return false
		}
		stop, next = h.pos+h.size, h.last+1
		return true
	})
	if errors.Is(err, ErrCorrupt) && next > 0 {
		return stop, next, nil
	}
	return stop, upTo, err
}

// position is where the batch starts that holds offset or is the first behind it.
func (s *segment) position(f env.File, offset, limit int64) (int64, error) {
	if pos, ok := s.l.known(offset, s); ok && pos <= limit {
		return pos, nil
	}
	if offset <= s.base {
		return 0, nil
	}
	from, err := s.nearest(f, offset)
	if err != nil {
		return 0, err
	}
	return s.locate(f, offset, min(from, limit), limit)
}

// readFailure reports damage that a read met, and what the disk does not give; other
// failures, as of opening a file, pass.
func (l *Log) readFailure(err error, s *segment, offset int64) error {
	if errors.Is(err, errGone) {
		return err
	}
	corrupt := errors.Is(err, ErrCorrupt)
	if corrupt || unreadable(err) {
		l.met(err, s, offset)
	}
	if !corrupt && !errors.Is(err, ErrStorage) {
		err = storageError("read", err)
	}
	return err
}

// met has the scrubber look at a segment in which a reader met damage.
func (l *Log) met(err error, s *segment, offset int64) {
	l.d.opt.Metrics.damageMet()
	l.d.suspect(s)
	if s.firstMet(err) {
		l.d.event(DamageMet{Log: l.ID(), Segment: s.base, Offset: offset, Err: err})
	}
}

// maxMet bounds how many places of damage are told of one segment.
const maxMet = 64

// firstMet tells whether this damage was not told before.
func (s *segment) firstMet(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := err.Error()
	if s.met[text] || len(s.met) >= maxMet {
		return false
	}
	if s.met == nil {
		s.met = map[string]bool{}
	}
	s.met[text] = true
	return true
}
