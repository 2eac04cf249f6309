package log

import (
	"errors"
	"io/fs"
	"slices"
)

// A log that nobody has written to has no directory: a topic of thousands of partitions
// would make as many within the loop that follows the metadata, two names each in the file
// system, one after the other. Nothing durable speaks of such a log either; after a crash,
// as after a clean stop, whoever opens it makes it again.

// make makes the partition's directory, unless it is there; w is held. Its segment is made
// by whoever calls. One that fails can be tried again.
func (l *Log) make() error {
	if !l.unmade.Load() {
		return nil
	}
	if err := l.forgetEarlier(); err != nil {
		return storageError("create log", err)
	}
	dir := *l.path.Load()
	err := l.d.fs.MkdirAll(dir, 0o755)
	if id := l.ID().TopicID; err == nil && id != [16]byte{} {
		err = createSmall(l.d.fs, dir+"/"+metadataFile, encodePartition(id))
	}
	if err == nil {
		err = l.d.noteMade(l)
	}
	if err != nil {
		return storageError("create log", err)
	}
	l.unmade.Store(false)
	l.mu.Lock()
	l.dirty.newDir = true
	l.touch()
	l.mu.Unlock()
	return nil
}

// forgetEarlier makes sure that nothing durable speaks of an earlier log of the same name,
// which would be taken for this one's after a crash; w is held. Soon after the deletion
// forgetGone has done most of it.
func (l *Log) forgetEarlier() error {
	d, k, name := l.d, l.ID().key(), l.journalName()
	d.mu.Lock()
	gone := slices.ContainsFunc(d.gone, func(g LogID) bool { return g.key() == k })
	_, left := d.left[k]
	_, replayed := d.replayed[name]
	d.mu.Unlock()
	if gone {
		if err := d.forgetStates(); err != nil {
			return err
		}
	}
	if left {
		if err := d.forgetLeft(); err != nil {
			return err
		}
	}
	if !replayed {
		return nil // without a wait for the round that is under way
	}
	d.round.Lock()
	defer d.round.Unlock()
	if err := d.forgetInJournal(l); err != nil {
		return err
	}
	d.mu.Lock()
	delete(d.replayed, name)
	d.mu.Unlock()
	return nil
}

// noteMade makes the state file speak of a log from its first record on: a directory that
// vanishes then is missed at the next start (findMissing). It need not be synced: it tells
// of a directory that is not either, and neither is missed once the page cache was lost.
func (d *Dir) noteMade(l *Log) error {
	d.ckptMu.Lock()
	defer d.ckptMu.Unlock()
	if d.state.file == nil { // a write of it failed
		if err := d.rewriteState(); err != nil {
			return d.fatal(err)
		}
	}
	b := appendLogFrame(d.stateBuf[:0], l.snapshotState())
	d.stateBuf = b[:0]
	if _, err := d.state.file.WriteAt(b, d.state.size); err != nil {
		d.dropState()
		return err
	}
	d.state.size += int64(len(b))
	d.state.tail = true
	return nil
}

// forgetStates makes durable in the state file that logs are gone.
func (d *Dir) forgetStates() error {
	d.ckptMu.Lock()
	defer d.ckptMu.Unlock()
	return d.fatal(d.writeState(nil))
}

// pruneReplayed drops the deleted logs that the journal does not hold any more.
func (d *Dir) pruneReplayed() {
	d.mu.Lock()
	some := len(d.replayed) > 0
	d.mu.Unlock()
	if !some {
		return
	}
	d.round.Lock()
	defer d.round.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.replayed {
		if !d.journal.Holds(name) {
			delete(d.replayed, name)
		}
	}
}

// neverMade tells whether nothing of the log is on the disk, not what an attempt to make it
// left either; w is held.
func (l *Log) neverMade() bool {
	if !l.unmade.Load() {
		return false
	}
	_, err := l.d.fs.Stat(*l.path.Load())
	return errors.Is(err, fs.ErrNotExist)
}
