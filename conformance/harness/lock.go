package harness

import (
	"os"
	"syscall"
)

// lockFile waits for an exclusive lock on a file, so that two test binaries do
// not fetch the same thing at once. The lock falls with the process, too.
func lockFile(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
