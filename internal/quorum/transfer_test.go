package quorum

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

func TestLeadershipIsTransferred(t *testing.T) {
	w := newWorld(t, 6, 3)
	lead := w.wait()
	to := w.nodes[(lead.number+1)%3]
	hand := func(from *simNode, to uint64) error {
		calls, err := 0, error(nil)
		from.node.TransferLeadership(to, func(e error) { calls++; err = e })
		w.until("the end of a transfer", func() bool { return calls > 0 })
		return err
	}
	at := w.now()
	if err := hand(lead, to.member.ID()); err != nil {
		t.Fatal(err)
	}
	w.until("the other leads", func() bool { return w.leader() == to })
	if d := w.now() - at; d > 500*time.Millisecond {
		t.Fatalf("it took %v: somebody's timeout", d)
	}
	if err := hand(lead, 0); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("by a follower: %v", err)
	}
	if err := hand(to, 12345); !errors.Is(err, ErrUnknownMember) {
		t.Fatalf("to a stranger: %v", err)
	}
	w.wait()
	lead.cut = true
	if err := hand(to, lead.member.ID()); !errors.Is(err, ErrNotTransferred) && !errors.Is(err, ErrNotCaughtUp) {
		t.Fatalf("to one that is silent: %v", err)
	}
	lead.cut = false
	w.wait()
	if err := hand(w.leader(), 0); err != nil {
		t.Fatalf("to anybody: %v", err)
	}
	w.wait()
}

// apart puts the loop of the disk into a part of its own, to be held alone.
type apart struct{ *env.Part }

func (a apart) Loop(name string, turn func()) env.Loop {
	if name != "quorum disk" {
		return a.Part.Loop(name, turn)
	}
	return diskOf[a.Part].Loop(name, turn)
}

var diskOf = map[*env.Part]*env.Part{}

// TestHungDiskOfTheLeader: heartbeats and commits of the others do not wait for the
// leader's disk, and if it hangs for long, the leader hands over.
func TestHungDiskOfTheLeader(t *testing.T) {
	w := newWorld(t, 7, 0)
	w.prepare = func(n *simNode) {
		n.change = func(o *Options) {
			diskOf[n.part] = w.steps.Part("disk")
			o.Exec = apart{n.part}
		}
	}
	w.found(3)
	t.Cleanup(func() { clear(diskOf) })
	lead := w.wait()
	term := lead.term
	disk := diskOf[lead.part]
	disk.Pause(true)
	w.propose()
	other := w.nodes[(lead.number+1)%3]
	w.until("the others commit", func() bool { return other.applied == lead.node.Status().Commit && other.applied > 2 })
	w.run(1500 * time.Millisecond) // longer than an election timeout
	for _, n := range w.nodes {
		if st := n.node.Status(); st.Term != term || st.Leader != lead.member.ID() {
			t.Fatalf("node %d left the leader whose disk hangs a little: %+v", n.number, st)
		}
	}
	if lead.applied == other.applied {
		t.Fatal("the leader handed out what it has not synced")
	}
	w.until("another leader", func() bool { return other.node.Status().Term > term && w.leader() != nil && w.leader() != lead })
	w.propose()
	w.until("commits go on", func() bool { return w.leader() != nil && w.leader().applied == w.highest && len(w.acked) > 0 })
	disk.Pause(false)
	w.agree()
}

// TestFullDiskOfTheLeader: a leader whose log cannot grow hands over at once, and is one of
// the group again when there is room.
func TestFullDiskOfTheLeader(t *testing.T) {
	w := newWorld(t, 9, 0)
	w.prepare = func(n *simNode) {
		n.change = func(o *Options) { o.SnapshotBytes = 1 << 30 } // which would have no room
	}
	w.found(3)
	lead := w.wait()
	lead.disk.SetFree(0)
	w.until("its segment is full", func() bool { w.propose(); return lead.node.writer.full })
	w.run(300 * time.Millisecond) // shorter than an election timeout
	if now := w.leader(); now == nil || now == lead {
		t.Fatalf("the leader without room leads on: %+v", lead.node.Status())
	}
	before := len(w.acked)
	w.propose()
	w.until("commits go on", func() bool { return len(w.acked) > before })
	w.run(5 * time.Second)
	if now := w.leader(); now == nil || now == lead {
		t.Fatal("who has no room leads again")
	}
	lead.disk.SetFree(-1)
	w.agree()
}

// TestFullDisksOfAll: where no voter has room, nobody may lead, and nothing is lost by it: once
// most of them have some, the group goes on by itself.
func TestFullDisksOfAll(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		w := newWorld(t, seed, 0)
		w.prepare = func(n *simNode) {
			n.change = func(o *Options) { o.SnapshotBytes = 1 << 30 } // which would have no room
		}
		w.found(3)
		w.wait()
		for _, n := range w.nodes {
			n.disk.SetFree(0)
		}
		full := func(n *simNode) bool { return n.node.writer.full }
		w.until("a segment is full", func() bool { w.propose(); return slices.ContainsFunc(w.nodes, full) })
		w.run(30 * time.Second)
		before := len(w.acked)
		for i := range uint64(2) {
			w.nodes[(seed+i)%3].disk.SetFree(-1)
		}
		for ended := w.now() + 10*time.Second; len(w.acked) == before; w.run(100 * time.Millisecond) {
			if w.propose(); w.now() > ended {
				t.Fatalf("seed %d: two have room, and nothing is committed", seed)
			}
		}
		w.nodes[(seed+2)%3].disk.SetFree(-1)
		w.agree()
	}
}

// TestOldCopyOfTheLogIsNoticed: a voter whose directory was put back to an earlier
// state says so, refuses to start from then on, and comes back as a new member.
func TestOldCopyOfTheLogIsNoticed(t *testing.T) {
	w := newWorld(t, 8, 3)
	lead := w.wait()
	n := w.nodes[(lead.number+1)%3]
	for range 5 {
		w.propose()
		w.run(100 * time.Millisecond)
	}
	w.agree()
	old := n.disk.KillClone()
	for range 5 {
		w.propose()
		w.run(100 * time.Millisecond)
	}
	w.agree()
	n.stop()
	n.disk = old
	n.start()
	w.until("the loss is noticed", func() bool { return n.node == nil })
	if !errors.Is(n.err, ErrFailed) || !errors.Is(n.err, ErrLostLog) {
		t.Fatalf("failed with %v", n.err)
	}
	n.disk = n.disk.KillClone()
	n.start()
	if !errors.Is(n.err, ErrLostLog) || n.node != nil {
		t.Fatalf("it starts again: %v", n.err)
	}
	fresh := w.add(nil)
	w.must(AddLearner, fresh.member)
	w.until("it has caught up", func() bool { return fresh.applied == w.highest })
	w.run(time.Second)
	w.must(Promote, fresh.member)
	w.must(RemoveVoter, n.member)
	w.propose()
	w.agree()
}
