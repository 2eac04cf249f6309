package quorum

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/leat-stream/leat/internal/env"
)

// world is a group on one goroutine: cores and stores are the real ones, time,
// network and disks are simulated, and everything follows from one seed.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	now   time.Duration
	agent agenda
	order uint64
	nodes []*simNode
	byID  map[uint64]*simNode
	trace uint64 // hash of everything that happened
	calm  bool   // no more faults

	// What must hold over all nodes:
	leaders   map[uint64]uint64   // term -> node
	committed map[uint64]string   // index -> term and data
	states    map[uint64]uint64   // index -> hash of the state
	acked     map[string]struct{} // proposals answered as committed
	proposed  int
	highest   uint64
	installs  int
	elections int
}

type simNode struct {
	w       *world
	member  Member
	disk    *env.Disk
	core    *core
	store   *store
	life    int // grows with each crash: events of an earlier life are void
	cut     bool
	writes  []diskJob
	writing bool
	applies []apply
	busy    bool

	applied uint64
	hash    uint64
	waiting map[uint64]string // index -> proposal of this leadership
}

type happening struct {
	at    time.Duration
	order uint64
	do    func()
}

type agenda []happening

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].order < a[j].order
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(happening)) }
func (a *agenda) Pop() any     { x := (*a)[len(*a)-1]; *a = (*a)[:len(*a)-1]; return x }

func (w *world) after(d time.Duration, do func()) {
	w.order++
	heap.Push(&w.agent, happening{w.now + d, w.order, do})
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func (w *world) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

// note adds to the trace.
func (w *world) note(format string, args ...any) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %v ", w.trace, w.now)
	fmt.Fprintf(h, format, args...)
	w.trace = h.Sum64()
}

func newWorld(t *testing.T, seed uint64, nodes int) *world {
	w := &world{
		t: t, rng: env.NewRand(seed), byID: map[uint64]*simNode{}, leaders: map[uint64]uint64{},
		committed: map[uint64]string{}, states: map[uint64]uint64{}, acked: map[string]struct{}{},
	}
	var voters []Member
	for i := range nodes {
		voters = append(voters, Member{NodeID: int32(i), DirectoryID: [16]byte{byte(i), byte(seed)}})
	}
	for i, m := range voters {
		n := &simNode{w: w, member: m, disk: env.NewDisk(seed<<8 | uint64(i))}
		w.nodes = append(w.nodes, n)
		w.byID[m.ID()] = n
		if err := errors.Join(n.disk.MkdirAll("d", 0o755), n.disk.SyncDir("."), bootstrap(n.disk, crashDir, voters)); err != nil {
			t.Fatal(err)
		}
		n.start()
	}
	return w
}

func (n *simNode) start() {
	st, r, err := openStore(n.disk, crashDir, n.member.ID(), 2000)
	if err != nil {
		n.w.t.Fatalf("node %d does not start: %v", n.member.NodeID, err)
	}
	load := func(index uint64) ([]byte, error) {
		return readFile(n.disk, filepath.Join(crashDir, snapshotName(index)))
	}
	c, err := newCore(n.member.ID(), r, load, coreOptions{
		electionTicks: 10, heartbeatTicks: 2, keepEntries: 5, snapshotBytes: 2000, logger: raftLogger{discard},
	})
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.store, n.core = st, c
	n.writes, n.applies, n.writing, n.busy, n.waiting = nil, nil, false, false, map[uint64]string{}
	b, err := load(r.snapshot.Index)
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.restore(b)
	n.tickLater()
	n.turn()
}

func (n *simNode) tickLater() {
	life := n.life
	n.w.after(n.w.between(90*time.Millisecond, 110*time.Millisecond), func() {
		if n.life == life {
			n.core.tick()
			n.tickLater()
			n.turn()
		}
	})
}

// crash cuts the power, or kills, and starts again later.
func (n *simNode) crash() {
	w := n.w
	n.life++
	w.note("crash %d", n.member.NodeID)
	if w.chance(0.3) {
		n.disk = n.disk.KillClone()
	} else {
		n.disk = n.disk.CrashClone(w.rng)
	}
	n.core, n.store = nil, nil
	life := n.life
	w.after(w.between(time.Millisecond, 3*time.Second), func() {
		if n.life == life {
			n.start()
		}
	})
}

// turn carries out the core's duties, as Node.turn does.
func (n *simNode) turn() {
	if n.core == nil {
		return
	}
	d, err := n.core.ready()
	if err != nil {
		n.w.t.Fatal(err)
	}
	for _, m := range d.writes {
		n.writes = append(n.writes, diskJob{message: m})
	}
	n.applies = append(n.applies, d.applies...)
	for _, m := range d.sends {
		n.send(m)
	}
	st := n.core.rn.BasicStatus()
	if st.RaftState == raft.StateLeader {
		if other, ok := n.w.leaders[st.GetTerm()]; ok && other != st.ID {
			n.w.t.Fatalf("two leaders in term %d: %x and %x", st.GetTerm(), other, st.ID)
		} else if !ok {
			n.w.elections++
			n.w.leaders[st.GetTerm()] = st.ID
		}
	}
	n.writeLater()
	n.applyLater()
}

