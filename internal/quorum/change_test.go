package quorum

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/nodewire"
)

// ask makes a change on the leader and waits for its outcome.
func (w *world) ask(kind ChangeKind, m Member) error {
	w.t.Helper()
	calls, err := 0, error(nil)
	w.leader().node.Change(Change{kind, m}, func(e error) { calls++; err = e })
	w.until("the outcome of a change", func() bool { return calls > 0 })
	if calls > 1 {
		w.t.Fatalf("%d outcomes", calls)
	}
	return err
}

func (w *world) must(kind ChangeKind, m Member) {
	w.t.Helper()
	if err := w.ask(kind, m); err != nil {
		w.t.Fatalf("change %d of %v: %v", kind, m, err)
	}
}

// wait waits for a leader whose members were all heard.
func (w *world) wait() *simNode {
	w.t.Helper()
	w.until("a leader that knows its members", func() bool {
		lead := w.leader()
		return lead != nil && !slices.ContainsFunc(lead.node.Status().Progress, func(p MemberProgress) bool { return !p.Active || p.LastCaughtUp.IsZero() })
	})
	return w.leader()
}

func TestMembershipGrowsAndShrinks(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.until("a leader", func() bool { return w.leader() != nil })
	for range 50 { // beyond what stays in the log
		w.propose()
		w.run(100 * time.Millisecond)
	}
	first := w.nodes[0]
	for i := range 2 {
		n := w.add(nil)
		if err := w.ask(Promote, n.member); !errors.Is(err, ErrUnknownMember) {
			t.Fatalf("a stranger got a vote: %v", err)
		}
		w.must(AddLearner, n.member)
		if err := w.ask(AddLearner, n.member); !errors.Is(err, ErrDuplicateMember) {
			t.Fatalf("added twice: %v", err)
		}
		if i == 0 {
			if err := w.ask(Promote, n.member); !errors.Is(err, ErrNotCaughtUp) {
				t.Fatalf("an empty learner got a vote: %v", err)
			}
		}
		w.agree()
		w.wait()
		w.must(Promote, n.member)
		if err := w.ask(Promote, n.member); !errors.Is(err, ErrDuplicateMember) {
			t.Fatalf("promoted twice: %v", err)
		}
	}
	if w.counts["install"] == 0 {
		t.Fatal("nobody took a snapshot")
	}
	moved := w.nodes[1].member
	moved.Address = "elsewhere:1"
	w.must(UpdateAddress, moved)
	w.until("everybody knows the address", func() bool {
		return !slices.ContainsFunc(w.nodes, func(n *simNode) bool { return !slices.Contains(n.node.Members(), moved) })
	})
	for _, n := range w.nodes {
		st := n.node.Status()
		if len(st.Voters) != 3 || len(st.Learners) != 0 || !slices.Contains(st.Members, moved) || len(st.Members) != 3 {
			t.Fatalf("node %d: %+v", n.number, st)
		}
	}
	// The leader leaves, and leads no more.
	w.wait()
	if w.leader() != first {
		t.Fatal("the lead went elsewhere")
	}
	w.must(RemoveVoter, first.member)
	w.until("another leader", func() bool { return first.term == 0 && w.leader() != nil })
	w.wait()
	if st := w.leader().node.Status(); len(st.Voters) != 2 || st.LeaderMember == nil || st.LeaderMember.NodeID != w.leader().member.NodeID {
		t.Fatalf("%+v", st)
	}
	term := w.leader().node.Status().Term
	w.run(20 * time.Second)
	if now := w.leader().node.Status().Term; now != term {
		t.Fatalf("a removed member disturbs: term %d became %d", term, now)
	}
	other := w.nodes[1]
	if w.leader() == other {
		other = w.nodes[2]
	}
	w.must(RemoveVoter, other.member)
	if err := w.ask(RemoveVoter, w.leader().member); !errors.Is(err, ErrLastVoter) {
		t.Fatalf("the last voter was removed: %v", err)
	}
}

func TestChangesAreRefused(t *testing.T) {
	w := newWorld(t, 2, 3)
	lead := w.wait()
	other := w.nodes[(lead.number+1)%3]
	called := false
	other.node.Change(Change{RemoveVoter, lead.member}, func(err error) {
		if called = true; !errors.Is(err, ErrNotLeader) {
			t.Fatalf("on a follower: %v", err)
		}
	})
	if !called {
		t.Fatal("no answer")
	}
	// One at a time.
	n := w.add(nil)
	outcome := error(nil)
	done := 0
	lead.node.Change(Change{AddLearner, n.member}, func(err error) { done++; outcome = err })
	if err := w.ask(UpdateAddress, lead.member); !errors.Is(err, ErrChanging) {
		t.Fatalf("two at a time: %v", err)
	}
	w.until("the first", func() bool { return done == 1 })
	if outcome != nil {
		t.Fatal(outcome)
	}
	// A silent voter is not to be outvoted by removing those who speak.
	other.cut = true
	w.run(5 * time.Second)
	w.until("a leader", func() bool { return w.leader() != nil && w.leader() != other })
	third := w.nodes[3-lead.number-other.number]
	if w.leader() == third {
		third = lead
	}
	if err := w.ask(RemoveVoter, third.member); !errors.Is(err, ErrNoMajority) {
		t.Fatalf("the majority was removed: %v", err)
	}
	w.must(RemoveVoter, other.member)
	// A node that ends answers whoever waits.
	lead = w.leader()
	done = 0
	for _, n := range w.nodes {
		n.cut = true
	}
	lead.node.Change(Change{UpdateAddress, lead.member}, func(err error) {
		if done++; !errors.Is(err, ErrClosed) {
			t.Fatalf("at the end: %v", err)
		}
	})
	if err := lead.node.Close(); err != nil || done != 1 {
		t.Fatalf("close: %v, %d answers", err, done)
	}
	lead.gone = true
	lead.stop()
}

