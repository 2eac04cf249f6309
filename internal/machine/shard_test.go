package machine

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// bench drives one shard by hand, as the shell would, and checks what every step
// must keep: one outcome per token, no reply nor effect before its commit, and a
// state that is the replay of the log.
type bench struct {
	t    *testing.T
	log  *memLog
	s    *shard
	now  time.Time
	next Token

	open      map[Token]any // requests without an outcome
	timers    map[string]time.Time
	deadlines map[Token]time.Time
	loadDue   *actLoad
	outcomes  map[Token]error
	effects   int
	kinds     map[EventKind]int
}

func newBench(t *testing.T) *bench {
	b := &bench{
		t: t, log: &memLog{epoch: 3}, now: time.UnixMilli(1_000_000),
		open: map[Token]any{}, timers: map[string]time.Time{}, deadlines: map[Token]time.Time{},
		outcomes: map[Token]error{}, kinds: map[EventKind]int{},
	}
	b.s = newShard("s", 3, limits{8, 1 << 20}, rand.New(rand.NewPCG(1, 2)))
	b.step(evStart{})
	return b
}

func (b *bench) step(ev event) {
	for ev != nil {
		actions := b.s.step(b.now, ev)
		ev = nil
		for i, a := range actions {
			if app, ok := a.(actAppend); ok {
				if i != len(actions)-1 {
					b.t.Fatalf("append is not the last of %v", actions)
				}
				last, err := b.log.Append(3, b.now, app.records)
				ev = evAppended{last, err}
				continue
			}
			b.do(a)
		}
	}
	if b.s.committed != b.log.committed {
		b.t.Fatalf("committed is %d, was told %d", b.s.committed, b.log.committed)
	}
	if b.s.status == active && b.s.machine != nil {
		if got, want := b.s.machine.(*kv).data, b.log.replay(b.log.end()); !equalMaps(got, want) {
			b.t.Fatalf("state %v, replay of the log %v", got, want)
		}
	}
}

func (b *bench) do(a action) {
	switch a := a.(type) {
	case actReply:
		b.outcome(a.token, nil)
		s := a.body.(seen)
		if s.end > b.log.committed {
			b.t.Fatalf("reply of a state up to %d left when %d is committed", s.end, b.log.committed)
		}
	case actFail:
		b.outcome(a.token, a.err)
	case actEffect:
		b.effects++
		e := a.effect.(effect)
		if b.log.replay(b.log.committed)[e.key] == "" {
			b.t.Fatalf("effect %v left before its record was committed", e)
		}
	case actTimer:
		if a.at.IsZero() {
			delete(b.timers, a.key)
		} else {
			b.timers[a.key] = a.at
		}
	case actDeadline:
		if a.at.IsZero() {
			delete(b.deadlines, a.token)
		} else if _, ok := b.deadlines[a.token]; ok {
			b.t.Fatalf("token %d has two deadlines", a.token)
		} else {
			b.deadlines[a.token] = a.at
		}
	case actForget:
		clear(b.timers)
		clear(b.deadlines)
		b.loadDue = nil
	case actLoad:
		b.loadDue = &a
	case actNotify:
		b.kinds[a.event.Kind]++
	default:
		b.t.Fatalf("unknown action %T", a)
	}
}

func (b *bench) outcome(t Token, err error) {
	if _, ok := b.open[t]; !ok {
		b.t.Fatalf("token %d has a second outcome %v (first %v)", t, err, b.outcomes[t])
	}
	delete(b.open, t)
	b.outcomes[t] = err
}

func (b *bench) request(body any) Token {
	b.next++
	b.open[b.next] = body
	b.step(evRequest{b.next, body, time.Second})
	return b.next
}

// finishLoad runs the load that is due.
func (b *bench) finishLoad() {
	due := b.loadDue
	if due == nil {
		return
	}
	b.loadDue = nil
	m := newKV()
	end, err := b.log.Load(3, m.Apply)
	b.step(evLoaded{number: due.number, machine: m, end: end, err: err})
}

func (b *bench) commitTo(end int64) {
	b.log.committed = end
	b.step(evCommitted{end})
}

