package sim

import (
	"log/slog"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/replica"
)

// TestLateWish: a leader's wish for a larger in-sync set gets no answer, since it is stuck
// on its way; asked again, the controller refuses it, for the replica that is to join is
// fenced by then. That refusal does not settle the first one: the replica comes back
// without what was written since, and the request arrives.
func TestLateWish(t *testing.T) {
	ran := 0
	for seed := uint64(1); seed <= 12; seed++ {
		cryptotest.SetGlobalRandom(t, seed)
		c := newCluster(NewWorld(seed, nil), Settings{
			Nodes: 4, SessionTimeout: 4 * time.Second, ReplicaLag: 500 * time.Millisecond, SnapshotBytes: 1 << 20, OffsetsRF: 3, Producers: 3,
			Topics: []TopicSettings{{Name: "t0", Partitions: 8, RF: 3, MinISR: 1, SegmentBytes: 1 << 20}},
			More:   []string{"leat.broker.hint.timeout.ms=300"},
		}, slog.New(slog.DiscardHandler), bootNode)
		c.load = Load{}
		until := func(limit time.Duration, what string, ok func() bool) {
			t.Helper()
			if !c.RunUntil(limit, ok) {
				t.Fatalf("seed %d: not within %v: %s: %v", seed, limit, what, c.Err())
			}
		}
		for _, h := range c.Nodes {
			h.Start()
		}
		until(forming, "the cluster forms", func() bool { return c.serving() == 4 })
		made := false
		c.admin.create(c.Settings.Topics[0], func() { made = true })
		until(forming, "the topic is made", func() bool { return made })
		c.startClients()
		index := int32(-1) // of a partition that is led by the node without a vote
		leader := c.Nodes[3]
		part := func() *metadata.Partition { return c.inv.newest.Partition("t0", index) }
		until(forming, "all are in sync", func() bool {
			for _, p := range c.inv.newest.Topic("t0").Partitions {
				if len(p.ISR) < 3 {
					return false
				}
				if p.Leader == leader.Node {
					index = p.Index
				}
			}
			return true
		})
		if index < 0 {
			continue
		}
		var controller, follower *Host
		for _, h := range c.Nodes[:3] {
			id, st, _ := h.Process.(voter).Voter()
			switch {
			case st.Leader == id:
				controller = h
			case slices.Contains(part().ISR, h.Node):
				follower = h
			}
		}
		ran++
		wishes := func() bool {
			r, err := leader.Process.(insides).Replicas().Find(replica.Ref{Topic: "t0", Index: index})
			if err != nil {
				return false
			}
			w, ok := r.Wish()
			return ok && slices.Contains(w.ISR, follower.Node)
		}
		follower.Pause()
		until(10*time.Second, "the follower is out of sync", func() bool { return !slices.Contains(part().ISR, follower.Node) })
		c.SetPath(leader, controller, Path{Min: fast.Min, Max: fast.Max, Stuck: 1, StuckFor: 12 * time.Second})
		follower.Resume()
		until(10*time.Second, "the leader wishes it back", wishes)
		c.RunUntil(20*time.Millisecond, func() bool { return false })
		c.SetPath(leader, controller, Path{Min: fast.Min, Max: fast.Max, Blocked: true})
		follower.Pause()
		for _, l := range slices.Clone(c.links) {
			if l.from == follower && l.to == controller {
				l.Reset() // so that it is fenced before the leader is
			}
		}
		until(10*time.Second, "the follower is fenced", func() bool { return c.inv.newest.Broker(follower.Node).Fenced })
		c.SetPath(leader, controller, fast)
		c.SetPath(follower, leader, Path{Min: fast.Min, Max: fast.Max, Blocked: true}) // it cannot catch up
		c.RunUntil(500*time.Millisecond, func() bool { return false })
		follower.Resume()
		if err := c.Run(20 * time.Second); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if c.Count["request stuck"] == 0 {
			t.Errorf("seed %d: no request was stuck", seed)
		}
	}
	if ran < 3 {
		t.Errorf("only %d runs had a wish that crosses the network", ran)
	}
}
