package log

import (
	"errors"
	"fmt"

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
		list, err := l.segments()
		if err != nil {
			return nil, err
		}
		start, end := l.start.Load(), l.end.Load()
		list = *l.segs.Load() // holds what is below end
		if offset < start || offset > end {
			return nil, fmt.Errorf("%w: %d, the log has %d to %d", ErrOffsetOutOfRange, offset, start, end)
		}
		upTo = min(upTo, end)
		if offset >= upTo || (maxBytes <= 0 && !minOne) {
			return &Run{next: offset}, nil
		}
		if upTo, err = l.beforeDamage(offset, upTo); err != nil {
			return nil, err
		}
		run, err := l.readFrom(list, offset, maxBytes, upTo, minOne)
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

// DamagedTo tells whether an offset lies in a quarantined range, and the first offset
// behind that range: where a reader that can do without it goes on.
func (l *Log) DamagedTo(offset int64) (to int64, damaged bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.damage {
		if offset >= d.from && offset < d.to {
			return d.to, true
		}
	}
	return offset, false
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
// most maxBytes. next is the offset behind them; when there are none, it is end if
// the segment has nothing at or behind offset, and offset otherwise.
func (s *segment) window(f env.File, offset int64, maxBytes int, upTo int64, b bounds, minOne bool) (pos, size, next int64, err error) {
	l := s.l
	limit, end := b.limit, b.end
	if pos, err = s.position(f, offset, limit); err != nil {
		return 0, 0, 0, err
	}
	if pos >= limit {
		return 0, 0, end, nil
	}
	stop := limit
	if upTo < end {
		if stop, err = s.positionFrom(f, upTo, pos, limit); err != nil {
			return 0, 0, 0, err
		}
	}
	if stop <= pos {
		return 0, 0, offset, nil
	}
	if stop-pos <= int64(maxBytes) {
		l.mu.Lock()
		l.know(upTo, s, stop, b.gen)
		l.mu.Unlock()
		return pos, stop - pos, upTo, nil
	}
	return s.trim(f, pos, stop, offset, maxBytes, minOne, b.gen)
}

// trim ends the run that starts at pos at the last batch boundary within maxBytes.
func (s *segment) trim(f env.File, pos, stop, offset int64, maxBytes int, minOne bool, gen uint32) (int64, int64, int64, error) {
	target := pos + int64(maxBytes)
	from, err := s.boundary(f, target)
	if err != nil {
		return 0, 0, 0, err
	}
	from = max(from, pos)
	cut, next := pos, offset
	err = headers(f, from, stop, func(h header) bool {
		if h.pos > pos { // a boundary within the target, at least the index's
			cut, next = h.pos, h.base
		}
		fits := h.pos+h.size <= target
		if fits || (minOne && h.pos == pos) {
			cut, next = h.pos+h.size, h.last+1
		}
		return fits
	})
	if err != nil {
		return 0, 0, 0, err
	}
	if cut <= pos {
		return 0, 0, offset, nil
	}
	s.l.mu.Lock()
	s.l.know(next, s, cut, gen)
	s.l.mu.Unlock()
	return pos, cut - pos, next, nil
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

// positionFrom is position for an offset whose batch is known to start at or behind from.
func (s *segment) positionFrom(f env.File, offset, from, limit int64) (int64, error) {
	if pos, ok := s.l.known(offset, s); ok && pos <= limit {
		return max(pos, from), nil
	}
	near, err := s.nearest(f, offset)
	if err != nil {
		return 0, err
	}
	return s.locate(f, offset, min(max(near, from), limit), limit)
}

// readFailure reports damage that a read met; other failures are those of the disk.
func (l *Log) readFailure(err error, s *segment, offset int64) error {
	if errors.Is(err, errGone) {
		return err
	}
	if errors.Is(err, ErrCorrupt) {
		l.d.opt.Metrics.damageMet()
		l.d.event(DamageMet{Log: l.ID(), Segment: s.base, Offset: offset, Err: err})
	} else if !errors.Is(err, ErrStorage) {
		err = storageError("read", err)
	}
	return err
}
