//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpu is processor time, in seconds.
type cpu struct{ user, system float64 }

func (c cpu) total() float64 { return c.user + c.system }

// ticksPerSecond is USER_HZ, which is 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// cpuOf reads what a process has used.
func cpuOf(pid int) (cpu, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return cpu{}, err
	}
	// The name in parentheses may hold spaces.
	_, rest, ok := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		return cpu{}, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	user, err := strconv.ParseFloat(f[11], 64)
	if err != nil {
		return cpu{}, err
	}
	system, err := strconv.ParseFloat(f[12], 64)
	return cpu{user / ticksPerSecond, system / ticksPerSecond}, err
}

// readOf is what a process has had fetched from the disk, in bytes: nothing for what
// the page cache holds.
func readOf(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "read_bytes:"); ok {
			return strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		}
	}
	return 0, fmt.Errorf("no read_bytes of process %d", pid)
}

// rssOf is a process's resident memory in MiB.
func rssOf(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", pid)
}

// rawRate is the disk's sequential rate in MB/s with a sync every 4 MiB: what a
// durable log could reach at best.
func rawRate(dir string) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "raw"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const chunk, total = 4 << 20, 1 << 30
	b := make([]byte, chunk)
	start := time.Now()
	for range total / chunk {
		if _, err := f.Write(b); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
	}
	return total / 1e6 / time.Since(start).Seconds(), nil
}

// describeMachine says where the figures come from.
func describeMachine() (string, error) {
	model := "unknown processor"
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "model name"); ok {
			model = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(v), ":"))
			break
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return "", err
	}
	release := string(u.Release[:])
	return fmt.Sprintf("%s, %d cores, %d GiB, Linux %s, %s", model, runtime.NumCPU(),
		uint64(s.Totalram)*uint64(s.Unit)>>30, strings.TrimRight(release, "\x00"), runtime.Version()), nil
}
