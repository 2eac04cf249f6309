package node

import (
	"math"
	"testing"
	"time"
)

func TestThrottleHoldsTheRate(t *testing.T) {
	now := time.Unix(0, 0)
	var paused time.Duration
	th := throttle{rate: 1000, now: func() time.Time { return now }, pause: func(d time.Duration) bool {
		paused += d
		now = now.Add(d)
		return true
	}}
	for range 100 {
		th.took(100)
		now = now.Add(20 * time.Millisecond) // the work itself takes time too
	}
	if took := now.Sub(time.Unix(0, 0)); took < 10*time.Second || took > 11*time.Second {
		t.Fatalf("10,000 bytes at 1,000 a second took %v", took)
	}
	if paused > 9*time.Second {
		t.Fatalf("paused %v on top of the work's own 2 s", paused)
	}
}

func TestThrottleWithoutLimitNeverPauses(t *testing.T) {
	th := throttle{rate: math.MaxFloat64, now: time.Now, pause: func(time.Duration) bool {
		t.Fatal("paused")
		return false
	}}
	for range 10 {
		th.took(math.MaxInt32)
	}
}
