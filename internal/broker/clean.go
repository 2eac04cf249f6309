package broker

import (
	"math"
	"time"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/log"
)

// clean compacts, one log after another, and rests for log.cleaner.backoff.ms when no
// log is dirty enough or the last compaction failed; the log directory reports what
// was done and what failed.
func (b *Broker) clean() {
	for b.ctx.Err() == nil {
		cfg := b.config()
		worked := false
		if cfg.Bool(config.LogCleanerEnable) {
			t := throttle{rate: cfg.Double(config.LogCleanerIoMaxBytesPerSecond), now: b.clock.Now, pause: b.pause}
			_, due, err := b.dir.CompactOnce(log.CompactOptions{
				Now: b.clock.Now(), BufferBytes: cfg.Long(config.LogCleanerDedupeBufferSize),
				Throttle: t.took, Stop: func() bool { return b.ctx.Err() != nil },
			})
			worked = due && err == nil
		}
		if !worked && !b.pause(config.Millis(cfg, config.LogCleanerBackoffMs)) {
			return
		}
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
