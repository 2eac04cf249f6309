package log

import (
	"errors"
	"time"
)

// Close ends the use of the directory. A clean one syncs everything, writes what the
// next start needs, and leaves Kafka's marker of a clean shutdown. Appends that come
// meanwhile fail with ErrClosed or are in.
func (d *Dir) Close(clean bool) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	d.mu.Unlock()
	list := d.all()
	closed := error(ErrClosed)
	for _, l := range list {
		l.w.Lock() // lets an append end
		l.closed.CompareAndSwap(nil, &closed)
		l.w.Unlock()
	}
	var err error
	if clean && d.Failed() == nil {
		err = d.closeClean(list)
	}
	for _, l := range list {
		if p := l.segs.Load(); p != nil {
			for _, s := range *p {
				s.retire()
			}
		}
	}
	d.ckptMu.Lock()
	d.dropState()
	d.ckptMu.Unlock()
	if err != nil || !clean {
		_ = d.journal.Close() // nothing is lost by it: what the journal holds is synced
	}
	return errors.Join(err, d.lock.Close())
}

// closeClean makes everything durable and leaves the marker.
func (d *Dir) closeClean(list []*Log) error {
	var changed []*Log
	for _, l := range list {
		l.mu.Lock()
		// One without records as well: if it has a directory, it is missed without (noteMade).
		if l.dirty.changed || l.dirty.newDir || l.dirty.newFiles {
			changed = append(changed, l)
			l.queue()
		}
		l.mu.Unlock()
	}
	if _, err := d.SyncRound(); err != nil {
		return err
	}
	errs := make([]error, len(changed))
	run(len(changed), d.opt.SyncParallel, func(i int) { errs[i] = changed[i].finishFiles() })
	if err := errors.Join(errs...); err != nil {
		return d.fatal(err)
	}
	d.round.Lock()
	err := d.emptyJournal()
	if err == nil {
		err = d.journal.Close()
	}
	d.round.Unlock()
	if err != nil {
		return err
	}
	d.mu.Lock()
	for i := range d.trash {
		d.trash[i].due = time.Time{}
	}
	d.mu.Unlock()
	if err := d.emptyTrash(d.opt.Clock.Now()); err != nil {
		return err
	}
	d.ckptMu.Lock()
	defer d.ckptMu.Unlock()
	if err := d.writeState(changed); err != nil {
		return err
	}
	for _, l := range changed {
		l.markSaved()
	}
	if err := d.writeTexts(); err != nil {
		return err
	}
	// Its name alone says it; this sync covers the names of the text files too.
	if err := createSmall(d.fs, d.path+"/"+cleanFile, []byte(`{"version":0,"brokerEpoch":-1}`)); err != nil {
		return err
	}
	if err := d.fs.SyncDir(d.path); err != nil {
		return d.fatal(syncError{err})
	}
	return nil
}

// syncIndexEntries is how many entries an index must have to be synced at a clean stop.
// Without them a look-up after a power cut reads some more of the log.
const syncIndexEntries = 64

// finishFiles writes what is derived from the log. A clean stop needs none of it to be
// durable but the transaction indexes: index entries are held against the log when
// they are used, and snapshots have checksums. Large indexes are synced, since it
// would take long to do without them.
func (l *Log) finishFiles() error {
	if err := l.flushFiles(true); err != nil {
		return err
	}
	p := l.segs.Load()
	if p == nil || len(*p) == 0 {
		return nil
	}
	s := (*p)[len(*p)-1]
	if err := s.giveBack(); err != nil { // zeros that come back are cut off by the next start
		return err
	}
	if s.entries() < syncIndexEntries {
		return nil
	}
	if err := s.syncIndexes(); err != nil {
		return err
	}
	if err := l.d.fs.SyncDir(*l.path.Load()); err != nil {
		return syncError{err}
	}
	return nil
}
