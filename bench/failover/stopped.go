//go:build linux

package failover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// awaitStopped waits until all threads of a process stand still. SIGSTOP is sent before
// they do, and where the processors are busy they go on for some milliseconds.
func awaitStopped(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 5*time.Second, errors.New("its threads go on after 5 s"))
	defer cancel()
	for {
		still, err := stopped(pid)
		if err != nil || still {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stopping process %d: %w", pid, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}

// stopped says whether all threads of a process are stopped by a signal.
func stopped(pid int) (bool, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(files) == 0 {
		return false, errors.Join(fmt.Errorf("there is no process %d", pid), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			return false, nil // a thread that has just ended: look again
		}
		if err != nil {
			return false, err
		}
		// Behind the name in parentheses, which may hold others.
		if s := string(b); !strings.HasPrefix(s[strings.LastIndex(s, ")")+1:], " T") {
			return false, nil
		}
	}
	return true, nil
}
