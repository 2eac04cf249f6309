package server

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// raiseOpenFiles raises the soft limit of open files to the hard one and returns the
// limit in force.
func raiseOpenFiles() (uint64, error) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, fmt.Errorf("reading the limit of open files: %w", err)
	}
	if r.Cur == r.Max {
		return r.Cur, nil
	}
	old := r.Cur
	r.Cur = r.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return old, fmt.Errorf("raising the limit of open files to %d: %w", r.Max, err)
	}
	return r.Cur, nil
}
