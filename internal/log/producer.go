package log

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/record"
)

// dedupeWindow is how many of its last batches are remembered of each producer.
const dedupeWindow = 5

// wrote is one batch that a producer wrote.
type wrote struct {
	lastSeq    int32
	delta      int32 // last offset less first offset
	lastOffset int64
	timestamp  int64 // largest of the batch
}

func (w wrote) firstSeq() int32 {
	if w.lastSeq < w.delta { // wrapped
		return math.MaxInt32 - (w.delta - w.lastSeq) + 1
	}
	return w.lastSeq - w.delta
}

func (w wrote) firstOffset() int64 { return w.lastOffset - int64(w.delta) }

// producer is what a log knows of one idempotent producer.
type producer struct {
	id          int64
	epoch       int16
	n           uint8 // batches remembered
	coordinator int32 // epoch of the coordinator that wrote the last marker, -1: none
	// run is how many sequence numbers in a row, the last one included, are known to have
	// been written in this epoch; at most maxRun.
	run       uint32
	timestamp int64 // of the last batch or marker
	seen      int64 // wall clock ms at which expire first met the producer since it wrote or was loaded; 0 before
	txnFirst  int64 // first offset of the open transaction, -1: none
	batches   [dedupeWindow]wrote
}

func newProducer(id int64) *producer {
	return &producer{id: id, epoch: record.NoProducerEpoch, coordinator: -1, timestamp: -1, txnFirst: -1}
}

func (p *producer) lastSeq() int32 {
	if p.n == 0 {
		return record.NoSequence
	}
	return p.batches[p.n-1].lastSeq
}

// remember adds a batch, forgetting the oldest beyond the window.
func (p *producer) remember(w wrote) {
	n := uint32(w.delta) + 1
	if p.n > 0 && inSequence(p.lastSeq(), w.firstSeq()) {
		n += p.run
	}
	p.run = min(n, maxRun)
	if p.n == dedupeWindow {
		copy(p.batches[:], p.batches[1:])
		p.n--
	}
	p.batches[p.n] = w
	p.n++
}

func (p *producer) setEpoch(e int16) {
	if p.epoch != e {
		p.epoch, p.n, p.run = e, 0, 0
	}
}

// duplicate finds the remembered batch of the same epoch and sequence numbers.
func (p *producer) duplicate(b record.Batch) (wrote, bool) {
	if p.epoch != b.ProducerEpoch() {
		return wrote{}, false
	}
	first, last := b.BaseSequence(), b.LastSequence()
	for _, w := range p.batches[:p.n] {
		if w.lastSeq == last && w.firstSeq() == first {
			return w, true
		}
	}
	return wrote{}, false
}

// inSequence tells whether next follows last; sequences wrap from 2^31-1 to 0.
func inSequence(last, next int32) bool {
	return int64(next) == int64(last)+1 || (next == 0 && last == math.MaxInt32)
}

// judge holds a batch of a client or coordinator against the state before it is
// appended. Replicated batches are not judged: the leader that took them has.
func (p *producer) judge(b record.Batch, o *AppendOptions) error {
	epoch := b.ProducerEpoch()
	if epoch < p.epoch {
		return fmt.Errorf("%w: producer %d has epoch %d, the batch %d", ErrInvalidProducerEpoch, p.id, p.epoch, epoch)
	}
	if b.IsControl() {
		return p.judgeMarker(b, o)
	}
	if o.Origin == OriginClient {
		if err := p.checkSequence(b, o.FromZero); err != nil {
			return err
		}
	}
	if p.txnFirst >= 0 && !b.IsTransactional() {
		return fmt.Errorf("%w: producer %d has a transaction open since offset %d", ErrInvalidTxnState, p.id, p.txnFirst)
	}
	return nil
}

