package metadata

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/schema"
)

// session is what this controller knows of a broker's being alive. It is
// volatile, and holds one entry per registered broker at most.
type session struct {
	// due is when the broker is fenced if it is not heard from.
	due time.Time
	// heard tells whether this controller has heard from the broker itself.
	heard bool
	// doubted tells that a connection with it broke since it was last heard from.
	doubted bool
	// index is the log index that the broker has said it reached.
	index int64
	// left is the index at which a broker that shuts down had no more to lead;
	// 0 before.
	left int64
}

const sessionPrefix = "session:"

func sessionKey(broker int32) string { return sessionPrefix + strconv.Itoa(int(broker)) }

// touch renews a broker's session and returns the timer that ends it.
func (c *Controller) touch(broker int32, now time.Time, heard bool) machine.Timer {
	s := c.sessions[broker]
	if s == nil {
		s = &session{}
		c.sessions[broker] = s
	}
	s.heard = s.heard || heard
	s.doubted = s.doubted && !heard
	s.due = now.Add(config.Millis(c.settings(), config.BrokerSessionTimeoutMs))
	return machine.Timer{Key: sessionKey(broker), At: s.due}
}

// alive tells whether a broker was heard from within its session.
func (c *Controller) alive(broker int32, now time.Time) bool {
	s := c.sessions[broker]
	return s != nil && s.heard && now.Before(s.due)
}

// timerFired does a chore, or fences a broker whose session has ended.
func (c *Controller) timerFired(key string, now time.Time) outcome {
	if o, ok := c.chore(key, now); ok {
		return o
	}
	text, ok := strings.CutPrefix(key, sessionPrefix)
	id, err := strconv.ParseInt(text, 10, 32)
	s := c.sessions[int32(id)]
	b := c.View().Broker(int32(id))
	if !ok || err != nil || s == nil || b == nil || b.Fenced {
		return outcome{}
	}
	if now.Before(s.due) {
		return outcome{timers: []machine.Timer{{Key: key, At: s.due}}}
	}
	return outcome{recs: c.fence(b)}
}

// fence takes a broker out of service.
func (c *Controller) fence(b *Broker) []schema.Record {
	recs := c.leave(leaving{broker: b.ID, keepSole: true})
	return append(recs, &schema.BrokerChange{BrokerID: b.ID, Epoch: b.Epoch, Fence: 1})
}

// heartbeat answers BrokerHeartbeat (versions 0 and 1).
func (c *Controller) heartbeat(req *kmsg.BrokerHeartbeatRequest, now time.Time) outcome {
	resp := req.ResponseKind().(*kmsg.BrokerHeartbeatResponse)
	b, err := c.checkEpoch(req.BrokerID, req.BrokerEpoch)
	if err != nil {
		resp.ErrorCode, _ = code(err)
		return outcome{body: resp}
	}
	timer := c.touch(b.ID, now, true)
	s := c.sessions[b.ID]
	s.index = req.CurrentMetadataOffset
	after, recs, shutdown := *b, []schema.Record(nil), false
	if gone := offline(b, req.OfflineLogDirs); len(gone) > 0 {
		// What else the broker wants waits for its next heartbeat, since it would be
		// decided on partitions as they were before.
		recs = c.directoriesGone(b, gone)
	} else {
		recs, shutdown = c.wish(req, &after, s, now)
	}
	resp.IsCaughtUp = req.CurrentMetadataOffset >= b.RegisteredAt
	resp.IsFenced, resp.ShouldShutdown = after.Fenced, shutdown
	if shutdown {
		delete(c.sessions, b.ID) // its next incarnation need not wait for the end of this one
	}
	return outcome{body: resp, recs: recs, timers: []machine.Timer{timer}}
}

// offline are the directories that were online and no longer are.
func offline(b *Broker, now [][16]byte) [][16]byte {
	var gone [][16]byte
	for _, id := range now {
		if slices.Contains(b.Directories, id) && !slices.Contains(gone, id) {
			gone = append(gone, id)
		}
	}
	return gone
}

// directoriesGone takes the replicas in failed directories out of service. They
// are not lost: they count again when their directory is back.
func (c *Controller) directoriesGone(b *Broker, gone [][16]byte) []schema.Record {
	left := [][16]byte{} // not nil, which is no change
	for _, id := range b.Directories {
		if !slices.Contains(gone, id) {
			left = append(left, id)
		}
	}
	recs := c.leave(leaving{broker: b.ID, directories: gone})
	return append(recs, &schema.BrokerChange{BrokerID: b.ID, Epoch: b.Epoch, Directories: left})
}

// wish decides what a heartbeat asks for; b is changed to the state that follows.
func (c *Controller) wish(req *kmsg.BrokerHeartbeatRequest, b *Broker, s *session, now time.Time) (recs []schema.Record, shutdown bool) {
	switch {
	case b.Fenced && req.WantShutdown:
		return nil, true
	case b.Fenced:
		// Only a new registration ends a controlled shutdown.
		if req.WantFence || b.InControlledShutdown || req.CurrentMetadataOffset < b.RegisteredAt {
			return nil, false
		}
		b.Fenced = false
		recs = append(recs, &schema.BrokerChange{BrokerID: b.ID, Epoch: b.Epoch, Fence: -1})
		return append(recs, c.join(b)...), false
	case req.WantFence:
		recs, b.Fenced = c.fence(b), true
		return recs, req.WantShutdown
	case b.InControlledShutdown:
		if c.leadsMovable(b.ID) {
			return nil, false
		}
		if s.left == 0 {
			s.left = max(c.View().Index(), 1)
		}
		if c.lowestIndex(b.ID, now) < s.left {
			return nil, false // others may still send requests here
		}
		recs, b.Fenced = c.fence(b), true
		return recs, true
	case req.WantShutdown && c.leadsMovable(b.ID):
		b.InControlledShutdown = true
		recs = append(recs, &schema.BrokerChange{BrokerID: b.ID, Epoch: b.Epoch, ControlledShutdown: 1})
		return append(recs, c.leave(leaving{broker: b.ID, keepSole: true})...), false
	case req.WantShutdown:
		recs, b.Fenced = c.fence(b), true
		return recs, true
	}
	return nil, false
}

// lowestIndex is the least log index that a live broker other than one has reached.
func (c *Controller) lowestIndex(other int32, now time.Time) int64 {
	lowest := int64(math.MaxInt64)
	for _, b := range c.View().Brokers() {
		if b.ID != other && b.Active() && c.alive(b.ID, now) {
			lowest = min(lowest, c.sessions[b.ID].index)
		}
	}
	return lowest
}
