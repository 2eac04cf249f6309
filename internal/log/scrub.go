package log

import (
	"errors"
	"slices"
	"time"

	"github.com/leat-stream/leat/internal/mutant"
)

// ScrubOptions say how fast a scrub goes.
type ScrubOptions struct {
	BytesPerSecond int64         // leat.scrub.bytes.per.second; 0: only what a reader has met is looked at
	Interval       time.Duration // leat.scrub.interval.ms: from the begin of a pass to that of the next
}

// Scrubber reads all that is synced in a directory, again and again and slowly, and checks
// it: the checksum and the offsets of every batch, the sizes of the files, and that each
// entry of an offset index names a batch. What the disk does not give, asked twice, counts
// as damage. Damage is set aside at once (Quarantined): its
// offsets are refused, now and after each start, until they are cut off or repaired. It has
// no goroutine: whoever owns it calls Step.
//
// It reads through the page cache, and so finds damage of the disk where that has dropped
// the pages; that is what it would cost to read around it.
type Scrubber struct {
	d      *Dir
	first  bool // the first pass begins anywhere, so that frequent restarts leave nothing out
	began  time.Time
	list   []key // still to be checked in this pass
	at     *scrubbed
	urgent *scrubbed // what a reader has met
}

// NewScrubber makes the directory's scrubber.
func (d *Dir) NewScrubber() *Scrubber { return &Scrubber{d: d, first: true} }

// scrubbed is a log that is being checked.
type scrubbed struct {
	l       *Log
	next    int64 // offsets below are checked
	seg     *segment
	pos     int64  // in seg
	gen     uint32 // of the log: positions hold while it is the same
	before  header // the last batch
	least   int64  // the least offset that it could have
	entry   int    // of its offset index, the next to be met
	badIx   bool
	only    bool // this segment alone
	started bool
}

const (
	minScrub      = 64 << 10 // bytes in a step
	maxScrub      = 4 << 20
	urgentScrub   = 16 << 20 // bytes per second at least for what a reader has met
	maxScrubTurns = 32       // logs or segments in a step: opening a log costs, too
	leastRest     = 100 * time.Millisecond
	maxSuspects   = 64
)

// Step checks a little and says when it wants to be called next; earlier, too, when
// DamageMet was told: what a reader has met is checked first.
func (s *Scrubber) Step(now time.Time, o ScrubOptions) (next time.Time) {
	rate, read := o.BytesPerSecond, int64(0)
	defer func() { s.d.opt.Metrics.ScrubbedBytes.Add(read) }()
	for range maxScrubTurns {
		c := s.suspected()
		if c != nil {
			rate = max(rate, urgentScrub)
		} else if o.BytesPerSecond <= 0 {
			return now.Add(max(o.Interval, time.Minute))
		} else if c = s.current(now, o.Interval); c == nil {
			return s.began.Add(max(o.Interval, time.Second))
		}
		budget := min(max(rate/2, minScrub), maxScrub)
		n, done := c.step(budget - read)
		if read += n; done && c == s.urgent {
			s.urgent = nil
		} else if done {
			s.at = nil
		}
		if read >= budget {
			break
		}
	}
	return now.Add(max(time.Duration(float64(read)/float64(rate)*float64(time.Second)), leastRest))
}

// suspected is what a reader has met.
func (s *Scrubber) suspected() *scrubbed {
	if s.urgent == nil {
		s.d.mu.Lock()
		defer s.d.mu.Unlock()
		if len(s.d.suspects) == 0 {
			return nil
		}
		g := s.d.suspects[0]
		s.d.suspects = s.d.suspects[1:]
		s.urgent = &scrubbed{l: g.l, seg: g, next: g.base, only: true}
	}
	return s.urgent
}

// current is the log to go on with; nil when the pass is over and the next not due.
func (s *Scrubber) current(now time.Time, interval time.Duration) *scrubbed {
	for s.at == nil {
		if len(s.list) == 0 {
			if !s.began.IsZero() && now.Before(s.began.Add(max(interval, time.Second))) {
				return nil
			}
			s.begin(now)
			if len(s.list) == 0 {
				return nil
			}
		}
		s.d.mu.Lock()
		l := s.d.logs[s.list[0]]
		s.d.mu.Unlock()
		s.list = s.list[1:]
		if l != nil {
			s.at = &scrubbed{l: l}
		}
	}
	return s.at
}