// judgeMarker refuses markers of a coordinator that has been replaced. Since the
// second version of transactions (KIP-890) every transaction has an epoch of its own
// and its marker a larger one: a marker with the epoch of the open transaction is a
// late one of the transaction before (KIP-1228).
func (p *producer) judgeMarker(b record.Batch, o *AppendOptions) error {
	m, ok, err := parseMarker(b)
	if err != nil || !ok {
		return err
	}
	if m.coordinator < p.coordinator {
		return fmt.Errorf("%w: coordinator epoch %d, the last marker's was %d", ErrCoordinatorFenced, m.coordinator, p.coordinator)
	}
	if o.TxnVersion >= 2 && p.txnFirst >= 0 && b.ProducerEpoch() <= p.epoch {
		return fmt.Errorf("%w: marker with epoch %d for the transaction of epoch %d", ErrInvalidProducerEpoch, b.ProducerEpoch(), p.epoch)
	}
	return nil
}

// after is a copy of the producer (nil: unknown so far) as the batch will leave it.
func (p *producer) after(b record.Batch) *producer {
	s := producers{m: map[int64]*producer{}}
	if p != nil {
		c := *p
		s.m[c.id] = &c
	}
	s.apply(b, false)
	if s.m[b.ProducerID()] == nil {
		return newProducer(b.ProducerID())
	}
	return s.m[b.ProducerID()]
}

func (p *producer) checkSequence(b record.Batch, fromZero bool) error {
	epoch, first := b.ProducerEpoch(), b.BaseSequence()
	switch {
	case p.epoch == record.NoProducerEpoch: // nothing known: any sequence starts it
		if fromZero && first != 0 {
			return fmt.Errorf("%w: producer %d comes with sequence %d", ErrUnknownProducer, p.id, first)
		}
		return nil
	case epoch != p.epoch:
		if first != 0 {
			return fmt.Errorf("%w: producer %d starts epoch %d with sequence %d", ErrOutOfOrderSequence, p.id, epoch, first)
		}
	case mutant.On("log/any-sequence"), mutant.On("log/duplicate-appended"):
	case !inSequence(p.lastSeq(), first):
		if e := p.earlier(b); e != nil {
			return e
		}
		return fmt.Errorf("%w: producer %d epoch %d: sequence %d after %d", ErrOutOfOrderSequence, p.id, epoch, first, p.lastSeq())
	}
	return nil
}

// openTxn is a transaction without a marker; doneTxn one whose marker is above the
// high watermark, so that readers of committed data may not pass it yet.
type openTxn struct{ producer, first int64 }
type doneTxn struct{ first, last int64 }

// completed is the end of a transaction.
type completed struct {
	producer, first, last int64
	aborted               bool
}

// producers is the state of all producers of a log; Log.mu guards it.
type producers struct {
	m    map[int64]*producer
	open []openTxn // ascending by first offset
	done []doneTxn // ascending by last offset
	// end is the offset up to which the log's batches are in the state.
	end int64
	max int // producers
}

func (s *producers) get(id int64) *producer { return s.m[id] }

func (s *producers) reset(end int64) {
	s.m, s.open, s.done, s.end = nil, nil, nil, end
}

// put enters a producer, making room for it if need be.
func (s *producers) put(p *producer) {
	if s.m == nil {
		s.m = map[int64]*producer{}
	}
	if len(s.m) >= s.max && s.max > 0 && s.m[p.id] == nil {
		s.evict()
	}
	s.m[p.id] = p
}

// evict forgets the least recent producer of a sample that has no open transaction.
func (s *producers) evict() {
	const sample = 64
	var oldest *producer
	n := 0
	for _, p := range s.m {
		if p.txnFirst < 0 && (oldest == nil || cmp.Or(cmp.Compare(p.timestamp, oldest.timestamp), cmp.Compare(p.id, oldest.id)) < 0) {
			oldest = p
		}
		if n++; n >= sample && oldest != nil {
			break
		}
	}
	if oldest != nil {
		delete(s.m, oldest.id)
	}
}

