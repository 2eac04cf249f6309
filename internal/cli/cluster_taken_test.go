package cli

import (
	"slices"
	"strings"
	"testing"
)

// TestMovesThatOthersTakeBack: a move that ended elsewhere is told as taken back, nothing is begun after it, the
// limits are lifted, and it is a failure.
func TestMovesThatOthersTakeBack(t *testing.T) {
	w, m := newMover(t)
	w.spread()
	m.takeBack = 2
	r := w.run("", "cluster", "drain", "0", "--rate", "1000", "--parallel", "1")
	if r.code != 1 || !strings.Contains(r.err, "1 of 3 moves was taken back by somebody else; 1 was not started") || strings.Contains(r.err, "have ended") || strings.Contains(r.err, "is empty") {
		t.Errorf("%+v", r)
	}
	if m.begun != 2 {
		t.Errorf("%d moves were begun", m.begun)
	}
	if last := m.settings[len(m.settings)-1]; !strings.HasPrefix(last, "delete ") {
		t.Errorf("settings %q", m.settings)
	}
}

// TestMovesOfADeletedTopic: that a topic is deleted while its partitions move is no failure.
func TestMovesOfADeletedTopic(t *testing.T) {
	w, m := newMover(t)
	w.spread()
	m.deletes = "orders"
	r := w.run("", "cluster", "drain", "0")
	if r.code != 0 || !strings.Contains(r.err, " the topic was deleted meanwhile") || !strings.Contains(r.err, "node 0 is empty") {
		t.Errorf("%+v", r)
	}
}

// TestDrainOfANodeThatIsNotRegistered: what it has is moved to others, as from one that is down, and balance tells
// of it.
func TestDrainOfANodeThatIsNotRegistered(t *testing.T) {
	w, m := newMover(t)
	w.spread()
	m.strange = true
	if r := w.run("", "cluster", "balance", "--dry-run"); !strings.Contains(r.err, "node 3 is not registered any more, and has replicas of ") ||
		strings.Contains(r.err, "in balance") {
		t.Errorf("%+v", r)
	}
	r := w.run("", "cluster", "drain", "3")
	if r.code != 0 || len(m.assigned) == 0 || !strings.Contains(r.err, "node 3 is empty") {
		t.Errorf("moved %v: %+v", m.assigned, r)
	}
	for name, to := range m.assigned {
		if slices.Contains(to, 3) {
			t.Errorf("%s to %v", name, to)
		}
	}
}
