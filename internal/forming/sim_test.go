package forming

import (
	"container/heap"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/nodewire"
)

var (
	seeds    = flag.Int("forming.seeds", 1500, "how many seeds each simulation runs")
	oneSeed  = flag.Uint64("forming.seed", 0, "run this seed alone, and tell what happens")
	liveness = 5 * time.Minute // virtual; the longest that healthy nodes may take
)

// world is some slots, the network between them, and what can go wrong.
type world struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	now   time.Time
	queue events
	seq   int
	slots []*slot
	cut   map[[2]int]bool // from, to
	loss  float64         // of messages
	slow  time.Duration   // longest delay of one
	dirs  byte
	ids   int
	count map[string]int
	begun []begunBy // every log that was ever created
	gone  map[[16]byte]bool
	trace bool
	spite float64 // chance that a step of a founding meets a fault at this very moment
	wipes int     // that are left
}

type begunBy struct {
	f  nodewire.Founding
	id nodewire.Identity
}

// slot is an address: its directory, and the process that runs on it.
type slot struct {
	n       int
	address string
	node    int32
	listed  []Listed
	dir     [16]byte
	promise Promise
	log     *nodewire.Founding // begun
	cluster string             // of the directory
	process int                // counts starts
	m       *Machine           // nil: down
	tokens  map[uint64]func(*nodewire.HelloResponse)
	token   uint64
	refused error
	joined  string
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now.Add(d), w.seq, do})
}

func (w *world) say(format string, args ...any) {
	if w.trace {
		w.t.Logf("%8.3f %s", w.now.Sub(time.Time{}).Seconds(), fmt.Sprintf(format, args...))
	}
}

func newWorld(t *testing.T, seed uint64, n int) *world {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), cut: map[[2]int]bool{},
		count: map[string]int{}, gone: map[[16]byte]bool{}, trace: *oneSeed != 0}
	ids := w.rng.Perm(n)
	for i := range n {
		s := &slot{n: i, address: fmt.Sprintf("n%d:9093", i), node: int32(ids[i] + 1)}
		s.dir = w.directory()
		w.slots = append(w.slots, s)
	}
	for _, s := range w.slots {
		for _, o := range w.slots {
			s.listed = append(s.listed, Listed{o.address, -1})
		}
	}
	return w
}

func (w *world) directory() [16]byte {
	w.dirs++
	return [16]byte{w.dirs}
}

func (w *world) start(s *slot) {
	s.process++
	s.tokens = map[uint64]func(*nodewire.HelloResponse){}
	s.m = New(Config{
		Self:  nodewire.Identity{NodeID: s.node, DirectoryID: s.dir, Address: s.address},
		Voter: true, Listed: s.listed, ClusterID: s.cluster, InCluster: s.cluster != "", Promise: s.promise,
		NewClusterID: func() string { w.ids++; return fmt.Sprintf("cluster-%d", w.ids) },
	})
	w.say("%s starts with directory %d, node %d, promise %+v, log %v", s.address, s.dir[0], s.node, s.promise.Ballot, s.log != nil)
	p := s.process
	var tick func()
	tick = func() {
		if s.process == p && s.m != nil {
			w.step(s, Tick{})
			w.after(100*time.Millisecond, tick)
		}
	}
	w.after(w.upTo(time.Second), tick)
}

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d) + 1)) }

func (w *world) stop(s *slot) { s.m, s.process = nil, s.process+1 }

func (w *world) wipe(s *slot) {
	w.stop(s)
	w.say("%s is wiped", s.address)
	w.gone[s.dir] = true
	s.dir, s.promise, s.log, s.cluster, s.joined = w.directory(), Promise{}, nil, "", ""
}

// send delivers a message later, or twice, or never.
func (w *world) send(from, to int, do func()) {
	if w.cut[[2]int{from, to}] || w.rng.Float64() < w.loss {
		return
	}
	w.after(w.upTo(w.slow), do)
	if w.rng.Float64() < w.loss {
		w.count["duplicate"]++
		w.after(w.upTo(10*w.slow), do)
	}
}

