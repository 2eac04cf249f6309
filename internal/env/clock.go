package env

import (
	"container/heap"
	"sync"
	"time"
)

// Real is the operating system's clock.
var Real Clock = realClock{}

type realClock struct{}

func (realClock) Now() time.Time                            { return time.Now() }
func (realClock) AfterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }

// VirtualClock is a clock that moves only when told. Timers run on the goroutine
// that advances it, ordered by due time and then by the order in which they were
// set, so one seed gives one history. It is safe for concurrent use; Advance and
// Step must not be called from a timer's own function.
type VirtualClock struct {
	advancing sync.Mutex // one mover at a time

	mu     sync.Mutex
	now    time.Time
	seq    uint64
	timers timerHeap
}

// NewClock is a virtual clock that stands at start.
func NewClock(start time.Time) *VirtualClock { return &VirtualClock{now: start} }

// Now is the virtual time; it has no monotonic reading.
func (c *VirtualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc calls f when the clock has been moved by d or more.
func (c *VirtualClock) AfterFunc(d time.Duration, f func()) Timer {
	t := &virtualTimer{clock: c, f: f, index: -1}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(t, d)
	return t
}

// Advance moves the clock by d and runs, each at its own due time, every timer
// that comes due on the way, those set by other timers included.
func (c *VirtualClock) Advance(d time.Duration) {
	c.advancing.Lock()
	defer c.advancing.Unlock()
	c.mu.Lock()
	target := c.now.Add(d)
	for len(c.timers) > 0 && !c.timers[0].due.After(target) {
		c.fireFirst()
	}
	if c.now.Before(target) {
		c.now = target
	}
	c.mu.Unlock()
}

// Step moves the clock to the next timer's due time and runs that timer alone.
// It is false when no timer is set.
func (c *VirtualClock) Step() bool {
	c.advancing.Lock()
	defer c.advancing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.timers) == 0 {
		return false
	}
	c.fireFirst()
	return true
}

// Next is the due time of the next timer; false when none is set.
func (c *VirtualClock) Next() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.timers) == 0 {
		return time.Time{}, false
	}
	return c.timers[0].due, true
}

// fireFirst runs the next timer; c.mu is held, and let go while the timer runs.
func (c *VirtualClock) fireFirst() {
	t := heap.Pop(&c.timers).(*virtualTimer)
	if t.due.After(c.now) {
		c.now = t.due
	}
	c.mu.Unlock()
	defer c.mu.Lock()
	t.f()
}

// set queues t to come due d from now; c.mu is held and t is not queued.
func (c *VirtualClock) set(t *virtualTimer, d time.Duration) {
	c.seq++
	t.due, t.seq = c.now.Add(max(d, 0)), c.seq
	heap.Push(&c.timers, t)
}

type virtualTimer struct {
	clock *VirtualClock
	f     func()
	due   time.Time
	seq   uint64
	index int // in the heap, -1 when not queued
}

func (t *virtualTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.stop()
}

func (t *virtualTimer) stop() bool {
	if t.index < 0 {
		return false
	}
	heap.Remove(&t.clock.timers, t.index)
	return true
}

func (t *virtualTimer) Reset(d time.Duration) bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	was := t.stop()
	t.clock.set(t, d)
	return was
}

type timerHeap []*virtualTimer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if !h[i].due.Equal(h[j].due) {
		return h[i].due.Before(h[j].due)
	}
	return h[i].seq < h[j].seq
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*virtualTimer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