func (n *simNode) writeLater() {
	if n.writing || len(n.writes) == 0 {
		return
	}
	n.writing = true
	life := n.life
	n.w.after(n.w.between(100*time.Microsecond, 20*time.Millisecond), func() {
		if n.life == life {
			n.write()
		}
	})
}

func (n *simNode) write() {
	n.writing = false
	jobs := n.writes
	n.writes = nil
	if !n.w.calm && n.w.chance(0.01) {
		n.disk.CrashAt(1 + n.w.rng.IntN(4))
	}
	for len(jobs) > 0 {
		var ws []write
		var ms []*raftpb.Message
		for len(jobs) > 0 && jobs[0].message != nil {
			ms, ws, jobs = append(ms, jobs[0].message), append(ws, writeOf(jobs[0].message)), jobs[1:]
		}
		var err error
		if len(ws) > 0 {
			err = n.store.write(ws)
		} else {
			err = n.store.compact(jobs[0].compact, jobs[0].newest)
			jobs = jobs[1:]
		}
		if err != nil {
			if !errors.Is(err, env.ErrPowerOff) {
				n.w.t.Fatal(err)
			}
			n.crash()
			return
		}
		for _, m := range ms {
			if err := n.core.persisted(m); err != nil {
				n.w.t.Fatal(err)
			}
		}
	}
	n.disk.CrashAt(0)
	n.turn()
}

func (n *simNode) applyLater() {
	if n.busy || len(n.applies) == 0 {
		return
	}
	n.busy = true
	life := n.life
	n.w.after(n.w.between(0, 5*time.Millisecond)+1, func() {
		if n.life != life {
			return
		}
		n.busy = false
		a := n.applies[0]
		n.applies = n.applies[1:]
		n.apply(a)
		n.turn()
	})
}

func (n *simNode) apply(a apply) {
	switch {
	case a.entries != nil:
		for _, e := range a.entries.GetEntries() {
			n.commit(e)
		}
		if err := n.core.appliedTo(a.entries); err != nil {
			n.w.t.Fatal(err)
		}
	case a.snapshot != nil:
		n.w.installs++
		n.restore(a.snapshot)
	case a.lead != 0:
		n.waiting = map[uint64]string{}
	case a.due != 0:
		n.snapshot(a.due)
	}
}

func (n *simNode) commit(e *raftpb.Entry) {
	w := n.w
	if e.GetIndex() != n.applied+1 {
		w.t.Fatalf("node %d applies entry %d after %d", n.member.NodeID, e.GetIndex(), n.applied)
	}
	what := fmt.Sprintf("%d %s", e.GetTerm(), e.GetData())
	if old, ok := w.committed[e.GetIndex()]; ok && old != what {
		w.t.Fatalf("entry %d is %q on node %d, it was committed as %q", e.GetIndex(), what, n.member.NodeID, old)
	}
	w.committed[e.GetIndex()] = what
	w.highest = max(w.highest, e.GetIndex())
	h := fnv.New64a()
	fmt.Fprint(h, n.hash, what)
	n.applied, n.hash = e.GetIndex(), h.Sum64()
	n.checkState()
	if p, ok := n.waiting[e.GetIndex()]; ok {
		delete(n.waiting, e.GetIndex())
		if p == string(e.GetData()) {
			w.acked[p] = struct{}{}
		}
	}
	w.note("commit %d %d %s", n.member.NodeID, e.GetIndex(), what)
}

func (n *simNode) checkState() {
	if old, ok := n.w.states[n.applied]; ok && old != n.hash {
		n.w.t.Fatalf("node %d has another state at entry %d", n.member.NodeID, n.applied)
	}
	n.w.states[n.applied] = n.hash
}

