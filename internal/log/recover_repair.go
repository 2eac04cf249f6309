package log

import (
	"errors"
	"math"
	"os"
	"slices"

	"github.com/leat-stream/leat/internal/mutant"
)

// repair deals with damage in the i-th segment. What was not recorded as synced is cut
// off with all that follows, and the scan ends. What was recorded, or cannot be a torn
// write, is put aside and its offsets are refused from now on; the scan goes on behind it.
func (r *recovery) repair(i int, b *bad) (more bool, err error) {
	s := r.segs[i]
	if r.onlyZeros(s, b) {
		return false, r.trim(s, b.pos)
	}
	if i+1 < len(r.segs) && r.segs[i+1].base == b.offset { // no record is missing
		r.l.d.event(Truncated{Log: r.l.ID(), Offset: b.offset, Segment: s.base, Position: b.pos, Bytes: s.size.Load() - b.pos, Err: b.err})
		return true, r.trim(s, b.pos)
	}
	next, found, err := r.resync(i, b)
	if err != nil {
		return false, err
	}
	// While the page cache is that of the process before, only the last write can be torn:
	// what good batches follow was whole, and may have been acknowledged.
	if max(b.offset, r.l.start.Load()) < r.point || found && r.l.d.sameBoot {
		return true, r.quarantine(i, b, next, found)
	}
	r.res.FollowedByGood = r.res.FollowedByGood || found
	kept := ""
	if found {
		if kept, err = r.keep(s, b.pos, s.size.Load(), damagedRange{b.offset, b.offset}); err != nil {
			return false, err
		}
	}
	return false, r.dropBehind(i, b, kept)
}

// onlyZeros tells whether the damage is space behind the last segment's batches that
// was never written.
func (r *recovery) onlyZeros(s *segment, b *bad) (zeros bool) {
	if s != r.segs[len(r.segs)-1] || max(b.offset, r.l.start.Load()) < r.point {
		return false
	}
	_, err := r.withFile(s, func(sc *scanner) (err error) {
		zeros, err = sc.zeros(b.pos)
		return err
	})
	return zeros && err == nil
}

// dropBehind cuts the i-th segment off at the damage and removes those behind it.
func (r *recovery) dropBehind(i int, b *bad, kept string) error {
	s := r.segs[i]
	cut := s.size.Load() - b.pos
	if err := r.cut(s, b.pos); err != nil {
		return err
	}
	for _, later := range r.segs[i+1:] {
		cut += later.size.Load()
		if err := r.dropSegment(later); err != nil {
			return err
		}
	}
	r.segs = r.segs[:i+1]
	r.res.CutBytes += cut
	r.l.d.event(Truncated{Log: r.l.ID(), Offset: b.offset, Segment: s.base, Position: b.pos, Bytes: cut, Kept: kept, Err: b.err})
	return nil
}

// dropFrom removes the i-th segment and all behind it, none of which was recorded as
// synced. If they hold anything, that follows something that is lost.
func (r *recovery) dropFrom(i int, why error) error {
	bytes := int64(0)
	for _, s := range r.segs[i:] {
		bytes += s.size.Load()
		if err := r.dropSegment(s); err != nil {
			return err
		}
	}
	base := r.segs[i].base
	r.segs = r.segs[:i]
	r.res.CutBytes += bytes
	if bytes > 0 {
		r.l.d.event(Truncated{Log: r.l.ID(), Offset: r.end, Segment: base, Bytes: bytes, Err: why})
	}
	return nil
}

// dropEmpty removes the empty segments between others: a roll that failed after it had
// made the file, while the segment before it went on.
func (r *recovery) dropEmpty() error {
	for i := 1; i < len(r.segs)-1; i++ {
		if r.segs[i].size.Load() > 0 {
			continue
		}
		if err := r.dropSegment(r.segs[i]); err != nil {
			return err
		}
		r.segs = slices.Delete(r.segs, i, i+1)
		i--
	}
	return nil
}

// dropGiven removes what is left of the segments that were given up, and those before.
func (r *recovery) dropGiven() error {
	for len(r.segs) > 1 && r.wasGiven(r.segs[0].base) {
		if err := r.dropSegment(r.segs[0]); err != nil {
			return err
		}
		r.segs = r.segs[1:]
	}
	return nil
}

// wasGiven tells whether retention gave up the segment of that base, or a later one.
func (r *recovery) wasGiven(base int64) bool {
	return len(r.given) > 0 && base <= slices.Max(r.given)
}