// apply takes a batch that is in the log into the state. It is the only code that
// changes it, for appends and recovery alike. managed says that the log is told its
// high watermark, so that ended transactions are held until it has passed them.
func (s *producers) apply(b record.Batch, managed bool) (done completed, ended bool) {
	s.end = b.NextOffset()
	if !b.HasProducerID() {
		return completed{}, false
	}
	var m marker
	if b.IsControl() {
		var ok bool
		if m, ok, _ = parseMarker(b); !ok {
			return completed{}, false // not a marker, or not one that anybody could read
		}
	}
	p := s.get(b.ProducerID())
	if p == nil {
		p = newProducer(b.ProducerID())
		s.put(p)
	}
	if b.IsControl() {
		return s.applyMarker(p, b, m, managed)
	}
	p.setEpoch(b.ProducerEpoch())
	p.timestamp, p.seen = b.MaxTimestamp(), 0
	p.remember(wrote{b.LastSequence(), b.LastOffsetDelta(), b.LastOffset(), b.MaxTimestamp()})
	if b.IsTransactional() && p.txnFirst < 0 {
		p.txnFirst = b.BaseOffset()
		s.insertOpen(openTxn{p.id, p.txnFirst})
	}
	return completed{}, false
}

// abortedTxn is the transaction index entry of an aborted transaction that ended.
func (s *producers) abortedTxn(done completed) AbortedTxn {
	stable, ok := s.firstOpen(done.producer)
	if !ok {
		stable = done.last + 1
	}
	return AbortedTxn{ProducerID: done.producer, FirstOffset: done.first, LastOffset: done.last, LastStableOffset: stable}
}

func (s *producers) applyMarker(p *producer, b record.Batch, m marker, managed bool) (done completed, ended bool) {
	if p.txnFirst >= 0 {
		done = completed{p.id, p.txnFirst, b.BaseOffset(), m.abort}
		ended = true
		s.removeOpen(p.id)
		if managed {
			s.done = append(s.done, doneTxn{done.first, done.last})
		}
	}
	p.setEpoch(b.ProducerEpoch())
	p.coordinator = m.coordinator
	p.timestamp, p.seen = b.MaxTimestamp(), 0
	p.txnFirst = -1
	return done, ended
}

func (s *producers) insertOpen(t openTxn) {
	i, _ := slices.BinarySearchFunc(s.open, t, func(a, b openTxn) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	s.open = slices.Insert(s.open, i, t)
}

func (s *producers) removeOpen(producer int64) {
	s.open = slices.DeleteFunc(s.open, func(t openTxn) bool { return t.producer == producer })
}

// firstOpen is the first offset of the oldest open transaction other than that of
// producer id; none says there is none.
func (s *producers) firstOpen(except int64) (first int64, ok bool) {
	for _, t := range s.open {
		if t.producer != except {
			return t.first, true
		}
	}
	return 0, false
}

// passed drops the ended transactions whose markers the high watermark has passed.
func (s *producers) passed(hw int64) {
	s.done = slices.DeleteFunc(s.done, func(t doneTxn) bool { return t.last < hw })
}

// firstUnstable is the first offset that readers of committed data may not see.
func (s *producers) firstUnstable() int64 {
	first := int64(math.MaxInt64)
	if len(s.open) > 0 {
		first = s.open[0].first
	}
	for _, t := range s.done {
		first = min(first, t.first)
	}
	return first
}

// expire forgets producers that have been silent for longer than after ms and have
// no open transaction. Silence counts by the wall clock as well as by the records'
// times, which a producer chooses: one that writes old records (a backfill, a mirror)
// would be forgotten at once, and its retry appended a second time.
func (s *producers) expire(now, after int64) (n int) {
	for id, p := range s.m {
		if p.seen == 0 {
			p.seen = now
		}
		if p.txnFirst < 0 && now-max(p.timestamp, p.seen) >= after {
			delete(s.m, id)
			n++
		}
	}
	return n
}