// TestShardRandom mixes every event and checks the invariants after each. A seed
// that fails is run alone by its subtest's name.
func TestShardRandom(t *testing.T) {
	loads := 0
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			b := newBench(t)
			x := &explorer{b, rand.New(rand.NewPCG(seed, 0)), 0}
			for range 500 {
				x.act()
				if b.loadDue != nil && x.IntN(3) > 0 {
					b.finishLoad()
				}
			}
			x.end()
			loads += b.kinds[ShardLoaded]
		})
	}
	if loads < 500 {
		t.Fatalf("only %d loads: the mix does not explore", loads)
	}
}

type explorer struct {
	*bench
	*rand.Rand
	n int
}

func (x *explorer) act() {
	x.n++
	key, value := []string{"a", "b", "c"}[x.IntN(3)], fmt.Sprint(x.n)
	switch x.IntN(16) {
	case 0, 1:
		x.request(put{key, value})
	case 2:
		x.request(put2{key, value})
	case 3:
		x.request(effect{key, value})
	case 4, 5:
		x.request(get{key})
	case 6:
		x.request(wait{key})
	case 7:
		x.request(twice{})
	case 8:
		x.request(alarm1{time.Millisecond})
	case 9:
		x.next++
		x.open[x.next] = nil
		x.step(evView{x.next, func(m Machine) any { return seen{"", m.(*kv).end} }, time.Second})
	case 10, 11:
		if c, e := x.log.committed, x.log.end(); c < e {
			x.commitTo(c + 1 + x.Int64N(e-c))
		}
	case 12:
		x.step(evCommitted{x.log.committed - 1})
	case 13:
		if x.IntN(4) == 0 {
			x.log.fail = errors.New("no space")
			x.request(put{"a", "x"})
			x.log.fail = nil
		}
	case 14:
		x.log.loadFail = errors.New("cannot read")
		x.finishLoad()
		x.log.loadFail = nil
		x.step(evLoaded{number: x.s.loads - 1, machine: newKV()})
	case 15:
		x.time(600 * time.Millisecond)
	}
}

