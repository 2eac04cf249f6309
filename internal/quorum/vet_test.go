package quorum

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// message is one of a type, from 2 to 1, in term 5.
func message(t raftpb.MessageType, change func(m *raftpb.Message)) *raftpb.Message {
	m := &raftpb.Message{Type: &t, From: proto.Uint64(2), To: proto.Uint64(1), Term: proto.Uint64(5)}
	if change != nil {
		change(m)
	}
	return m
}

func entries(pairs ...uint64) (es []*raftpb.Entry) {
	for i := 0; i < len(pairs); i += 2 {
		es = append(es, &raftpb.Entry{Index: proto.Uint64(pairs[i]), Term: proto.Uint64(pairs[i+1])})
	}
	return es
}

func TestVet(t *testing.T) {
	n := &Node{id: 1}
	n.status.Store(&Status{Term: 5})
	app := func(index, term uint64, es []*raftpb.Entry) *raftpb.Message {
		return message(raftpb.MsgApp, func(m *raftpb.Message) { m.Index, m.LogTerm, m.Entries = &index, &term, es })
	}
	snap := func(index, term uint64, voters, learners []uint64) *raftpb.Message {
		return message(raftpb.MsgSnap, func(m *raftpb.Message) {
			m.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: &index, Term: &term, ConfState: &raftpb.ConfState{Voters: voters, Learners: learners}}}
		})
	}
	for name, m := range map[string]*raftpb.Message{
		"heartbeat": message(raftpb.MsgHeartbeat, nil), "vote": message(raftpb.MsgVote, nil),
		"no entries": app(7, 4, nil), "entries": app(7, 4, entries(8, 4, 9, 5)), "the first entries": app(0, 0, entries(1, 1, 2, 1)),
		"snapshot": snap(9, 5, []uint64{1, 2}, []uint64{3}),
	} {
		if err := n.Vet(m, 2); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	local := raft.LocalAppendThread
	unknown := raftpb.EntryType(9)
	for name, m := range map[string]*raftpb.Message{
		"nothing": {}, "somebody else": message(raftpb.MsgHeartbeat, func(m *raftpb.Message) { m.From = proto.Uint64(3) }),
		"for somebody else": message(raftpb.MsgHeartbeat, func(m *raftpb.Message) { m.To = proto.Uint64(3) }),
		"own thread":        message(raftpb.MsgStorageAppendResp, func(m *raftpb.Message) { m.From = &local }),
		"no term":           message(raftpb.MsgHeartbeat, func(m *raftpb.Message) { m.Term = nil }),
		"responses":         message(raftpb.MsgApp, func(m *raftpb.Message) { m.Responses = []*raftpb.Message{{}} }),
		"hup":               message(raftpb.MsgHup, nil), "proposal": message(raftpb.MsgProp, nil), "no type known": message(99, nil),
		"gap": app(7, 4, entries(9, 4)), "hole": app(7, 4, entries(8, 4, 10, 4)), "terms that fall": app(7, 4, entries(8, 3)),
		"terms to come": app(7, 4, entries(8, 6)), "entry of no term": app(0, 0, entries(1, 0)), "beyond the last index": app(math.MaxUint64, 4, entries(0, 4)),
		"unknown entry": app(7, 4, []*raftpb.Entry{{Index: proto.Uint64(8), Term: proto.Uint64(4), Type: &unknown}}),
		"no snapshot":   message(raftpb.MsgSnap, nil), "empty snapshot": snap(0, 0, []uint64{1}, nil), "snapshot to come": snap(9, 6, []uint64{1}, nil),
		"snapshot of nobody": snap(9, 5, nil, nil), "member twice": snap(9, 5, []uint64{1, 2}, []uint64{2}), "member 0": snap(9, 5, []uint64{0, 1}, nil),
	} {
		if err := n.Vet(m, 2); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := n.Vet(message(raftpb.MsgHeartbeat, func(m *raftpb.Message) { m.From = proto.Uint64(1) }), 1); err == nil {
		t.Error("a message of its own is taken")
	}
}

// TestVetTerms: whoever was away takes the term of the others, however many elections it
// missed; no frame uses the terms up, so that nobody could be elected any more.
func TestVetTerms(t *testing.T) {
	for _, c := range []struct {
		own, in uint64
		taken   bool
	}{
		{5, 1, true}, {5, 1 << 31, true}, {5, 5 + 1<<32, true}, {5, 6 + 1<<32, false}, {5, math.MaxUint64, false},
		{math.MaxUint64 - 1, math.MaxUint64, true}, {1 << 40, 1 << 41, false},
		{0, 1 << 40, true}, // new in an old group
	} {
		n := &Node{id: 1}
		n.status.Store(&Status{Term: c.own})
		for _, of := range []raftpb.MessageType{raftpb.MsgHeartbeat, raftpb.MsgApp, raftpb.MsgVote, raftpb.MsgPreVote, raftpb.MsgAppResp} {
			err := n.Vet(message(of, func(m *raftpb.Message) { m.Term = &c.in }), 2)
			if (err == nil) != c.taken {
				t.Errorf("%v in term %d by a member in term %d: %v", of, c.in, c.own, err)
			}
		}
	}
}

// TestImpossibleMessages: what a second leader of one term says, and who claims to have
// more than the leader has, harm nobody.
func TestImpossibleMessages(t *testing.T) {
	w := newWorld(t, 9, 3)
	lead := w.wait()
	for range 3 {
		w.propose()
	}
	w.agree()
	n := w.nodes[(lead.number+1)%3]
	other := w.nodes[(lead.number+2)%3]
	term := n.node.Status().Term
	from := func(who *simNode, to *simNode, t raftpb.MessageType, change func(m *raftpb.Message)) {
		to.node.Step(message(t, func(m *raftpb.Message) {
			m.From, m.To, m.Term = proto.Uint64(who.node.ID()), proto.Uint64(to.node.ID()), &term
			change(m)
		}))
	}
	far := func(m *raftpb.Message) { m.Commit, m.Index = proto.Uint64(1<<40), proto.Uint64(1<<40) }
	from(other, n, raftpb.MsgHeartbeat, far)
	from(other, lead, raftpb.MsgHeartbeat, far)
	from(other, lead, raftpb.MsgAppResp, far)
	from(other, n, raftpb.MsgTimeoutNow, func(*raftpb.Message) {})
	w.run(2 * time.Second)
	for _, x := range w.nodes {
		if x.node == nil {
			t.Fatalf("node %d ended: %v", x.number, x.err)
		}
	}
	if got := lead.node.Status(); got.Term != term || w.leader() != lead {
		t.Fatalf("led by another in term %d, not %d", got.Term, term)
	}
	w.propose()
	w.agree()
}

// TestLostLogIsTold: who stopped for good says why at the next start.
func TestLostLogIsTold(t *testing.T) {
	_, err := replay(nil, "", nil, synced{segment: math.MaxUint64}, 0)
	if !errors.Is(err, ErrLostLog) || strings.Contains(err.Error(), "segment") {
		t.Fatal(err)
	}
}
