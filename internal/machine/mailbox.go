package machine

import "time"

type itemKind uint8

const (
	itemRequest itemKind = iota + 1
	itemView
	itemLead
	itemResign
	itemLoaded
	itemConfirmed
)

// item is one thing for a loop to do about a shard, in order.
type item struct {
	kind    itemKind
	body    any
	read    func(Machine) any
	timeout time.Duration
	done    Done
	epoch   int32
	log     Log
	fresh   func() Machine
	load    *load

	confirmed *evConfirmed
}

// mailbox holds what waits for one shard. The loop serves the mailboxes that have
// something in turn, a few items each, so that a busy shard does not starve others.
// The committed end is not an item: the newest one counts, it passes the queue, and
// it waits here if its epoch is not led yet.
type mailbox struct {
	shard  string
	items  []item
	ready  bool // in the loop's turn list
	commit commit
}

// commit is the newest committed end; fresh until the shard has seen it.
type commit struct {
	fresh bool
	epoch int32
	end   int64
}

// share is how many items of one shard are served before the next shard's.
const share = 16

// request queues a request, or refuses it.
func (l *loop) request(shard string, it item) error {
	l.rt.stats.requests.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	if l.depth >= l.rt.opts.QueueDepth {
		l.rt.stats.overloads.Add(1)
		return ErrOverloaded
	}
	l.depth++
	l.rt.stats.queued.Add(1)
	l.put(shard, it)
	return nil
}

// control queues what may never be refused.
func (l *loop) control(shard string, it item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.put(shard, it)
	if b := l.boxes[shard]; it.kind == itemResign && b.commit.epoch <= it.epoch {
		b.commit = commit{} // a log made anew under the name counts from the start
	}
}

func (l *loop) put(shard string, it item) {
	b := l.boxes[shard]
	if b == nil {
		b = &mailbox{shard: shard}
		l.boxes[shard] = b
	}
	b.items = append(b.items, it)
	l.schedule(b)
}

func (l *loop) schedule(b *mailbox) {
	if !b.ready {
		b.ready = true
		l.turns = append(l.turns, b)
	}
	l.runner.Wake()
}

func (l *loop) committed(shard string, epoch int32, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.boxes[shard]
	if b == nil || l.closed {
		return // nobody leads it, nor is about to
	}
	if epoch < b.commit.epoch || epoch == b.commit.epoch && end <= b.commit.end {
		return
	}
	b.commit = commit{true, epoch, end}
	l.schedule(b)
}

// next takes the items of the next shard's turn. buf is reused.
func (l *loop) next(buf []item) (b *mailbox, items []item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.turns) == 0 {
		return nil, nil
	}
	b = l.turns[0]
	l.turns[0] = nil
	l.turns = l.turns[1:]
	n := min(share, len(b.items))
	items = append(buf[:0], b.items[:n]...)
	for i := range b.items[:n] {
		if k := b.items[i].kind; k == itemRequest || k == itemView {
			l.depth--
			l.rt.stats.queued.Add(-1)
		}
		b.items[i] = item{}
	}
	b.items = b.items[n:]
	b.ready = false
	if len(b.items) > 0 {
		b.ready = true
		l.turns = append(l.turns, b)
	} else {
		b.items = nil
	}
	return b, items
}

// takeCommit takes the committed end if it is news for the epoch.
func (l *loop) takeCommit(b *mailbox, epoch int32) (end int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !b.commit.fresh || b.commit.epoch != epoch {
		return 0, false
	}
	b.commit.fresh = false
	return b.commit.end, true
}

// settle forgets a mailbox that nothing needs.
func (l *loop) settle(b *mailbox, led bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !led && len(b.items) == 0 && !b.ready {
		delete(l.boxes, b.shard)
	}
}
