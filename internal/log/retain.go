package log

import (
	"errors"
	"io/fs"
	"slices"
	"time"
)

// retain does the work of Retain; w is held.
func (l *Log) retain(now time.Time, hw int64) (res Retained, err error) {
	cfg := l.cfg.Load()
	l.mu.Lock()
	res.Expired = l.producers.expire(now.UnixMilli(), cfg.ProducerExpireMs)
	l.mu.Unlock()
	list := *l.segs.Load()
	l.mu.Lock()
	hw = min(hw, l.dirty.point) // recovery does not look for what is missing below its point
	l.mu.Unlock()
	size := l.Size()
	n := 0
	var reasons []string
	for n < len(list) {
		reason, err := l.deletable(list, n, size, now, min(hw, l.end.Load()), cfg)
		if err != nil {
			return res, storageError("retention", err)
		}
		if reason == "" {
			break
		}
		size -= list[n].size.Load()
		reasons = append(reasons, reason)
		n++
	}
	if l.failed != nil {
		n = min(n, len(list)-1)
	}
	if n <= 0 {
		return res, nil
	}
	if n == len(list) { // the active one too: a new one takes its place
		if _, err := l.roll(l.end.Load(), now); err != nil {
			return res, err
		}
		list = *l.segs.Load()
	}
	for i, s := range list[:n] {
		res.Segments++
		res.Bytes += s.size.Load()
		l.d.event(SegmentDeleted{Log: l.ID(), Base: s.base, Bytes: s.size.Load(), Reason: reasons[i]})
	}
	l.dropFront(list, n, now, cfg)
	l.d.opt.Metrics.DeletedSegments.Add(int64(res.Segments))
	l.d.opt.Metrics.DeletedBytes.Add(res.Bytes)
	return res, nil
}

// deletable says why the n-th segment, all before which are deletable, may go; "" if
// it must stay. size is that of the log from it on.
func (l *Log) deletable(list []*segment, n int, size int64, now time.Time, hw int64, cfg *Config) (string, error) {
	s, end := list[n], l.segmentEnd(list, n)
	if end > hw || s.size.Load() == 0 && n == len(list)-1 {
		return "", nil
	}
	if end <= l.start.Load() {
		return "below the log start offset", nil
	}
	if !cfg.Delete {
		return "", nil
	}
	if cfg.RetentionBytes >= 0 && size-s.size.Load() >= cfg.RetentionBytes {
		return "retention.bytes", nil
	}
	if cfg.RetentionMs < 0 {
		return "", nil
	}
	ts, _, err := s.largest()
	if err != nil {
		return "", err
	}
	if ts < 0 {
		info, err := l.d.fs.Stat(s.path(logSuffix))
		if err != nil {
			return "", err
		}
		ts = info.ModTime().UnixMilli()
	}
	if now.UnixMilli()-ts > cfg.RetentionMs {
		return "retention.ms", nil
	}
	return "", nil
}

// dropFront takes the first n segments out of the log; their files are removed after
// file.delete.delay.ms, so that who reads them by name can finish.
func (l *Log) dropFront(list []*segment, n int, now time.Time, cfg *Config) {
	gone := list[:n]
	start := list[n].base
	l.advanceStart(start) // first: who finds the segments gone also finds the start beyond them
	l.setSegments(append([]*segment(nil), list[n:]...))
	l.mu.Lock()
	l.dirty.sealed = without(l.dirty.sealed, gone)
	l.mu.Unlock()
	for _, s := range gone {
		s.retire()
	}
	l.d.throwAway(&trash{log: l, segs: gone, due: now.Add(msDuration(cfg.FileDeleteDelayMs))})
}

func without(list, gone []*segment) []*segment {
	var kept []*segment
	for _, s := range list {
		isGone := false
		for _, g := range gone {
			isGone = isGone || s == g
		}
		if !isGone {
			kept = append(kept, s)
		}
	}
	return kept
}

// advanceStart moves the start offset up in memory; the next checkpoint keeps it.
func (l *Log) advanceStart(start int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if start <= l.start.Load() {
		return
	}
	l.start.Store(start)
	l.setDamage(slices.DeleteFunc(slices.Clone(l.damage), func(d damagedRange) bool { return d.to <= start }))
	l.touch()
}

