package group

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/leat-stream/leat/internal/machine"
)

// Timer keys are a letter and what it is for. A session's names two strings that
// may hold any byte, so the first one's length comes before it.
const (
	timerJoin    = 'j' // a group's join phase ends
	timerSync    = 'y' // members that have not synced are dropped
	timerSession = 's' // a member, or a pending one, has not been heard of
	timerExpire  = 'x' // look for expired offsets
	timerForget  = 'f' // go on removing the offsets of deleted topics
)

func joinKey(g *group) string { return string(timerJoin) + g.id }
func syncKey(g *group) string { return string(timerSync) + g.id }

func sessionKey(g *group, memberID string) string {
	return string(timerSession) + strconv.Itoa(len(g.id)) + ":" + g.id + memberID
}

// splitSessionKey undoes sessionKey, the letter taken off.
func splitSessionKey(s string) (group, memberID string, ok bool) {
	n, rest, ok := strings.Cut(s, ":")
	if !ok {
		return "", "", false
	}
	size, err := strconv.Atoi(n)
	if err != nil || size < 0 || size > len(rest) {
		return "", "", false
	}
	return rest[:size], rest[size:], true
}

// millis is d in milliseconds, as far as the protocol can say it.
func millis(d time.Duration) int32 { return int32(min(d.Milliseconds(), math.MaxInt32)) }

// after sets a timer in ms milliseconds.
func (t *turn) after(key string, ms int32) time.Time {
	at := t.now.Add(time.Duration(max(ms, 0)) * time.Millisecond)
	t.out.Timers = append(t.out.Timers, machine.Timer{Key: key, At: at})
	return at
}

func (t *turn) cancel(key string) {
	t.out.Timers = append(t.out.Timers, machine.Timer{Key: key})
}

// arm gives a member a session, or a further one.
func (t *turn) arm(g *group, m *member) { t.armFor(g, m, m.sessionTimeout) }

func (t *turn) armFor(g *group, m *member, ms int32) {
	m.deadline = t.after(sessionKey(g, m.id), ms)
}

// disarm ends the session of a member, or of a pending one.
func (t *turn) disarm(g *group, memberID string) { t.cancel(sessionKey(g, memberID)) }

// fired handles a timer. A timer whose reason is gone does nothing.
func (t *turn) fired(key string) {
	if key == "" {
		return
	}
	switch arg := key[1:]; key[0] {
	case timerExpire:
		t.expire()
	case timerForget:
		t.forget()
	case timerJoin:
		if g := t.groups[arg]; g != nil && g.state == preparing {
			t.joinDue(g)
		}
	case timerSync:
		if g := t.groups[arg]; g != nil && (g.state == completing || g.state == stable) {
			t.syncDue(g)
		}
	case timerSession:
		if id, memberID, ok := splitSessionKey(arg); ok {
			if g := t.groups[id]; g != nil {
				t.sessionDue(g, memberID)
			}
		}
	}
}

// sessionDue drops a member that has not been heard of. One whose join or sync is
// parked is alive, unless its first join has been parked for too long.
func (t *turn) sessionDue(g *group, memberID string) {
	if g.pending.remove(memberID) {
		t.completeIfAllJoined(g)
		t.prune(g)
		return
	}
	m := g.members.get(memberID)
	switch {
	case m == nil:
	case t.now.Before(m.deadline):
		t.out.Timers = append(t.out.Timers, machine.Timer{Key: sessionKey(g, memberID), At: m.deadline})
	case !m.fresh && (m.joining != 0 || m.syncing != 0):
	default:
		t.drop(g, m, codeUnknownMember, SessionTimeout, "")
		switch g.state {
		case stable, completing:
			t.prepareRebalance(g, "member "+memberID+" was not heard of")
		case preparing:
			t.completeIfAllJoined(g)
		}
	}
}

// completeIfAllJoined ends the join phase when the last one missing is gone.
func (t *turn) completeIfAllJoined(g *group) {
	if g.state == preparing && g.allJoined() {
		t.completeJoin(g)
	}
}
