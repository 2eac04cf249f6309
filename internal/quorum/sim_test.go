package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/nodewire"
)

// world is a group on one goroutine: the nodes are the real ones, time, network and
// disks are simulated, and every turn of every loop follows from one seed.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	clock *env.VirtualClock
	steps *env.Stepper
	nodes []*simNode
	byID  map[uint64]*simNode
	begun time.Time
	trace uint64 // hash of everything that happened
	calm  bool   // no more faults
	logs  bool   // the nodes are Logs, of batches
	// prepare is called for every node before it starts.
	prepare func(*simNode)
	lossy   bool // messages are lost and doubled

	// What must hold over all nodes:
	leaders   map[uint64]uint64   // term -> node
	committed map[uint64]string   // index -> term and data
	states    map[uint64]uint64   // index -> hash of the state
	acked     map[string]struct{} // proposals answered as committed
	proposed  int
	highest   uint64
	counts    map[string]int // of what happened
}

type simNode struct {
	w      *world
	number int
	member Member
	voters []Member // founders; none: it joins
	disk   *env.Disk
	node   *Node
	log    *Log
	state  []string // of a Log
	part   *env.Part
	life   int // grows with each crash: events of an earlier life are void
	cut    bool
	deaf   bool // hears nothing
	paused bool
	gone   bool // for good
	err    error
	change func(*Options)

	term    uint64 // it leads in; 0 if it does not
	applied uint64 // last entry with data, or restored
	hash    uint64
	waiting map[uint64]string // index -> proposal of this leadership
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func (w *world) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

func (w *world) after(d time.Duration, do func()) { w.clock.AfterFunc(d, do) }

func (w *world) now() time.Duration { return w.clock.Now().Sub(w.begun) }

// note adds to the trace.
func (w *world) note(format string, args ...any) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %v ", w.trace, w.now())
	fmt.Fprintf(h, format, args...)
	w.trace = h.Sum64()
}

func (w *world) count(what string) { w.counts[what]++; w.note("%s", what) }

func newWorld(t *testing.T, seed uint64, founders int) *world {
	cryptotest.SetGlobalRandom(t, seed)
	w := &world{
		t: t, rng: env.NewRand(seed), begun: time.Unix(1_700_000_000, 0), byID: map[uint64]*simNode{}, leaders: map[uint64]uint64{},
		committed: map[uint64]string{}, states: map[uint64]uint64{}, acked: map[string]struct{}{}, counts: map[string]int{},
	}
	w.clock = env.NewClock(w.begun)
	w.steps = env.NewStepper(w.rng)
	w.steps.Ran = func(name string) { w.note("%s", name) }
	w.found(founders)
	return w
}

func (w *world) found(n int) {
	var voters []Member
	for i := range n {
		voters = append(voters, simMember(i))
	}
	for range n {
		w.add(voters)
	}
}

func simMember(i int) Member {
	return Member{NodeID: int32(i), DirectoryID: [16]byte{byte(i), 7}, Address: fmt.Sprint("host:", i)}
}

// add makes a node and starts it.
func (w *world) add(voters []Member) *simNode {
	i := len(w.nodes)
	n := &simNode{w: w, number: i, member: simMember(i), voters: voters, disk: env.NewDisk(w.rng.Uint64())}
	w.nodes = append(w.nodes, n)
	w.byID[n.member.ID()] = n
	if err := errors.Join(n.disk.MkdirAll("d", 0o755), n.disk.SyncDir(".")); err != nil {
		w.t.Fatal(err)
	}
	if w.prepare != nil {
		w.prepare(n)
	}
	n.start()
	return n
}

// simClock holds the timers of one life of a node: none fires after it, nor while the
// process is stopped.
type simClock struct {
	n    *simNode
	life int
}

