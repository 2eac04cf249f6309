package sim

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"
)

// TestFlipsWhereTwoAreInSync: bits flip only where nothing is acknowledged that one replica
// alone may have.
func TestFlipsWhereTwoAreInSync(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	var trace bytes.Buffer
	c := newCluster(NewWorld(1, &trace), Settings{
		Nodes: 3, SessionTimeout: 2 * time.Second, ReplicaLag: 3 * time.Second, SnapshotBytes: 16 << 10, OffsetsRF: 3,
		GroupSession: 6 * time.Second,
	}, slog.New(slog.DiscardHandler), bootNode)
	until := func(what string, done func() bool) {
		t.Helper()
		if !c.RunUntil(forming, done) {
			t.Fatalf("not so: %s: %v", what, c.Err())
		}
	}
	for _, h := range c.Nodes {
		h.Start()
	}
	until("the cluster forms", func() bool { return c.serving() == 3 })
	made := 0
	var parts []tp
	for i, name := range []string{"one", "two"} {
		c.admin.create(TopicSettings{Name: name, Partitions: 1, RF: 3, MinISR: i + 1, SegmentBytes: 1 << 20}, func() { made++ })
		parts = append(parts, tp{name, 0})
	}
	until("the topics are made", func() bool { return made == 2 })
	p := newProducer(newClient(c.World, "writer", c.brokers(), &c.Rec), parts, -1, true)
	p.each()
	until("both are written", p.idle)
	f := newFaults(c)
	for range 40 {
		f.flip()
	}
	if err := c.trace.Flush(); err != nil {
		t.Fatal(err)
	}
	if all := trace.String(); !strings.Contains(all, "a bit of /data/two-0") || strings.Contains(all, "a bit of /data/one-0") {
		t.Errorf("%d bits flipped, of them in the wrong topic: %d", c.Count["bit flipped"], strings.Count(all, "a bit of /data/one-0"))
	}
}
