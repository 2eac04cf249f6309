package log

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

// model is what one log must hold, and the world in which it is tried: random
// operations, power cuts, kills and clean stops between them.
type model struct {
	*world
	rng      *rand.Rand
	l        *Log
	durable  bool
	prealloc bool
	batches  []modelBatch
	start    int64
	end      int64
	epoch    int32
	synced   int64 // the most that the log ever claimed, lowered by truncation
	seqs     map[int64]int32
	cutOff   bool // the power was cut: producer snapshots may be lost
	ops      []string
}

type modelBatch struct {
	base, last int64
	epoch      int32
	ts         int64
	size       int
	producer   int64
	seq        int32 // base
	mark       byte  // of its content
}

func (m *model) config(c *Config) {
	c.Durable = m.durable
	c.SegmentBytes = 4000
	c.IndexIntervalBytes = 300
	c.RetentionMs = -1
	c.Preallocate = m.prealloc
}

func (m *model) note(format string, a ...any) {
	m.ops = append(m.ops, fmt.Sprintf(format, a...))
}

func (m *model) fail(format string, a ...any) {
	m.t.Helper()
	for _, o := range m.ops {
		m.t.Log(o)
	}
	for _, e := range m.events {
		m.t.Log("event: ", e)
	}
	m.t.Fatalf(format, a...)
}

func (m *model) open(how string) {
	m.events = nil
	m.opt.BootID = how
	d, err := OpenDir(m.options())
	if err != nil {
		m.fail("open: %v", err)
	}
	m.dir = d
	m.l = m.log("a", m.config)
}

// build makes a random batch that continues its producer's sequence.
func (m *model) build() ([]byte, modelBatch) {
	r := m.rng
	b := modelBatch{ts: epoch0.UnixMilli() + r.Int64N(1000), producer: -1, seq: -1, mark: byte(r.Uint32())}
	n := 1 + r.IntN(4)
	h := record.NewHeader(0)
	if r.IntN(2) == 0 {
		b.producer = int64(r.IntN(3))
		b.seq = m.next(b.producer)
		idempotent(b.producer, 0, b.seq)(&h)
	}
	var bl record.Builder
	bl.Reset(h, record.Compression{})
	for range n {
		v := make([]byte, r.IntN(300))
		for j := range v {
			v[j] = b.mark
		}
		bl.Append(b.ts, nil, v)
	}
	p, err := bl.Build(nil)
	if err != nil {
		panic(err)
	}
	b.size = len(p)
	b.last = int64(n - 1)
	return p, b
}

func (m *model) append() {
	p, b := m.build()
	b.base, b.last, b.epoch = m.end, m.end+b.last, m.epoch
	info, err := m.l.Append(p, AppendOptions{Now: m.clock.Now(), LeaderEpoch: m.epoch})
	if err != nil || info.FirstOffset != b.base || info.LastOffset != b.last {
		m.fail("append %+v: %+v %v", b, info, err)
	}
	m.note("append %d-%d, %d bytes, epoch %d, producer %d seq %d", b.base, b.last, b.size, b.epoch, b.producer, b.seq)
	m.batches = append(m.batches, b)
	m.end = b.last + 1
	m.count(b)
}

// count takes a batch that is in the log into what its producer sends next.
func (m *model) count(b modelBatch) {
	if b.producer >= 0 {
		m.seqs[b.producer] = record.IncrementSequence(b.seq, int32(b.last-b.base+1))
	}
}

// next is what a producer sends next. Producer 2 begins shortly before sequences wrap.
func (m *model) next(producer int64) int32 {
	s, ok := m.seqs[producer]
	if !ok && producer == 2 {
		return math.MaxInt32 - 20
	}
	return s
}

// cutModel drops what ends behind end.
func (m *model) cutModel(end int64) {
	for len(m.batches) > 0 && m.batches[len(m.batches)-1].last >= end {
		m.batches = m.batches[:len(m.batches)-1]
	}
	m.end = end
	m.synced = min(m.synced, end)
	m.seqs = map[int64]int32{}
	for _, b := range m.batches {
		m.count(b)
	}
}

func (m *model) step() {
	r := m.rng
	switch n := r.IntN(100); {
	case n < 50:
		m.append()
	case n < 70:
		m.note("sync")
		m.sync()
		if m.durable && m.l.SyncedOffset() != m.end {
			m.fail("synced %d, end %d", m.l.SyncedOffset(), m.end)
		}
		m.synced = max(m.synced, m.l.SyncedOffset())
	case n < 75:
		m.note("checkpoint")
		if err := m.dir.Checkpoint(); err != nil {
			m.fail("checkpoint: %v", err)
		}
		m.synced = max(m.synced, m.l.SyncedOffset())
	case n < 78:
		m.note("settle")
		if err := m.dir.Settle(); err != nil {
			m.fail("settle: %v", err)
		}
	case n < 82:
		m.epoch++
		m.note("epoch %d at %d", m.epoch, m.end)
		if err := m.l.AssignEpoch(m.epoch); err != nil {
			m.fail("epoch: %v", err)
		}
	case n < 86 && len(m.batches) > 0:
		b := m.batches[len(m.batches)-1-r.IntN(min(len(m.batches), 8))]
		if b.base < m.start {
			return
		}
		m.note("truncate %d", b.base)
		if err := m.l.TruncateTo(b.base + r.Int64N(b.last-b.base+1)); err != nil {
			m.fail("truncate: %v", err)
		}
		m.cutModel(b.base)
	case n < 88:
		m.start += r.Int64N(m.end-m.start+1) / 4
		m.note("start %d", m.start)
		if err := m.l.SetStartOffset(m.start); err != nil {
			m.fail("start: %v", err)
		}
	case n < 91:
		m.note("retain")
		if _, err := m.l.Retain(m.clock.Now(), m.end); err != nil {
			m.fail("retain: %v", err)
		}
		if err := m.dir.emptyTrash(m.clock.Now()); err != nil {
			m.fail("trash: %v", err)
		}
	case n < 93:
		m.check(r.Int64N(m.end - m.start + 1))
	case n < 95:
		m.note("clean stop")
		m.close()
		m.synced = m.end
		if r.IntN(2) == 0 {
			m.note("and power cut")
			m.cutOff = true
			m.disk = m.disk.CrashClone(nil)
			m.disk.SetClock(m.clock)
			m.fs = m.disk
		}
		m.open("same")
		if len(m.batches) > 0 && r.IntN(2) == 0 {
			m.append() // the first use of a log that is not loaded
		}
	case n < 97:
		m.note("kill")
		m.disk = m.disk.KillClone()
		m.reopened("same", m.end)
	default:
		m.note("power cut")
		m.cutOff = true
		m.disk = m.disk.CrashClone(nil)
		m.reopened(fmt.Sprint(r.Uint32()), m.synced)
	}
}