func (n *simNode) restore(file []byte) {
	r, err := newSnapshotReader(bytes.NewReader(file))
	if err != nil {
		n.w.t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.applied, n.hash = r.meta.Index, 0
	if len(data) > 0 {
		n.hash = binary.BigEndian.Uint64(data)
	}
	n.checkState()
	n.w.note("restore %d %d", n.member.NodeID, n.applied)
}

func (n *simNode) snapshot(uint64) {
	m, ok, err := n.core.snapshotMeta(n.applied)
	if err != nil || !ok {
		n.w.t.Fatalf("snapshot: %v %v", ok, err)
	}
	err = saveSnapshot(n.disk, crashDir, n.applied, func(to io.Writer) error {
		return encodeSnapshot(to, m, func(to io.Writer) error { return binary.Write(to, binary.BigEndian, n.hash) })
	})
	if err != nil {
		n.w.t.Fatal(err)
	}
	if compact, ok := n.core.snapshotted(m); ok {
		n.writes = append(n.writes, diskJob{compact: compact, newest: m.Index})
	}
}

// send passes a message over the simulated network, as bytes.
func (n *simNode) send(m *raftpb.Message) {
	w := n.w
	b, err := proto.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	to := w.byID[m.GetTo()]
	copies := 1
	if !w.calm {
		switch {
		case w.chance(0.05):
			copies = 0
		case w.chance(0.02):
			copies = 2
		}
	}
	for range copies {
		w.after(w.between(100*time.Microsecond, 30*time.Millisecond), func() {
			if n.cut || to.cut || to.core == nil {
				return
			}
			var m raftpb.Message
			if err := proto.Unmarshal(b, &m); err != nil {
				w.t.Fatal(err)
			}
			if s := m.GetSnapshot(); s != nil && !w.calm && w.chance(0.2) {
				s.Data[w.rng.IntN(len(s.Data))] ^= 1
			}
			if s := m.GetSnapshot(); s != nil && checkSnapshot(s) != nil {
				return // as Node.Step
			}
			w.note("message %v %x %x", m.GetType(), m.GetFrom(), m.GetTo())
			to.core.step(&m)
			to.turn()
		})
	}
}

// propose hands something to whoever thinks that it leads.
func (w *world) propose() {
	for _, n := range w.nodes {
		if n.core == nil || n.core.leading == 0 {
			continue
		}
		w.proposed++
		p := fmt.Sprint("p", w.proposed)
		index, err := n.core.propose(n.core.leading, []byte(p))
		switch {
		case err == nil:
			n.waiting[index] = p
		case !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrBusy):
			w.t.Fatal(err)
		}
		n.turn()
	}
}

// fault does one thing that must not matter.
func (w *world) fault() {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	switch w.rng.IntN(4) {
	case 0:
		if n.core != nil {
			n.crash()
		}
	case 1, 2:
		n.cut = true
		w.after(w.between(100*time.Millisecond, 6*time.Second), func() { n.cut = false })
	case 3:
		for _, n := range w.nodes {
			if n.core != nil && w.chance(0.7) {
				n.crash()
			}
		}
	}
}

func (w *world) run(until time.Duration) {
	for len(w.agent) > 0 && w.agent[0].at <= until {
		h := heap.Pop(&w.agent).(happening)
		w.now = h.at
		h.do()
	}
	w.now = until
}

func (w *world) every(lo, hi time.Duration, do func()) {
	w.after(w.between(lo, hi), func() {
		if !w.calm {
			do()
		}
		w.every(lo, hi, do)
	})
}

// simulate runs a group under faults, then lets it heal and checks that it agrees.
func simulate(t *testing.T, seed uint64, nodes int, faults time.Duration) *world {
	cryptotest.SetGlobalRandom(t, seed)
	w := newWorld(t, seed, nodes)
	w.every(time.Millisecond, 60*time.Millisecond, w.propose)
	w.every(200*time.Millisecond, 3*time.Second, w.fault)
	w.run(faults)
	w.calm = true
	w.run(faults + 20*time.Second) // everything heals
	before := w.highest
	w.propose()
	w.run(w.now + 5*time.Second)
	if w.highest <= before {
		t.Fatalf("seed %d: nothing commits after all faults are gone", seed)
	}
	for _, n := range w.nodes {
		if n.core == nil || n.applied != w.highest {
			t.Fatalf("seed %d: node %d is at entry %d, the group at %d", seed, n.member.NodeID, n.applied, w.highest)
		}
	}
	all := map[string]bool{}
	for _, what := range w.committed {
		var term int
		var p string
		_, _ = fmt.Sscan(what, &term, &p)
		all[p] = true
	}
	for _, p := range slices.Sorted(maps.Keys(w.acked)) {
		if !all[p] {
			t.Fatalf("seed %d: %s was acknowledged and is gone", seed, p)
		}
	}
	return w
}

// TestGroupUnderFaults: replication, failover, restarts and snapshots under lost and
// doubled messages, cuts, kills and power losses.
func TestGroupUnderFaults(t *testing.T) {
	installs, elections, acked := 0, 0, 0
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := simulate(t, seed, 3, 30*time.Second)
			installs, elections, acked = installs+w.installs, elections+w.elections, acked+len(w.acked)
		})
	}
	t.Logf("%d snapshots installed, %d elections, %d proposals acknowledged", installs, elections, acked)
	if installs < 10 || elections < 40 || acked < 1000 {
		t.Fatal("the faults do not explore")
	}
}

// TestGroupOfOneAndFive: other sizes.
func TestGroupOfOneAndFive(t *testing.T) {
	for _, nodes := range []int{1, 5} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) { simulate(t, 99, nodes, 20*time.Second) })
	}
}

// TestGroupIsRepeatable: the same seed is the same history.
func TestGroupIsRepeatable(t *testing.T) {
	var traces []uint64
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			traces = append(traces, simulate(t, 7+uint64(i/2), 3, 20*time.Second).trace)
		})
	}
	if traces[0] != traces[1] {
		t.Fatalf("one seed, two traces: %x %x", traces[0], traces[1])
	}
	if traces[0] == traces[2] {
		t.Fatal("two seeds, one trace")
	}
}

var discard = slog.New(slog.DiscardHandler)