func (c simClock) Now() time.Time { return c.n.w.clock.Now() }
func (c simClock) AfterFunc(d time.Duration, f func()) env.Timer {
	var t env.Timer
	t = c.n.w.clock.AfterFunc(d, func() {
		switch {
		case c.n.life != c.life:
		case c.n.paused:
			t.Reset(50 * time.Millisecond)
		default:
			f()
		}
	})
	return t
}

func (n *simNode) options() Options {
	life := n.life
	o := Options{
		FS: n.disk, Dir: crashDir, Clock: simClock{n, life}, Exec: n.part, Self: n.member, Voters: n.voters, Join: n.voters == nil,
		Hooks: Hooks{
			Restore: n.restore, Commit: n.commit, SnapshotDue: n.snapshot,
			Lead: func(term uint64) {
				n.term, n.waiting = term, map[uint64]string{}
				n.w.note("lead %d %d", n.number, term)
			},
			Resign: func(uint64) { n.term = 0; n.w.count("resign") },
		},
		Send: n.send, FetchSnapshot: n.fetch, Failed: n.failed,
		SegmentBytes: 2000, KeepEntries: 5, SnapshotBytes: 2000,
	}
	if n.change != nil {
		n.change(&o)
	}
	return o
}

func (n *simNode) start() {
	n.err, n.term, n.waiting = nil, 0, map[uint64]string{}
	n.part = n.w.steps.Part(fmt.Sprint(n.number))
	node, err := n.open()
	if err != nil {
		n.err = err
		n.w.note("node %d does not start: %v", n.number, err)
		if !errors.Is(err, ErrLostLog) {
			n.w.t.Fatalf("node %d does not start: %v", n.number, err)
		}
		return
	}
	n.node = node
	node.Start()
}

// open opens the node, or a Log on it.
func (n *simNode) open() (*Node, error) {
	if !n.w.logs {
		return Open(n.options())
	}
	l, err := OpenLog(n.options(), n.w.logHooks(n))
	if err != nil {
		return nil, err
	}
	n.log = l
	return l.Node(), nil
}

// stop drops the node as the death of its process would.
func (n *simNode) stop() {
	n.life++
	n.part.Drop()
	n.node, n.paused, n.term = nil, false, 0
}

// crash cuts the power, or kills, and starts again later.
func (n *simNode) crash() {
	w := n.w
	w.count("crash")
	n.stop()
	if w.chance(0.3) {
		n.disk = n.disk.KillClone()
	} else {
		n.disk = n.disk.CrashClone(w.rng)
	}
	life := n.life
	w.after(w.between(time.Millisecond, 3*time.Second), func() {
		if n.life == life && !n.gone {
			n.start()
		}
	})
}

func (n *simNode) failed(err error) {
	n.err = err
	n.w.note("failed %d %v", n.number, err)
	switch {
	case errors.Is(err, env.ErrPowerOff):
		n.crash()
	case errors.Is(err, ErrLostLog):
		if cerr := n.node.Close(); !errors.Is(cerr, ErrLostLog) {
			n.w.t.Errorf("close: %v", cerr)
		}
		n.stop()
	default:
		n.w.t.Errorf("node %d failed: %v", n.number, err)
	}
}

func (n *simNode) commit(e Entry) error {
	w := n.w
	if e.Index <= n.applied {
		w.t.Errorf("node %d applies entry %d after %d", n.number, e.Index, n.applied)
	}
	what := fmt.Sprintf("%d %s", e.Term, e.Data)
	if old, ok := w.committed[e.Index]; ok && old != what {
		w.t.Errorf("entry %d is %q on node %d, it was committed as %q", e.Index, what, n.number, old)
	}
	w.committed[e.Index] = what
	w.highest = max(w.highest, e.Index)
	h := fnv.New64a()
	fmt.Fprint(h, n.hash, what)
	n.applied, n.hash = e.Index, h.Sum64()
	n.checkState()
	if p, ok := n.waiting[e.Index]; ok {
		delete(n.waiting, e.Index)
		if p == string(e.Data) {
			w.acked[p] = struct{}{}
		}
	}
	w.note("commit %d %d %s", n.number, e.Index, what)
	return nil
}