// TestLargeSnapshotIsFetched: 50 MB in parts, of which some are lost.
func TestLargeSnapshotIsFetched(t *testing.T) {
	w := newWorld(t, 3, 1)
	w.until("a leader", func() bool { return w.leader() != nil })
	lead := w.nodes[0]
	w.propose()
	w.run(time.Second)
	state := bytes.Repeat([]byte(strings.Repeat("0123456789", 100)), 50_000)
	if err := lead.node.TakeSnapshot(lead.applied, func(to io.Writer) error { _, err := to.Write(state); return err }); err != nil {
		t.Fatal(err)
	}
	parts := 0
	var got []byte
	n := &simNode{w: w, number: 1, member: simMember(1), disk: newDisk(t)}
	n.change = func(o *Options) {
		fetch := o.FetchSnapshot
		o.FetchSnapshot = func(from uint64, req *nodewire.SnapshotRequest, done func(*nodewire.SnapshotResponse, error)) {
			if parts++; parts%7 == 0 {
				done(nil, errors.New("broken off"))
				return
			}
			fetch(from, req, done)
		}
		o.Hooks.Restore = func(m SnapshotMeta, r io.Reader) (err error) {
			got, err = io.ReadAll(r)
			return err
		}
		o.Hooks.Commit = func(Entry) error { return nil }
	}
	w.nodes = append(w.nodes, n)
	w.byID[n.member.ID()] = n
	n.start()
	w.must(AddLearner, n.member)
	w.until("the snapshot", func() bool { return len(got) > 0 })
	if !bytes.Equal(got, state) || parts < 50 {
		t.Fatalf("%d bytes in %d parts", len(got), parts)
	}
	w.wait()
	w.must(Promote, n.member)
	l, err := list(n.disk, crashDir)
	if err != nil || len(l.leftovers) > 0 {
		t.Fatalf("left %v, %v", l.leftovers, err)
	}
}

// TestRemovedMembersAskInVain: for votes, also when there is no leader.
func TestRemovedMembersAskInVain(t *testing.T) {
	w := newWorld(t, 9, 3)
	lead := w.wait()
	gone, other := w.nodes[(lead.number+1)%3], w.nodes[(lead.number+2)%3]
	w.must(RemoveVoter, gone.member)
	w.until("the other knows", func() bool { return len(other.node.Members()) == 2 })
	for _, n := range w.nodes {
		n.cut = true
	}
	w.run(5 * time.Second) // no lease holds any more
	ask := func(index uint64) uint64 {
		other.node.Step(&raftpb.Message{
			Type: raftpb.MsgVote.Enum(), From: new(gone.member.ID()), To: new(other.member.ID()),
			Term: new(uint64(1000) + index), Index: new(index), LogTerm: new(uint64(1)),
		})
		return other.node.Status().Term
	}
	if term := ask(1); term >= 1000 {
		t.Fatalf("a removed member made it term %d", term)
	}
	// Its log is beyond its removal: it may have been added again since.
	if term := ask(500); term != 1500 {
		t.Fatalf("a member that was added again is not heard: term %d", term)
	}
}

// TestLeaderLeavesTheLastVoter: when the leader of two voters removes itself, the other
// one leads. Alone it hears of no election timeout.
func TestLeaderLeavesTheLastVoter(t *testing.T) {
	w := newWorld(t, 1, 3)
	for range 2 {
		w.must(RemoveVoter, w.wait().member)
		w.until("another leader", func() bool {
			return w.leader() != nil && slices.Contains(w.leader().node.Status().Voters, w.leader().member.ID())
		})
	}
	if st := w.leader().node.Status(); len(st.Voters) != 1 {
		t.Fatalf("%+v", st)
	}
	w.propose()
	w.agree()
}

// TestLeaderLeavesUnheard: the leader of two voters removes itself, and the other does not
// hear that this is committed before it is over.
func TestLeaderLeavesUnheard(t *testing.T) {
	w := newWorld(t, 3, 3)
	lead := w.wait()
	gone, other := w.nodes[(lead.number+1)%3], w.nodes[(lead.number+2)%3]
	w.must(RemoveVoter, gone.member)
	w.until("the other knows", func() bool { return len(other.node.Members()) == 2 })
	done := false
	lead.node.Change(Change{RemoveVoter, lead.member}, func(err error) { done = err == nil })
	before := other.node.Status()
	w.until("the other has the change", func() bool { return other.node.Status().Last > before.Last })
	other.deaf = true
	w.propose() // its log is longer from now on
	w.until("the leader has gone", func() bool { return done && lead.node.Status().Leader != lead.member.ID() })
	if n := len(other.node.Members()); n != 2 {
		t.Fatalf("the other knows of %d members, the last change was to be news to it", n)
	}
	w.run(5 * time.Second)
	other.deaf = false
	w.until("another leader", func() bool { return w.leader() == other })
	w.propose()
	w.agree()
}
