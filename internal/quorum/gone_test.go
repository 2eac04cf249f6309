package quorum

import (
	"testing"
	"time"
)

// TestLeaderGone: followers that know that their leader has ended do not wait for its
// silence; they are told one after the other, and the leader is followed on if they
// were told wrongly.
func TestLeaderGone(t *testing.T) {
	for seed := range uint64(20) {
		moved := map[*simNode]int{}
		w := newWorld(t, seed, 3)
		old := w.wait()
		old.stop()
		at := w.now()
		for i, n := range w.nodes {
			if n == old {
				continue
			}
			n.node.opts.Moved = func() { moved[n]++ }
			w.after(time.Duration(i)*40*time.Millisecond, func() { n.node.LeaderGone(old.member.ID()) })
		}
		w.until("another leads", func() bool { l := w.leader(); return l != nil && l != old })
		if d := w.now() - at; d > 800*time.Millisecond {
			t.Fatalf("seed %d: it took %v, the least election timeout is 1s", seed, d)
		}
		if moved[w.leader()] < 2 {
			t.Errorf("seed %d: the new leader was told %d times", seed, moved[w.leader()])
		}
	}
}

// TestLeaderNotGone: a leader that is taken for gone by one goes on leading.
func TestLeaderNotGone(t *testing.T) {
	w := newWorld(t, 3, 3)
	old := w.wait()
	term := old.term
	for i := range 5 {
		w.nodes[(old.number+1)%3].node.LeaderGone(old.member.ID())
		w.nodes[old.number].node.LeaderGone(old.member.ID()) // it knows better
		w.run(time.Duration(i) * 100 * time.Millisecond)
	}
	w.run(5 * time.Second)
	if w.leader() != old || old.term != term {
		t.Fatalf("%v leads in term %d; want %d in %d", w.leader().number, w.leader().term, old.number, term)
	}
}
