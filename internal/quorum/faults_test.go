package quorum

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// fault does one thing that must not matter.
func (w *world) fault() {
	var alive []*simNode
	for _, n := range w.nodes {
		if n.node != nil {
			alive = append(alive, n)
		}
	}
	if len(alive) == 0 {
		return
	}
	n := alive[w.rng.IntN(len(alive))]
	switch w.rng.IntN(6) {
	case 0:
		n.crash()
	case 1, 2:
		n.cut = true
		w.after(w.between(100*time.Millisecond, 6*time.Second), func() { n.cut = false })
	case 3:
		for _, n := range alive {
			if w.chance(0.7) {
				n.crash()
			}
		}
	case 4:
		n.paused = true
		n.part.Pause(true)
		w.count("pause")
		life := n.life
		w.after(w.between(100*time.Millisecond, 5*time.Second), func() {
			if n.life == life {
				n.paused = false
				n.part.Pause(false)
			}
		})
	case 5:
		n.disk.CrashAt(1 + w.rng.IntN(8)) // the power goes within a write
	}
}

// rebuild changes the membership by a step, as an operator would.
func (w *world) rebuild() {
	lead := w.leader()
	if lead == nil || lead.paused {
		return
	}
	st := lead.node.Status()
	ch := Change{Kind: ChangeKind(w.rng.IntN(4))}
	switch {
	case ch.Kind == AddLearner && len(st.Members) < 6 && len(w.nodes) < 30:
		ch.Member = w.add(nil).member
	case ch.Kind == Promote && len(st.Learners) > 0:
		ch.Member = w.byID[st.Learners[w.rng.IntN(len(st.Learners))]].member
	case ch.Kind == RemoveVoter && len(st.Members) > 3 && w.chance(0.5):
		ch.Member = st.Members[w.rng.IntN(len(st.Members))]
	case ch.Kind == UpdateAddress:
		ch.Member = st.Members[w.rng.IntN(len(st.Members))]
		ch.Member.Address = fmt.Sprint("host:", w.rng.IntN(1000))
	default:
		return
	}
	if lead.node.opts.Self.ID() == ch.Member.ID() && ch.Kind == RemoveVoter {
		w.count("leader to be removed")
	}
	lead.node.Change(ch, func(err error) {
		w.note("change %v: %v", ch, err)
		if err == nil {
			w.count(fmt.Sprint("change ", ch.Kind))
		}
	})
}

// simulate runs a group under faults, then lets it heal and checks that it agrees.
func simulate(t *testing.T, seed uint64, nodes int, faults time.Duration) *world {
	w := newWorld(t, seed, nodes)
	w.lossy = true
	w.every(time.Millisecond, 60*time.Millisecond, w.propose)
	w.every(200*time.Millisecond, 3*time.Second, w.fault)
	w.every(100*time.Millisecond, time.Second, w.rebuild)
	w.run(faults)
	w.calm = true
	for _, n := range w.nodes {
		if n.node != nil {
			n.disk.CrashAt(0)
		}
	}
	w.run(20 * time.Second) // everything heals
	before := w.highest
	w.propose()
	w.until("a commit after all faults are gone", func() bool { return w.highest > before })
	w.agree()
	all := map[string]bool{}
	for _, what := range w.committed {
		var term int
		var p string
		_, _ = fmt.Sscan(what, &term, &p)
		all[p] = true
	}
	for _, p := range slices.Sorted(maps.Keys(w.acked)) {
		if !all[p] {
			t.Fatalf("seed %d: %s was acknowledged and is gone", seed, p)
		}
	}
	return w
}

// TestGroupUnderFaults: replication, failover, restarts, snapshots and changes of
// membership under lost, doubled and reordered messages, cuts, pauses, kills and power
// losses.
func TestGroupUnderFaults(t *testing.T) {
	counts, acked := map[string]int{}, 0
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := simulate(t, seed, 3, 30*time.Second)
			for what, n := range w.counts {
				counts[what] += n
			}
			acked += len(w.acked)
		})
	}
	t.Logf("%v, %d proposals acknowledged", counts, acked)
	for what, least := range map[string]int{
		"install": 10, "election": 40, "crash": 50, "pause": 10, "resign": 10, "fetch broken off": 5, "leader to be removed": 3,
		"change 0": 10, "change 1": 10, "change 2": 5, "change 3": 10,
	} {
		if counts[what] < least {
			t.Errorf("the faults do not explore: %d times %s, want %d", counts[what], what, least)
		}
	}
	if acked < 1000 {
		t.Errorf("%d proposals acknowledged", acked)
	}
}

// TestGroupOfOneAndFive: other sizes.
func TestGroupOfOneAndFive(t *testing.T) {
	for _, nodes := range []int{1, 5} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) { simulate(t, 99, nodes, 20*time.Second) })
	}
}

// TestGroupIsRepeatable: the same seed is the same history.
func TestGroupIsRepeatable(t *testing.T) {
	var traces []uint64
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			traces = append(traces, simulate(t, 7+uint64(i/2), 3, 20*time.Second).trace)
		})
	}
	if len(traces) < 3 {
		t.Fatal("no traces")
	}
	if traces[0] != traces[1] {
		t.Fatalf("one seed, two traces: %x %x", traces[0], traces[1])
	}
	if traces[0] == traces[2] {
		t.Fatal("two seeds, one trace")
	}
}