// reopened opens what is left, which must reach at least the offset least.
func (m *model) reopened(boot string, least int64) {
	m.disk.SetClock(m.clock)
	m.fs = m.disk
	m.open(boot)
	end := m.l.EndOffset()
	if end < least || end > m.end {
		m.fail("end %d, want at least %d; written %d", end, least, m.end)
	}
	m.cutModel(end)
	m.synced = max(m.synced, m.l.SyncedOffset())
	if !m.l.Recovered().Kept {
		m.fail("recovery says that something is lost: %+v", m.l.Recovered())
	}
	// An epoch without batches may be lost; the next leader gets a larger one.
	m.check(0)
}

// check reads the log from the start, or some way behind it, and compares.
func (m *model) check(skip int64) {
	if m.l.StartOffset() != m.start {
		m.fail("start %d, want %d", m.l.StartOffset(), m.start)
	}
	from := m.start + skip
	i := slices.IndexFunc(m.batches, func(b modelBatch) bool { return b.last >= from })
	end := m.l.EndOffset()
	for from < end {
		run, err := m.l.Read(from, 1+m.rng.IntN(3000), end, true)
		if err != nil || run.Len() == 0 {
			m.fail("read at %d: %v", from, err)
		}
		p := make([]byte, run.Len())
		if _, err := run.ReadAt(p, 0); err != nil {
			m.fail("read: %v", err)
		}
		for b, err := range record.Split(p) {
			if err != nil {
				m.fail("run at %d: %v", from, err)
			}
			w := m.batches[i]
			if b.BaseOffset() != w.base || b.LastOffset() != w.last || len(b) != w.size || b.LeaderEpoch() != w.epoch ||
				b.ProducerID() != w.producer || b.MaxTimestamp() != w.ts || !b.CheckCRC() {
				m.fail("batch %d-%d, %d bytes, epoch %d; want %+v", b.BaseOffset(), b.LastOffset(), len(b), b.LeaderEpoch(), w)
			}
			i++
		}
		from = run.NextOffset()
		run.Release()
	}
	m.checkTimes()
	m.checkProducers()
	m.checkDuplicates()
}

func (m *model) checkTimes() {
	ts := epoch0.UnixMilli() + m.rng.Int64N(1100) - 50
	want, most := int64(-1), int64(-1)
	var mostTs int64
	end := m.l.EndOffset()
	for _, b := range m.batches {
		if b.last < m.start || b.base >= end {
			continue
		}
		if want < 0 && b.ts >= ts {
			want = max(b.base, m.start)
		}
		if b.ts > mostTs {
			most, mostTs = max(b.base, m.start), b.ts
		}
	}
	at, ok, err := m.l.OffsetForTime(ts, end)
	if err != nil || ok != (want >= 0) || (ok && at.Offset != want) {
		m.fail("offset for time %d: %+v %v %v, want %d", ts, at, ok, err, want)
	}
	at, ok, err = m.l.MaxTimestampOffset(end)
	if err != nil || ok != (most >= 0) || (ok && (at.Offset != most || at.Timestamp != mostTs)) {
		m.fail("largest timestamp: %+v %v %v, want %d %d", at, ok, err, most, mostTs)
	}
}

func (m *model) checkProducers() {
	got := map[int64]int32{}
	for _, p := range m.l.Producers() {
		got[p.ProducerID] = record.IncrementSequence(p.LastSequence, 1)
	}
	for id, next := range m.seqs {
		if got[id] != next {
			m.fail("producer %d: next sequence %d, want %d", id, got[id], next)
		}
	}
}

func runModel(t *testing.T, seed uint64, steps int) {
	m := &model{
		world: &world{t: t, disk: env.NewDisk(seed), clock: env.NewClock(epoch0)},
		rng:   env.NewRand(seed), durable: seed%3 != 0, seqs: map[int64]int32{},
		prealloc: seed%5 == 0,
	}
	m.opt.JournalBytes = 64 << 10
	m.disk.SetClock(m.clock)
	m.fs = m.disk
	m.note("seed %d, durable %v", seed, m.durable)
	m.open("same")
	for range steps {
		m.step()
		m.clock.Advance(time.Millisecond)
	}
	m.check(0)
}

// TestModel compares a log with a list of batches through random operations, power
// cuts, kills and clean stops.
func TestModel(t *testing.T) {
	n := uint64(200)
	if testing.Short() {
		n = 50
	}
	for seed := range n {
		runModel(t, seed, 120)
	}
}