func (s *Scrubber) begin(now time.Time) {
	s.began = now
	for _, l := range s.d.all() {
		s.list = append(s.list, l.ID().key())
	}
	if n := len(s.list); s.first && n > 0 {
		s.d.mu.Lock()
		s.list = s.list[s.d.opt.Rand.IntN(n):]
		s.d.mu.Unlock()
	}
	s.first = false
}

// suspect makes the scrubber look at a segment in which a reader met damage.
func (d *Dir) suspect(s *segment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.suspects) < maxSuspects && !slices.Contains(d.suspects, s) {
		d.suspects = append(d.suspects, s)
	}
}

// Suspect has the scrubber look at the segment that holds an offset: somebody who was sent
// records from there could not use them.
func (l *Log) Suspect(offset int64) {
	list, err := l.segments()
	if err != nil {
		return
	}
	if i := find(list, offset); i >= 0 {
		l.suspect(list[i], offset)
	}
}

func (l *Log) suspect(s *segment, offset int64) {
	l.d.suspect(s)
	l.d.event(Suspected{Log: l.ID(), Segment: s.base, Offset: offset})
}

// step checks up to budget bytes, a batch more if need be, of one segment.
func (c *scrubbed) step(budget int64) (read int64, done bool) {
	gen := c.l.gen.Load() // before the list, which is thus not older
	list, err := c.l.segments()
	if err != nil || c.l.usable() != nil {
		return 0, true
	}
	i := slices.Index(list, c.seg)
	if i < 0 {
		if c.only {
			return 0, true
		}
		i = max(find(list, c.next), 0)
		for i < len(list) && c.started && c.l.segmentEnd(list, i) <= c.next {
			i++
		}
		if i == len(list) {
			return 0, true
		}
		c.enter(list[i], gen)
	}
	c.started = true
	if c.gen != gen { // cut off, or replaced, meanwhile
		c.enter(list[i], gen)
	}
	limit, end := c.l.syncedIn(list, i)
	if c.pos >= limit {
		c.leave(c.l.segmentEnd(list, i))
		return 0, c.only || i == len(list)-1
	}
	read, err = c.check(limit, budget, end)
	if err != nil && c.gen != c.l.gen.Load() {
		return read, false
	}
	if err != nil { // the segment is gone, or good now, or its file was not opened: the next pass tries again
		if !errors.Is(err, errGone) {
			c.l.d.event(DamageMet{Log: c.l.ID(), Segment: c.seg.base, Offset: c.next, Err: err})
		}
		c.leave(c.l.segmentEnd(list, i))
		return read, c.only || i == len(list)-1
	}
	return read, false
}

// enter begins a segment of a list that is not older than gen.
func (c *scrubbed) enter(s *segment, gen uint32) {
	c.gen = gen
	c.badIx = c.badIx && c.seg == s // its index is what it was
	c.seg, c.pos, c.next, c.entry = s, 0, s.base, 0
	c.before, c.least = header{}, s.base
}

// leave ends with a segment; its index is built again if an entry named no batch, or if
// batches were found behind damage that ended it.
func (c *scrubbed) leave(end int64) {
	if c.badIx {
		_ = c.seg.reindex(damagedFile("an entry names no batch")) // look-ups hold it against the log
	}
	c.seg, c.next = nil, max(c.next, end)
}

// syncedIn is how much of the i-th segment is synced, and the offset behind that.
func (l *Log) syncedIn(list []*segment, i int) (limit, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size, end := list[i].size.Load(), l.segmentEnd(list, i)
	switch {
	case i+1 < len(list) && list[i+1].base <= l.synced.Load() && !slices.Contains(l.dirty.sealed, list[i]):
		return size, end
	case l.dirty.synced.seg == list[i] && l.dirty.synced.size < size:
		return l.dirty.synced.size, min(l.synced.Load(), end)
	case l.dirty.synced.seg == list[i]:
		return size, end
	}
	return 0, end
}

