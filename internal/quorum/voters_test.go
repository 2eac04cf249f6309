package quorum

import (
	"errors"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// TestOnlyVoter: a member's own log tells whether nobody else votes, before and after changes,
// whether they are in a snapshot or behind it.
func TestOnlyVoter(t *testing.T) {
	if only, err := OnlyVoter(env.NewDisk(1), crashDir, simMember(0)); only || !errors.Is(err, ErrEmpty) {
		t.Fatal(only, err)
	}
	w := newWorld(t, 1, 1)
	lead := w.wait()
	is := func(n *simNode, want bool, when string) {
		t.Helper()
		if only, err := OnlyVoter(n.disk, crashDir, n.member); err != nil || only != want {
			t.Errorf("%s: %v %v", when, only, err)
		}
	}
	is(lead, true, "alone")
	n := w.add(nil)
	w.must(AddLearner, n.member)
	is(lead, true, "with a learner")
	w.agree()
	w.wait()
	w.must(Promote, n.member)
	is(lead, false, "with another voter")
	w.run(time.Second)
	is(n, false, "the other voter")
	w.must(RemoveVoter, n.member)
	is(lead, true, "alone again")
}
