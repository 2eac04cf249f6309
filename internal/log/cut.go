package log

import (
	"slices"

	"github.com/leat-stream/leat/internal/mutant"
)

// Cut is one of many logs that are cut back together.
type Cut struct {
	Log *Log
	To  int64
	Err error // as of Log.TruncateTo
}

// maxCuts is how many logs are cut back between two sync rounds, which wait for them.
const maxCuts = 64

// TruncateLogs is Log.TruncateTo of many logs, each of which is there once. They share what
// can be synced for all, and are cut beside each other.
func (d *Dir) TruncateLogs(cuts []Cut) {
	all := make([]*Cut, len(cuts))
	for i := range cuts {
		all[i] = &cuts[i]
	}
	slices.SortFunc(all, func(a, b *Cut) int { return compareIDs(a.Log.ID(), b.Log.ID()) }) // the order of locking
	for some := range slices.Chunk(all, maxCuts) {
		d.truncateLogs(some)
	}
}

func (d *Dir) truncateLogs(cuts []*Cut) {
	var due []*cutting
	var of []*Cut
	for _, c := range cuts {
		c.Log.w.Lock()
		defer c.Log.w.Unlock()
		is, err := c.Log.cutDue(c.To)
		if c.Err = err; is {
			due, of = append(due, &cutting{l: c.Log, to: c.To}), append(of, c)
		}
	}
	if len(due) == 0 {
		return
	}
	// It may be a segment of each log, and nothing of it changes while w is held: who waits
	// for a round does not wait for that.
	run(len(due), d.opt.SyncParallel, func(i int) { due[i].err = due[i].plan() })
	d.round.Lock()
	defer d.round.Unlock()
	d.cutLogs(due)
	for i, c := range due {
		of[i].Err = c.err
	}
}

// cutting is the truncation of one log.
type cutting struct {
	l   *Log
	to  int64
	err error

	anew bool // nothing stays; to is the new start
	list []*segment
	last int // of list that stays
	end  int64
	p    place // of end
	keep kept
	prod producers
}

// cutLogs cuts logs back as planned; round is held, and w of each.
func (d *Dir) cutLogs(all []*cutting) {
	var logs []*Log
	for _, c := range all {
		if c.err == nil {
			logs = append(logs, c.l)
		}
	}
	if err := d.forgetInJournal(logs...); err != nil {
		for _, c := range all {
			c.err = storageError("truncate", err)
		}
		return
	}
	var cut []*cutting
	var lowered []*Log
	for _, c := range all {
		c.l.cutting = false
		if c.err != nil || c.anew {
			continue
		}
		cut = append(cut, c)
		if c.l.lowerPoint(c.end, c.p) {
			lowered = append(lowered, c.l)
		}
	}
	if len(lowered) > 0 {
		if err := d.saveLogs(lowered...); err != nil {
			for _, c := range cut {
				c.err = err
			}
			cut = nil
		}
	}
	run(len(cut), d.opt.SyncParallel, func(i int) { cut[i].err = cut[i].do() })
	for _, c := range all {
		if c.anew && c.err == nil {
			if c.err = d.Failed(); c.err == nil { // of the others, meanwhile
				c.err = c.l.restart(c.to, producers{})
			}
		}
		c.err = c.l.cutEnded(c.err)
	}
}

// plan finds out what stays. All that has to be read is read before the first cut: what a
// disk does not give for a while must not leave a log half cut.
func (c *cutting) plan() (err error) {
	l := c.l
	c.list, c.to = *l.segs.Load(), l.undamaged(c.to)
	i := find(c.list, c.to)
	if c.anew = i < 0; c.anew { // nothing is there below it
		return nil
	}
	pos, end, err := l.cutPosition(c.list[i], c.to)
	if pos == 0 && i > 0 && err == nil { // nothing of the segment remains: the log ends with the one before
		i--
		pos, end, err = l.cutPosition(c.list[i], c.list[i+1].base)
	}
	if err != nil {
		return err
	}
	s := c.list[i]
	ts, at, err := s.largestBefore(end, pos)
	if err != nil {
		return err
	}
	txns, err := l.readTxns(s)
	if err != nil {
		return err
	}
	if c.keep, err = s.keeps(end, pos, txns); err != nil {
		return err
	}
	c.last, c.end, c.p = i, end, place{seg: s, size: pos, maxTs: ts, maxTsAt: at}
	c.prod, err = rebuildProducers(l, c.list[:i+1], end)
	return err
}

// do drops the log's end and all behind it. The recovery point is lowered before: nothing
// behind it counts as synced any more.
func (c *cutting) do() error {
	l, later := c.l, c.list[c.last+1:]
	l.cutting = true
	l.setSegments(slices.Clone(c.list[:c.last+1])) // first: who sees the new gen sees the new list
	l.forget()
	for _, s := range slices.Backward(later) {
		if err := l.unlink(s, false); err != nil {
			return err
		}
		l.snapshots = slices.DeleteFunc(l.snapshots, func(n int64) bool { return n == s.base })
	}
	if err := c.p.seg.cut(c.end, c.p, c.keep); err != nil {
		return err
	}
	snapshots := len(l.snapshots)
	if err := l.dropSnapshots(c.end); err != nil {
		return err
	}
	absolved, err := l.absolve(c.end)
	if err != nil {
		return err
	}
	// What goes must not come back behind what is written next: a snapshot or a segment
	// between the new end and the old one looks like one of the log's.
	if len(later) > 0 || len(l.snapshots) < snapshots || absolved {
		if err := l.d.fs.SyncDir(*l.path.Load()); err != nil {
			return syncError{err}
		}
	}
	l.gap = false
	l.mu.Lock()
	defer l.mu.Unlock()
	if !mutant.On("log/truncation-keeps-epochs") {
		l.epochs.truncateEnd(c.end)
	}
	if mutant.On("log/truncation-keeps-producers") {
		c.prod = l.producers
		c.prod.end = c.end
	}
	l.settle(c.prod, c.end)
	l.dirty.sealed = without(l.dirty.sealed, c.list[c.last:])
	return nil
}

// cutEnded takes note of how a truncation ended; w is held. One that fails before it has
// begun to cut leaves the log as it was; half-way, the log takes nothing more until the next
// start, which reads it again.
func (l *Log) cutEnded(err error) error {
	if err == nil {
		return nil
	}
	err = storageError("truncate", l.d.fatal(err))
	if l.cutting {
		l.failed = err
	} else {
		l.markDirty()
	}
	return err
}
