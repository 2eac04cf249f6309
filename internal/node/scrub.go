package node

import (
	"time"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/log"
)

// scrub checks some of what is on disk, and comes again when the rate allows it; the log
// directory reports what is damaged.
func (n *Node) scrub() {
	cfg, now := n.Config(), n.clock.Now()
	next := n.scrubber.Step(now, log.ScrubOptions{
		BytesPerSecond: cfg.Long(config.LeatScrubBytesPerSecond),
		Interval:       config.Millis(cfg, config.LeatScrubIntervalMs),
	})
	n.jobs.after(min(next.Sub(now), scrubLook), n.scrub)
}

// scrubLook is how long what a reader has met, or a changed setting, waits at most.
const scrubLook = 10 * time.Second
