package api

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// TestComplaints: of each kind one in ten seconds, and no count is lost.
func TestComplaints(t *testing.T) {
	var out bytes.Buffer
	clock := env.NewClock(time.UnixMilli(0))
	c := NewComplaints(slog.New(slog.NewTextHandler(&out, nil)), clock)
	expect := func(want ...string) {
		t.Helper()
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if out.Len() == 0 {
			lines = nil
		}
		ok := len(lines) == len(want)
		for i := range want {
			ok = ok && strings.HasSuffix(lines[i], want[i])
		}
		if !ok {
			t.Errorf("got\n%swant %q", out.String(), want)
		}
		out.Reset()
	}
	for i := range 1000 {
		c.Warn("a", fmt.Sprint("a", i), "why", i)
	}
	c.Warn("b", "b")
	expect("msg=a0 why=0", "msg=b")
	clock.Advance(10 * time.Second)
	c.Warn("a", "again")
	expect("msg=again left_out=999")
	c.Warn("a", "again")
	c.Flush() // too early
	expect()
	clock.Advance(10 * time.Second)
	c.Flush()
	expect(`msg="more of the same, not shown" kind=a left_out=1`)
	c.Flush()
	expect()
	c.Warn("a", "anew")
	expect("msg=anew")
	if c.Say("a") {
		t.Error("said twice")
	}
}
