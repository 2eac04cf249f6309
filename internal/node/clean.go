package node

import (
	"math"
	"time"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/log"
)

// clean compacts one log, and comes again: at once if there was work, else after
// log.cleaner.backoff.ms; the log directory reports what was done and what failed.
func (n *Node) clean() {
	cfg := n.Config()
	rest := config.Millis(cfg, config.LogCleanerBackoffMs)
	if cfg.Bool(config.LogCleanerEnable) {
		t := throttle{rate: cfg.Double(config.LogCleanerIoMaxBytesPerSecond), now: n.clock.Now, pause: n.pause}
		_, due, err := n.dir.CompactOnce(log.CompactOptions{
			Now: n.clock.Now(), BufferBytes: cfg.Long(config.LogCleanerDedupeBufferSize),
			Throttle: t.took, Stop: func() bool { return n.ctx.Err() != nil },
		})
		if due && err == nil {
			rest = 0
		}
	}
	n.jobs.after(rest, n.clean)
}

// pause waits; false when the node stops.
func (n *Node) pause(d time.Duration) bool {
	done := make(chan struct{})
	t := n.clock.AfterFunc(d, func() { close(done) })
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-n.ctx.Done():
		return false
	}
}

// throttle holds a stream of work to a rate, by pauses that are long enough to be
// worth a timer.
type throttle struct {
	rate  float64 // bytes per second
	now   func() time.Time
	pause func(time.Duration) bool

	since time.Time
	bytes float64 // since then
}

// leastPause is the shortest wait: a shorter debt is left to grow.
const leastPause = 10 * time.Millisecond

// longestPause bounds what one piece of work may cost at an absurd rate.
const longestPause = time.Hour

// took tells of work that was done; it returns when the rate allows more.
func (t *throttle) took(bytes int) {
	if t.rate <= 0 || t.rate >= math.MaxInt64 {
		return
	}
	if t.since.IsZero() {
		t.since = t.now()
	}
	t.bytes += float64(bytes)
	due := time.Duration(min(t.bytes/t.rate*float64(time.Second), float64(longestPause)))
	if ahead := due - t.now().Sub(t.since); ahead >= leastPause {
		t.pause(ahead)
		t.since, t.bytes = t.now(), 0
	}
}
