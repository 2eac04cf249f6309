package log

import (
	"errors"
	"math"
	"sort"

	"github.com/leat-stream/leat/internal/env"
)

// entryCounts is how many entries a segment's indexes have at least. The state file
// keeps them: an index that was cut between two entries looks like a good one.
type entryCounts struct{ offsets, times, txns uint32 }

// counts is what is known of the indexes; mu is held. A file that could not be mended
// keeps the number that it should have.
func (s *segment) counts() entryCounts {
	return entryCounts{
		offsets: uint32(max(s.offsets.count(), s.offsets.want)),
		times:   uint32(max(s.times.count(), s.times.want)),
		txns:    uint32(max(s.txns.inFile, 0) + len(s.txns.tail)),
	}
}

// recall takes over what the state file says of a segment that was found on disk.
func (s *segment) recall(g savedSegment) {
	s.maxTs, s.maxTsAt = g.maxTs, g.maxTsAt
	s.offsets.want, s.times.want = clampCount(g.n.offsets), clampCount(g.n.times)
	if n := clampCount(g.n.txns); n > 0 { // whether they are there is seen when they are read
		s.txns.inFile = n
	}
}

func clampCount(n uint32) int { return int(min(n, math.MaxInt32)) }

func missingEntries(have, want int) error {
	return damagedFile("%d of %d entries are there", have, want)
}

