package replica

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/record"
)

// idem is an idempotent producer of the model with one line of batches for a partition. It
// waits for nothing: it sends what is next, and anything that it sent before, to whom it
// may think to be the leader. So batches come again behind any number of later ones.
type idem struct {
	m       *model
	part    int32
	batches []*idemBatch
	old     int // answers to what was acknowledged before, with five or more behind it
	gone    int // answers without an offset
}

type idemBatch struct {
	sequence int32
	values   []string
	offset   int64 // -1: not acknowledged
	gone     bool  // acknowledged without an offset
}

func (b *idemBatch) acked() bool { return b.offset >= 0 || b.gone }

// step makes a batch when all before are acknowledged or under way, and sends one.
func (p *idem) step() {
	rng := p.m.c.rng
	if rng.IntN(3) > 0 || len(p.batches) == 0 {
		b := &idemBatch{offset: -1}
		if n := len(p.batches); n > 0 {
			last := p.batches[n-1]
			if !last.acked() { // those behind it would be out of order
				p.send(last)
				return
			}
			b.sequence = last.sequence + int32(len(last.values))
		}
		for i := range 1 + rng.IntN(3) {
			b.values = append(b.values, fmt.Sprintf("i%d-%d", b.sequence, i))
		}
		p.batches = append(p.batches, b)
		p.send(b)
		return
	}
	p.send(p.batches[rng.IntN(len(p.batches))])
}

func (p *idem) send(b *idemBatch) {
	m, c := p.m, p.m.c
	to := m.somebody(p.part)
	if to == nil {
		return
	}
	h := record.NewHeader(0)
	h.ProducerID, h.ProducerEpoch, h.BaseSequence = int64(50+p.part), 0, b.sequence
	part := to.part(modelTopic, p.part)
	alive, late := to.alive(), b.acked() && len(p.batches) > 5 && b.sequence < p.batches[len(p.batches)-5].sequence
	to.m.Produce([]ProducePart{{part, headed(h, c.clock.Now(), b.values...)}}, -1, 10*time.Second, func(op *ProduceOp) {
		r := op.Results[0]
		if !alive() {
			return
		}
		switch r.Err {
		case nil:
			if b.offset >= 0 && b.offset != r.Info.FirstOffset {
				c.t.Fatalf("the batch %d of %d is at %d, and was at %d", b.sequence, p.part, r.Info.FirstOffset, b.offset)
			}
			if b.offset = r.Info.FirstOffset; late {
				p.old++
			}
			for i, v := range b.values {
				m.acked = append(m.acked, ack{p.part, b.offset + int64(i), v})
			}
		case kerr.DuplicateSequenceNumber:
			b.gone = true
			p.gone++
		case kerr.OutOfOrderSequenceNumber:
			if b.acked() {
				c.t.Fatalf("broker %d: the batch %d of %d, at %d, is out of order: %v\n%s", to.id, b.sequence, p.part, b.offset, r.Cause, c.dump())
			}
		}
	})
}

// ended holds what was acknowledged without an offset against what was committed.
func (p *idem) ended() {
	for _, b := range p.batches {
		if b.gone && !slices.ContainsFunc(p.m.committed[p.part], func(s stored) bool { return s.value == b.values[0] }) {
			p.m.c.t.Fatalf("the batch %d of %d was acknowledged, and was never committed", b.sequence, p.part)
		}
	}
	seen := map[string]int64{}
	for _, s := range p.m.committed[p.part] {
		if at, twice := seen[s.value]; twice {
			p.m.c.t.Fatalf("%q is at %d and %d of %d", s.value, at, s.offset, p.part)
		}
		seen[s.value] = s.offset
	}
}

func headed(h record.BatchHeader, now time.Time, values ...string) []byte {
	var rb record.Builder
	rb.Reset(h, record.Compression{})
	for _, v := range values {
		rb.Append(now.UnixMilli(), nil, []byte(v))
	}
	out, err := rb.Build(nil)
	if err != nil {
		panic(err)
	}
	return out
}

