package sim

import (
	"log/slog"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/node"
)

// TestFailoverIsQuick: when a process ends, its partitions are led by others long before
// a session ends or an election timeout is over, whichever of the nodes it is.
func TestFailoverIsQuick(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		cryptotest.SetGlobalRandom(t, seed)
		w := NewWorld(seed, nil)
		s := drawSettings(w.Stream("settings")) // without a Mix: all vote
		s.SessionTimeout, s.ReplicaLag = 60*time.Second, 60*time.Second
		c := newCluster(w, s, slog.New(slog.DiscardHandler), bootNode)
		if len(c.Nodes) < 3 {
			continue
		}
		nodes := c.Nodes[:3]
		for _, h := range nodes {
			h.Start()
		}
		until := func(limit time.Duration, what string, ok func() bool) {
			t.Helper()
			if !c.RunUntil(limit, ok) {
				t.Fatalf("seed %d: not within %v: %s", seed, limit, what)
			}
		}
		until(forming, "the cluster forms", func() bool { return c.serving() == 3 })
		made := false
		c.admin.create(TopicSettings{Name: "t", Partitions: 6, RF: 3, MinISR: 2, SegmentBytes: 1 << 20}, func() { made = true })
		until(forming, "a topic is made", func() bool { return made })
		// every tells whether something holds for each partition, in the eyes of all who live.
		every := func(ok func(p *metadata.Partition) bool) bool {
			for _, h := range nodes {
				if !h.Up() {
					continue
				}
				topic := h.Process.(*node.Node).Image().Topic("t")
				if topic == nil {
					return false
				}
				for _, p := range topic.Partitions {
					if !ok(p) {
						return false
					}
				}
			}
			return true
		}
		for _, victim := range nodes { // one of them leads the metadata
			until(forming, "all are in sync", func() bool {
				return every(func(p *metadata.Partition) bool { return len(p.ISR) == 3 && p.Leader >= 0 })
			})
			c.RunUntil(time.Second, func() bool { return false })
			victim.Kill()
			until(900*time.Millisecond, "others lead", func() bool {
				return every(func(p *metadata.Partition) bool { return p.Leader >= 0 && p.Leader != victim.Node })
			})
			victim.Start()
			until(forming, "it serves again", func() bool { return victim.Serving })
		}
	}
}