// dropDeleted removes the segments below the start, which was recorded when they were
// deleted or given up.
func (r *recovery) dropDeleted() error {
	start := r.l.start.Load()
	for len(r.segs) > 1 && r.segs[1].base <= start {
		if err := r.dropSegment(r.segs[0]); err != nil {
			return err
		}
		r.segs = r.segs[1:]
	}
	return nil
}

// dropHeadless removes all segments if the log's first ones are missing. Retention
// leaves such a log only below the recovery point.
func (r *recovery) dropHeadless() error {
	start := max(r.l.start.Load(), r.point)
	if !r.l.d.hasState || len(r.segs) == 0 || r.segs[0].base <= start {
		return nil
	}
	r.end = start
	return r.dropFrom(0, damaged("the log begins at %d", start))
}

// resync looks for a good batch behind the damage in the same segment: where the damaged one
// says that it is, or else anywhere. Behind what looks like a torn write only a chain of good
// ones to the end of the file counts.
func (r *recovery) resync(i int, b *bad) (h header, found bool, err error) {
	end := int64(math.MaxInt64)
	if i+1 < len(r.segs) {
		end = r.segs[i+1].base
	}
	_, err = r.withFile(r.segs[i], func(sc *scanner) error {
		k := hunt{sc: sc, pos: b.pos, next: b.offset, end: end, whole: true, strict: true}
		var err error
		if h, found, err = k.explained(); found || err != nil || h.size > 0 {
			return err
		}
		torn := false
		if i == len(r.segs)-1 && b.offset >= r.point {
			if torn, err = k.torn(); err != nil {
				return err
			}
		}
		if torn { // its records may hold what looks like batches
			h, found, err = k.linked()
		} else {
			h, found, err = k.good(k.pos+1, sc.limit)
		}
		return err
	})
	return h, found, err
}

// cut truncates a segment's file, durably: a good batch behind the cut must not come back
// and follow what will be written there.
func (r *recovery) cut(s *segment, pos int64) error {
	if err := r.trim(s, pos); err != nil {
		return err
	}
	return s.syncData()
}

// trim truncates a segment's file. If what goes comes back, so does the reason.
func (r *recovery) trim(s *segment, pos int64) error {
	f, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	if err := f.Truncate(pos); err != nil {
		return err
	}
	s.size.Store(pos)
	s.dropHoles(pos)
	r.changed = true
	return nil
}

// dropSegment removes a segment that lies behind a cut.
func (r *recovery) dropSegment(s *segment) error {
	s.retire()
	for _, suffix := range [...]string{indexSuffix, timeIndexSuffix, txnIndexSuffix, logSuffix} {
		if err := removeIfThere(r.l.d.fs, s.path(suffix)); err != nil {
			return err
		}
	}
	r.changed = true
	return nil
}

// keep copies bytes of a segment into a file of their own, durably.
func (r *recovery) keep(s *segment, from, to int64, d damagedRange) (name string, err error) {
	name = corruptName(d)
	return name, r.copyOut(s, from, to, name)
}

func (r *recovery) copyOut(s *segment, from, to int64, name string) error {
	tmp := r.dir + "/" + name + tmpSuffix
	out, err := r.l.d.fs.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = r.withFile(s, func(sc *scanner) error {
		for at := from; at < to; {
			n := min(int64(len(sc.buf)), to-at)
			p, err := sc.bytes(at, n)
			if err != nil {
				return err
			}
			if _, err := out.WriteAt(p, at-from); err != nil {
				return err
			}
			at += n
		}
		if err := out.Sync(); err != nil {
			return syncError{err}
		}
		return nil
	})
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if err := r.l.d.fs.Rename(tmp, r.dir+"/"+name); err != nil {
		return err
	}
	if err := r.l.d.fs.SyncDir(r.dir); err != nil {
		return syncError{err}
	}
	return nil
}

