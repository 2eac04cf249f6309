package env

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxVec is Linux's IOV_MAX: the most buffers that one pwritev takes.
const maxVec = 1024

func (f osFile) Sync() error {
	return control(f.File, "fdatasync", unix.Fdatasync)
}

// Preallocate uses fallocate; a file system that lacks it gets written zeros.
// Extents that fallocate reserved are converted when they are first written, and
// the next Sync pays for that; written zeros make later syncs cheaper.
func (f osFile) Preallocate(size int64) error {
	if size <= 0 {
		return nil
	}
	err := control(f.File, "fallocate", func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return writeZeros(f, size)
	}
	return err
}

func (f osFile) WriteVecAt(bufs [][]byte, off int64) (int64, error) {
	var total int64
	var skip int // bytes of bufs[0] that are already written
	for {
		for len(bufs) > 0 && skip == len(bufs[0]) {
			bufs, skip = bufs[1:], 0
		}
		if len(bufs) == 0 {
			return total, nil
		}
		n, err := f.pwritev(bufs, skip, off+total)
		total += int64(n)
		if err != nil {
			return total, err
		}
		if n == 0 {
			return total, &os.PathError{Op: "pwritev", Path: f.Name(), Err: io.ErrShortWrite}
		}
		for n > 0 {
			left := len(bufs[0]) - skip
			if n < left {
				skip += n
				break
			}
			n -= left
			bufs, skip = bufs[1:], 0
		}
	}
}

// pwritev makes one system call for as many buffers as it takes, without the
// first skip bytes of the first one.
func (f osFile) pwritev(bufs [][]byte, skip int, off int64) (n int, err error) {
	if skip > 0 || len(bufs) == 1 {
		// The rest of one buffer goes alone: the caller's slice is not to be changed.
		return f.WriteAt(bufs[0][skip:], off)
	}
	err = control(f.File, "pwritev", func(fd int) error {
		var err error
		n, err = unix.Pwritev(fd, bufs[:min(len(bufs), maxVec)], off)
		n = max(n, 0)
		return err
	})
	return n, err
}

// syncAll makes all of a file system durable.
func syncAll(f *os.File) error { return control(f, "syncfs", unix.Syncfs) }

// BootID names the running kernel's boot: it changes when the machine restarts
// and so the page cache is lost, and not when a process does.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