// time passes; what is due comes due.
func (x *explorer) time(d time.Duration) {
	x.now = x.now.Add(d)
	for _, tok := range slices.Sorted(maps.Keys(x.deadlines)) {
		if at, ok := x.deadlines[tok]; ok && !at.After(x.now) {
			delete(x.deadlines, tok)
			x.step(evDeadline{tok})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(x.timers)) {
		if at, ok := x.timers[key]; ok && !at.After(x.now) {
			delete(x.timers, key)
			x.step(evTimer{key})
		}
	}
}

// end commits everything: what waits in no machine must have its outcome then.
func (x *explorer) end() {
	x.finishLoad()
	x.commitTo(x.log.end())
	for tok, body := range x.open {
		if _, ok := body.(wait); !ok {
			x.t.Fatalf("token %d (%T) has no outcome", tok, body)
		}
	}
	if len(x.s.parked) != 0 || x.s.bytes != 0 || len(x.deadlines) != 0 {
		x.t.Fatalf("left behind: %d parked, %d bytes, %d deadlines", len(x.s.parked), x.s.bytes, len(x.deadlines))
	}
	x.step(evStop{ErrNotLeader})
	if len(x.open) != 0 || len(x.timers) != 0 {
		x.t.Fatalf("left behind by the end: %d tokens, %d timers", len(x.open), len(x.timers))
	}
}

func (b *bench) want(t Token, err error) {
	b.t.Helper()
	got, ok := b.outcomes[t]
	if !ok || !errors.Is(got, err) || (err == nil) != (got == nil) {
		b.t.Fatalf("token %d: outcome %v (%v), want %v", t, got, ok, err)
	}
}

func (b *bench) wantOpen(t Token) {
	b.t.Helper()
	if _, ok := b.open[t]; !ok {
		b.t.Fatalf("token %d ended with %v, want it open", t, b.outcomes[t])
	}
}

func TestShardRefusesWhileLoading(t *testing.T) {
	b := newBench(t)
	b.want(b.request(get{"a"}), ErrLoading)
	b.finishLoad()
	b.want(b.request(get{"a"}), nil)
}

func TestShardReadWaitsForWhatItSaw(t *testing.T) {
	b := newBench(t)
	b.finishLoad()
	p := b.request(put{"a", "1"})
	g := b.request(get{"a"})
	b.wantOpen(p)
	b.wantOpen(g)
	b.commitTo(1)
	b.want(p, nil)
	b.want(g, nil)
}

func TestShardCommitTimeoutFailsOnlyItsReply(t *testing.T) {
	b := newBench(t)
	b.finishLoad()
	p := b.request(put{"a", "1"})
	b.step(evDeadline{p})
	b.want(p, ErrTimeout)
	if b.s.status != active {
		b.t.Fatalf("status %d", b.s.status)
	}
	b.commitTo(1)
	b.want(b.request(get{"a"}), nil)
}

func TestShardAppendFailureReloads(t *testing.T) {
	b := newBench(t)
	b.finishLoad()
	parked := b.request(put{"a", "1"})
	waiting := b.request(wait{"b"})
	b.log.fail = errors.New("no space")
	failed := b.request(put{"a", "2"})
	for _, tok := range []Token{parked, waiting, failed} {
		b.want(tok, ErrNotLeader)
	}
	if b.loadDue == nil || b.loadDue.after != 0 {
		b.t.Fatalf("first reload: %v", b.loadDue)
	}
	b.finishLoad()
	b.log.fail = errors.New("no space")
	b.request(put{"a", "3"})
	if b.loadDue == nil || b.loadDue.after != minPause {
		b.t.Fatalf("second reload must pause: %v", b.loadDue)
	}
	b.finishLoad()
	b.commitTo(1)
	b.want(b.request(get{"a"}), nil)
}

func TestShardLostEpoch(t *testing.T) {
	b := newBench(t)
	b.finishLoad()
	parked := b.request(put{"a", "1"})
	b.log.epoch = 4
	b.want(b.request(put{"a", "2"}), ErrNotLeader)
	b.want(parked, ErrNotLeader)
	b.want(b.request(get{"a"}), ErrNotLeader)
	if b.loadDue != nil || b.kinds[ShardLost] != 1 {
		b.t.Fatalf("a passed epoch must not reload: %v %v", b.loadDue, b.kinds)
	}
}

func TestShardFailsOnRecordItCannotApply(t *testing.T) {
	b := newBench(t)
	b.finishLoad()
	b.want(b.request(bad{}), ErrFailed)
	b.want(b.request(get{"a"}), ErrFailed)
}

func TestShardLimitsUncommitted(t *testing.T) {
	b := newBench(t)
	b.finishLoad()
	b.request(alarm1{time.Millisecond})
	for range 8 {
		b.request(put{"a", "1"})
	}
	b.want(b.request(put{"a", "1"}), ErrOverloaded)
	before := b.log.end()
	at := b.timers["tick"]
	b.step(evTimer{"tick"})
	if b.log.end() != before || !b.timers["tick"].After(at) {
		b.t.Fatalf("a timer must wait while commits are behind")
	}
	b.commitTo(b.log.end())
	b.want(b.request(get{"a"}), nil)
}

func TestShardEffectsWaitForTheirCommit(t *testing.T) {
	b := newBench(t)
	b.finishLoad()
	b.request(put{"a", "1"})
	b.request(effect{"b", "2"})
	b.commitTo(1)
	if b.effects != 0 {
		t.Fatal("an effect left before its record was committed")
	}
	b.commitTo(2)
	b.commitTo(2)
	if b.effects != 1 {
		t.Fatalf("%d effects", b.effects)
	}
}

func TestShardIgnoresSecondReply(t *testing.T) {
	b := newBench(t)
	b.finishLoad()
	b.request(put{"a", "1"})
	tok := b.request(twice{})
	b.commitTo(1)
	b.want(tok, nil)
	if len(b.deadlines) != 0 {
		t.Fatalf("deadlines left: %v", b.deadlines)
	}
}
