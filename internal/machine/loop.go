package machine

import (
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/mutant"
)

// loop is the thin shell of its shards: the turns of one env.Loop, which feed them
// events and carry out their actions. Everything below mu's group belongs to the turns.
type loop struct {
	rt     *Runtime
	runner env.Loop

	mu     sync.Mutex
	boxes  map[string]*mailbox
	turns  []*mailbox
	depth  int // requests in all mailboxes
	closed bool

	shards map[string]*leadership
	alarms alarms
	tokens Token
	dones  map[Token]Done
	timer  env.Timer
	buf    []item
}

// leadership is a shard and what the shell holds for it.
type leadership struct {
	*shard
	box       *mailbox
	log       Log
	fresh     func() Machine
	timers    map[string]*alarm
	deadlines map[Token]*alarm
	loadAlarm *alarm
	number    uint64 // of the newest load
	load      *load
	counted   status // as which the stats count it
}

func newLoop(rt *Runtime, name string) *loop {
	l := &loop{
		rt:    rt,
		boxes: make(map[string]*mailbox), shards: make(map[string]*leadership), dones: make(map[Token]Done),
	}
	l.runner = rt.exec.Loop(name, l.turn)
	return l
}

// stop ends the turns and answers what is left, on the caller's goroutine.
func (l *loop) stop() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.runner.Stop()
	l.finish()
}

func (l *loop) now() time.Time { return l.rt.opts.Clock.Now() }

// rounds is how many mailboxes one turn of the loop serves at most.
const rounds = 16

// turn does a bounded amount of work. What is left over it does after another wake,
// its own; before it rests, it sets the clock for the earliest alarm.
func (l *loop) turn() {
	for range rounds {
		if !l.round() {
			l.arm()
			return
		}
	}
	l.runner.Wake()
}

// round rings some alarms that are due and gives one shard its turn; it is false
// when there was nothing to do.
func (l *loop) round() bool {
	now := l.now()
	for range share {
		a := l.alarms.due(now)
		if a == nil {
			break
		}
		l.ring(a, now)
	}
	if b, items := l.next(l.buf); b != nil {
		l.serve(b, items)
		clear(items)
		l.buf = items
		return true
	}
	return len(l.alarms.heap) > 0 && !l.alarms.heap[0].at.After(l.now())
}

// arm sets the clock's timer for the earliest alarm.
func (l *loop) arm() {
	if len(l.alarms.heap) == 0 {
		return
	}
	d := l.alarms.heap[0].at.Sub(l.now())
	if l.timer == nil {
		l.timer = l.rt.opts.Clock.AfterFunc(d, l.runner.Wake)
		return
	}
	l.timer.Reset(d)
}

func (l *loop) ring(a *alarm, now time.Time) {
	switch a.what {
	case alarmTimer:
		delete(a.shard.timers, a.key)
		l.step(a.shard, now, evTimer{a.key})
	case alarmDeadline:
		delete(a.shard.deadlines, a.token)
		l.rt.stats.timeouts.Add(1)
		l.step(a.shard, now, evDeadline{a.token})
	case alarmLoad:
		a.shard.loadAlarm = nil
		l.load(a.shard)
	}
}

// serve gives a shard its turn: the commit first, since replies wait for it.
func (l *loop) serve(b *mailbox, items []item) {
	s := l.shards[b.shard]
	l.commit(s, b)
	for i := range items {
		it := &items[i]
		switch it.kind {
		case itemRequest, itemView:
			l.submit(s, it)
		case itemLead:
			s = l.lead(s, b, it)
		case itemResign:
			if s != nil && it.epoch >= s.epoch && !mutant.On("machine/deposed-goes-on") {
				l.end(s, ErrNotLeader)
				s = nil
			}
		case itemConfirmed:
			if s != nil && s.epoch == it.epoch {
				l.step(s, l.now(), *it.confirmed)
			}
		case itemLoaded:
			if s != nil && it.load == s.load {
				s.load = nil
				ev := it.load.result
				ev.took = l.now().Sub(it.load.started)
				l.rt.stats.loadMillis.Add(uint64(max(0, ev.took.Milliseconds())))
				l.step(s, l.now(), ev)
			}
		}
	}
	l.settle(b, s != nil)
}

func (l *loop) commit(s *leadership, b *mailbox) {
	if s == nil {
		return
	}
	if end, ok := l.takeCommit(b, s.epoch); ok {
		l.step(s, l.now(), evCommitted{end})
	}
}

func (l *loop) submit(s *leadership, it *item) {
	if s == nil {
		it.done(nil, ErrNotLeader)
		return
	}
	l.tokens++
	l.dones[l.tokens] = it.done
	l.rt.stats.pending.Add(1)
	if it.kind == itemView {
		l.step(s, l.now(), evView{l.tokens, it.read, it.timeout})
		return
	}
	l.step(s, l.now(), evRequest{l.tokens, it.body, it.timeout})
}

func (l *loop) lead(old *leadership, b *mailbox, it *item) *leadership {
	if old != nil {
		if it.epoch <= old.epoch {
			return old
		}
		l.end(old, ErrNotLeader)
	}
	o := &l.rt.opts
	h := fnv.New64a()
	h.Write([]byte(b.shard))
	random := rand.New(rand.NewPCG(o.Seed^uint64(uint32(it.epoch)), h.Sum64()))
	s := &leadership{
		shard: newShard(b.shard, it.epoch, limits{o.MaxUncommitted, o.MaxUncommittedBytes}, random),
		box:   b, log: it.log, fresh: it.fresh,
		timers: make(map[string]*alarm), deadlines: make(map[Token]*alarm),
	}
	_, s.confirms = it.log.(Confirmer)
	l.shards[b.shard] = s
	l.step(s, l.now(), evStart{})
	return s
}