func (w *world) step(s *slot, e Event) {
	m, p := s.m, s.process
	mine := func(do func()) func() {
		return func() {
			if s.process == p && s.m == m {
				do()
			}
		}
	}
	for _, a := range m.Step(w.now, e) {
		w.strike(s, a)
		switch a := a.(type) {
		case Ask:
			w.carry(s, a, mine)
		case Answer:
			reply := s.tokens[a.Token]
			delete(s.tokens, a.Token)
			reply(a.Resp)
		case Save:
			if f := s.promise.Accepted; f != nil && !equal(f, a.Accepted) {
				w.count["promise given up, its founding was dead"]++
			}
			// The disk takes its time; a process that ends meanwhile may have written or not.
			w.after(w.upTo(w.slow), mine(func() { s.promise = a.Promise; w.after(w.upTo(w.slow), mine(func() { w.step(s, Saved{}) })) }))
		case Begin:
			w.after(w.upTo(w.slow), mine(func() {
				w.begin(s, a.Founding)
				w.after(w.upTo(w.slow), mine(func() { w.step(s, Begun{}) }))
			}))
		case Join:
			s.cluster, s.joined = a.ClusterID, a.ClusterID
			w.count["join"]++
			w.say("%s joins %s", s.address, a.ClusterID)
		case Refuse:
			w.say("%s refuses: %v", s.address, a.Refusal)
			s.refused = a.Refusal
		case Say:
			w.say("%s: %s", s.address, a.Text)
		}
	}
}

// strike lets something go wrong right at a step of a founding: the node that takes it, or
// another one, ends or is wiped, and comes back at once or soon.
func (w *world) strike(s *slot, a Action) {
	switch a := a.(type) {
	case Save, Begin:
	case Ask:
		if a.Req.Ballot.Round == 0 {
			return
		}
	default:
		return
	}
	if w.rng.Float64() >= w.spite {
		return
	}
	if w.rng.IntN(2) == 0 {
		s = w.slots[w.rng.IntN(len(w.slots))]
	}
	wipe := w.wipes > 0 && w.rng.IntN(3) > 0
	w.after(w.upTo(3*w.slow), func() {
		if wipe {
			w.wipes--
			w.count["wipe"]++
			w.wipe(s)
		} else {
			w.count["stop"]++
			w.stop(s)
		}
		w.after(w.upTo(w.slow), func() {
			if s.m == nil {
				w.start(s)
			}
		})
	})
}

// carry takes a hello to the process that has the address by then, and its answer back.
func (w *world) carry(s *slot, a Ask, mine func(func()) func()) {
	i := slices.IndexFunc(w.slots, func(o *slot) bool { return o.address == a.Address })
	to := w.slots[i]
	w.send(s.n, to.n, func() {
		if to.m == nil {
			return
		}
		to.token++
		to.tokens[to.token] = func(resp *nodewire.HelloResponse) {
			w.send(to.n, s.n, mine(func() { w.step(s, Heard{Address: a.Address, Resp: resp}) }))
		}
		w.step(to, Asked{to.token, a.Req})
	})
	if w.rng.Float64() < 0.1 {
		w.after(w.upTo(time.Second), mine(func() { w.step(s, Heard{Address: a.Address, Err: errors.New("timed out")}) }))
	}
}

func (w *world) begin(s *slot, f nodewire.Founding) {
	self := nodewire.Identity{NodeID: s.node, DirectoryID: s.dir}
	w.say("%s begins %s %v", s.address, f.ClusterID, dirsOf(f))
	if s.log != nil {
		w.fail("%s begins a second log", s.address)
	}
	if !names(f.Voters, self) {
		w.fail("%s begins a founding that does not name it", s.address)
	}
	if !equal(s.promise.Accepted, &f) {
		w.fail("%s begins what it has not promised", s.address)
	}
	s.log, s.cluster = &f, f.ClusterID
	w.begun = append(w.begun, begunBy{f, self})
	w.count["begin"]++
	for _, v := range f.Voters {
		if w.gone[v.DirectoryID] {
			w.count["begun although a member was wiped"]++
			break
		}
	}
	w.check()
}

