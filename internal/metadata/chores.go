package metadata

import (
	"math"
	"slices"
	"time"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/schema"
)

// Chores are what the controller does by timers, whoever asks: each sets its timer
// anew whenever it fires.
const (
	choreWatch    = "watch"    // sees that this process was not stopped
	choreLeaders  = "leaders"  // preferred leaders
	choreUnclean  = "unclean"  // leaders of topics that may lose records
	choreInternal = "internal" // replicas of the coordinators' topics
)

const (
	// maxElections bounds one batch of elections that nobody waits for (Kafka's limit).
	maxElections = 1000
	// soon is when a chore goes on that has more to do.
	soon = 10 * time.Millisecond
)

// startChores are the timers of a controller that has just been loaded.
func (c *Controller) startChores(now time.Time) []machine.Timer {
	timers := []machine.Timer{c.watchAgain(now), c.uncleanTimer(now, false), {Key: choreInternal, At: now.Add(internalInterval)}}
	if c.opts.Config.Bool(config.AutoLeaderRebalanceEnable) {
		timers = append(timers, c.leadersTimer(now, false))
	}
	return timers
}

// chore does what a timer is for; false when the key names none.
func (c *Controller) chore(key string, now time.Time) (outcome, bool) {
	switch key {
	case choreWatch:
		return outcome{timers: []machine.Timer{c.watchAgain(now)}}, true
	case choreLeaders:
		recs, more := c.elections(maxElections, c.preferredLeader)
		return outcome{recs: recs, timers: []machine.Timer{c.leadersTimer(now, more)}}, true
	case choreUnclean:
		recs, more := c.elections(maxElections, c.uncleanLeader)
		return outcome{recs: recs, timers: []machine.Timer{c.uncleanTimer(now, more)}}, true
	case choreInternal:
		return outcome{recs: c.growInternal(), timers: []machine.Timer{{Key: choreInternal, At: now.Add(internalInterval)}}}, true
	}
	return outcome{}, false
}

func (c *Controller) leadersTimer(now time.Time, more bool) machine.Timer {
	if more {
		return machine.Timer{Key: choreLeaders, At: now.Add(soon)}
	}
	return machine.Timer{Key: choreLeaders, At: now.Add(seconds(c.opts.Config.Long(config.LeaderImbalanceCheckIntervalSeconds)))}
}

func (c *Controller) uncleanTimer(now time.Time, more bool) machine.Timer {
	if more {
		return machine.Timer{Key: choreUnclean, At: now.Add(soon)}
	}
	return machine.Timer{Key: choreUnclean, At: now.Add(config.Millis(c.opts.Config, config.UncleanLeaderElectionIntervalMs))}
}

// seconds is a setting as a duration; what is too long is cut.
func seconds(n int64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/int64(time.Second))) * time.Second
}

// preferredLeader gives leadership back to the first replica, where that is alive
// and in sync.
func (c *Controller) preferredLeader(_ *Topic, p *Partition) (election, bool) {
	first := p.Replicas[0]
	if p.Leader == first || p.Leader == NoLeader || !slices.Contains(p.ISR, first) || !c.canLead(p, first) {
		return election{}, false
	}
	return election{isr: p.ISR, lost: NoLeader, preferred: true, acceptable: func(r int32) bool { return c.canLead(p, r) }}, true
}

// uncleanLeader looks for any leader where there is none and the topic allows it.
func (c *Controller) uncleanLeader(t *Topic, p *Partition) (election, bool) {
	if p.Leader != NoLeader || !c.unclean(t.Name) {
		return election{}, false
	}
	return election{isr: p.ISR, lost: NoLeader, acceptable: func(r int32) bool { return c.canLead(p, r) }}, true
}

// uncleanAllowed looks for unclean leaders at once when a record may allow them.
func uncleanAllowed(recs []schema.Record, now time.Time) []machine.Timer {
	for _, r := range recs {
		if r, ok := r.(*schema.Config); ok && r.Key == string(config.UncleanLeaderElectionEnable) {
			return []machine.Timer{{Key: choreUnclean, At: now}}
		}
	}
	return nil
}
