//go:build linux

package failover

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestStopped: a process that runs is not stopped, one that has had SIGSTOP is in the end.
func TestStopped(t *testing.T) {
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it is killed
	}()
	if still, err := stopped(cmd.Process.Pid); still || err != nil {
		t.Fatalf("stopped before the signal: %v, %v", still, err)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := awaitStopped(t.Context(), cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if still, err := stopped(cmd.Process.Pid); !still || err != nil {
		t.Fatalf("stopped after the wait: %v, %v", still, err)
	}
}

// TestSince: a request that was sent before the node stood still is no sign of its
// successor; the time counts from the failure all the same.
func TestSince(t *testing.T) {
	at := time.Now().Add(-time.Hour)
	gone := at.Add(time.Minute)
	w := &writer{partition: 3}
	ws := &writers{all: []*writer{w}}
	w.sent.Store(gone.Add(-time.Millisecond).UnixNano())
	if _, last, ok := ws.since(t.Context(), at, gone, time.Nanosecond); ok || last != w {
		t.Errorf("a request of before the node stood still counts")
	}
	w.sent.Store(gone.UnixNano())
	if took, _, ok := ws.since(t.Context(), at, gone, 2*time.Hour); !ok || took < time.Hour {
		t.Errorf("%v, %v", took, ok)
	}
}
