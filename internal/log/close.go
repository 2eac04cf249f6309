package log

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/leat-stream/leat/internal/env"
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
	return errors.Join(err, d.lock.Close())
}

func (d *Dir) closeClean(list []*Log) error {
	return fmt.Errorf("not yet")
}

// Delete takes a log out of the directory: it is renamed at once, durably, and removed
// after file.delete.delay.ms. Further calls on the Log fail with ErrDeleted; runs that
// were read before can be used.
func (d *Dir) Delete(id LogID) error {
	d.mu.Lock()
	l := d.logs[id.key()]
	d.mu.Unlock()
	if l == nil {
		return nil
	}
	l.w.Lock()
	defer l.w.Unlock()
	d.round.Lock()
	defer d.round.Unlock()
	old := *l.path.Load()
	path := d.deletedPath(l.id)
	if err := d.fs.Rename(old, path); err != nil {
		return storageError("delete log", err)
	}
	deleted := error(ErrDeleted)
	l.closed.CompareAndSwap(nil, &deleted)
	l.path.Store(&path)
	if p := l.segs.Load(); p != nil {
		for _, s := range *p {
			s.retire()
		}
	}
	now := d.opt.Clock.Now()
	d.mu.Lock()
	delete(d.logs, id.key())
	d.gone = append(d.gone, l.id)
	d.trash = append(d.trash, trash{dir: path, due: now.Add(msDuration(l.cfg.Load().FileDeleteDelayMs))})
	d.mu.Unlock()
	if err := d.fs.SyncDir(d.path); err != nil {
		return d.fatal(storageError("delete log", syncError{err}))
	}
	return nil
}

// deletedPath is a new name for a directory on its way out; like Kafka's it is not
// longer than a file name may be.
func (d *Dir) deletedPath(id LogID) string {
	d.mu.Lock()
	u := env.UUID(d.opt.Rand)
	d.mu.Unlock()
	suffix := "." + hex.EncodeToString(u[:]) + deleteDirSuffix
	name := id.String()
	return d.path + "/" + name[:min(len(name), 255-len(suffix))] + suffix
}
