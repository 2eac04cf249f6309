package sim

import (
	"log/slog"
	"testing"
	"testing/cryptotest"
	"time"
)

// TestStartOnASlowDisk: whatever takes too long while a node starts is begun again. A
// node that leads the metadata, and whose first decision was not committed in time, waits
// for nobody else to see to it.
func TestStartOnASlowDisk(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		cryptotest.SetGlobalRandom(t, seed)
		w := NewWorld(seed, nil)
		s := drawSettings(w.Stream("settings"))
		s.Nodes = 1 + 2*int(seed%2)
		c := newCluster(w, s, slog.New(slog.DiscardHandler), bootNode)
		until := func(limit time.Duration, what string, ok func() bool) {
			t.Helper()
			if !c.RunUntil(limit, ok) {
				t.Fatalf("seed %d: not within %v: %s", seed, limit, what)
			}
		}
		up := func() bool { return c.serving() == len(c.Nodes) }
		for _, h := range c.Nodes {
			h.syncDelay = 40 * time.Second
			h.Start()
		}
		c.RunUntil(3*time.Minute, up)
		for _, h := range c.Nodes {
			h.syncDelay = 0
		}
		until(forming, "the cluster forms", up)
		for range 3 { // and so when they start again
			for _, h := range c.Nodes {
				h.Kill()
				h.syncDelay = 40 * time.Second
				h.Start()
			}
			c.RunUntil(3*time.Minute, up)
			for _, h := range c.Nodes {
				h.syncDelay = 0
			}
			until(forming, "all serve again", up)
		}
	}
}
