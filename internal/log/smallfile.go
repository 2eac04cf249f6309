package log

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/leat-stream/leat/internal/env"
)

// readSmall reads a whole file of at most limit bytes.
func readSmall(fsys env.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	p, err := readWhole(f, limit)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return p, err
}

func readWhole(f env.File, limit int64) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, damagedFile("%d bytes, at most %d are expected", size, limit)
	}
	p := make([]byte, size)
	n, err := f.ReadAt(p, 0)
	if err == io.EOF {
		err = nil
	}
	return p[:n], err
}

// writeSmall replaces a file's content atomically and durably: temporary file, sync,
// rename, sync of the directory. A crash leaves the old content or the new one.
func writeSmall(fsys env.FS, dir, name string, content []byte) error {
	if err := replaceSmall(fsys, dir, name, content); err != nil {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return syncError{err}
	}
	return nil
}

// replaceSmall is writeSmall without the last sync: a crash leaves the old content or the
// new one until the directory is synced.
func replaceSmall(fsys env.FS, dir, name string, content []byte) error {
	tmp := dir + "/" + name + tmpSuffix
	f, err := fsys.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		if err = f.Sync(); err != nil {
			err = syncError{err}
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return fsys.Rename(tmp, dir+"/"+name)
}

// createSmall writes a file without syncing it; the next sync round does.
func createSmall(fsys env.FS, name string, content []byte) error {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// syncFile syncs a file by its name; one that does not exist is no error.
func syncFile(fsys env.FS, name string) error {
	f, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		err = syncError{err}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// removeIfThere removes a file; one that does not exist is no error.
func removeIfThere(fsys env.FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncError marks the error of a sync: what it should have made durable may be lost,
// and trying again would hide that.
type syncError struct{ error }

func (e syncError) Unwrap() error { return e.error }