// quarantine puts damaged synced bytes aside. The offsets from the damage to the next
// good batch, which may be in this segment, in the next one, or at the recovery point
// when nothing follows, are refused by Read; they are never given to other records.
func (r *recovery) quarantine(i int, b *bad, next header, found bool) error {
	s := r.segs[i]
	d := damagedRange{from: b.offset, to: max(r.point, b.offset)}
	end := s.size.Load()
	splitAt := int64(-1)
	switch following := i+1 < len(r.segs); {
	case found && (!following || next.base < r.segs[i+1].base):
		d.to, end, splitAt = next.base, next.pos, next.pos
	case following:
		d.to = r.segs[i+1].base
	}
	file, err := r.keep(s, b.pos, end, d)
	if err != nil {
		return err
	}
	if splitAt >= 0 { // what is good behind the damage becomes a segment of its own
		if err := r.copyOut(s, splitAt, s.size.Load(), segmentName(d.to, logSuffix)); err != nil {
			return err
		}
		if err := r.addSegment(d.to, nil); err != nil {
			return err
		}
		last := len(r.segs) - 1
		split := r.segs[last]
		split.offsets.inFile, split.times.inFile = 0, 0
		copy(r.segs[i+2:], r.segs[i+1:last])
		r.segs[i+1] = split
	}
	if err := r.cut(s, b.pos); err != nil {
		return err
	}
	r.damage = append(r.damage, d)
	r.res.Kept = false
	r.end = max(r.end, d.to)
	r.l.d.event(Quarantined{Log: r.l.ID(), From: d.from, To: d.to, File: file, Err: b.err})
	return nil
}

// recheck compares the segments below the recovery point with what was recorded of
// them. Nothing but compaction changes those, and it records what it does. One of
// another size is read again; records that are missing are refused from now on.
func (r *recovery) recheck() error {
	if r.saved == nil {
		return nil
	}
	for k, g := range r.saved.segs {
		next := r.saved.point
		last := k == len(r.saved.segs)-1
		if !last {
			next = r.saved.segs[k+1].base
		}
		if next <= r.l.start.Load() || r.wasSwapped(g.base) || r.wasGiven(g.base) || g.size == 0 {
			continue
		}
		i := find(r.segs, g.base)
		if i < 0 || r.segs[i].base != g.base {
			if err := r.lose(max(g.base, r.l.start.Load()), next); err != nil {
				return err
			}
			continue
		}
		if size := r.segs[i].size.Load(); size == g.size || (last && size > g.size) {
			continue
		}
		for more := true; more; i++ { // what is good behind damage becomes one more
			end, err := r.checkSegment(i)
			if err != nil {
				return err
			}
			if i+1 < len(r.segs) && r.segs[i].size.Load() < g.size {
				if err := r.lose(max(end, r.l.start.Load()), min(next, r.segs[i+1].base)); err != nil {
					return err
				}
			}
			more = i+1 < len(r.segs) && r.segs[i+1].base < next
		}
	}
	r.end = r.l.start.Load()
	return nil
}

func (r *recovery) wasSwapped(base int64) bool {
	return slices.ContainsFunc(r.swapped, func(d damagedRange) bool { return base >= d.from && base <= d.to })
}

// lose refuses synced offsets whose bytes are gone without a trace.
func (r *recovery) lose(from, to int64) error {
	if from >= to || slices.ContainsFunc(r.damage, func(d damagedRange) bool { return d.from <= from && d.to >= to }) {
		return nil
	}
	d := damagedRange{from, to}
	if err := createSmall(r.l.d.fs, r.dir+"/"+corruptName(d), nil); err != nil {
		return err
	}
	if err := r.l.d.fs.SyncDir(r.dir); err != nil {
		return syncError{err}
	}
	r.damage = append(r.damage, d)
	r.res.Kept = false
	r.l.d.event(Quarantined{Log: r.l.ID(), From: from, To: to, Err: damaged("the records are missing")})
	return nil
}

// checkSegment looks for damage in a segment below the recovery point, and returns the
// offset behind its last batch.
func (r *recovery) checkSegment(i int) (end int64, err error) {
	s := r.segs[i]
	next := s.base
	var found *bad
	_, err = r.withFile(s, func(sc *scanner) error {
		for pos := int64(0); pos < sc.limit; {
			if h, ok := s.passed().over(pos, sc.limit); ok {
				pos, next = h.to, h.next
				continue
			}
			h, b, err := sc.batch(pos, next)
			if b != nil && mutant.On("log/recovery-takes-damage") {
				err = nil
			}
			if err == nil && h.base > next {
				err = sc.overlap(h)
			}
			if errors.Is(err, ErrCorrupt) {
				found = &bad{pos, next, err}
				return nil
			}
			if err != nil {
				return err
			}
			next, pos = h.last+1, pos+h.size
			r.res.ScannedBytes += h.size
		}
		return nil
	})
	if err != nil || found == nil {
		return next, err
	}
	_, err = r.repair(i, found)
	return max(next, r.end), err
}

// missingTail deals with synced records that are missing at the end without a trace.
func (r *recovery) missingTail() error {
	if r.end >= r.point {
		return nil
	}
	from := r.end
	r.end, r.changed = r.point, true
	return r.lose(from, r.point)
}
