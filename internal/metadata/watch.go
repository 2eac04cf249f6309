package metadata

import (
	"maps"
	"slices"
	"time"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/machine"
)

// watch is by what a controller knows that its own clock or process stood still,
// which must not be taken for the silence of brokers.
type watch struct {
	// last is the time of the last decision.
	last time.Time
	// due is when the chore comes round that only exists to be on time; zero before
	// the first.
	due time.Time
}

// pulse is how often the watch is set, and how late it may be: stops of two pulses
// are always noticed, which is before a broker that speaks can miss its session.
func (c *Controller) pulse() time.Duration {
	return config.Millis(c.settings(), config.BrokerSessionTimeoutMs) / 4
}

func (c *Controller) watchAgain(now time.Time) machine.Timer {
	c.watch.due = now.Add(c.pulse())
	return machine.Timer{Key: choreWatch, At: c.watch.due}
}

// notice is called before every decision. When this process was stopped, heartbeats
// of the time wait in its queues, so that every broker gets a session more; when the
// clock went back, sessions go back with it.
func (c *Controller) notice(now time.Time) []machine.Timer {
	last := c.watch.last
	c.watch.last = now
	switch {
	case last.Sub(now) > c.pulse():
		timers := c.startChores(now)
		for _, id := range slices.Sorted(maps.Keys(c.sessions)) {
			s := c.sessions[id]
			s.due = s.due.Add(now.Sub(last))
			timers = append(timers, machine.Timer{Key: sessionKey(id), At: s.due})
		}
		return timers
	case !c.watch.due.IsZero() && now.Sub(c.watch.due) > c.pulse():
		timers := []machine.Timer{c.watchAgain(now)}
		for _, id := range slices.Sorted(maps.Keys(c.sessions)) {
			timers = append(timers, c.touch(id, now, false))
		}
		return timers
	}
	return nil
}
