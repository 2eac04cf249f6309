package quorum

import (
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/nodewire"
)

// A node that is about to stop keeps nobody waiting.
func TestEndPulls(t *testing.T) {
	self := Member{NodeID: 1, DirectoryID: [16]byte{1}}
	n, err := Open(Options{FS: env.NewDisk(1), Dir: "m", Clock: env.Real, Self: self, Voters: []Member{self}})
	if err != nil {
		t.Fatal(err)
	}
	n.Start()
	defer n.Close()
	answers := make(chan int16, 2)
	pull := func() {
		n.Pull(&nodewire.PullRequest{From: 1 << 40, MaxWaitMs: 3_600_000}, func(r *nodewire.PullResponse) { answers <- r.ErrorCode })
	}
	pull()
	n.EndPulls()
	pull()
	for range 2 {
		if code := <-answers; code != codeBrokerNotAvailable {
			t.Errorf("code %d", code)
		}
	}
}

// TestRemovedMemberLeadsNobodyAstray: a member that was removed without hearing of it, and
// one that heard of it, tell observers of no leader: what they know is all that they will
// ever know.
func TestRemovedMemberLeadsNobodyAstray(t *testing.T) {
	for _, cut := range []bool{true, false} {
		w := newWorld(t, 1, 3)
		w.wait()
		n := w.add(nil)
		w.must(AddLearner, n.member)
		w.agree()
		leader := func() (id int32) {
			id = -2
			n.node.Pull(&nodewire.PullRequest{From: 1 << 40}, func(r *nodewire.PullResponse) { id = r.Leader.NodeID })
			return id
		}
		w.until("a leader that is told", func() bool { return leader() >= 0 })
		n.cut = cut
		w.must(RemoveVoter, n.member)
		w.run(10 * time.Second)
		if got := leader(); got != -1 {
			t.Errorf("cut %v: leader %d", cut, got)
		}
	}
}
