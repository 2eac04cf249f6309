package quorum

import (
	"errors"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// doubting is a group of three whose members ask when they are in doubt.
func doubting(t *testing.T, seed uint64, doubted func(n *simNode)) *world {
	w := newWorld(t, seed, 0)
	w.prepare = func(n *simNode) {
		n.change = func(o *Options) { o.Doubted = func() { doubted(n) } }
	}
	w.found(3)
	return w
}

// TestOneFrameIsNotBelieved: a heartbeat of a higher term, with a commit that the log lacks,
// comes from whoever can reach a voter. One that has just started takes part in nothing until it
// has heard from the leader that nothing is lost.
func TestOneFrameIsNotBelieved(t *testing.T) {
	asked := map[int]int{}
	w := doubting(t, 21, func(n *simNode) { asked[n.number]++ })
	lead := w.wait()
	w.propose()
	w.agree()
	n, other := w.nodes[(lead.number+1)%3], w.nodes[(lead.number+2)%3]
	term := lead.node.Status().Term
	forged := func(to *simNode) { to.node.Step(forgedHeartbeat(other, to, term+5)) }
	n.stop()
	n.disk = n.disk.KillClone()
	n.start()
	forged(lead)
	forged(n)
	forged(n)
	if st := n.node.Status(); st.Doubted != 1<<40 || asked[n.number] != 1 || asked[lead.number] != 0 || lead.node.Status().Doubted != 0 {
		t.Fatalf("asked %v times; %+v", asked, st)
	}
	before := n.node.Status()
	w.propose()
	w.until("the others commit", func() bool { return lead.applied > before.Applied && other.applied == lead.applied })
	lead.stop() // the other cannot be elected by a voter in doubt
	w.run(5e9)
	if st := n.node.Status(); st.Term != before.Term || st.Vote != before.Vote || st.Last != before.Last || w.leader() != nil {
		t.Fatalf("it took part: %+v, before %+v", st, before)
	}
	n.node.Told(before.Term-1, 1<<40) // by a leader of the past
	if st := n.node.Status(); n.node.Err() != nil || st.Doubted == 0 {
		t.Fatalf("%v, %+v", n.node.Err(), st)
	}
	n.node.Told(before.Term, before.Last)
	if st := n.node.Status(); st.Doubted != 0 {
		t.Fatalf("%+v", st)
	}
	w.until("the other is elected", func() bool { return w.leader() == other })
	lead.start()
	w.propose()
	w.agree()
}

// forgedHeartbeat tells of more than anybody has.
func forgedHeartbeat(from, to *simNode, term uint64) *raftpb.Message {
	return message(raftpb.MsgHeartbeat, func(m *raftpb.Message) {
		m.From, m.To, m.Term, m.Commit = proto.Uint64(from.member.ID()), proto.Uint64(to.member.ID()), &term, proto.Uint64(1<<40)
	})
}

// tell has a leader say what it knows of a member.
func tell(lead, n *simNode) {
	st := lead.node.Status()
	for _, p := range st.Progress {
		if p.Member.ID() == n.member.ID() {
			n.node.Told(st.Term, p.Match)
		}
	}
}

// TestDoubtIsNotInTheWay: the leader dies, and each of the others is sent a frame: nobody is
// left to say that it is a lie. They have followed that leader, so they elect another, who can.
func TestDoubtIsNotInTheWay(t *testing.T) {
	for _, of := range []int{0, 100} { // of a term that they have, and of one to come
		asked := map[int]int{}
		w := doubting(t, 23, func(n *simNode) { asked[n.number]++ })
		lead := w.wait()
		w.propose()
		w.agree()
		w.run(5 * time.Second)
		a, b := w.nodes[(lead.number+1)%3], w.nodes[(lead.number+2)%3]
		lead.stop()
		term := a.node.Status().Term + uint64(of)
		a.node.Step(forgedHeartbeat(lead, a, term))
		b.node.Step(forgedHeartbeat(lead, b, term))
		if asked[a.number] != 1 || asked[b.number] != 1 {
			t.Fatalf("asked %v times", asked)
		}
		w.until("another is elected", func() bool { return w.leader() != nil })
		w.propose()
		w.until("it decides", func() bool {
			return a.applied == w.highest && b.applied == w.highest && w.leader().node.Status().Commit == w.highest
		})
		tell(w.leader(), a)
		tell(w.leader(), b)
		for _, n := range []*simNode{a, b} {
			if st := n.node.Status(); n.node.Err() != nil || st.Doubted != 0 {
				t.Errorf("%v, %+v", n.node.Err(), st)
			}
		}
		lead.start()
		w.propose()
		w.agree()
	}
}

// TestLossIsConfirmed: what the leader knows of a voter is more than the voter has.
func TestLossIsConfirmed(t *testing.T) {
	var w *world
	asked := 0
	w = doubting(t, 22, func(n *simNode) {
		asked++
		tell(w.leader(), n)
	})
	lead := w.wait()
	w.propose()
	w.agree()
	n := w.nodes[(lead.number+1)%3]
	old := n.disk.KillClone()
	for range 3 {
		w.propose()
	}
	w.agree()
	w.run(time.Second) // nothing is under way
	n.stop()
	n.disk = old
	n.start()
	w.until("the loss is noticed", func() bool { return n.node == nil })
	if !errors.Is(n.err, ErrLostLog) || asked != 1 {
		t.Fatalf("asked %d times, failed with %v", asked, n.err)
	}
	n.disk = n.disk.KillClone()
	n.start()
	if !errors.Is(n.err, ErrLostLog) || n.node != nil {
		t.Fatalf("it starts again: %v", n.err)
	}
}
