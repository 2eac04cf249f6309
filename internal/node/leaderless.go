package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leat-stream/leat/internal/quorum"
)

// saidAt is what was said last, and when.
type saidAt struct {
	text string
	at   time.Time
}

const (
	// leaderlessEvery is how often a voter says the same about its waiting for a leader,
	// leaderlessNews how often it says something else.
	leaderlessEvery = time.Minute
	leaderlessNews  = 10 * time.Second
)

// due tells whether a text is to be said now.
func (s *saidAt) due(now time.Time, text string) bool {
	pause := leaderlessEvery
	if text != s.text {
		pause = leaderlessNews
	}
	if !s.at.IsZero() && now.Sub(s.at) < pause {
		return false
	}
	s.text, s.at = text, now
	return true
}

// tellLeaderless says what a voter waits for that has no leader: how many of the voters it
// takes, and of which this node hears.
func (m *metadataLog) tellLeaderless(now time.Time) {
	l := m.log.Load()
	if l == nil {
		return
	}
	if _, known := m.leader(); known {
		return
	}
	st := l.Node().Status()
	if !slices.Contains(st.Voters, l.Node().ID()) {
		return
	}
	if text := leaderlessText(st, l.Node().ID(), m.n.present.all(), now); m.waits.due(now, text) {
		m.n.log.Warn(text)
	}
}

// leaderlessText is that in words; present are the nodes that said hello.
func leaderlessText(st quorum.Status, self uint64, present []presence, now time.Time) string {
	var voters, heard []string
	for _, q := range st.Members {
		if !slices.Contains(st.Voters, q.ID()) {
			continue
		}
		name := fmt.Sprintf("%d at %s", q.NodeID, q.Address)
		voters = append(voters, name)
		if q.ID() == self || slices.ContainsFunc(present, func(p presence) bool {
			return p.NodeID == q.NodeID && p.DirectoryID == q.DirectoryID && now.Sub(p.at) < presentFor
		}) {
			heard = append(heard, name)
		}
	}
	slices.Sort(voters)
	slices.Sort(heard)
	most, only := len(voters)/2+1, ""
	if len(heard) < most {
		only = " only"
	}
	return fmt.Sprintf("the metadata quorum has no leader: it takes %d of the voters [%s], with the data directories that they had, and this node hears of [%s]%s",
		most, strings.Join(voters, ", "), strings.Join(heard, ", "), only)
}
