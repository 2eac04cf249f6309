package log

import (
	"errors"
	"slices"

	"github.com/leat-stream/leat/internal/env"
)

// Range is a range of offsets, To is behind it.
type Range struct{ From, To int64 }

// Damaged lists the ranges of offsets that are refused for damage, ascending.
//
// How a replica is mended: a leader hands over first, and the controller takes the replica
// out of the in-sync set and the eligible ones; then it truncates to where the first damage
// begins (TruncateDamage) and fetches the rest again. A follower that nobody counts on loses
// nothing by that, it needs no second way of writing, and a crash at any point leaves a log
// that is shorter or still refuses. The last replica that is left has nobody to fetch from:
// there the ranges stay refused, and what is around them is served.
func (l *Log) Damaged() []Range {
	if _, err := l.segments(); err != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []Range
	for _, d := range l.damage {
		if from := max(d.from, l.start.Load()); from < d.to {
			list = append(list, Range{from, d.to})
		}
	}
	return list
}

// TruncateDamage drops everything from the first damage on, so that it can be fetched again,
// and returns the log's end. Only a replica that nobody counts on may do that: one that
// follows, and is neither in the in-sync set nor eligible (see Damaged).
func (l *Log) TruncateDamage() (end int64, err error) {
	if list := l.Damaged(); len(list) > 0 {
		err = l.TruncateTo(list[0].From)
	}
	return l.end.Load(), err
}

// coveredBy tells whether every offset of the range lies in one of the list, which ascends.
func (d damagedRange) coveredBy(list []damagedRange) bool {
	for _, o := range list {
		if o.from <= d.from {
			d.from = max(d.from, o.to)
		}
	}
	return d.from >= d.to
}

// quarantine refuses damaged offsets from now on, durably; w is held. The bytes stay where
// they are. If they break the chain of batches h says where it goes on in s, otherwise h is
// nil. What cannot be written holds in memory.
func (l *Log) quarantine(d damagedRange, why error, s *segment, h *hole) error {
	all := d // a hole is there below the start, too
	d.from = max(d.from, l.start.Load())
	l.mu.Lock()
	known := d.coveredBy(l.damage)
	if !known {
		l.setDamage(append(slices.Clone(l.damage), d))
		l.touch()
	}
	l.mu.Unlock()
	if h != nil {
		s.addHole(*h)
		l.forget()
	} else if known {
		return nil
	}
	dir := *l.path.Load()
	var err error
	if h != nil {
		err = writeSmall(l.d.fs, dir, corruptName(all), h.encode(s.base))
	} else if err = createSmall(l.d.fs, dir+"/"+corruptName(d), nil); err == nil {
		if serr := l.d.fs.SyncDir(dir); serr != nil {
			err = syncError{serr}
		}
	}
	if !known {
		l.d.opt.Metrics.damageMet()
		l.d.event(Quarantined{Log: l.ID(), From: d.from, To: d.to, Err: why})
	}
	if err != nil {
		return storageError("quarantine", l.d.fatal(err))
	}
	return nil
}

// giveUpTail cuts off what lies behind pos in a file that is shorter than it should be; its
// offsets, from next on, are refused. w and round are held.
func (s *segment) giveUpTail(pos, next int64) error {
	ts, at, err := s.largestBefore(next, pos)
	if err != nil {
		return err
	}
	l := s.l
	txns, err := l.readTxns(s)
	if err != nil {
		return err
	}
	keep, err := s.keeps(next, pos, txns)
	if err != nil {
		return err
	}
	l.cutting = true
	l.forget()
	p := place{seg: s, size: pos, maxTs: ts, maxTsAt: at}
	l.mu.Lock()
	for _, q := range [...]*place{&l.dirty.synced, &l.dirty.ready.place} {
		if q.seg == s && q.size > pos {
			*q = p
		}
	}
	l.mu.Unlock()
	return s.cut(next, p, keep)
}

// assessment looks at what a scan met at pos, where an offset of at least next should be:
// which offsets are damaged, and where to go on.
type assessment struct {
	s         *segment
	pos, next int64
	limit     int64 // how much of the segment counts
	end       int64 // the offset at limit

	damage damagedRange
	behind int64 // position
	why    error // nil: nothing is wrong
	short  bool  // the file ends before limit, and nothing good is behind the damage
	broken bool  // the damaged batch's header does not lead to what is behind
}

