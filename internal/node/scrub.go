package node

import (
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
)

// scrubs drives the log directory's scrubber, on a loop of its own: a step reads a good
// deal, and marks what is damaged on the disk.
type scrubs struct {
	n    *Node
	loop env.Loop

	serving atomic.Bool // partitions are open
	urgent  atomic.Bool // a reader has met something
	*log.Scrubber
	next time.Time // of a step that nothing makes urgent
}

func (s *scrubs) init(n *Node) {
	s.n = n
	s.loop = n.opt.Exec.Loop("scrub", s.turn)
}

func (s *scrubs) start() {
	s.serving.Store(true)
	s.loop.Wake()
}

// soon has the scrubber look at what a reader has met. It never waits.
func (s *scrubs) soon() {
	s.urgent.Store(true)
	s.loop.Wake()
}

// turn checks some of what is on disk if the rate allows it, and comes again; the log
// directory reports what is damaged.
func (s *scrubs) turn() {
	n := s.n
	now := n.clock.Now()
	if !s.serving.Load() || n.ctx.Err() != nil || !s.urgent.Swap(false) && now.Before(s.next) {
		return // the step that is due then has its timer
	}
	if s.Scrubber == nil {
		s.Scrubber = n.dir.NewScrubber()
	}
	cfg := n.Config()
	next := s.Step(now, log.ScrubOptions{
		BytesPerSecond: cfg.Long(config.LeatScrubBytesPerSecond),
		Interval:       config.Millis(cfg, config.LeatScrubIntervalMs),
	})
	rest := max(min(next.Sub(now), scrubLook), 0)
	s.next = now.Add(rest)
	n.jobs.after(rest, s.loop.Wake)
}

// scrubLook is how long a changed setting waits at most.
const scrubLook = 10 * time.Second