func (n *simNode) checkState() {
	if old, ok := n.w.states[n.applied]; ok && old != n.hash {
		n.w.t.Errorf("node %d has another state at entry %d", n.number, n.applied)
	}
	n.w.states[n.applied] = n.hash
}

func (n *simNode) restore(m SnapshotMeta, r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if n.node != nil {
		n.w.count("install")
	}
	n.applied, n.hash = m.Index, 0
	if len(data) > 0 {
		n.hash = binary.BigEndian.Uint64(data)
	}
	n.checkState()
	n.w.note("restore %d %d", n.number, n.applied)
	return nil
}

func (n *simNode) snapshot(uint64) {
	n.part.Go("snapshot", func() {
		hash := n.hash
		err := n.node.TakeSnapshot(n.applied, func(to io.Writer) error { return binary.Write(to, binary.BigEndian, hash) })
		if err != nil && !errors.Is(err, env.ErrPowerOff) && !errors.Is(err, ErrFailed) {
			n.w.t.Errorf("snapshot: %v", err)
		}
	})
}

// reach tells whether something that n sends arrives.
func (n *simNode) reach(to *simNode) bool {
	return to != nil && !n.cut && !to.cut && !to.deaf && to.node != nil && n.node != nil
}

// send passes messages over the simulated network, as bytes.
func (n *simNode) send(ms []*raftpb.Message) {
	w, life := n.w, n.life
	for _, m := range ms {
		b, err := proto.Marshal(m)
		if err != nil {
			w.t.Fatal(err)
		}
		to := w.byID[m.GetTo()]
		copies := 1
		if w.lossy && !w.calm {
			switch {
			case w.chance(0.05):
				copies = 0
			case w.chance(0.02):
				copies = 2
			}
		}
		for range copies {
			w.after(w.between(100*time.Microsecond, 30*time.Millisecond), func() { n.deliver(to, life, b) })
		}
	}
}

func (n *simNode) deliver(to *simNode, life int, b []byte) {
	switch {
	case n.life != life || !n.reach(to):
		return
	case to.paused:
		n.w.after(50*time.Millisecond, func() { n.deliver(to, life, b) })
		return
	}
	var m raftpb.Message
	if err := proto.Unmarshal(b, &m); err != nil {
		n.w.t.Fatal(err)
	}
	n.w.note("message %v %x %x", m.GetType(), m.GetFrom(), m.GetTo())
	to.node.Step(&m)
}

// call carries a request there and its answer back, or an error after a second.
func (n *simNode) call(to *simNode, do func(*Node, func(any)), done func(any, error)) {
	w, life := n.w, n.life
	answered := false
	back := func(v any, err error) {
		if !answered && n.life == life {
			answered = true
			done(v, err)
		}
	}
	w.after(time.Second, func() { back(nil, errors.New("timeout")) })
	w.after(w.between(100*time.Microsecond, 30*time.Millisecond), func() {
		if !n.reach(to) || to.paused || w.lossy && !w.calm && w.chance(0.1) {
			return
		}
		do(to.node, func(v any) {
			w.after(w.between(100*time.Microsecond, 30*time.Millisecond), func() {
				if n.reach(to) {
					back(v, nil)
				}
			})
		})
	})
}

func (n *simNode) fetch(from uint64, req *nodewire.SnapshotRequest, done func(*nodewire.SnapshotResponse, error)) {
	w := n.w
	if w.lossy {
		req.MaxBytes = int32(w.rng.IntN(100)) // several parts
	}
	n.call(w.byID[from], func(to *Node, answer func(any)) {
		r := to.ReadSnapshot(req)
		if len(r.Data) > 0 && w.lossy && !w.calm && w.chance(0.05) {
			r.Data[w.rng.IntN(len(r.Data))] ^= 1
		}
		answer(r)
	}, func(v any, err error) {
		r, _ := v.(*nodewire.SnapshotResponse)
		if err != nil {
			w.count("fetch broken off")
		}
		done(r, err)
	})
}

