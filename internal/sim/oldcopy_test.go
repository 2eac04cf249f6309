package sim

import (
	"log/slog"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/node"
)

// TestOldCopyOfPartitions: a copy of a node's partitions, made before it was last started,
// is put back. The replicas in it are not led from, though the node has them by right: the
// one that has all records is waited for. A stop at any moment of a start is no such copy.
func TestOldCopyOfPartitions(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		cryptotest.SetGlobalRandom(t, seed)
		w := NewWorld(seed, nil)
		s := drawSettings(w.Stream("settings"))
		s.Nodes, s.More = 5, append(s.More, "auto.leader.rebalance.enable=false")
		c := newCluster(w, s, slog.New(slog.DiscardHandler), bootNode)
		until := func(what string, ok func() bool) {
			t.Helper()
			if !c.RunUntil(forming, ok) {
				t.Fatalf("seed %d: not in time: %s", seed, what)
			}
		}
		index := int32(0)
		partition := func() *metadata.Partition {
			var newest *metadata.Image
			for _, h := range c.Nodes {
				if n, ok := h.Process.(*node.Node); ok && (newest == nil || n.Image().Index() > newest.Index()) {
					newest = n.Image()
				}
			}
			return newest.Partition("t", index)
		}
		whole := func() bool { p := partition(); return len(p.ISR) == 3 && p.Leader >= 0 && c.serving() == 5 }
		for _, h := range c.Nodes {
			h.Start()
		}
		until("the cluster forms", func() bool { return c.serving() == 5 })
		made := false
		c.admin.create(TopicSettings{Name: "t", Partitions: 20, RF: 3, MinISR: 2, SegmentBytes: 1 << 20}, func() { made = true })
		until("a topic is made", func() bool { return made })
		c.RunUntil(10*time.Second, func() bool { return false }) // three of them vote by then

		// One of the replicas at most is with a voter, so that the metadata go on.
		var hosts []*Host
		for ; len(hosts) != 3; index++ {
			hosts = hosts[:0]
			for _, r := range partition().Replicas {
				h := c.Nodes[r-1]
				if id, st, ok := h.Process.(*node.Node).Voter(); ok && slices.Contains(st.Voters, id) {
					hosts = slices.Insert(hosts, 0, h)
				} else {
					hosts = append(hosts, h)
				}
			}
			if id, st, ok := hosts[1].Process.(*node.Node).Voter(); ok && slices.Contains(st.Voters, id) {
				hosts = nil
			}
		}
		index--
		until("all are in sync", whole)

		first, second, victim := hosts[0], hosts[1], hosts[2]
		before := victim.Disk.KillClone()
		for cut := range 8 { // stops while it starts, one later than the other
			victim.Kill()
			victim.Start()
			c.RunUntil(time.Duration(cut)*20*time.Millisecond, func() bool { return false })
		}
		// The first is the last one in sync, the victim has the same records.
		eligible := func() {
			t.Helper()
			until("all are in sync", whole)
			second.Kill()
			until("two are in sync", func() bool { return len(partition().ISR) == 2 })
			victim.Kill()
			until("one is in sync, the other eligible", func() bool {
				p := partition()
				return len(p.ISR) == 1 && p.ISR[0] == first.Node && len(p.ELR()) == 1 && p.ELR()[0] == victim.Node
			})
			first.Kill()
			second.Start()
		}
		eligible()
		victim.Start()
		until("the eligible one leads", func() bool { return victim.Serving && partition().Leader == victim.Node })
		first.Start()

		eligible()
		victim.Disk = before
		victim.Start()
		until("it serves", func() bool { return victim.Serving && second.Serving })
		if !c.RunUntil(10*time.Second, func() bool { return partition().Leader >= 0 }) {
			first.Start()
		}
		until("somebody leads", func() bool { return partition().Leader >= 0 })
		if p := partition(); p.Leader != first.Node {
			t.Fatalf("seed %d: %d leads, which was put back: %+v", seed, p.Leader, p)
		}
		until("all are in sync", whole)
	}
}
