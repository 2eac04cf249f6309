package sim

import (
	"time"
	"unsafe"

	"github.com/leat-stream/leat/internal/env"
)

// hostClock is a host's view of the world's clock: its monotonic time runs at a rate of
// its own, its wall clock is set forward and back by faults. Timers follow the
// monotonic time, as the operating system's do.
type hostClock struct {
	h      *Host
	start  time.Time     // of the world
	rate   float64       // of the monotonic time
	offset time.Duration // of the wall clock
}

var _ env.Clock = (*hostClock)(nil)

func (c *hostClock) mono() time.Duration {
	return time.Duration(float64(c.h.w.Clock.Now().Sub(c.start)) * c.rate)
}

func (c *hostClock) Now() time.Time {
	m := c.mono()
	return moment(c.start.Add(m+c.offset), m)
}

// AfterFunc calls f when the process that set it lives still; a paused one gets it when
// it goes on.
func (c *hostClock) AfterFunc(d time.Duration, f func()) env.Timer {
	t := &hostTimer{c: c, life: c.h.life, f: f}
	t.inner = c.h.w.Clock.AfterFunc(c.world(d), t.fire)
	return t
}

func (c *hostClock) world(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(float64(d)/c.rate) + 1
}

type hostTimer struct {
	c     *hostClock
	life  int
	f     func()
	inner env.Timer
	set   int // counts the settings, so that an old one that is held does nothing
	held  bool
}

func (t *hostTimer) fire() {
	set := t.set
	t.held = t.c.h.paused
	t.c.h.do(t.life, "timer", func() {
		if t.set == set {
			t.held = false
			t.f()
		}
	})
}

func (t *hostTimer) Stop() bool {
	t.set++
	was := t.held
	t.held = false
	return t.inner.Stop() || was
}

func (t *hostTimer) Reset(d time.Duration) bool {
	was := t.Stop()
	t.inner.Reset(t.c.world(d))
	return was
}

// moment is a time whose wall clock and monotonic reading are told apart, which the
// time package makes from the operating system's clocks only: after a step of the wall
// clock, the difference of two times is still what has passed.
func moment(wall time.Time, mono time.Duration) time.Time {
	const (
		hasMonotonic = 1 << 63
		secondShift  = 30
		since1885    = 2_682_288_000 // seconds from 1885 to 1970
	)
	var t time.Time
	in := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&t))
	in.wall = hasMonotonic | uint64(wall.Unix()+since1885)<<secondShift | uint64(wall.Nanosecond())
	in.ext = int64(mono)
	return t
}
