//go:build linux || darwin

package env

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// OS is the operating system's file system.
var OS FS = osFS{}

type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := openFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// errLink is syscall.ELOOP of a link that we do not want to follow.
var errLink = fmt.Errorf("it is a symbolic link, and files are not made through one (%w)", syscall.ELOOP)

// openFile follows no symbolic link in a file's place when it may make the file: what is
// made there would be somewhere else. Directories may be links.
func openFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	if flag&os.O_CREATE != 0 {
		flag |= unix.O_NOFOLLOW
	}
	f, err := os.OpenFile(name, flag, perm)
	if errors.Is(err, syscall.ELOOP) && flag&unix.O_NOFOLLOW != 0 {
		if info, lerr := os.Lstat(name); lerr == nil && info.Mode()&fs.ModeSymlink != 0 {
			err = &fs.PathError{Op: "open", Path: name, Err: errLink}
		}
	}
	return f, err
}

func (osFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (osFS) Remove(name string) error                     { return os.Remove(name) }
func (osFS) RemoveAll(name string) error                  { return os.RemoveAll(name) }
func (osFS) Rename(oldname, newname string) error         { return os.Rename(oldname, newname) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }

func (osFS) Usage(name string) (Usage, error) {
	var st unix.Statfs_t
	if err := retryEINTR(func() error { return unix.Statfs(name, &st) }); err != nil {
		return Usage{}, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return Usage{
		Total: st.Blocks * uint64(st.Bsize),
		Free:  st.Bavail * uint64(st.Bsize),
	}, nil
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f osFile) OS() *os.File { return f.File }

// control runs a system call on the file's descriptor, which cannot be closed
// or reused meanwhile, and repeats it while signals interrupt it.
func control(f *os.File, op string, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Control(func(fd uintptr) {
		result = retryEINTR(func() error { return call(int(fd)) })
	})
	if err != nil {
		err = fs.ErrClosed // the only way in which Control itself fails
	} else {
		err = result
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: err}
	}
	return nil
}

func retryEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// writeZeros extends the file with written zeros from its current size up to
// size: the fallback where blocks cannot be reserved otherwise.
func writeZeros(f osFile, size int64) error {
	at, err := f.Size()
	if err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for at < size {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}