func dirsOf(f nodewire.Founding) (all []byte) {
	for _, v := range f.Voters {
		all = append(all, v.DirectoryID[0])
	}
	return all
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d: %s\nagain: go test ./internal/forming -run '^%s$' -forming.seed %d -v", w.seed, fmt.Sprintf(format, args...), w.t.Name(), w.seed)
}

// able tells whether a founding can have a majority, now or ever again.
func (w *world) able(f nodewire.Founding) bool {
	left := 0
	for _, v := range f.Voters {
		if !w.gone[v.DirectoryID] {
			left++
		}
	}
	return left > len(f.Voters)/2
}

// check: no two foundings, of those that were begun, can both have a majority.
func (w *world) check() {
	for i, a := range w.begun {
		for _, b := range w.begun[:i] {
			if equal(&a.f, &b.f) {
				continue
			}
			shared := slices.ContainsFunc(slots(&a.f), func(s string) bool { return slices.Contains(slots(&b.f), s) })
			if shared && w.able(a.f) && w.able(b.f) {
				w.fail("two clusters can both have a majority: %v and %v", a.f, b.f)
			}
		}
	}
}

// lost tells that some node is in a cluster whose founding was begun and has lost its
// majority since: nothing but an operator can help then.
func (w *world) lost() bool {
	return slices.ContainsFunc(w.begun, func(b begunBy) bool {
		return !w.able(b.f) && slices.ContainsFunc(w.slots, func(s *slot) bool { return s.cluster == b.f.ClusterID })
	})
}

