package api

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// complainEvery is how often one kind of complaint is written.
const complainEvery = 10 * time.Second

// Complaints writes warnings that clients, or a full disk, can cause as often as they
// like: of each kind one in ten seconds, with the number of those left out since the last.
type Complaints struct {
	log   *slog.Logger
	clock env.Clock

	mu    sync.Mutex
	kinds map[string]*complaint
}

// complaint is one kind, while it is quiet.
type complaint struct {
	until time.Time
	left  int // out
}

// NewComplaints writes to log.
func NewComplaints(log *slog.Logger, clock env.Clock) *Complaints {
	return &Complaints{log: log, clock: clock, kinds: map[string]*complaint{}}
}

// Warn writes a warning, unless one of its kind was written lately. Kinds are of the
// program's making, so that they are few: nothing that a client chooses is part of one.
func (c *Complaints) Warn(kind, msg string, args ...any) {
	left, ok := c.due(kind)
	if !ok {
		return
	}
	if left > 0 {
		args = append(args, "left_out", left)
	}
	c.log.Warn(msg, args...)
}

// Say is Warn for what is written elsewhere: it says whether to write it now.
func (c *Complaints) Say(kind string) bool {
	_, ok := c.due(kind)
	return ok
}

func (c *Complaints) due(kind string) (left int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	k := c.kinds[kind]
	switch {
	case k == nil:
		k = &complaint{}
		c.kinds[kind] = k
	case now.Before(k.until):
		k.left++
		return 0, false
	}
	left = k.left
	k.left, k.until = 0, now.Add(complainEvery)
	return left, true
}

// Flush tells of kinds that have become quiet how many were left out at the end.
func (c *Complaints) Flush() {
	c.mu.Lock()
	left := map[string]int{}
	now := c.clock.Now()
	for kind, k := range c.kinds {
		if now.Before(k.until) {
			continue
		}
		if k.left > 0 {
			left[kind] = k.left
		}
		delete(c.kinds, kind)
	}
	c.mu.Unlock()
	for kind, n := range left {
		c.log.Log(context.Background(), slog.LevelWarn, "more of the same, not shown", "kind", kind, "left_out", n)
	}
}
