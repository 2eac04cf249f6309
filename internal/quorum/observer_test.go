package quorum

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/nodewire"
)

// stateHooks keep the values of all records in a slice.
func stateHooks(state *[]string) LogHooks {
	return LogHooks{
		Restore: func(last, _ int64, recs iter.Seq2[machine.Record, error]) error {
			*state = nil
			for r, err := range recs {
				if err != nil {
					return err
				}
				*state = append(*state, string(r.Value))
			}
			if int64(len(*state)) != last {
				return fmt.Errorf("%d records of a snapshot up to %d", len(*state), last)
			}
			return nil
		},
		Records: func(b Batch) error {
			for _, r := range b.Records {
				*state = append(*state, string(r.Value))
			}
			return nil
		},
	}
}

func (w *world) logHooks(n *simNode) LogHooks {
	h := stateHooks(&n.state)
	h.Lead = func(epoch int32, _ int64) { n.term = uint64(epoch) }
	h.Resign = func(int32) { n.term = 0 }
	h.SnapshotDue = func(int64) {
		n.part.Go("snapshot", func() {
			state := slices.Clone(n.state)
			err := n.log.TakeSnapshot(int64(len(state)), func(yield func(machine.Record) bool) {
				for _, v := range state {
					if !yield(machine.Record{Value: []byte(v)}) {
						return
					}
				}
			})
			if err != nil && !errors.Is(err, env.ErrPowerOff) && !errors.Is(err, ErrFailed) {
				w.t.Errorf("snapshot: %v", err)
			}
		})
	}
	return h
}

// watcher is an observer in a world.
type watcher struct {
	*simNode // for its place in the network
	ob       *Observer
	state    []string
	restored int
	highest  int
	asks     int // the node that it asks
}

func (w *world) watch() *watcher {
	v := &watcher{simNode: &simNode{w: w, number: 99, node: new(Node), part: w.steps.Part("observer")}}
	target := func() *simNode { return w.nodes[v.asks%len(w.nodes)] }
	hooks := stateHooks(&v.state)
	restore, records := hooks.Restore, hooks.Records
	hooks.Restore = func(last, ts int64, recs iter.Seq2[machine.Record, error]) error {
		v.restored++
		return errors.Join(restore(last, ts, recs), v.grown())
	}
	hooks.Records = func(b Batch) error { return errors.Join(records(b), v.grown()) }
	v.ob = OpenObserver(ObserverOptions{
		Clock: w.clock, Exec: v.part, Rand: env.NewRand(w.rng.Uint64()), NodeID: 99, MaxWait: 500 * time.Millisecond, MaxBytes: 300,
		Pull: func(req *nodewire.PullRequest, done func(*nodewire.PullResponse, error)) {
			v.call(target(), func(n *Node, answer func(any)) { n.Pull(req, func(r *nodewire.PullResponse) { answer(r) }) }, func(a any, err error) {
				r, _ := a.(*nodewire.PullResponse)
				done(r, err)
			})
		},
		Snapshot: func(req *nodewire.SnapshotRequest, done func(*nodewire.SnapshotResponse, error)) {
			req.MaxBytes = 200
			v.call(target(), func(n *Node, answer func(any)) { answer(n.ReadSnapshot(req)) }, func(a any, err error) {
				r, _ := a.(*nodewire.SnapshotResponse)
				done(r, err)
			})
		},
		Another: func() { v.asks++ },
		Failed:  func(err error) { w.t.Errorf("observer: %v", err) },
	}, hooks)
	return v
}

// grown holds that an observer never goes back.
func (v *watcher) grown() error {
	if len(v.state) < v.highest {
		return fmt.Errorf("%d records after %d", len(v.state), v.highest)
	}
	v.highest = len(v.state)
	return nil
}

// same waits until the observer has what the leader has.
func (w *world) same(v *watcher) {
	w.t.Helper()
	w.until("the observer has everything", func() bool {
		lead := w.leader()
		return lead != nil && len(lead.state) > 0 && slices.Equal(lead.state, v.state)
	})
}

