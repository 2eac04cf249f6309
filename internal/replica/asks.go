package replica

import (
	"container/list"
	"sync"
)

// A read looks at no checksum, and consumers do: all that is seen here of damage is that one
// of them asks for the same again and again. What it is sent is checked then. A consumer that
// has a reason of its own to ask again costs a check after so many times as all it has asked
// before, of no more than it is sent, and all checks together keep to a rate.

const (
	suspiciousAsks = 3        // asks for the same again until it is checked
	maxAsks        = 1 << 14  // consumers and partitions that are remembered, about 200 bytes each
	maxChecked     = 4 << 20  // bytes of one check, a batch more if need be
	checkRate      = 16 << 20 // bytes per second of all
)

// asks remembers what consumers were sent last, of those that were sent something last.
type asks struct {
	mu    sync.Mutex
	byKey map[askKey]*list.Element // of *ask
	order list.List                // who was sent something last is in front
	limit limiter
}

// askKey is a consumer at a partition. It is no connection's: who cannot use what it was
// sent may well start anew.
type askKey struct {
	reader uint64
	topic  [16]byte
	index  int32
}

type ask struct {
	key     askKey
	offset  int64
	repeats int // how often it was asked for again
	due     int // the repeats that call for a check
}

// sent takes note of what a consumer is about to be sent, and tells whether to check it.
func (a *asks) sent(k askKey, offset int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.byKey[k]
	if e == nil {
		if a.byKey == nil {
			a.byKey = map[askKey]*list.Element{}
		}
		if len(a.byKey) >= maxAsks {
			delete(a.byKey, a.order.Remove(a.order.Back()).(*ask).key)
		}
		a.byKey[k] = a.order.PushFront(&ask{key: k, offset: offset, due: suspiciousAsks})
		return false
	}
	a.order.MoveToFront(e)
	w := e.Value.(*ask)
	if w.offset != offset {
		w.offset, w.repeats, w.due = offset, 0, suspiciousAsks
		return false
	}
	w.repeats++
	return w.repeats >= w.due
}

// good notes that nothing is wrong with what a consumer asks for.
func (a *asks) good(k askKey, offset int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.byKey[k]; e != nil {
		if w := e.Value.(*ask); w.offset == offset {
			w.due = 2 * w.repeats
		}
	}
}

// asked takes note of what a consumer is about to be sent, and sends no damage to one that
// has asked for it again and again.
func (p *Partition) asked(reader uint64, offset int64, f *Fetched) {
	m, k := p.m, askKey{reader, p.id.TopicID, p.id.Partition}
	if !m.asks.sent(k, offset) || m.asks.limit.wait(m.now(), checkRate) > 0 {
		return
	}
	m.counters.suspected.Add(1)
	m.asks.limit.take(m.now(), min(f.Run.Len(), maxChecked), checkRate)
	err := f.Run.Check(maxChecked) // which has the scrubber look at damage
	if err == nil {
		m.asks.good(k, offset)
		return
	}
	f.Release()
	*f = RefusedFetch(p.st.Load().readError(err))
}
