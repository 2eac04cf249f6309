package quorum

import (
	"errors"
	"testing"
	"time"
)

// TestConfirm: a leader that was replaced without knowing is not confirmed, whatever it
// thinks.
func TestConfirm(t *testing.T) {
	w := newWorld(t, 8, 3)
	lead := w.wait()
	ask := func(n *simNode, term uint64) (answers *[]error) {
		answers = new([]error)
		n.node.Confirm(term, func(err error) { *answers = append(*answers, err) })
		return answers
	}
	term := lead.term
	good := ask(lead, term)
	w.until("the leader is confirmed", func() bool { return len(*good) > 0 })
	if (*good)[0] != nil {
		t.Fatal((*good)[0])
	}
	other := w.nodes[(lead.number+1)%3]
	for _, a := range []*[]error{ask(other, term), ask(lead, term-1)} {
		w.until("an answer", func() bool { return len(*a) > 0 })
		if !errors.Is((*a)[0], ErrNotLeader) {
			t.Fatal((*a)[0])
		}
	}
	lead.cut = true
	w.until("another leads", func() bool { l := w.leader(); return l != nil && l != lead && l.term > term })
	if st := lead.node.Status(); st.Leader != lead.member.ID() || st.Term != term {
		t.Fatalf("it knows: %+v", st)
	}
	lead.cut = false
	bad := ask(lead, term)
	w.until("an answer to the old one", func() bool { return len(*bad) > 0 })
	if !errors.Is((*bad)[0], ErrNotLeader) {
		t.Fatalf("a leader that was replaced is told %v", (*bad)[0])
	}
	w.run(time.Second)
	if len(*good) != 1 || len(*bad) != 1 {
		t.Fatal("answered twice")
	}
}