func TestObserverFollows(t *testing.T) {
	w := newWorld(t, 4, 0)
	w.logs = true
	w.found(3)
	v := w.watch()
	for range 20 {
		w.propose()
		w.run(200 * time.Millisecond)
	}
	w.same(v)
	if st := v.ob.Status(); st.Leader.NodeID != w.leader().member.NodeID || st.Leader.Address != w.leader().member.Address || len(st.Members) != 3 {
		t.Fatalf("%+v", st)
	}
	// A commit wakes a long poll: it does not wait for its end.
	w.run(2 * time.Second)
	w.propose()
	at := w.now()
	w.same(v)
	if d := w.now() - at; d > 300*time.Millisecond {
		t.Fatalf("a commit came after %v", d)
	}
	// Membership is followed as well.
	n := w.add(nil)
	w.must(AddLearner, n.member)
	w.until("a member more", func() bool { return slices.Contains(v.ob.Status().Members, n.member) })
	if slices.Contains(v.ob.Status().Voters, n.member.ID()) || len(v.ob.Status().Voters) != 3 {
		t.Fatalf("voters %x with a learner", v.ob.Status().Voters)
	}
	// Away for long: it comes back by a snapshot.
	v.cut = true
	for range 200 {
		w.propose()
		w.run(50 * time.Millisecond)
	}
	before := v.restored
	v.cut = false
	w.same(v)
	if v.restored == before {
		t.Fatal("no snapshot was taken")
	}
	// A member that lags is left.
	lag := w.nodes[(w.leader().number+1)%3]
	lag.cut = true
	for range 10 {
		w.propose()
		w.run(200 * time.Millisecond)
	}
	w.same(v)
	v.asks = lag.number
	lag.cut = false
	lag.paused = false
	w.propose()
	w.same(v)
	// What a member that is behind says counts for nothing, and another one is asked.
	st := v.ob.Status()
	stale := &nodewire.PullResponse{Commit: st.Applied - 1, Leader: st.Leader}
	if err, fatal := v.ob.take(stale); err == nil || fatal != nil || v.ob.Status().Applied != st.Applied {
		t.Fatalf("a member that is behind is good enough: %v, %v", err, fatal)
	}
	v.ob.Close()
}

// TestObserverUnderFaults: it never goes back, and has everything in the end.
func TestObserverUnderFaults(t *testing.T) {
	restored := 0
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed, 0)
			w.logs, w.lossy = true, true
			w.found(3)
			v := w.watch()
			w.every(time.Millisecond, 60*time.Millisecond, w.propose)
			w.every(200*time.Millisecond, 3*time.Second, w.fault)
			w.every(200*time.Millisecond, 3*time.Second, w.rebuild)
			w.every(5*time.Second, 15*time.Second, func() {
				v.cut = true
				w.after(w.between(time.Second, 5*time.Second), func() { v.cut = false })
			})
			w.run(40 * time.Second)
			w.calm = true
			for _, n := range w.nodes {
				n.disk.CrashAt(0)
			}
			w.run(20 * time.Second)
			w.propose()
			w.same(v)
			restored += v.restored
		})
	}
	if restored < 10 {
		t.Errorf("%d snapshots", restored)
	}
}

func TestPullAnswersAtTheEnd(t *testing.T) {
	w := newWorld(t, 5, 1)
	w.until("a leader", func() bool { return w.leader() != nil })
	n := w.nodes[0].node
	var got []*nodewire.PullResponse
	take := func(r *nodewire.PullResponse) { got = append(got, r) }
	n.Pull(&nodewire.PullRequest{From: 1}, take)
	if len(got) != 1 || got[0].SnapshotIndex != 1 {
		t.Fatalf("from the beginning: %+v", got)
	}
	n.Pull(&nodewire.PullRequest{From: 2, MaxBytes: 1 << 20}, take)
	if len(got) != 2 || len(got[1].Entries) != 1 || got[1].Leader.NodeID != 0 {
		t.Fatalf("the leader's first entry: %+v", got[1:])
	}
	n.Pull(&nodewire.PullRequest{From: 3}, take)
	if len(got) != 3 || len(got[2].Entries) != 0 || got[2].Commit != 2 {
		t.Fatalf("nothing, at once: %+v", got[2:])
	}
	n.Pull(&nodewire.PullRequest{From: 3, MaxWaitMs: 1000}, take)
	w.run(900 * time.Millisecond)
	if len(got) != 3 {
		t.Fatal("it did not wait")
	}
	w.run(200 * time.Millisecond)
	if len(got) != 4 || len(got[3].Entries) != 0 {
		t.Fatalf("after its patience: %+v", got[3:])
	}
	n.Pull(&nodewire.PullRequest{From: 3, MaxWaitMs: 1000}, take)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n.Pull(&nodewire.PullRequest{From: 3, MaxWaitMs: 1000}, take)
	if len(got) != 6 || got[4].ErrorCode == 0 || got[5].ErrorCode == 0 {
		t.Fatalf("at the end: %+v", got[4:])
	}
	w.nodes[0].stop()
}
