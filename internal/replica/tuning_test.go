package replica

import (
	"math"
	"testing"
	"time"
)

// TestLimiterForgets: a debt is paid at the rate in force, and what was never held back
// holds others back for a while only.
func TestLimiterForgets(t *testing.T) {
	now := time.Unix(1000, 0)
	var l limiter
	l.take(now, 1_000_000, 1000)
	if got := l.wait(now, 1000); got != 1000*time.Second {
		t.Errorf("a thousand seconds' worth is waited for %v", got)
	}
	now = now.Add(100 * time.Second)
	if got := l.wait(now, 1000); got != 900*time.Second {
		t.Errorf("after 100 s, %v are left of 1000 s", got)
	}
	for rate, want := range map[int64]time.Duration{900_000: time.Second, math.MaxInt64: 0, 0: 0} {
		other := limiter{owed: l.owed, at: l.at, most: l.most}
		if got := other.wait(now, rate); got != want {
			t.Errorf("at a rate of %d, %v are left, not %v", rate, got, want)
		}
	}

	l = limiter{}
	if l.take(now, 499, 1000); l.wait(now, 1000) != 0 {
		t.Error("half a second's worth holds others back")
	}
	l = limiter{}
	for range 10_000 { // ten times what the rate allows, for 100 s
		now = now.Add(10 * time.Millisecond)
		l.take(now, 100, 1000)
	}
	if got := l.wait(now, 1000); got != limitWindow {
		t.Errorf("what went to replicas in sync is waited for %v", got)
	}
}

// TestLimiterWhoseRateFalls: what went at a higher rate holds nobody back for longer than at
// that rate, but for what went at once.
func TestLimiterWhoseRateFalls(t *testing.T) {
	now := time.Unix(1000, 0)
	var l limiter
	for range 1000 {
		l.take(now, 1_000_000, 100_000_000)
	}
	if got := l.wait(now, 100_000_000); got != limitWindow {
		t.Errorf("ten seconds' worth is waited for %v", got)
	}
	if got := l.wait(now, 1_000_000); got != limitWindow {
		t.Errorf("at a hundredth of the rate it is waited for %v", got)
	}

	l = limiter{}
	l.take(now, 1<<40, 1<<40)
	if got := l.wait(now, 1); got != maxLimited {
		t.Errorf("2^40 bytes at one a second are waited for %v", got)
	}
}