func (a *assessment) run() error {
	f, err := a.s.file.acquire()
	if err != nil {
		return err
	}
	defer a.s.file.release()
	there, err := f.Size()
	if err != nil {
		return storageError("scrub", err)
	}
	sc := newScanner(f, min(a.limit, there))
	h, _, err := sc.batch(a.pos, a.next)
	if err == nil {
		if err = a.misplaced(sc, h); err == nil {
			err = a.s.l.wrongEpoch(h)
		}
	}
	if err == nil || !errors.Is(err, ErrCorrupt) && !unreadable(err) {
		return err
	}
	a.why = err
	a.damage, a.behind = damagedRange{a.next, a.end}, a.limit
	if unreadable(err) {
		a.unread(f, sc, h)
	} else if err := a.hunt(f, sc, there); err != nil {
		return err
	}
	h, err = sc.header(a.pos)
	a.broken = !a.short && (err != nil || h.base < a.next || h.pos+h.size != a.behind || h.last >= a.damage.to)
	return nil
}

// hunt finds what is behind damage that can be read.
func (a *assessment) hunt(f env.File, sc *scanner, there int64) error {
	k := hunt{sc: sc, pos: a.pos, next: a.next, end: a.end, whole: there >= a.limit, anchor: a.s.indexedBehind(f, a.pos, a.next, sc.limit, a.end)}
	n, found, err := k.run()
	switch {
	case unreadable(err):
		a.skip(f, sc.limit)
		return nil
	case err != nil:
		return err
	case found:
		a.damage.to, a.behind = n.base, n.pos
	}
	a.short = !k.whole && !found
	return nil
}

// unread finds what is behind bytes that the disk does not give; h is what was read of the
// batch's header.
func (a *assessment) unread(f env.File, sc *scanner, h header) {
	if h.size >= headerRead && h.base >= a.next && h.last < a.end {
		if h.pos+h.size >= sc.limit {
			return
		}
		if n, err := sc.header(h.pos + h.size); err == nil {
			a.damage.to, a.behind = n.base, n.pos
			return
		}
	}
	a.skip(f, sc.limit)
}

// skip goes on at a batch to which the index leads, behind what the disk does not give. It
// takes longer and longer steps: each read of a bad place may take the disk seconds.
func (a *assessment) skip(f env.File, limit int64) {
	s := a.s
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, err := s.offsets.upTo(a.pos, (*index).value)
	for step := 1; err == nil && i < s.offsets.count(); {
		var e []byte
		if e, err = s.offsets.entry(i); err != nil {
			return
		}
		at, last := s.offsets.value(e), s.offsets.key(e)
		if at >= limit {
			return
		}
		if h, err := s.headerAt(f, at, limit); err == nil && h.last == s.base+last && h.base >= a.next && h.last < a.end {
			a.damage.to, a.behind = h.base, at
			return
		}
		i, step = i+step, 2*step
	}
}

// wrongEpoch tells of a batch whose leader epoch, which is under no checksum, is not the one
// that the log has for its offset.
func (l *Log) wrongEpoch(h header) error {
	l.mu.Lock()
	epoch := l.epochs.at(h.base)
	l.mu.Unlock()
	if epoch >= 0 && h.epoch != epoch {
		return damaged("leader epoch %d at position %d, it was written in epoch %d", h.epoch, h.pos, epoch)
	}
	return nil
}

// misplaced tells what is wrong with the place of a batch whose bytes are good.
func (a *assessment) misplaced(sc *scanner, h header) error {
	if h.last >= a.end {
		return damaged("offset %d at position %d, the segment ends before %d", h.last, h.pos, a.end)
	}
	return sc.overlap(h)
}

// overlap tells of a batch whose offsets reach into those of the one behind it. One that is no
// batch is another one's damage.
func (sc *scanner) overlap(h header) error {
	at := h.pos + h.size
	if at >= sc.limit {
		return nil
	}
	n, err := sc.header(at)
	if errors.Is(err, ErrCorrupt) {
		return nil
	}
	if err == nil && n.base <= h.last {
		err = damaged("offsets %d to %d at position %d, before %d", h.base, h.last, h.pos, n.base)
	}
	return err
}

// indexedBehind is the first batch behind a position to which the index leads, with offsets
// from next…end-1; its size is 0 when there is none.
func (s *segment) indexedBehind(f env.File, pos, next, limit, end int64) header {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, err := s.offsets.upTo(pos, (*index).value)
	for ; err == nil && i < s.offsets.count(); i++ {
		var e []byte
		if e, err = s.offsets.entry(i); err != nil {
			break
		}
		at, last := s.offsets.value(e), s.offsets.key(e)
		if at >= limit {
			break
		}
		if h, err := s.headerAt(f, at, limit); err == nil && h.last == s.base+last && h.base >= next && h.last < end {
			return h
		}
	}
	return header{}
}
