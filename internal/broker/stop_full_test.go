package broker

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// TestStopOnAFullDisk: the stop is not clean and says so, and what that means, in one
// line; nothing that was acknowledged is lost.
func TestStopOnAFullDisk(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("t")
	c.produce("t", []byte("v"))
	n.disk().SetFree(0)
	err := n.b.Close(time.Second)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("stopped with %v", err)
	}
	for _, want := range []string{"the disk of data directory data is full", "not a clean one", "make room", "the next start recovers"} {
		if text := err.Error(); !strings.Contains(text, want) || strings.Contains(text, "\n") {
			t.Errorf("%q does not say %q, or not in one line", text, want)
		}
	}
	n.tells("level=WARN", "not cleanly", "event=Stopped")
	if _, err := n.fs.Stat("data/.kafka_cleanshutdown"); err == nil {
		t.Error("the marker of a clean stop is there")
	}
	n.disk().SetFree(-1)
	n.kill()
	if got := n.dial().fetch("t", 0); len(got) != 1 || got[0] != "v" {
		t.Fatalf("read %q", got)
	}
}

// TestStopOfAFailedDirectory: nor is it clean when the disk failed before.
func TestStopOfAFailedDirectory(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("t")
	n.disk().OnOp(func(op env.Op) error {
		if op.Kind == env.OpSync && !strings.HasPrefix(op.Path, "data/metadata") {
			return syscall.EIO
		}
		return nil
	})
	if err := c.produceError("t", -1, []byte("w")); err == nil {
		t.Fatal("acknowledged")
	}
	n.disk().OnOp(nil)
	n.eventually("the directory is offline", func() bool { return n.b.Healthy() != nil })
	if err := n.b.Close(time.Second); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "the next start recovers") {
		t.Fatalf("stopped with %v", err)
	}
}
