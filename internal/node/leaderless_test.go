package node

import (
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/quorum"
)

// TestWhatALeaderlessVoterWaitsFor: a voter counts whom it hears of now, by data directory.
func TestWhatALeaderlessVoterWaitsFor(t *testing.T) {
	now := time.Unix(1000, 0)
	var st quorum.Status
	for i, address := range []string{"a:9093", "b:9093", "c:9093", "d:9093"} {
		q := quorum.Member{NodeID: int32(i + 1), DirectoryID: [16]byte{byte(i + 1)}, Address: address}
		st.Members = append(st.Members, q)
		if q.NodeID < 4 { // the last is a learner
			st.Voters = append(st.Voters, q.ID())
		}
	}
	hello := func(i int, at time.Time) presence { return presence{Identity: identity(st.Members[i]), at: at} }
	wiped := hello(2, now)
	wiped.DirectoryID = [16]byte{9}
	const begin = "the metadata quorum has no leader: it takes 2 of the voters [1 at a:9093, 2 at b:9093, 3 at c:9093], with the data directories that they had, and this node hears of "
	for want, present := range map[string][]presence{
		"[1 at a:9093] only":         {hello(1, now.Add(-presentFor)), wiped, hello(3, now)},
		"[1 at a:9093, 2 at b:9093]": {hello(1, now)},
	} {
		if text := leaderlessText(st, st.Voters[0], present, now); text != begin+want {
			t.Error(text)
		}
	}
}

// TestLeaderlessIsSaidNowAndThen: the same once a minute, something else a little more often.
func TestLeaderlessIsSaidNowAndThen(t *testing.T) {
	now := time.Unix(1000, 0)
	var s saidAt
	for i, c := range []struct {
		after time.Duration
		text  string
		due   bool
	}{
		{0, "a", true}, {time.Second, "a", false}, {2 * time.Second, "b", false}, {leaderlessNews, "b", true},
		{leaderlessNews + time.Second, "b", false}, {leaderlessNews + leaderlessEvery, "b", true},
	} {
		if due := s.due(now.Add(c.after), c.text); due != c.due {
			t.Errorf("step %d: %v", i, due)
		}
	}
}
