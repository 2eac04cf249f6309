package server

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

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

// memoryShare is the part of the cgroup's memory that the Go heap may take before
// the collector works harder; the rest is for the page cache and for stacks.
const memoryShare = 0.9

// followCgroup sets the soft memory limit from the cgroup's, unless GOMEMLIMIT says
// otherwise. It returns the limit set, 0 when there is none.
func followCgroup() int64 {
	if os.Getenv("GOMEMLIMIT") != "" {
		return 0
	}
	limit := cgroupLimit("/proc/self/cgroup", "/sys/fs/cgroup")
	if limit == 0 {
		return 0
	}
	soft := int64(float64(limit) * memoryShare)
	debug.SetMemoryLimit(soft)
	return soft
}

// cgroupLimit is the smallest memory.max on the way from this process's cgroup (v2)
// to the root, or the v1 limit; 0 when nothing limits.
func cgroupLimit(self, root string) int64 {
	b, err := os.ReadFile(self)
	if err != nil {
		return 0
	}
	least := int64(math.MaxInt64)
	consider := func(file string) {
		if v, err := os.ReadFile(file); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(v)), 10, 64); err == nil && n > 0 {
				least = min(least, n)
			}
		}
	}
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0": // v2
			for dir := filepath.Clean(parts[2]); ; dir = filepath.Dir(dir) {
				consider(filepath.Join(root, dir, "memory.max"))
				if dir == "/" || dir == "." {
					break
				}
			}
		case parts[1] == "memory":
			consider(filepath.Join(root, "memory", parts[2], "memory.limit_in_bytes"))
		}
	}
	// Version 1 writes "no limit" as a huge page-aligned number.
	if least > 1<<60 {
		return 0
	}
	return least
}