// look reads what is not known yet of a segment that was found on disk: how many
// entries its indexes have, and its largest timestamp. Indexes that were cut or cannot
// be true are built again.
func (s *segment) look() error {
	if s.known() {
		return nil
	}
	s.mending.Lock()
	defer s.mending.Unlock()
	for !s.known() { // otherwise somebody was faster
		s.mu.Lock()
		why, err := s.examine()
		s.ill = err == nil && why.any()
		s.mu.Unlock()
		if err == nil && why.any() {
			err = s.mend(why, s.size.Load())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *segment) known() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.txns.inFile >= 0 && s.offsets.inFile >= 0 && s.times.inFile >= 0 && s.maxTs != unknownTs && !s.ill
}

// faults tells why indexes must be built again.
type faults struct {
	offsets, times error
	whole          bool // nothing in them can be believed
}

func (f faults) any() bool { return f.offsets != nil || f.times != nil }

// examine opens the indexes and takes over what they say if they can be true; mu is held.
func (s *segment) examine() (why faults, err error) {
	for _, ix := range [...]*index{&s.offsets, &s.times} {
		if _, err := ix.open(); err != nil {
			return why, err
		}
	}
	if err := s.lookTxns(); err != nil {
		return why, err
	}
	if why, err = s.faults(); err != nil || why.any() {
		return why, err
	}
	s.offsets.want, s.times.want = 0, 0
	if s.maxTs != unknownTs {
		return why, nil
	}
	ts, rel, ok, err := s.times.last()
	if err != nil {
		return why, err
	}
	s.maxTs, s.maxTsAt = -1, s.base
	if ok {
		s.maxTs, s.maxTsAt = ts, s.base+rel
	}
	return why, nil
}

// faults looks at the numbers of entries and the last ones: those must lie within the
// segment, and a segment of some size must have both indexes. mu is held.
func (s *segment) faults() (why faults, err error) {
	why = s.cutShort()
	_, pos, ok, err := s.offsets.last()
	if err != nil {
		return why, err
	}
	size := s.size.Load()
	switch interval := max(s.l.cfg.Load().IndexIntervalBytes, 4096); {
	case ok && (pos == 0 || pos >= size):
		why.offsets, why.whole = damagedFile("not of this segment"), true
	case !ok && why.offsets == nil && size > syncIndexEntries*interval:
		there, err := s.indexable(interval, size)
		if err != nil {
			return why, err
		}
		if there {
			why.offsets = errMissing // every look-up would read it all
		}
	}
	ts, _, timed, err := s.times.last()
	if err != nil {
		return why, err
	}
	switch {
	case timed && ts <= 0 && s.times.count() > 1:
		why.times, why.whole = damagedFile("not of this segment"), true
	case !timed && size > 0 && s.maxTs == unknownTs:
		why.times = errMissing
	}
	return why, nil
}

// errMissing: an index that its segment must have is not there.
var errMissing = errors.New("it is missing")

// indexable tells whether the offset index of a segment has an entry: a batch has to begin
// behind the first interval of bytes, which is not so in a segment of one large batch.
func (s *segment) indexable(interval, size int64) (there bool, err error) {
	f, err := s.file.acquire()
	if err != nil {
		return false, err
	}
	defer s.file.release()
	err = s.headers(f, 0, size, func(h header) bool {
		there = h.pos > interval
		return !there
	})
	if errors.Is(err, ErrCorrupt) { // an index could not be built beyond it
		err = nil
	}
	return there, err
}

// cutShort tells which indexes lack entries that were recorded; mu is held.
func (s *segment) cutShort() (why faults) {
	if n := s.offsets.count(); n < s.offsets.want {
		why.offsets = missingEntries(n, s.offsets.want)
	}
	if n := s.times.count(); n < s.times.want {
		why.times = missingEntries(n, s.times.want)
	}
	return why
}

// fill builds the entries again that the indexes lack of the batches below limit, up to
// which their numbers were recorded. Nobody else knows the segment yet.
func (s *segment) fill(limit int64) error {
	s.mu.RLock()
	why := s.cutShort()
	s.mu.RUnlock()
	if !why.any() {
		return nil
	}
	s.mending.Lock()
	defer s.mending.Unlock()
	return s.mend(why, limit)
}

// reindex builds both indexes again, whatever is in them.
func (s *segment) reindex(why error) error {
	s.mending.Lock()
	defer s.mending.Unlock()
	return s.mend(faults{offsets: why, times: why, whole: true}, s.size.Load())
}

// mend builds the entries again of the batches below limit that the indexes lack;
// mending is held, mu only for moments: the segment may grow meanwhile. The files are
// written in place and not synced: one that a crash leaves cut is noticed again by its
// recorded number of entries, and an entry is held against its batch before it is believed.
// If the files cannot be written, look-ups read the segment instead.
func (s *segment) mend(why faults, limit int64) error {
	l := s.l
	gen := l.gen.Load()
	f, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	w := rework{s: s, sealed: s.isSealed()}
	s.mu.RLock()
	err = w.begin(f, why)
	s.mu.RUnlock()
	if err != nil {
		return err
	}
	if err := w.build(f, limit); err != nil && !errors.Is(err, ErrCorrupt) { // damage is for those to meet who read there
		return err
	}
	s.mu.Lock()
	if l.gen.Load() != gen { // the log was cut off meanwhile: the caller looks again
		s.mu.Unlock()
		return nil
	}
	err = w.install()
	s.ill = false
	s.mu.Unlock()
	if err != nil {
		return nil
	}
	for _, k := range [...]struct {
		suffix string
		why    error
	}{{indexSuffix, why.offsets}, {timeIndexSuffix, why.times}} {
		if k.why != nil {
			l.d.event(IndexRebuilt{Log: l.ID(), File: segmentName(s.base, k.suffix), Err: k.why})
		}
	}
	l.mu.Lock()
	l.touch() // so that the numbers are recorded as they are now
	l.mu.Unlock()
	return nil
}

// isSealed tells whether another segment follows.
func (s *segment) isSealed() bool {
	p := s.l.segs.Load()
	return p != nil && len(*p) > 0 && (*p)[len(*p)-1] != s
}

// rework is the building of a segment's indexes from some batch on.
type rework struct {
	s              *segment
	sealed         bool
	offsets, times int // entries that are kept
	hadOffsets     int // entries when it began; those behind were added meanwhile
	hadTimes       int
	pos            int64 // of the batch to begin with
	ts, at         int64 // the largest timestamp before it
	newOffsets     index // in their tails: the entries behind those that are kept
	newTimes       index
}

// begin finds what is kept, if its last entries are true: all entries of the time index, and
// those of the offset index up to where both are whole; mu is held.
func (w *rework) begin(f env.File, why faults) error {
	s := w.s
	w.ts, w.at = -1, s.base
	w.hadOffsets, w.hadTimes = s.offsets.count(), s.times.count()
	w.newOffsets.width, w.newTimes.width = offsetEntrySize, timeEntrySize
	ts, rel, timed, err := s.times.last()
	if err != nil || why.whole || !timed && why.times != nil {
		return err
	}
	upTo := int64(math.MaxInt64)
	if why.times != nil {
		upTo = rel
	}
	offsets, err := s.offsets.upTo(upTo, (*index).key)
	if err != nil || offsets == 0 {
		return err
	}
	e, err := s.offsets.entry(offsets - 1)
	if err != nil {
		return err
	}
	last, pos := s.offsets.key(e), s.offsets.value(e)
	if !s.verify(f, pos, last, unknownTs) {
		return nil
	}
	if why.times != nil {
		limit := s.size.Load()
		if at, err := s.locate(f, s.base+rel, pos, limit); err != nil || !s.verify(f, at, rel, ts) {
			return nil // the scan of the whole segment meets what is wrong
		}
	}
	if timed {
		w.ts, w.at = ts, s.base+rel
	}
	w.offsets, w.times, w.pos = offsets, w.hadTimes, pos
	return nil
}

// build walks the batches and makes the entries as appends did.
func (w *rework) build(f env.File, limit int64) error {
	s := w.s
	interval, since, timed := s.l.cfg.Load().IndexIntervalBytes, int64(0), w.ts
	stamp := func() {
		if w.ts > timed {
			w.newTimes.add(w.ts, w.at-s.base)
			timed = w.ts
		}
	}
	err := s.headers(f, w.pos, limit, func(h header) bool {
		if h.maxTs > w.ts {
			w.ts, w.at = h.maxTs, h.last
		}
		if since > interval {
			w.newOffsets.add(h.last-s.base, h.pos)
			stamp()
			since = 0
		}
		since += h.size
		return true
	})
	s.mu.RLock()
	unknown := s.maxTs == unknownTs
	s.mu.RUnlock()
	if w.sealed || unknown {
		stamp()
	}
	return err
}

// install puts the entries in the place of those that are not kept; mu is held.
func (w *rework) install() error {
	s := w.s
	err := s.l.d.Failed()
	if err == nil {
		if err = w.keepLater(); err == nil {
			err = errors.Join(s.offsets.truncate(w.offsets), s.times.truncate(w.times))
		}
	}
	if s.maxTs == unknownTs {
		s.maxTs, s.maxTsAt = w.ts, w.at
	}
	if err != nil {
		return w.giveUp(err)
	}
	s.offsets.tail = append(s.offsets.tail, w.newOffsets.tail...)
	s.times.tail = append(s.times.tail, w.newTimes.tail...)
	if err := errors.Join(s.offsets.flush(), s.times.flush()); err != nil {
		if w.sealed {
			return w.giveUp(err)
		}
		return err // the next checkpoint tries again
	}
	s.offsets.want, s.times.want = 0, 0
	return nil
}

// keepLater takes over the entries that were added while the others were built.
func (w *rework) keepLater() error {
	s := w.s
	for i := w.hadOffsets; i < s.offsets.count(); i++ {
		e, err := s.offsets.entry(i)
		if err != nil {
			return err
		}
		w.newOffsets.add(s.offsets.key(e), s.offsets.value(e))
	}
	for i := w.hadTimes; i < s.times.count(); i++ {
		e, err := s.times.entry(i)
		if err != nil {
			return err
		}
		if ts, _, ok, _ := w.newTimes.last(); !ok || s.times.key(e) > ts {
			w.newTimes.add(s.times.key(e), s.times.value(e))
		}
	}
	return nil
}

// giveUp leaves the indexes with what is kept of them, in memory only.
func (w *rework) giveUp(err error) error {
	for _, k := range []struct {
		ix   *index
		keep int
	}{{&w.s.offsets, w.offsets}, {&w.s.times, w.times}} {
		if k.keep < k.ix.inFile {
			k.ix.inFile, k.ix.tail = k.keep, nil
		} else {
			k.ix.tail = k.ix.tail[:(k.keep-k.ix.inFile)*k.ix.width]
		}
	}
	return err
}

// upTo is the number of entries whose field is at most x.
func (ix *index) upTo(x int64, field func(*index, []byte) int64) (n int, err error) {
	n = sort.Search(ix.count(), func(i int) bool {
		if err != nil {
			return true
		}
		var e []byte
		if e, err = ix.entry(i); err != nil {
			return true
		}
		return field(ix, e) > x
	})
	return n, err
}
