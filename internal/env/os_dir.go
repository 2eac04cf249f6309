//go:build linux || darwin

package env

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// held are the directories of the locks that are held, open. A sync of a directory that
// fails counts as loss, so it must not fail because no descriptor is left to open it.
var held struct {
	sync.Mutex
	dirs map[*os.File]os.FileInfo
}

// lockFile is a lock with its directory.
type lockFile struct{ file, dir *os.File }

func (l *lockFile) Close() error {
	held.Lock()
	delete(held.dirs, l.dir)
	held.Unlock()
	return errors.Join(l.file.Close(), l.dir.Close())
}

// hold opens the directory of a lock.
func hold(file *os.File) (*lockFile, error) {
	dir, err := os.Open(filepath.Dir(file.Name()))
	if err != nil {
		return nil, err
	}
	info, err := dir.Stat()
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	held.Lock()
	defer held.Unlock()
	if held.dirs == nil {
		held.dirs = map[*os.File]os.FileInfo{}
	}
	held.dirs[dir] = info
	return &lockFile{file, dir}, nil
}

func (osFS) Lock(name string) (io.Closer, error) {
	f, err := openFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	err = control(f, "flock", func(fd int) error {
		return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	})
	if err == nil {
		var l *lockFile
		if l, err = hold(f); err == nil {
			return l, nil
		}
	} else if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%s: %w", name, ErrLocked)
	}
	return nil, errors.Join(err, f.Close())
}

func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return syncHeld(name, err)
	}
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// syncHeld syncs a directory without opening it: through the descriptor that a lock
// holds of it, or with all else that its file system has (Linux only). It answers why
// when it cannot.
func syncHeld(name string, why error) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	held.Lock()
	var same, near *os.File
	for dir, i := range held.dirs {
		if os.SameFile(i, info) {
			same = dir
		} else if device(i) == device(info) {
			near = dir
		}
	}
	held.Unlock()
	switch {
	case same != nil:
		return same.Sync()
	case near != nil:
		if err := syncAll(near); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return why
}

func device(i os.FileInfo) uint64 {
	st, ok := i.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return uint64(st.Dev)
}
