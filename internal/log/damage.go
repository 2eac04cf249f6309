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

// quarantine refuses damaged offsets from now on, durably; w is held. The bytes stay where
// they are. A refusal that cannot be written holds in memory.
func (l *Log) quarantine(d damagedRange, why error) error {
	d.from = max(d.from, l.start.Load())
	l.mu.Lock()
	known := d.from >= d.to || slices.ContainsFunc(l.damage, func(o damagedRange) bool { return o.from <= d.from && o.to >= d.to })
	if !known {
		l.setDamage(append(slices.Clone(l.damage), d))
		l.touch()
	}
	l.mu.Unlock()
	if known {
		return nil
	}
	l.d.opt.Metrics.damageMet()
	dir := *l.path.Load()
	err := createSmall(l.d.fs, dir+"/"+corruptName(d), nil)
	if err == nil {
		if serr := l.d.fs.SyncDir(dir); serr != nil {
			err = syncError{serr}
		}
	}
	l.d.event(Quarantined{Log: l.ID(), From: d.from, To: d.to, Err: why})
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
	end       int64 // the offset behind the segment

	damage damagedRange
	behind int64 // position
	why    error // nil: nothing is wrong
	short  bool  // the file ends before limit, and nothing good is behind the damage
}

func (a *assessment) run() error {
	s := a.s
	f, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	there, err := f.Size()
	if err != nil {
		return storageError("scrub", err)
	}
	sc := newScanner(f, min(a.limit, there))
	h, _, err := sc.batch(a.pos, a.next)
	chained := false
	if err == nil {
		if chained, err = a.misplaced(sc, h); err == nil {
			err = s.l.wrongEpoch(h)
		}
		if err == nil {
			return nil
		}
	} else if errors.Is(err, ErrCorrupt) {
		chained, _ = a.misplaced(sc, h)
		chained = chained && h.base >= a.next && h.size >= headerRead
	}
	if unreadable(err) {
		chained = h.size >= headerRead && h.base >= a.next && h.last < a.end // its header was read
	} else if !errors.Is(err, ErrCorrupt) {
		return err
	}
	a.why = err
	a.damage, a.behind = damagedRange{a.next, a.end}, a.limit
	if s.size.Load() > a.limit { // it goes on behind what is synced
		a.damage.to = min(a.end, max(s.l.synced.Load(), a.next))
	}
	if chained {
		if h.pos+h.size >= sc.limit {
			return nil
		}
		n, err := sc.header(h.pos + h.size)
		if err == nil {
			a.damage.to, a.behind = n.base, n.pos
			return nil
		}
		if !unreadable(a.why) {
			return err
		}
	}
	if unreadable(a.why) {
		a.skip(f, sc.limit)
		return nil
	}
	good, found, err := sc.resync(a.pos+1, a.next)
	for err == nil && found && good.last >= a.end {
		good, found, err = sc.resync(good.pos+1, a.next)
	}
	if unreadable(err) {
		a.skip(f, sc.limit)
		return nil
	}
	if err != nil {
		return err
	}
	if found {
		if to, at := s.reachable(f, good, sc.limit, a.end); to >= 0 {
			a.damage.to, a.behind = to, at
		}
	}
	a.short = there < a.limit && a.behind == a.limit
	return nil
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

// misplaced tells whether the chain of batches goes on behind h, if h is where it says, and
// what is wrong with the place.
func (a *assessment) misplaced(sc *scanner, h header) (chained bool, err error) {
	if h.last >= a.end {
		return false, damaged("offset %d at position %d, the segment ends before %d", h.last, h.pos, a.end)
	}
	at := h.pos + h.size
	if at >= sc.limit {
		return at == a.limit, nil
	}
	n, err := sc.header(at)
	switch {
	case errors.Is(err, ErrCorrupt):
		return false, nil // another batch's damage
	case err == nil && n.base <= h.last:
		err = damaged("offsets %d to %d at position %d, before %d", h.base, h.last, h.pos, n.base)
	}
	return err == nil && n.last < a.end, err
}

// reachable is the first batch at or behind a good one to which the index leads: the chain
// of batches before it is broken. -1: none.
func (s *segment) reachable(f env.File, good header, limit, end int64) (offset, pos int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, err := s.offsets.upTo(good.pos-1, (*index).value)
	for ; err == nil && i < s.offsets.count(); i++ {
		var e []byte
		if e, err = s.offsets.entry(i); err != nil {
			break
		}
		at, last := s.offsets.value(e), s.offsets.key(e)
		if at >= limit {
			break
		}
		if h, err := s.headerAt(f, at, limit); err == nil && h.last == s.base+last && h.base >= good.base && h.last < end {
			return h.base, at
		}
	}
	return -1, 0
}
