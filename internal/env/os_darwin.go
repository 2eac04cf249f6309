package env

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Sync asks for F_FULLFSYNC, which os.File.Sync issues on darwin: fsync alone
// leaves the data in the drive's cache.
func (f osFile) Sync() error { return f.File.Sync() }

func (f osFile) Preallocate(size int64) error { return writeZeros(f, size) }

func (f osFile) WriteVecAt(bufs [][]byte, off int64) (int64, error) {
	var total int64
	for _, b := range bufs {
		n, err := f.WriteAt(b, off+total)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// syncAll would make all of a file system durable: darwin's sync does not wait.
func syncAll(*os.File) error { return errors.ErrUnsupported }

// BootID names the running kernel's boot: it changes when the machine restarts
// and so the page cache is lost, and not when a process does.
func BootID() (string, error) {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	return id, nil
}
