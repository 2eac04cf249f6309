package metadata

import (
	"time"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/machine"
)

// BrokerHint says that a connection with a broker broke. That alone proves nothing:
// the broker is expected to be heard from soon, and its session ends if it is not.
// The reply has no body.
type BrokerHint struct {
	BrokerID int32
	// Epoch is the incarnation that the connection is thought to be of; a later one is
	// not concerned.
	Epoch int64
	// Gone says that the broker's machine answers that nobody listens at its address any
	// more. If a connection broke since the broker was last heard from, then the process
	// has ended, and its session with it. Alone it says nothing: the address may be wrong.
	Gone bool
}

// hintTimeout is how soon a broker has to be heard from behind a hint. It may not know of
// the connection that broke, and then beats no sooner than it does anyway.
func (c *Controller) hintTimeout() time.Duration {
	s := c.settings()
	return max(config.Millis(s, config.LeatBrokerHintTimeoutMs), 2*config.Millis(s, config.BrokerHeartbeatIntervalMs))
}

// hint shortens a broker's session.
func (c *Controller) hint(h *BrokerHint, now time.Time) outcome {
	b, s := c.View().Broker(h.BrokerID), c.sessions[h.BrokerID]
	if b == nil || s == nil || b.Epoch != h.Epoch || b.ID == c.opts.NodeID {
		return outcome{}
	}
	if h.Gone && !s.doubted {
		return outcome{}
	}
	s.doubted = true
	due := now
	if !h.Gone {
		due = now.Add(c.hintTimeout())
	}
	if due.Before(s.due) {
		s.due = due
	}
	if b.Fenced {
		return outcome{}
	}
	if h.Gone {
		return outcome{recs: c.fence(b)}
	}
	return outcome{timers: []machine.Timer{{Key: sessionKey(b.ID), At: s.due}}}
}