// propose hands something to whoever thinks that it leads.
func (w *world) propose() {
	for _, n := range w.nodes {
		if n.node == nil || n.term == 0 || n.paused {
			continue
		}
		w.proposed++
		if w.logs {
			_, err := n.log.Append(int32(n.term), w.clock.Now(), []machine.Record{{Value: fmt.Append(nil, "r", w.proposed)}})
			if err != nil && !errors.Is(err, machine.ErrNotLeader) && !errors.Is(err, ErrBusy) {
				w.t.Fatal(err)
			}
			continue
		}
		p := fmt.Sprint("p", w.proposed)
		index, err := n.node.Append(n.term, []byte(p))
		switch {
		case err == nil:
			n.waiting[index] = p
		case !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrFailed):
			w.t.Fatal(err)
		}
	}
}

// leader is the node that leads in the highest term; nil if none does.
func (w *world) leader() (lead *simNode) {
	for _, n := range w.nodes {
		if n.node != nil && n.term != 0 && (lead == nil || n.term > lead.term) {
			lead = n
		}
	}
	return lead
}

// check holds what must be true after every step.
func (w *world) check() {
	for _, n := range w.nodes {
		if n.node == nil {
			continue
		}
		if _, err := n.disk.Stat("d"); errors.Is(err, env.ErrPowerOff) {
			n.crash() // whether or not the node has noticed
			continue
		}
		if st := n.node.Status(); st.Role == "StateLeader" {
			if other, ok := w.leaders[st.Term]; ok && other != n.member.ID() {
				w.t.Fatalf("two leaders in term %d: %x and %x", st.Term, other, n.member.ID())
			} else if !ok {
				w.count("election")
				w.leaders[st.Term] = n.member.ID()
			}
		}
	}
}

// step runs one turn, or the next timer: mostly turns, so that loops are slow now and then.
func (w *world) step() {
	if !w.chance(0.8) || !w.steps.Step() {
		if !w.clock.Step() && !w.steps.Step() {
			w.clock.Advance(10 * time.Millisecond) // a group of one has no ticks
		}
	}
	w.check()
}

func (w *world) run(d time.Duration) {
	for end := w.now() + d; w.now() < end && !w.t.Failed(); {
		if next, ok := w.clock.Next(); ok && next.Sub(w.begun) > end && !w.steps.Step() {
			w.clock.Advance(end - w.now())
		} else if !ok || next.Sub(w.begun) <= end {
			w.step()
		}
	}
}

// until runs until something is true, for a minute at most.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := w.now() + time.Minute; !ok(); w.step() {
		if w.now() > end || w.t.Failed() {
			for _, n := range w.nodes {
				if n.node != nil {
					w.t.Logf("%d %x: applied %d of %d, err %v, %+v", n.number, n.member.ID(), n.applied, w.highest, n.err, n.node.Status())
				}
			}
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (w *world) every(lo, hi time.Duration, do func()) {
	w.after(w.between(lo, hi), func() {
		if !w.calm {
			do()
		}
		w.every(lo, hi, do)
	})
}

var discard = slog.New(slog.DiscardHandler)

// members are the nodes of the group as its leader knows it.
func (w *world) members() (ns []*simNode) {
	if lead := w.leader(); lead != nil {
		for _, m := range lead.node.Members() {
			ns = append(ns, w.byID[m.ID()])
		}
	}
	return ns
}

// agree waits until all members have applied everything.
func (w *world) agree() {
	w.t.Helper()
	w.until("all members have everything", func() bool {
		ms := w.members()
		return len(ms) > 0 && !slices.ContainsFunc(ms, func(n *simNode) bool { return n.node == nil || n.applied < w.highest })
	})
}