// check reads batches from where the last step ended.
func (c *scrubbed) check(limit, budget, end int64) (read int64, err error) {
	s := c.seg
	if c.pos == 0 {
		if err := s.look(); err != nil && !errors.Is(err, ErrCorrupt) {
			return 0, err
		}
	}
	f, err := s.file.acquire()
	if err != nil {
		return 0, err
	}
	defer s.file.release()
	there, err := f.Size()
	if err != nil {
		return 0, storageError("scrub", err)
	}
	sc := newScanner(f, min(limit, there))
	for c.pos < limit && read < budget {
		if o, ok := s.passed().over(c.pos, limit); ok {
			c.goOn(o.to, o.next)
			continue
		}
		h, b, err := sc.batch(c.pos, c.next)
		if b != nil && mutant.On("log/scrub-takes-damage") {
			err = nil
		}
		if err == nil && h.last >= end {
			err = damaged("offset %d at position %d, the segment ends before %d", h.last, c.pos, end)
		}
		if err == nil {
			err = c.l.wrongEpoch(h)
		}
		if errors.Is(err, ErrCorrupt) || unreadable(err) {
			from := c.pos
			if n, herr := sc.header(c.pos); herr == nil && n.base < c.next && c.before.base > c.least {
				c.pos, c.next = c.before.pos, c.least // offsets are under no checksum: the one behind a gap is wrong
			}
			if err := c.setAside(); err != nil {
				return read, err
			}
			read += min(c.pos-from, budget)
			continue
		}
		if err != nil {
			return read, err
		}
		c.compare(h)
		read += h.size
		c.before, c.least = h, c.next
		c.pos, c.next = h.pos+h.size, h.last+1
	}
	return read, nil
}

// compare holds the index entries up to a batch against it.
func (c *scrubbed) compare(h header) {
	s := c.seg
	s.mu.RLock()
	defer s.mu.RUnlock()
	for ; c.entry < s.offsets.count(); c.entry++ {
		e, err := s.offsets.entry(c.entry)
		if err != nil {
			return
		}
		pos := s.offsets.value(e)
		if pos > h.pos {
			return
		}
		c.badIx = c.badIx || pos < h.pos || s.offsets.key(e) != h.last-s.base
	}
}

// setAside refuses the offsets of the damage at the cursor, durably, and moves the cursor
// behind it.
func (c *scrubbed) setAside() error {
	l, s := c.l, c.seg
	l.w.Lock() // nothing is appended, cut off or replaced meanwhile
	defer l.w.Unlock()
	list := *l.segs.Load()
	i := slices.Index(list, s)
	if i < 0 || c.gen != l.gen.Load() || l.usable() != nil {
		return errGone
	}
	a := assessment{s: s, pos: c.pos, next: c.next}
	a.limit, a.end = l.syncedIn(list, i)
	if err := a.run(); err != nil {
		return err
	}
	if a.why == nil {
		return damaged("a batch that is good now at position %d", c.pos) // the page cache gave something else before
	}
	var h *hole
	if a.broken {
		h = &hole{at: a.pos, to: a.behind, next: a.damage.to}
		c.badIx = true // it may lead into it, or have been built again only up to it
	}
	if err := l.quarantine(a.damage, a.why, s, h); err != nil {
		return err
	}
	if a.short {
		if err := l.cutBack(func() error { return s.giveUpTail(c.pos, c.next) }); err != nil {
			return err
		}
	}
	c.gen = l.gen.Load()
	c.goOn(a.behind, a.damage.to)
	return nil
}

// goOn moves the cursor behind damage, and past the index entries before.
func (c *scrubbed) goOn(pos, next int64) {
	c.pos, c.next = pos, next
	c.before, c.least = header{}, next
	s := c.seg
	s.mu.RLock()
	defer s.mu.RUnlock()
	for c.entry < s.offsets.count() {
		e, err := s.offsets.entry(c.entry)
		if err != nil || s.offsets.value(e) >= c.pos {
			break
		}
		c.entry++
	}
}
