package cli

import (
	"slices"
	"strings"
	"testing"
)

// TestDrainOfAVoter: where the quorum would have no majority without a node that is drained, its vote is taken while
// it is up; where that cannot be, the drain fails and says so. Else it keeps its vote.
func TestDrainOfAVoter(t *testing.T) {
	for _, test := range []struct {
		name     string
		voters   int32
		silent   bool // node 2 is
		node     string
		resigned []int32
		says     string // "" is that it is empty
		fails    bool
	}{
		{name: "of three", voters: 3, node: "0"},
		{name: "none", voters: 3, node: "3"},
		{name: "the second", voters: 2, node: "0", resigned: []int32{0}, says: "node 0 has no vote in the metadata quorum any more: of 2 voters"},
		{name: "the only one", voters: 1, node: "0", says: "node 0 is the only voter of the metadata quorum", fails: true},
		{name: "one is down", voters: 3, silent: true, node: "0", says: "other voters these are down: 2; its stop would stop the metadata", fails: true},
		{name: "one of four is down", voters: 4, silent: true, node: "0", resigned: []int32{0}, says: "of 4 voters"},
		{name: "it is down itself", voters: 3, silent: true, node: "2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, m := newMover(t)
			w.ok("", "topic", "delete", "orders")
			m.voters, m.silent, m.resigns = test.voters, test.silent, true
			code := 0
			if test.fails {
				code = 1
			}
			dry := w.run("", "cluster", "drain", test.node, "--dry-run")
			if dry.code != code || len(m.resigned) > 0 || strings.Contains(dry.err, "vote of node "+test.node+" in the metadata quorum would be taken") != (test.resigned != nil) {
				t.Errorf("dry: %+v, %v resigned", dry, m.resigned)
			}
			r := w.run("", "cluster", "drain", test.node)
			if r.code != code || !strings.Contains(r.err, test.says) || !slices.Equal(m.resigned, test.resigned) ||
				strings.Contains(r.err, "node "+test.node+" is empty") == test.fails {
				t.Errorf("%+v, %v resigned", r, m.resigned)
			}
		})
	}
}

// TestDrainOfAControllerThatVotes: the vote of a controller alone is as good.
func TestDrainOfAControllerThatVotes(t *testing.T) {
	w, m := newMover(t)
	m.alone, m.voters, m.resigns = true, 1, true
	if r := w.run("", "cluster", "drain", "7"); r.code != 0 || !slices.Equal(m.resigned, []int32{7}) {
		t.Errorf("%+v, %v resigned", r, m.resigned)
	}
}

// TestRemoveWithoutALeader: brokers that answer are reached, and it is said what they lack.
func TestRemoveWithoutALeader(t *testing.T) {
	w, m := newMover(t)
	w.ok("", "topic", "delete", "orders")
	m.headless = true
	w.fails(1, "the metadata quorum has no leader: ", "cluster", "remove", "0", "--force", "--timeout", "1s")
}
