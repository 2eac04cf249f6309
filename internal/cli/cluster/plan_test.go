package cluster

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// scene is a cluster to plan for.
type scene struct {
	nodes []planNode
	parts []planPartition
	lim   planLimits
}

func draw(t *rapid.T) scene {
	var s scene
	n := rapid.IntRange(1, 8).Draw(t, "nodes")
	racks := rapid.IntRange(0, 3).Draw(t, "racks")
	told := rapid.Bool().Draw(t, "disks told")
	for id := range int32(n) {
		node := planNode{id: id, leaving: rapid.IntRange(0, 5).Draw(t, "leaving") == 0, down: rapid.IntRange(0, 7).Draw(t, "down") == 0}
		if racks > 0 {
			node.rack = fmt.Sprint(rapid.IntRange(1, racks).Draw(t, "rack"))
		}
		if told && rapid.IntRange(0, 4).Draw(t, "tells") > 0 {
			node.total = rapid.Int64Range(1, 20_000).Draw(t, "total")
			node.free = rapid.Int64Range(-100, node.total).Draw(t, "free")
		}
		s.nodes = append(s.nodes, node)
	}
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(i)
	}
	for i := range rapid.IntRange(0, 40).Draw(t, "partitions") {
		all := rapid.Permutation(ids).Draw(t, "replicas")
		s.parts = append(s.parts, planPartition{
			topic: fmt.Sprint("t", i%3), index: int32(i), replicas: all[:rapid.IntRange(1, min(n, 3)).Draw(t, "factor")],
			bytes: rapid.Int64Range(0, 1000).Draw(t, "bytes"), fixed: rapid.IntRange(0, 9).Draw(t, "fixed") == 0,
		})
	}
	s.lim = planLimits{moves: rapid.IntRange(0, 20).Draw(t, "moves"), bytes: rapid.Int64Range(0, 20_000).Draw(t, "limit"), tolerance: 0.02,
		evacuate: rapid.Bool().Draw(t, "evacuate"), reserve: float64(rapid.IntRange(0, 20).Draw(t, "reserve")) / 100}
	return s
}

// after is the scene once a plan is carried out.
func (s scene) after(moves []move) scene {
	s.parts = slices.Clone(s.parts)
	for _, m := range moves {
		for i := range s.parts {
			if s.parts[i].topic == m.topic && s.parts[i].index == m.index {
				s.parts[i].replicas = m.to
			}
		}
	}
	return s
}

// imbalance is the sum of the squares of the loads of the nodes that take replicas, each
// times its node's share.
func (s scene) imbalance() (sum float64) {
	for _, n := range newPlanner(s.nodes, s.parts, s.lim).order {
		if n.takes() {
			sum += n.load() * n.load() * n.share
		}
	}
	return sum
}

// TestPlan: whatever the cluster, a plan keeps replication factors and racks, moves
// nothing to nodes that leave or are down and nothing that moves already, copies to no node
// more than it has room for, keeps to its limits, and where nothing leaves it makes the whole no worse.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := draw(t)
		p := newPlanner(s.nodes, s.parts, s.lim)
		moves, crowded := plan(s.nodes, s.parts, s.lim)
		var copied int64
		incoming := map[int32]int64{}
		for _, m := range moves {
			if len(m.to) != len(m.from) || len(slices.Compact(slices.Sorted(slices.Values(m.to)))) != len(m.to) {
				t.Fatalf("%s-%d goes from %v to %v", m.topic, m.index, m.from, m.to)
			}
			if p.racks(m.to) < p.racks(m.from) {
				t.Fatalf("%s-%d goes from %v to %v, which are in fewer racks", m.topic, m.index, m.from, m.to)
			}
			for _, id := range m.added() {
				incoming[id] += m.bytes / int64(len(m.added()))
				if n := p.nodes[id]; n.leaving || n.down {
					t.Fatalf("%s-%d goes to node %d", m.topic, m.index, id)
				}
			}
			for _, part := range s.parts {
				if part.topic == m.topic && part.index == m.index && part.fixed {
					t.Fatalf("%s-%d is being moved already", m.topic, m.index)
				}
			}
			copied += m.bytes
		}
		if s.lim.moves > 0 && len(moves) > s.lim.moves || s.lim.bytes > 0 && copied > s.lim.bytes {
			t.Fatalf("%d moves of %d bytes; allowed are %+v", len(moves), copied, s.lim)
		}
		for _, n := range s.nodes {
			if room := float64(n.free) - s.lim.reserve*float64(n.total); n.total > 0 && incoming[n.id] > 0 && float64(incoming[n.id]) > room {
				t.Fatalf("%d bytes go to %+v, of which %v stays free", incoming[n.id], n, s.lim.reserve)
			}
		}
		leaving := slices.ContainsFunc(s.nodes, func(n planNode) bool { return n.leaving })
		if before, after := s.imbalance(), s.after(moves).imbalance(); !leaving && after > before+1e-9 {
			t.Fatalf("the imbalance grows from %g to %g", before, after)
		}
		if !leaving && s.lim.moves == 0 && s.lim.bytes == 0 && len(crowded) == 0 {
			if again, _ := plan(s.nodes, s.after(moves).parts, s.lim); len(again) > 0 {
				t.Fatalf("a second plan moves %d partitions once more", len(again))
			}
		}
	})
}

