package sim

import (
	"strings"
	"syscall"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// TestStartWithoutRoomForANote: a node that cannot note that it is about to register does not
// register. It would be taken for an old copy of its directory when it is started again, and
// report all that it has as lost.
func TestStartWithoutRoomForANote(t *testing.T) {
	for seed := uint64(1); seed <= 2; seed++ {
		c, out := voters(t, seed)
		victim := c.Nodes[2]
		c.admin.create(TopicSettings{Name: "t", Partitions: 3, RF: 3, MinISR: 2, SegmentBytes: 1 << 20}, func() {})
		serves := func() bool { return victim.Serving }
		startFull := func(served bool) {
			t.Helper()
			victim.Kill()
			victim.Disk.OnOp(func(op env.Op) error {
				if strings.Contains(op.Path, "registered.properties") {
					return syscall.ENOSPC
				}
				return nil
			})
			victim.Start()
			if got := c.RunUntil(forming, serves); got != served {
				t.Fatalf("seed %d: full, it serves: %v", seed, got)
			}
		}
		startFull(false)
		victim.Disk.OnOp(nil)
		if !c.RunUntil(forming, serves) {
			t.Fatalf("seed %d: it does not serve once there is room", seed)
		}
		startFull(false)
		victim.Kill()
		victim.Start()
		if !c.RunUntil(forming, serves) {
			t.Fatalf("seed %d: it does not serve", seed)
		}
		if said := out.String(); strings.Contains(said, "old copy") || c.Err() != nil {
			t.Errorf("seed %d: %v\n%.2000s", seed, c.Err(), said[max(0, strings.Index(said, "old copy")-500):])
		}
	}
}
