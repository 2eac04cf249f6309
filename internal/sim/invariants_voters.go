package sim

import (
	"slices"
	"time"

	"github.com/leat-stream/leat/internal/quorum"
)

// voterWatch looks, in a cluster that gets its voters by itself, at how many there are.
//
//   - There are never more than three.
//   - From one voter it goes to two, and from three to two, only while somebody is at hand
//     who learns, and goes on to three.
//   - It rests at two for no longer than it takes to find a third or to go back to one: as
//     long as nothing is wrong, restsFor at most.
type voterWatch struct {
	c      *Cluster
	at     uint64 // entry of the newest state that was seen
	voters []uint64
	calm   time.Duration // that two voters have been so while nothing was wrong
}

const (
	watchEvery = 20 * time.Millisecond
	// restsFor is more than the policy takes to give up on a third voter, and the quorum to
	// follow it.
	restsFor = 25 * time.Second
)

// watchVoters begins to look.
func (c *Cluster) watchVoters() {
	if c.Settings.Mix.Join {
		c.voters = &voterWatch{c: c}
		c.voters.look()
	}
}

// newest is the state of the voter that has applied most.
func (v *voterWatch) newest() (st quorum.Status, ok bool) {
	for _, h := range v.c.Nodes {
		if p, is := h.Process.(voter); is {
			if _, s, has := p.Voter(); has && len(s.Voters) > 0 && (!ok || s.Applied > st.Applied) {
				st, ok = s, true
			}
		}
	}
	return st, ok
}

func (v *voterWatch) look() {
	v.c.Clock.AfterFunc(watchEvery, v.look)
	st, ok := v.newest()
	if !ok || st.Applied < v.at {
		return
	}
	v.at = st.Applied
	was := len(v.voters)
	now := len(st.Voters)
	if !slices.Equal(v.voters, st.Voters) {
		v.voters = slices.Clone(st.Voters)
		v.c.Tracef("voters of the metadata: %x, learners %x", st.Voters, st.Learners)
		v.moved(was, now, len(st.Learners))
	}
	switch {
	case now != 2:
		v.calm = 0
	case !v.c.wrong():
		if v.calm += watchEvery; v.calm > restsFor {
			v.c.Failf("the metadata rests at two voters: nothing has been wrong for %v of it, and %d learn", v.calm, len(st.Learners))
		}
	}
}

// moved looks at a change of how many voters there are.
func (v *voterWatch) moved(was, now, learners int) {
	switch {
	case now > 3:
		v.c.Failf("there are %d voters of the metadata", now)
	case was == 0 || was == now:
	case now == 2 && was == 1 && learners == 0:
		v.c.Failf("the metadata went from one voter to two, with no third at hand")
	case now == 2 && was == 3 && learners == 0:
		v.c.Failf("the metadata went from three voters to two, with nobody at hand to take the place")
	case now == 3:
		v.c.Count["grown to three voters"]++
	case now == 2 && was == 3:
		v.c.Count["a voter gives way to another"]++
	case now == 1:
		v.c.Count["back to one voter"]++
	}
}

// enough tells whether the cluster has the voters that it should have once all is well.
func (v *voterWatch) enough() bool {
	want := 1
	if len(v.c.Settings.controllers()) >= 3 {
		want = 3
	}
	return len(v.voters) == want
}

// wrong tells whether anything is as it should not be in a healthy cluster.
func (c *Cluster) wrong() bool {
	for _, h := range c.Nodes {
		if !h.Serving || h.paused || h.syncDelay > 0 || h.Disk.Crashed() || c.faults != nil && c.faults.failing(h) {
			return true
		}
	}
	for _, p := range c.paths {
		if p != fast {
			return true
		}
	}
	return false
}