// trash is what waits for its removal: segments that left their log, or the directory
// of a deleted partition.
type trash struct {
	log   *Log
	segs  []*segment
	given bool     // giveUp was there
	files []string // of segments that an earlier process gave up
	dir   string   // of a deleted partition
	due   time.Time
	done  bool // its files are removed; Log.sweep guards it
}

func (d *Dir) throwAway(t *trash) {
	t.log.sweep.Lock()
	t.log.thrown = append(t.log.thrown, t)
	t.log.sweep.Unlock()
	d.mu.Lock()
	d.trash = append(d.trash, t)
	d.mu.Unlock()
}

// emptyTrash removes what is due. What could not be removed is tried again.
func (d *Dir) emptyTrash(now time.Time) error {
	d.mu.Lock()
	var due, later []*trash
	for _, t := range d.trash {
		if t.due.After(now) {
			later = append(later, t)
		} else {
			due = append(due, t)
		}
	}
	d.trash = later
	d.mu.Unlock()
	var errs []error
	for _, t := range due {
		if err := d.fatal(d.dispose(t)); err != nil {
			errs = append(errs, err)
			t.due = now.Add(time.Second)
			d.mu.Lock()
			d.trash = append(d.trash, t)
			d.mu.Unlock()
		}
	}
	return errors.Join(errs...)
}

// dispose removes what was thrown away, unless that was done since.
func (d *Dir) dispose(t *trash) error {
	if t.log == nil {
		return d.fs.RemoveAll(t.dir)
	}
	t.log.sweep.Lock()
	defer t.log.sweep.Unlock()
	if t.done {
		return nil
	}
	if err := d.remove(t); err != nil {
		return err
	}
	t.done = true
	t.log.thrown = slices.DeleteFunc(t.log.thrown, func(o *trash) bool { return o == t })
	return nil
}

// sweepOut removes what the log has thrown away at once: its names are about to be used
// again. The caller syncs the directory.
func (l *Log) sweepOut() error {
	l.sweep.Lock()
	defer l.sweep.Unlock()
	for _, t := range l.thrown {
		if err := l.d.remove(t); err != nil {
			return err
		}
		t.done = true
	}
	l.thrown = nil
	return nil
}

// recordStart makes it durable that the log starts at offset or later.
func (l *Log) recordStart(offset int64) error {
	l.mu.Lock()
	recorded := l.dirty.savedStart >= offset
	l.mu.Unlock()
	if recorded {
		return nil
	}
	return l.d.saveLogs(l)
}

// giveUp makes room on a disk that is too full to record the start offset: the segments
// get a name that tells recovery not to miss them, and are emptied.
func (t *trash) giveUp() error {
	fsys := t.log.d.fs
	for _, s := range t.segs {
		err := fsys.Rename(s.path(logSuffix), s.path(logSuffix+deletedSuffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := fsys.SyncDir(*t.log.path.Load()); err != nil {
		return syncError{err}
	}
	t.given = true
	for _, s := range t.segs {
		if err := createSmall(fsys, s.path(logSuffix+deletedSuffix), nil); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the files of segments for good; Log.sweep is held. No sync is needed: recovery removes again what comes
// back of a deleted partition, and what comes back below the recorded start.
func (d *Dir) remove(t *trash) error {
	if t.log.deleted() {
		return nil // the whole partition goes
	}
	// The start is recorded before the files below it go: recovery would miss them.
	start := t.log.start.Load()
	if err := t.log.recordStart(start); err != nil {
		d.event(CheckpointFailed{Path: d.path, Err: err})
		if IsFull(err) {
			if err := t.giveUp(); err != nil {
				return err
			}
			if err := t.log.recordStart(start); err != nil {
				return err
			}
		}
	}
	for _, name := range t.files {
		if err := removeIfThere(d.fs, *t.log.path.Load()+"/"+name); err != nil {
			return err
		}
	}
	for _, s := range t.segs {
		if t.log.deleted() {
			return nil // the whole partition goes
		}
		for _, suffix := range [...]string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix, snapshotSuffix} {
			if err := removeIfThere(d.fs, s.path(suffix)); err != nil {
				return err
			}
		}
		if t.given {
			if err := removeIfThere(d.fs, s.path(logSuffix+deletedSuffix)); err != nil {
				return err
			}
		}
	}
	return nil
}