// end takes a shard down; its requests get err.
func (l *loop) end(s *leadership, err error) {
	l.step(s, l.now(), evStop{err})
	delete(l.shards, s.name)
	l.count(s, 0)
}

// step feeds an event and carries out the actions. An append's outcome is the next
// event; then comes the commit, which a log may have told from within the append.
func (l *loop) step(s *leadership, now time.Time, ev event) {
	for ev != nil {
		actions := s.step(now, ev)
		ev = nil
		for _, a := range actions {
			if app, ok := a.(actAppend); ok {
				last, err := s.log.Append(s.epoch, now, app.records)
				if err == nil {
					l.rt.stats.appends.Add(1)
				}
				ev = evAppended{last, err}
				continue
			}
			l.do(s, now, a)
		}
		if ev == nil {
			if end, ok := l.takeCommit(s.box, s.epoch); ok {
				ev = evCommitted{end}
			}
		}
	}
	l.count(s, s.status)
}

func (l *loop) do(s *leadership, now time.Time, a action) {
	switch a := a.(type) {
	case actReply:
		l.answer(a.token, a.body, nil)
	case actConfirm:
		name, epoch := s.name, s.epoch
		s.log.(Confirmer).Confirm(epoch, func(err error) {
			l.control(name, item{kind: itemConfirmed, epoch: epoch, confirmed: &evConfirmed{a.token, a.body, err}})
		})
	case actFail:
		l.answer(a.token, nil, a.err)
	case actTimer:
		l.setTimer(s, a)
	case actDeadline:
		l.setDeadline(s, a)
	case actEffect:
		l.rt.opts.Effects(s.name, s.epoch, a.effect)
	case actForget:
		l.forget(s)
	case actLoad:
		s.number = a.number
		if a.after <= 0 {
			l.load(s)
			return
		}
		s.loadAlarm = &alarm{place: -1, shard: s, what: alarmLoad}
		l.alarms.set(s.loadAlarm, now.Add(a.after))
	case actNotify:
		if a.event.Kind == ShardReload {
			l.rt.stats.reloads.Add(1)
		}
		l.rt.opts.Notify(a.event)
	}
}

func (l *loop) answer(t Token, body any, err error) {
	done := l.dones[t]
	delete(l.dones, t)
	l.rt.stats.pending.Add(-1)
	done(body, err)
}

func (l *loop) setTimer(s *leadership, t actTimer) {
	a := s.timers[t.key]
	if t.at.IsZero() {
		l.alarms.cancel(a)
		delete(s.timers, t.key)
		return
	}
	if a == nil {
		a = &alarm{place: -1, shard: s, what: alarmTimer, key: t.key}
		s.timers[t.key] = a
	}
	l.alarms.set(a, t.at)
}

func (l *loop) setDeadline(s *leadership, d actDeadline) {
	if d.at.IsZero() {
		l.alarms.cancel(s.deadlines[d.token])
		delete(s.deadlines, d.token)
		return
	}
	a := &alarm{place: -1, shard: s, what: alarmDeadline, token: d.token}
	s.deadlines[d.token] = a
	l.alarms.set(a, d.at)
}

func (l *loop) forget(s *leadership) {
	for _, a := range s.timers {
		l.alarms.cancel(a)
	}
	for _, a := range s.deadlines {
		l.alarms.cancel(a)
	}
	l.alarms.cancel(s.loadAlarm)
	clear(s.timers)
	clear(s.deadlines)
	s.loadAlarm = nil
	if s.load != nil {
		s.load.cancelled.Store(true)
		s.load = nil
	}
}

func (l *loop) load(s *leadership) {
	name := s.name
	s.load = &load{
		shard: name, epoch: s.epoch, log: s.log, machine: s.fresh(), started: l.now(),
		result: evLoaded{number: s.number},
		done:   func(j *load) { l.control(name, item{kind: itemLoaded, load: j}) },
	}
	l.rt.loader.add(s.load)
}

// count keeps the gauges of shards.
func (l *loop) count(s *leadership, as status) {
	if s.counted == as {
		return
	}
	gauge := func(st status, d int64) {
		switch st {
		case loading:
			l.rt.stats.loading.Add(d)
		case active:
			l.rt.stats.active.Add(d)
		}
	}
	gauge(s.counted, -1)
	gauge(as, 1)
	s.counted = as
}

// finish answers all that is left and ends the shards; no turn comes any more.
func (l *loop) finish() {
	l.mu.Lock()
	boxes := l.boxes
	l.boxes, l.turns = nil, nil
	l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
	for _, name := range slices.Sorted(maps.Keys(l.shards)) {
		l.end(l.shards[name], ErrClosed)
	}
	for _, name := range slices.Sorted(maps.Keys(boxes)) {
		for _, it := range boxes[name].items {
			if it.kind == itemRequest || it.kind == itemView {
				l.rt.stats.queued.Add(-1)
				it.done(nil, ErrClosed)
			}
		}
	}
}
