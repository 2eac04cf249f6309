//go:build !linux

package server

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// raiseOpenFiles raises the soft limit of open files as far as the system lets it.
func raiseOpenFiles() (uint64, error) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, fmt.Errorf("reading the limit of open files: %w", err)
	}
	return uint64(r.Cur), nil // the Go runtime has raised it already
}

// followCgroup does nothing where there are no cgroups.
func followCgroup() int64 { return 0 }
