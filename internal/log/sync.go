package log

import (
	"errors"
	"fmt"
)

// queue puts the log into the next sync round; l.mu is held.
func (l *Log) queue() {
	if l.dirty.queued {
		return
	}
	l.dirty.queued = true
	l.d.enqueue(l)
}

// touch notes that the next checkpoint has something to write; l.mu is held.
func (l *Log) touch() {
	l.dirty.changed = true
	if l.dirty.checkpoint {
		return
	}
	l.dirty.checkpoint = true
	l.d.addUnsaved(l)
}

func (l *Log) markDirty() {
	l.mu.Lock()
	l.queue()
	l.mu.Unlock()
}

// Flush puts the log into the next sync round, whatever its configuration.
func (l *Log) Flush() { l.markDirty() }

func (d *Dir) enqueue(l *Log) {
	d.mu.Lock()
	d.dirty = append(d.dirty, l)
	d.mu.Unlock()
	d.wake()
}

// Dirty tells whether a sync round has something to do.
func (d *Dir) Dirty() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.dirty) > 0
}

// SyncRound is one round of group commit: every log that was queued before it is made
// durable up to its end of then, SyncedOffset advances and Hooks.Synced is called.
// It returns how many logs it synced. After a failed sync the directory is offline
// and every further call returns the error.
//
// Small rounds go through the journal with one sync, others sync their files in place,
// up to DirOptions.SyncParallel at a time (docs/decisions/0002).
func (d *Dir) SyncRound() (logs int, err error) {
	defer d.tell() // after the round is over
	return d.syncRound()
}

// syncRound is a round whose hooks the caller calls (tell), once it holds no lock.
func (d *Dir) syncRound() (logs int, err error) {
	d.round.Lock()
	defer d.round.Unlock()
	if err := d.Failed(); err != nil {
		return 0, err
	}
	d.mu.Lock()
	list := d.dirty
	d.dirty = d.spare[:0]
	d.mu.Unlock()
	if len(list) > 0 {
		err = d.syncLogs(list)
	}
	logs = len(list)
	clear(list)
	d.spare = list
	return logs, err
}

// job is one log in a round.
type job struct {
	l   *Log
	g   goal
	err error
}

// syncLogs makes the logs durable; round is held.
func (d *Dir) syncLogs(list []*Log) error {
	began := d.opt.Clock.Now()
	if err := d.syncNewDirs(list); err != nil {
		return err
	}
	jobs := d.jobs[:0]
	for _, l := range list {
		if l.takeQueued() {
			jobs = append(jobs, job{l: l, g: l.goal()})
		}
	}
	small := d.bySize(jobs)
	if !d.journalJobs(jobs[:small]) {
		small = 0
	}
	large := jobs[small:]
	run(len(large), d.opt.SyncParallel, func(i int) {
		j := &large[i]
		j.err = j.l.reach(&j.g)
		j.l.finish(&j.g, j.err)
	})
	d.settleJobs(large)
	d.opt.Metrics.synced(len(list), d.opt.Clock.Now().Sub(began))
	err := d.jobErrors(jobs)
	clear(jobs)
	d.jobs = jobs
	return err
}

// jobErrors gathers what went wrong in a round: a failed sync takes the directory
// offline, what else failed (a full disk under the epoch file) is queued again.
func (d *Dir) jobErrors(jobs []job) error {
	var errs []error
	for i := range jobs {
		if j := &jobs[i]; j.err != nil {
			errs = append(errs, fmt.Errorf("log %v: %w", j.l.ID(), j.err))
			if d.fatal(j.err); d.Failed() == nil {
				j.l.markDirty()
			}
		}
	}
	return errors.Join(errs...)
}

// syncNewDirs makes the names of new partition directories durable.
func (d *Dir) syncNewDirs(list []*Log) error {
	isNew := false
	for _, l := range list {
		l.mu.Lock()
		isNew = isNew || l.dirty.newDir
		l.mu.Unlock()
	}
	if !isNew {
		return nil
	}
	if err := d.fs.SyncDir(d.path); err != nil {
		err = syncError{err}
		d.fail(err)
		return err
	}
	return nil
}

// goal is what one sync of a log makes durable.
type goal struct {
	end      int64
	active   place // end of the active segment; its seg is nil when there is none
	grown    bool  // the active segment has unsynced bytes,
	from     int64 // from this position on
	sealed   []*segment
	newFiles bool
	newDir   bool
	epochs   []epochEntry
	hooks    Hooks
}

// takeQueued takes the log out of the round's queue. It is false when the log is not in
// it any more: it may stand there twice when something else synced it meanwhile.
func (l *Log) takeQueued() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.dirty.queued
	l.dirty.queued = false
	return was && !l.deleted()
}

// goal takes what is dirty now; Dir.round is held.
func (l *Log) goal() goal {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := goal{sealed: l.dirty.sealed, newFiles: l.dirty.newFiles, newDir: l.dirty.newDir, hooks: l.hooks}
	l.dirty.sealed, l.dirty.newFiles, l.dirty.newDir = nil, false, false
	l.dirty.messages, l.dirty.since = 0, 0
	if l.epochs.dirty {
		g.epochs = append([]epochEntry{}, l.epochs.list...)
		l.epochs.dirty = false
	}
	g.end = l.end.Load()
	if p := l.segs.Load(); p != nil && len(*p) > 0 {
		g.active = (*p)[len(*p)-1].place()
		if g.active.seg == l.dirty.synced.seg {
			g.from = l.dirty.synced.size
		}
		g.grown = g.active.size > g.from
	}
	return g
}

