package replica

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/record"
)

// A producer is refused batches by a broker that does not know yet that it leads, or that
// the topic is there. What it has under way behind the first of them may arrive when the
// broker knows: a log that does not know the producer would begin with it, and the first
// batch would be out of order for ever. So these refusals leave a gap as well, for logs
// that do not know the producer.

// early are the gaps of producers in partitions that this broker did not lead.
type early struct {
	last atomic.Int64 // ns: when one was added

	mu   sync.Mutex
	gaps map[earlyKey]gap
}

type earlyKey struct {
	ref      Ref // as the request named it
	producer int64
}

// earlyErrors are what such a broker refuses with.
var earlyErrors = []*kerr.Error{kerr.NotLeaderForPartition, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID}

// RefusedEarly takes note that batches were refused since this broker does not lead the
// partition, or does not know it.
func (m *Manager) RefusedEarly(ref Ref, batches []byte, code *kerr.Error) {
	if !slices.Contains(earlyErrors, code) {
		return
	}
	b, err := record.First(batches)
	if err != nil || !b.HasProducerID() {
		return
	}
	now, e := m.now(), &m.early
	ref.Topic = strings.Clone(ref.Topic)
	key := earlyKey{ref, b.ProducerID()}
	e.mu.Lock()
	defer e.mu.Unlock()
	g, known := e.gaps[key]
	if known && g.covers(b, now) {
		return
	}
	if e.gaps == nil || !known && len(e.gaps) >= maxGaps {
		e.gaps = map[earlyKey]gap{}
	}
	e.gaps[key] = gap{b.ProducerEpoch(), b.BaseSequence(), code, now}
	e.last.Store(now.UnixNano())
}

// missedEarly is what a batch is refused with of a producer that the log does not know, and
// that was refused one before it; nil when it was not. p.mu is held.
func (p *Partition) missedEarly(b record.Batch) *kerr.Error {
	now, e := p.m.now(), &p.m.early
	if last := e.last.Load(); last == 0 || now.UnixNano()-last >= int64(gapLasts) {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ref := range []Ref{{TopicID: p.id.TopicID, Index: p.id.Partition}, {Topic: p.id.Topic, Index: p.id.Partition}} {
		key := earlyKey{ref, b.ProducerID()}
		if g, ok := e.gaps[key]; ok && g.covers(b, now) {
			if !p.log.Knows(b.ProducerID()) {
				return g.code
			}
			delete(e.gaps, key)
		}
	}
	return nil
}
