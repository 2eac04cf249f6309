package sim

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/node"
)

// TestReturnOfARemovedNode: a node that was removed from the cluster and is started again with
// its old directory says so, and so does the controller; when it is started once more it is a
// broker like others.
func TestReturnOfARemovedNode(t *testing.T) {
	const own, told = "was removed from the cluster after this data directory had been in use", "was removed from the cluster, and has registered again"
	for seed := uint64(1); seed <= 2; seed++ {
		c, out := voters(t, seed)
		victim := c.Nodes[2]
		image := c.Nodes[0].Process.(*node.Node).Image
		restart := func() {
			t.Helper()
			victim.Start()
			if !c.RunUntil(forming, func() bool { return victim.Serving }) {
				t.Fatalf("seed %d: it does not serve again", seed)
			}
		}
		victim.Kill()
		restart()
		if said := out.String(); strings.Contains(said, own) || strings.Contains(said, told) {
			t.Fatalf("seed %d: said of a node that was only down", seed)
		}
		victim.Kill()
		if !c.RunUntil(forming, func() bool { b := image().Broker(victim.Node); return b != nil && b.Fenced }) {
			t.Fatalf("seed %d: it is not missed", seed)
		}
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = victim.Node
		c.admin.callHost(c.Nodes[0], req, 2*requestTimeout, func(kmsg.Response) {})
		if !c.RunUntil(forming, func() bool { return image().Broker(victim.Node) == nil }) {
			t.Fatalf("seed %d: not removed", seed)
		}
		restart()
		restartedOnce := out.String()
		if strings.Count(restartedOnce, own) != 1 || strings.Count(restartedOnce, told) != 1 {
			t.Errorf("seed %d: said %d and %d times", seed, strings.Count(restartedOnce, own), strings.Count(restartedOnce, told))
		}
		victim.Kill()
		restart()
		if strings.Count(out.String(), own) != 1 || strings.Count(out.String(), told) != 1 {
			t.Errorf("seed %d: said of a later start", seed)
		}
	}
}
