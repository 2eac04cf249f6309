package quorum

import (
	"testing"

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
