package sim

import (
	"log/slog"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/node"
)

// TestFullDiskStopsNobody: with one disk full and two with room, writes to every partition are
// acknowledged within seconds, whichever node it is and whatever it leads; when there is room
// again, all replicas come in sync and the preferred leaders lead.
func TestFullDiskStopsNobody(t *testing.T) {
	const soon = 3 * time.Second // of which a producer that was refused waits some
	for seed := uint64(1); seed <= 4; seed++ {
		cryptotest.SetGlobalRandom(t, seed)
		w := NewWorld(seed, nil)
		s := drawSettings(w.Stream("settings")) // without a Mix: all vote
		s.Nodes, s.SessionTimeout, s.ReplicaLag = 3, 60*time.Second, 60*time.Second
		s.More = append(s.More, "leader.imbalance.check.interval.seconds=5")
		c := newCluster(w, s, slog.New(slog.DiscardHandler), bootNode)
		until := func(limit time.Duration, what string, ok func() bool) {
			t.Helper()
			if !c.RunUntil(limit, ok) {
				t.Fatalf("seed %d: not within %v: %s (%v)", seed, limit, what, c.Err())
			}
		}
		for _, h := range c.Nodes {
			h.Start()
		}
		until(forming, "the cluster forms", func() bool { return c.serving() == 3 })
		made := false
		c.admin.create(TopicSettings{Name: "t", Partitions: 6, RF: 3, MinISR: 2, SegmentBytes: 1 << 20}, func() { made = true })
		until(forming, "a topic is made", func() bool { return made })
		var parts []tp
		for i := range int32(6) {
			parts = append(parts, tp{"t", i})
		}
		p := newProducer(newClient(c.World, "writer", c.brokers(), &c.Rec), parts, -1, true)
		write := func(limit time.Duration) {
			t.Helper()
			p.each()
			until(limit, "all partitions are written", p.idle)
		}
		well := func() bool {
			for _, h := range c.Nodes {
				topic := h.Process.(*node.Node).Image().Topic("t")
				if topic == nil || !all(topic, func(p *metadata.Partition) bool { return len(p.ISR) == 3 && p.Leader == p.Replicas[0] }) {
					return false
				}
			}
			return true
		}
		write(forming)
		for _, victim := range c.Nodes { // one of them leads the metadata
			stats := func() int64 { return victim.Process.(*node.Node).Replicas().Stats().FoundFull }
			until(forming, "all are in sync, and led by whom they prefer", well)
			before := stats()
			victim.Disk.SetFree(0)
			for rounds := 0; stats() < before+6; rounds++ {
				if write(soon); rounds == 1000 {
					t.Fatalf("seed %d: %s found no room for %d of 6", seed, victim.Name, stats()-before)
				}
			}
			for range 5 {
				write(soon)
				c.RunUntil(2*time.Second, func() bool { return false })
			}
			if topic := victim.Process.(*node.Node).Image().Topic("t"); !all(topic, func(p *metadata.Partition) bool { return p.Leader != victim.Node && len(p.ISR) == 2 }) {
				t.Errorf("seed %d: %s leads, or is in sync, without room", seed, victim.Name)
			}
			victim.Disk.SetFree(-1)
		}
		until(forming, "all are in sync again, and led by whom they prefer", well)
		if err := c.Err(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

func all(t *metadata.Topic, ok func(p *metadata.Partition) bool) bool {
	for _, p := range t.Partitions {
		if !ok(p) {
			return false
		}
	}
	return true
}
