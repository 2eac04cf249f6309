package group

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/machine"
)

// world drives one coordinator over a log in memory, in virtual time, as the runtime
// does: records are applied at once, timers fire in order, a reload starts a new
// machine from the log. It checks what must hold of every decision.
type world struct {
	t      testing.TB
	opts   Options
	m      *Machine
	now    time.Time
	rand   *rand.Rand
	log    []logged
	timers map[string]time.Time
	token  machine.Token
	open   map[machine.Token]bool // not yet answered
	held   int64                  // as the machine told

	onRecord func(machine.Record)
	onReply  func(machine.Token, any)
	onEvent  func(Event)
}

type logged struct {
	machine.Record
	ts int64
}

var epoch = time.UnixMilli(1_700_000_000_000).UTC()

func newWorld(t testing.TB, opts Options) *world {
	w := &world{
		t: t, opts: opts, now: epoch, rand: rand.New(rand.NewPCG(1, 2)),
		open:     make(map[machine.Token]bool),
		onRecord: func(machine.Record) {}, onReply: func(machine.Token, any) {}, onEvent: func(Event) {},
	}
	w.load()
	return w
}

// load starts a machine from the log; what was parked is lost.
func (w *world) load() (lost []machine.Token) {
	for token := range w.open {
		lost = append(lost, token)
	}
	slices.Sort(lost)
	w.m, w.timers, w.held = New(w.opts), make(map[string]time.Time), 0
	clear(w.open)
	for i, r := range w.log {
		if err := w.m.Apply(int64(i), r.ts, r.Record); err != nil {
			w.t.Fatalf("apply record %d: %v", i, err)
		}
	}
	w.carryOut(w.m.Resume(w.now))
	return lost
}

// submit sends a request and returns its token.
func (w *world) submit(req any) machine.Token {
	w.token++
	w.open[w.token] = true
	w.decide(w.token, req)
	return w.token
}

func (w *world) decide(token machine.Token, req any) {
	w.carryOut(w.m.Decide(machine.Input{Now: w.now, Rand: w.rand, Token: token, Request: req}))
}

func (w *world) carryOut(d machine.Decision) {
	bytes := batchOverhead
	for _, rec := range d.Records {
		bytes += recordSize(rec)
		w.log = append(w.log, logged{rec, w.now.UnixMilli()})
		if err := w.m.Apply(int64(len(w.log)-1), w.now.UnixMilli(), rec); err != nil {
			w.t.Fatalf("apply own record: %v", err)
		}
		w.onRecord(rec)
	}
	if bytes > w.m.opts.MaxBatchBytes {
		w.t.Fatalf("a batch of %d bytes, more than %d", bytes, w.m.opts.MaxBatchBytes)
	}
	for _, timer := range d.Timers {
		if timer.At.IsZero() {
			delete(w.timers, timer.Key)
		} else {
			w.timers[timer.Key] = timer.At
		}
	}
	for _, e := range d.Effects {
		if held, ok := e.(MembersHold); ok {
			w.held = held.Bytes
			continue
		}
		w.onEvent(e.(Event))
	}
	for _, r := range d.Replies {
		if !w.open[r.Token] {
			w.t.Fatalf("token %d is answered again, or was never open: %v", r.Token, r.Body)
		}
		delete(w.open, r.Token)
		w.onReply(r.Token, r.Body)
	}
}

// next is the first timer to come due.
func (w *world) next() (key string, at time.Time, ok bool) {
	for k, v := range w.timers {
		if !ok || cmp.Or(v.Compare(at), cmp.Compare(k, key)) < 0 {
			key, at, ok = k, v, true
		}
	}
	return key, at, ok
}

// advance lets time pass; timers fire in their order.
func (w *world) advance(d time.Duration) {
	end := w.now.Add(d)
	for {
		key, at, ok := w.next()
		if !ok || at.After(end) {
			break
		}
		if at.After(w.now) {
			w.now = at
		}
		delete(w.timers, key)
		w.decide(0, machine.TimerFired{Key: key})
	}
	w.now = end
}

// durable tells the durable state, for comparison.
func durable(m *Machine) string {
	s := ""
	for _, g := range m.sorted() {
		if g.saved == nil && g.offsets.empty() {
			continue
		}
		s += fmt.Sprintf("%s:", g.id)
		if v := g.saved; v != nil {
			s += fmt.Sprintf(" type=%q generation=%d protocol=%s leader=%q since=%d", v.protocolType, v.generation, opt(v.protocol), v.leader, v.since)
			for _, m := range v.members {
				s += fmt.Sprintf(" {%s %s %s %s %d %d %q %q}", m.id, opt(m.instance), m.clientID, m.clientHost,
					m.rebalanceTimeout, m.sessionTimeout, m.subscription, m.assignment)
			}
		}
		for _, topic := range g.offsets.topics() {
			for _, p := range g.offsets.partitions(topic) {
				c, _ := g.offsets.get(topic, p)
				s += fmt.Sprintf(" %s/%d=%+v", topic, p, c)
			}
		}
		s += "\n"
	}
	return s
}

func opt(s *string) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("%q", *s)
}