// run lets time pass until the condition holds.
func (w *world) run(limit time.Duration, until func() bool) bool {
	end := w.now.Add(limit)
	for len(w.queue) > 0 && !w.queue[0].at.After(end) {
		if until() {
			return true
		}
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
	return until()
}

func never() bool { return false }

// fault does one thing that goes wrong, or right again.
func (w *world) fault() {
	s := w.slots[w.rng.IntN(len(w.slots))]
	switch w.rng.IntN(10) {
	case 0, 1:
		if w.wipes > 0 {
			w.wipes--
			w.count["wipe"]++
			w.wipe(s)
			if w.rng.IntN(2) == 0 {
				w.start(s)
			}
		}
	case 2, 3:
		w.count["stop"]++
		w.stop(s)
	case 4, 5, 6:
		if s.m == nil {
			w.start(s)
		}
	case 7, 8:
		w.count["cut"]++
		w.cut[[2]int{s.n, w.rng.IntN(len(w.slots))}] = true
	case 9:
		clear(w.cut)
	}
}

func (w *world) heal() {
	clear(w.cut)
	w.loss, w.spite, w.slow = 0, 0, 10*time.Millisecond
	for _, s := range w.slots {
		if s.m == nil {
			w.start(s)
		}
	}
	w.say("healed")
}

// settled: every node is in one cluster, and a majority of its founding has begun.
func (w *world) settled() bool {
	cluster := w.slots[0].cluster
	if cluster == "" {
		return false
	}
	begun := map[int32]bool{}
	var f *nodewire.Founding
	for _, s := range w.slots {
		if s.cluster != cluster || s.m == nil || s.m.phase != member && s.m.phase != joined {
			return false
		}
		if s.log != nil {
			begun[s.node], f = true, s.log
		}
	}
	return f != nil && len(begun) > len(f.Voters)/2
}

// each runs the seeds, and sees that what is counted did happen.
func each(t *testing.T, counted []string, run func(w *world)) {
	total := map[string]int{}
	from, to := uint64(1), uint64(*seeds)
	if *oneSeed != 0 {
		from, to = *oneSeed, *oneSeed
	}
	for seed := from; seed <= to; seed++ {
		n := []int{3, 3, 3, 5, 2, 4, 1}[seed%7]
		w := newWorld(t, seed, n)
		run(w)
		for k, v := range w.count {
			total[k] += v
		}
	}
	t.Log(total)
	if *oneSeed != 0 {
		return
	}
	for _, k := range counted {
		if total[k] == 0 {
			t.Errorf("never: %s", k)
		}
	}
}

// Nodes that are wiped, restarted, cut off and slowed while they found a cluster never
// found two; and with everybody healthy they come to one.
func TestFoundingUnderFaults(t *testing.T) {
	each(t, []string{"begin", "stop", "cut", "duplicate", "wipe", "join", "one cluster", "begun although a member was wiped",
		"promise given up, its founding was dead"}, func(w *world) {
		w.loss, w.slow = w.rng.Float64()*0.3, []time.Duration{time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second}[w.rng.IntN(4)]
		w.spite, w.wipes = []float64{0, 0.05, 0.2}[w.rng.IntN(3)], w.rng.IntN(3*len(w.slots))
		for _, s := range w.slots {
			if w.rng.IntN(4) > 0 {
				w.start(s)
			}
		}
		for range 5 + w.rng.IntN(30) {
			w.run(w.upTo(4*w.slow+100*time.Millisecond), never)
			w.fault()
		}
		w.heal()
		ok := w.run(liveness, w.settled)
		switch {
		case w.lost():
			w.count["lost: the majority was wiped after the beginning"]++
		case !ok:
			var b strings.Builder
			for _, s := range w.slots {
				fmt.Fprintf(&b, "\n  %s node %d dir %d cluster %q phase %d promise %+v refused %v", s.address, s.node, s.dir[0], s.cluster, s.m.phase, s.m.promise, s.refused)
			}
			w.fail("healthy nodes did not come to one cluster%s", b.String())
		default:
			w.count["one cluster"]++
		}
		w.check()
	})
}

// Lists that differ are refused, and never lead to clusters that share an address.
func TestDifferentListsUnderFaults(t *testing.T) {
	each(t, []string{"begin", "stop", "cut"}, func(w *world) {
		w.loss, w.slow = w.rng.Float64()*0.2, 50*time.Millisecond
		for _, s := range w.slots {
			if w.rng.IntN(3) > 0 {
				continue
			}
			s.listed = nil
			for _, o := range w.slots {
				if w.rng.IntN(2) == 0 {
					s.listed = append(s.listed, Listed{o.address, -1})
				}
			}
			if len(s.listed) == 0 {
				s.listed = []Listed{{s.address, -1}}
			}
		}
		for _, s := range w.slots {
			w.start(s)
		}
		for range 20 {
			w.run(w.upTo(2*time.Second), never)
			w.fault()
		}
		for i, a := range w.begun {
			for _, b := range w.begun[:i] {
				if !equal(&a.f, &b.f) && slices.ContainsFunc(slots(&a.f), func(s string) bool { return slices.Contains(slots(&b.f), s) }) {
					w.fail("two clusters share an address: %v and %v", a.f, b.f)
				}
			}
		}
	})
}

// The same seed runs the same way.
func TestSeedsRepeat(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		var got [2]string
		for i := range got {
			w := newWorld(t, seed, 3)
			w.loss, w.slow = 0.2, 100*time.Millisecond
			for _, s := range w.slots {
				w.start(s)
			}
			w.spite, w.wipes = 0.1, 3
			for range 20 {
				w.run(time.Second, never)
				w.fault()
			}
			got[i] = fmt.Sprint(w.begun, w.seq, w.now, w.ids)
		}
		if got[0] != got[1] {
			t.Fatalf("seed %d:\n%s\n%s", seed, got[0], got[1])
		}
	}
}