// TestOldDuplicates: a duplicate behind more batches than are remembered waits for its
// original's commit, as any other, and is answered with its offset.
func TestOldDuplicates(t *testing.T) {
	duplicate, refused, retry := kerr.DuplicateSequenceNumber.Message, kerr.OutOfOrderSequenceNumber.Message, kerr.NotLeaderForPartition.Message
	begin := func(t *testing.T, acks int16) (l *lead, send func(sequence int32) *produced) {
		l = newLead(t, 1, 1, 2)
		l.clock.Advance(DefaultTuning().StrangersWait) // any sequence starts a producer
		send = func(sequence int32) *produced {
			l.clock.Advance(time.Second)
			a := l.produce(acks, ProducePart{l.part("t", 0), l.sequenced(9, sequence, "a", "b")})
			l.clock.Advance(0) // whoever looks for it does
			return a
		}
		for i := range int32(10) {
			l.produce(acks, ProducePart{l.part("t", 0), l.sequenced(9, 100+2*i, "a", "b")})
		}
		return l, send
	}
	commit := func(l *lead, end int64) {
		l.mustSync()
		l.fetch(2, 12, end)
		l.expectHW(end)
	}
	t.Run("waits for the commit", func(t *testing.T) {
		l, send := begin(t, -1)
		second := send(102)
		l.expect(second, "waiting")
		commit(l, 2)
		l.expect(second, "waiting")
		commit(l, 4)
		l.expect(second, "2-3")
		l.expect(send(102), "2-3")
		l.expect(send(100), "0-1")
		first, last := send(104), send(118)
		l.expect(first, "waiting")
		l.expect(last, "waiting")
		commit(l, 20)
		l.expect(first, "4-5")
		l.expect(last, "18-19")
		if s := l.m.Stats(); s.OldDuplicates != 4 || s.LostDuplicates != 0 {
			t.Errorf("counted %d and %d", s.OldDuplicates, s.LostDuplicates)
		}
	})
	t.Run("acks 1", func(t *testing.T) {
		l, send := begin(t, 1)
		l.expect(send(102), "2-3")
	})
	t.Run("never written", func(t *testing.T) {
		l, send := begin(t, -1)
		commit(l, 20)
		l.expect(send(98), retry) // until it is known who leads
		l.expect(send(101), retry)
		l.change(-2, 1)
		l.expect(send(98), refused)
		l.expect(send(101), refused)
		l.expect(send(50), refused)
	})
	t.Run("deleted", func(t *testing.T) {
		l, send := begin(t, -1)
		l.must(l.part("t", 0).log.TruncateTo(0)) // no segment is left that could be looked through
		s := l.topics["t"]
		s.Log.SegmentBytes = 250
		l.topics["t"] = s
		l.part("t", 0).log.SetConfig(s.Log)
		for i := range int32(10) {
			l.produce(-1, ProducePart{l.part("t", 0), l.sequenced(9, 100+2*i, "a", "b")})
		}
		early := send(100)
		commit(l, 20)
		l.expect(early, "0-1")
		l.deleteRecords("t", 0, 10)
		l.must(l.dir.Checkpoint()) // what recovery may look for is kept
		if _, e := l.part("t", 0).log.Retain(l.clock.Now(), 20); e != nil {
			t.Fatal(e)
		}
		l.expect(send(100), duplicate)
		l.expect(send(98), retry)
		l.change(-2, 1)
		l.expect(send(98), refused)
		if s := l.m.Stats(); s.OldDuplicates != 1 || s.LostDuplicates != 1 {
			t.Errorf("counted %d and %d", s.OldDuplicates, s.LostDuplicates)
		}
	})
	t.Run("deposed while it is looked for", func(t *testing.T) {
		l, _ := begin(t, -1)
		commit(l, 20)
		l.clock.Advance(time.Second)
		a := l.produce(-1, ProducePart{l.part("t", 0), l.sequenced(9, 102, "a", "b")})
		l.expect(a, "waiting")
		l.change(2, 1, 2)
		l.clock.Advance(0)
		l.expect(a, retry)
	})
	t.Run("with other parts", func(t *testing.T) {
		l, _ := begin(t, -1)
		commit(l, 20)
		l.create("u", 1, durable())
		a := l.produce(-1, ProducePart{l.part("u", 0), l.batch("x")}, ProducePart{l.part("t", 0), l.sequenced(9, 102, "a", "b")})
		l.clock.Advance(0)
		l.expect(a, "waiting")
		l.mustSync()
		l.expect(a, "0-0 2-3")
	})
	t.Run("too late", func(t *testing.T) {
		l, _ := begin(t, -1)
		a := l.produce(-1, ProducePart{l.part("t", 0), l.sequenced(9, 102, "a", "b")})
		l.clock.Advance(time.Minute)
		l.expect(a, kerr.RequestTimedOut.Message)
		commit(l, 20)
	})
}