// place is the segment's end; Log.mu is held, so that nothing is appended meanwhile.
func (s *segment) place() place {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return place{s, s.size.Load(), s.maxTs, s.maxTsAt, s.counts()}
}

// finish publishes what a sync of the log reached; its hooks are due after the round.
func (l *Log) finish(g *goal, err error) {
	moved := false
	l.mu.Lock()
	if err == nil {
		l.dirty.synced = g.active
		if moved = g.end > l.synced.Load(); moved {
			l.synced.Store(g.end)
		}
		if g.hooks.Synced != nil {
			moved, l.dirty.noRoom = moved || l.dirty.noRoom, false
		}
		l.touch()
	} else { // keep what is not done; only a failed sync is not tried again
		l.dirty.sealed = append(g.sealed, l.dirty.sealed...)
		l.dirty.newFiles = l.dirty.newFiles || g.newFiles
		l.dirty.newDir = l.dirty.newDir || g.newDir
		l.epochs.dirty = l.epochs.dirty || g.epochs != nil
	}
	var s syncError
	full := g.hooks.NoRoom != nil && IsFull(err) && !errors.As(err, &s)
	l.dirty.noRoom = l.dirty.noRoom || full
	l.mu.Unlock()
	if moved && g.hooks.Synced != nil || full {
		l.d.noticeMu.Lock()
		l.d.notices = append(l.d.notices, notice{g.hooks, g.end, err})
		l.d.noticeMu.Unlock()
	}
}

// notice is a hook that is due: how far a log is synced, or why it is not.
type notice struct {
	hooks Hooks
	end   int64
	err   error
}

// tell calls the hooks that are due, without any lock: a hook may wait for whoever
// appends, who may wait for a round to end (a truncation, the swap of a compaction).
// Two rounds may tell at once; ends that fall say nothing new.
func (d *Dir) tell() {
	d.noticeMu.Lock()
	due := d.notices
	d.notices = nil
	d.noticeMu.Unlock()
	for _, n := range due {
		if n.err != nil {
			n.hooks.NoRoom(n.err)
		} else {
			n.hooks.Synced(n.end)
		}
	}
}

// reach syncs what the goal names: sealed segments with their indexes, the active
// segment's bytes, the epoch file, new names.
func (l *Log) reach(g *goal) error {
	for _, s := range g.sealed {
		if err := s.syncSealed(); err != nil {
			return err
		}
	}
	if len(g.sealed) > 0 && g.active.seg != nil { // the roll wrote the snapshot under the new base
		if err := syncFile(l.d.fs, g.active.seg.path(snapshotSuffix)); err != nil {
			return err
		}
	}
	if g.grown {
		if err := g.active.seg.syncData(); err != nil {
			return err
		}
	}
	dir := *l.path.Load()
	if g.newDir {
		if err := l.syncMetadata(dir); err != nil {
			return err
		}
	}
	if g.epochs != nil {
		if err := writeSmall(l.d.fs, dir, epochFile, encodeEpochs(g.epochs)); err != nil {
			return err
		}
	} else if g.newFiles || g.newDir {
		if err := l.d.fs.SyncDir(dir); err != nil {
			return syncError{err}
		}
	}
	return nil
}

// syncMetadata makes partition.metadata durable; a power cut may have taken it from a
// log that had nothing else. One that cannot be read is written anew.
func (l *Log) syncMetadata(dir string) error {
	id := l.ID().TopicID
	if id == [16]byte{} {
		return nil
	}
	name := dir + "/" + metadataFile
	there, _, err := l.d.readTopicID(l.ID().String(), nil)
	if err != nil || there != id {
		if err := createSmall(l.d.fs, name, encodePartition(id)); err != nil {
			return err
		}
	}
	return syncFile(l.d.fs, name)
}

// syncData makes the segment's batches durable.
func (s *segment) syncData() error {
	f, err := s.file.acquire()
	if errors.Is(err, errGone) {
		return nil // removed by retention meanwhile
	}
	if err != nil {
		return err
	}
	defer s.file.release()
	if err := f.Sync(); err != nil {
		return syncError{err}
	}
	return nil
}

// syncSealed makes a sealed segment durable with all that belongs to it.
func (s *segment) syncSealed() error {
	if err := s.syncData(); err != nil {
		return err
	}
	if err := s.syncIndexes(); err != nil {
		return err
	}
	return syncFile(s.l.d.fs, s.path(snapshotSuffix)) // the transaction index is synced whenever it is written
}

// syncIndexes makes the offset and time index durable.
func (s *segment) syncIndexes() error {
	for _, h := range [...]*handle{&s.offsets.file, &s.times.file} {
		f, err := h.acquire()
		if errors.Is(err, errGone) {
			return nil
		}
		if err != nil {
			return err
		}
		err = f.Sync()
		h.release()
		if err != nil {
			return syncError{err}
		}
	}
	return nil
}

// fail puts the directory offline for writing.
func (d *Dir) fail(err error) {
	err = storageError("sync", err)
	if d.failed.CompareAndSwap(nil, &err) {
		d.event(DirFailed{Path: d.path, Err: err})
		if d.opt.Failed != nil {
			d.opt.Failed(err)
		}
	}
}

// Failed is the error that put the directory offline, nil while it works. Nothing is
// written any more; what is there can be read.
func (d *Dir) Failed() error {
	if p := d.failed.Load(); p != nil {
		return *p
	}
	return nil
}
