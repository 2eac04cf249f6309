package log

import (
	"errors"
	"math"
)

// hints takes over what the state file knows of segments below the recovery point. It
// also knows the position of the recovery point.
func (r *recovery) hints() (b begin, ok bool) {
	if r.saved == nil || r.saved.point != r.point {
		return b, false
	}
	for k, g := range r.saved.segs {
		i := find(r.segs, g.base)
		if i < 0 || r.segs[i].base != g.base {
			continue
		}
		s, size := r.segs[i], r.segs[i].size.Load()
		switch last := k == len(r.saved.segs)-1; {
		case last && size >= g.size && g.size > 0:
			s.recall(g)
			b, ok = begin{i, g.size, r.point, true}, true
		case !last && size == g.size:
			s.recall(g)
		}
	}
	return b, ok
}

// begin is where the scan begins.
type begin struct {
	at     int   // index of the segment, len(segs) if there is nothing
	pos    int64 // position in it
	offset int64 // of the batch there, or the least that it can have
	exact  bool  // it is what the state file says of the recovery point
}

// scanStart finds where to begin: at the recovery point if its position is known, else
// at the last batch boundary that the index knows at or below it.
func (r *recovery) scanStart() (begin, error) {
	if len(r.segs) == 0 {
		return begin{}, nil
	}
	if b, ok := r.hints(); ok {
		return b, r.openIndexes(r.segs[b.at])
	}
	at := max(find(r.segs, max(r.point, 0)), 0)
	s := r.segs[at]
	b := begin{at: at, offset: s.base}
	if err := r.openIndexes(s); err != nil {
		return b, err
	}
	s.maxTs, s.maxTsAt = -1, s.base
	if r.point <= s.base {
		return b, nil
	}
	_, err := r.withFile(s, func(sc *scanner) error {
		ts, at, err := s.stamped(sc.f, math.MaxInt64, (*index).key)
		if errors.Is(err, ErrCorrupt) {
			return nil // the scan of the whole segment meets it
		}
		if err != nil || ts < 0 {
			return err
		}
		from := r.point
		if !r.l.d.sameBoot { // the time index may have lost more than the other one
			from = min(from, at)
		}
		pos, err := s.nearest(sc.f, from)
		if err != nil || pos == 0 {
			return err
		}
		h, err := sc.header(pos)
		if errors.Is(err, ErrCorrupt) {
			return nil
		}
		if err == nil {
			b.pos, b.offset = pos, h.base
			s.maxTs, s.maxTsAt = ts, at
		}
		return err
	})
	return b, err
}

// openIndexes looks at the index files of a segment that will be scanned, and keeps
// the entries that can be true.
func (r *recovery) openIndexes(s *segment) error {
	for _, ix := range [...]*index{&s.offsets, &s.times} {
		n, err := ix.open()
		if err != nil {
			return err
		}
		good, err := ix.validPrefix(s.size.Load())
		if err != nil {
			return err
		}
		if good < n {
			r.changed = true
			if err := ix.truncate(good); err != nil {
				return err
			}
			r.l.d.event(IndexRebuilt{Log: r.l.ID(), File: segmentName(s.base, ix.file.kind.suffix()),
				Err: damagedFile("entry %d of %d", good, n)})
		}
	}
	return nil
}
