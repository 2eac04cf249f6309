package log

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/leat-stream/leat/internal/env"
)

// maxTakenOut is how many logs leave between two sync rounds, which wait for them.
const maxTakenOut = 512

// Delete takes logs out of the directory: they are renamed at once, durably, and removed
// after file.delete.delay.ms. Further calls on a Log fail with ErrDeleted; runs that
// were read before can be used. Many share a sync, so that the loop that follows the metadata
// does not wait for one of each. After an error some of them may still be there; it can be
// tried again with all.
func (d *Dir) Delete(ids ...LogID) error {
	d.admin.Lock()
	defer d.admin.Unlock()
	var errs []error
	for some := range slices.Chunk(d.present(ids), maxTakenOut) {
		_, err := d.takeOut(some, deleteDirSuffix)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// SetAside takes a log out of the directory and keeps its files, under a name that is
// nobody's: another topic has the one they have. Data that is not in segments yet is not
// kept. It returns the new path.
func (d *Dir) SetAside(id LogID) (path string, err error) {
	d.admin.Lock()
	defer d.admin.Unlock()
	renamed, err := d.takeOut(d.present([]LogID{id}), straySuffix)
	if len(renamed) == 0 || err != nil {
		return "", err
	}
	return *renamed[0].path.Load(), nil
}

// present are the logs of those ids that are there, each once, in the order of locking.
// Logs of other topics with the same names are not.
func (d *Dir) present(ids []LogID) (list []*Log) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range ids {
		l := d.logs[id.key()]
		if l != nil && (id.TopicID == [16]byte{} || l.ID().TopicID == id.TopicID) {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b *Log) int { return compareIDs(a.ID(), b.ID()) })
	return slices.Compact(list)
}

// takeOut renames the directories of logs, with one sync for all; what is on its way out is
// removed later. It returns those that had a directory and left; admin is held.
func (d *Dir) takeOut(list []*Log, suffix string) (renamed []*Log, err error) {
	var made []*Log
	for _, l := range list {
		l.w.Lock()
		defer l.w.Unlock()
		if !l.neverMade() {
			made = append(made, l)
			continue
		}
		l.leave()
		d.mu.Lock()
		delete(d.logs, l.ID().key())
		d.mu.Unlock()
	}
	if len(made) == 0 { // without a wait for the round that is under way
		return nil, nil
	}
	d.round.Lock()
	defer d.round.Unlock()
	var errs []error
	for _, l := range made {
		if err := l.moveAway(suffix); err != nil {
			errs = append(errs, fmt.Errorf("log %v: %w", l.ID(), storageError("delete log", err)))
			continue
		}
		renamed = append(renamed, l)
	}
	if len(renamed) == 0 {
		return nil, errors.Join(errs...)
	}
	// Before the state file says that they are gone: without what that says of it, a log that
	// came back under its name would be taken for one that has lost its beginning.
	if err := d.fs.SyncDir(d.path); err != nil {
		errs = append(errs, d.fatal(storageError("delete log", syncError{err})))
	}
	d.noteGone(renamed, suffix == deleteDirSuffix)
	return renamed, errors.Join(errs...)
}

// leave makes all further use fail; w is held.
func (l *Log) leave() {
	deleted := error(ErrDeleted)
	l.closed.CompareAndSwap(nil, &deleted)
}

// moveAway gives the log's directory a name that is no log's; w and round are held.
func (l *Log) moveAway(suffix string) error {
	path := l.d.newName(l.ID(), suffix)
	if err := l.d.fs.Rename(*l.path.Load(), path); err != nil {
		return err
	}
	l.leave()
	l.path.Store(&path)
	if p := l.segs.Load(); p != nil {
		for _, s := range *p {
			s.retire()
		}
	}
	return nil
}

// noteGone notes that logs have left, and whether their files are to be removed; round is held.
func (d *Dir) noteGone(list []*Log, remove bool) {
	now := d.opt.Clock.Now()
	d.mu.Lock()
	first := len(d.left) == 0
	for _, l := range list {
		k := l.ID().key()
		delete(d.logs, k)
		d.gone = append(d.gone, l.ID())
		d.leftLast++
		d.left[k] = d.leftLast
		if name := l.journalName(); d.journal.Holds(name) {
			d.replayed[name] = struct{}{}
		}
		if remove {
			d.trash = append(d.trash, &trash{dir: *l.path.Load(), due: now.Add(msDuration(l.cfg.Load().FileDeleteDelayMs))})
		}
	}
	d.mu.Unlock()
	if first {
		d.tickSoon()
	}
}

// newName is a new name for a directory that leaves; like Kafka's it is not longer than a
// file name may be.
func (d *Dir) newName(id LogID, suffix string) string {
	d.mu.Lock()
	u := env.UUID(d.opt.Rand)
	d.mu.Unlock()
	suffix = "." + hex.EncodeToString(u[:]) + suffix
	name := id.String()
	return d.path + "/" + name[:min(len(name), 255-len(suffix))] + suffix
}