// TestPlanDrainsANode: nothing stays that can go elsewhere, and nobody else's moves.
func TestPlanDrainsANode(t *testing.T) {
	nodes := []planNode{{id: 1}, {id: 2}, {id: 3}, {id: 4, leaving: true}}
	var parts []planPartition
	for i := range int32(30) {
		parts = append(parts, planPartition{topic: "t", index: i, replicas: []int32{i%4 + 1, (i+1)%4 + 1}, bytes: int64(i)})
	}
	moves, _ := plan(nodes, parts, planLimits{evacuate: true})
	for _, m := range moves {
		if !slices.Contains(m.from, 4) || slices.Contains(m.to, 4) {
			t.Errorf("%+v", m)
		}
	}
	if len(moves) != 14 {
		t.Errorf("%d moves", len(moves))
	}
}

// TestANewNodeGetsItsShare of bytes, replicas and leaders, by one plan.
func TestANewNodeGetsItsShare(t *testing.T) {
	nodes := []planNode{{id: 1}, {id: 2}, {id: 3}, {id: 4}}
	s := scene{nodes: nodes, lim: planLimits{tolerance: 0.02}}
	for i := range int32(120) {
		s.parts = append(s.parts, planPartition{topic: "t", index: i, replicas: []int32{i%3 + 1, (i+1)%3 + 1}, bytes: 100})
	}
	moves, _ := plan(s.nodes, s.parts, s.lim)
	done := newPlanner(nodes, s.after(moves).parts, s.lim)
	for _, n := range done.order {
		if len(n.holds) < 59 || len(n.holds) > 61 || n.leads < 29 || n.leads > 31 {
			t.Errorf("node %d has %d replicas and leads %d", n.id, len(n.holds), n.leads)
		}
	}
}

// TestSharesFollowDisks: a node with half the disk gets half the bytes, and leads as much as
// the others; one that does not tell of its disk is taken for an average one.
func TestSharesFollowDisks(t *testing.T) {
	for _, c := range []struct {
		totals   [4]int64
		replicas [4]int
	}{
		{[4]int64{}, [4]int{70, 70, 70, 70}},
		{[4]int64{9 << 30, 9 << 30, 9 << 30, 9 << 30}, [4]int{70, 70, 70, 70}},
		{[4]int64{8000, 8000, 8000, 4000}, [4]int{80, 80, 80, 40}},
		{[4]int64{8000, 0, 0, 4000}, [4]int{93, 70, 70, 47}},
	} {
		s := scene{lim: planLimits{tolerance: 0.02, reserve: 0.1}}
		for i, total := range c.totals {
			s.nodes = append(s.nodes, planNode{id: int32(i + 1), total: total, free: total})
		}
		for i := range int32(140) {
			s.parts = append(s.parts, planPartition{topic: "t", index: i, replicas: []int32{i%3 + 1, (i+1)%3 + 1}, bytes: 10})
		}
		moves, crowded := plan(s.nodes, s.parts, s.lim)
		for i, n := range newPlanner(s.nodes, s.after(moves).parts, s.lim).order {
			if d := len(n.holds) - c.replicas[i]; d < -2 || d > 2 || n.leads < 33 || n.leads > 37 {
				t.Errorf("%v: node %d has %d replicas of 10 bytes, want %d, and leads %d", c.totals, n.id, len(n.holds), c.replicas[i], n.leads)
			}
		}
		if len(crowded) > 0 {
			t.Errorf("%v: no room on %v", c.totals, crowded)
		}
	}
}

// TestPlanLeavesAReserve: a node gets no more than what is free of its disk beside the reserve,
// and it is said that it would get more.
func TestPlanLeavesAReserve(t *testing.T) {
	s := scene{nodes: []planNode{{id: 1, total: 1000, free: 500}, {id: 2, total: 1000, free: 500}, {id: 3, total: 1000, free: 145}}}
	for i := range int32(40) {
		s.parts = append(s.parts, planPartition{topic: "t", index: i, replicas: []int32{i%2 + 1}, bytes: 10})
	}
	moves, crowded := plan(s.nodes, s.parts, planLimits{tolerance: 0.02, reserve: 0.1})
	if len(moves) != 4 || !slices.Equal(crowded, []int32{3}) { // 45 bytes
		t.Errorf("%d moves, no room on %v: %+v", len(moves), crowded, moves)
	}
	if moves, crowded = plan(s.nodes, s.parts, planLimits{tolerance: 0.02}); len(moves) < 12 || len(crowded) > 0 {
		t.Errorf("without a reserve: %d moves, no room on %v", len(moves), crowded)
	}
}

// TestRackOfANodeThatIsGone: a node that is registered no more stands in no rack, so that what takes its replica may
// stand in one with others.
func TestRackOfANodeThatIsGone(t *testing.T) {
	nodes := []planNode{{id: 1, rack: "x"}, {id: 2, rack: "y"}, {id: 3, rack: "y"}, {id: 9, leaving: true, down: true, gone: true}}
	parts := []planPartition{{topic: "t", replicas: []int32{1, 2, 9}}}
	if moves, _ := plan(nodes, parts, planLimits{evacuate: true}); len(moves) != 1 || !slices.Equal(moves[0].to, []int32{1, 2, 3}) {
		t.Errorf("%+v", moves)
	}
}
