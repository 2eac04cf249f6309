package replica

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

var (
	modelSeed  = flag.Uint64("model.seed", 0, "the first seed of TestModel")
	modelSeeds = flag.Int("model.seeds", 0, "how many seeds of TestModel; 0 is the usual number")
)

// model is what has been committed, as it was first seen at some broker.
type model struct {
	c         *cluster
	committed map[int32][]stored // by partition; offset is the index
	seen      map[[2]int32]*view // by broker and partition
	acked     []ack
	idems     []*idem         // by partition
	deleted   map[int32]int64 // acknowledged low watermark, by partition
	deletions int
}

type view struct {
	hw, checked int64
}

type ack struct {
	part   int32
	offset int64
	value  string
}

const modelTopic = "t"

// forget that a broker has been seen: its next incarnation knows a lower high watermark.
func (m *model) forget(id int32) {
	for k := range m.seen {
		if k[0] == id {
			delete(m.seen, k)
		}
	}
}

// check holds every broker against the model.
func (m *model) check() {
	t := m.c.img().Topic(modelTopic)
	if t == nil {
		return
	}
	for _, mp := range t.Partitions {
		for _, b := range m.c.nodes {
			if b.up {
				m.checkOne(b, mp.Index, slices.Contains(mp.ISR, b.id))
			}
		}
	}
}

func (m *model) checkOne(b *broker, i int32, inSync bool) {
	tt := m.c.t
	p := b.part(modelTopic, i)
	if p == nil {
		return
	}
	v := m.seen[[2]int32{b.id, i}]
	if v == nil {
		v = &view{}
		m.seen[[2]int32{b.id, i}] = v
	}
	hw := p.HighWatermark()
	if hw < v.hw {
		tt.Fatalf("broker %d: the high watermark of %d went back from %d to %d\n%s", b.id, i, v.hw, hw, m.c.dump())
	}
	v.hw = hw
	if hw > v.checked {
		got, err := p.stored(max(v.checked, p.log.StartOffset()), hw)
		if err != nil {
			tt.Fatalf("broker %d: reading %d below %d: %v", b.id, i, hw, err)
		}
		for _, r := range got {
			all := m.committed[i]
			switch {
			case r.offset < int64(len(all)):
				if all[r.offset] != r {
					tt.Fatalf("broker %d: committed record %d of %d is %+v, was %+v\n%s", b.id, r.offset, i, r, all[r.offset], m.c.dump())
				}
			case r.offset == int64(len(all)):
				m.committed[i] = append(all, r)
			default:
				tt.Fatalf("broker %d: record %d of %d is committed, and %d was not\n%s", b.id, r.offset, i, len(all), m.c.dump())
			}
		}
		v.checked = hw
	}
	if inSync && p.log.StartOffset() < m.deleted[i] {
		tt.Fatalf("broker %d is in sync in %d and starts at %d; %d was acknowledged as deleted\n%s", b.id, i, p.log.StartOffset(), m.deleted[i], m.c.dump())
	}
	if n := int64(len(m.committed[i])); inSync && p.log.SyncedOffset() < n {
		tt.Fatalf("broker %d is in sync in %d and lacks what is committed: synced %d of %d\n%s", b.id, i, p.log.SyncedOffset(), n, m.c.dump())
	}
}

// deleteRecords asks a leader, or who thinks to be it.
func (m *model) deleteRecords(b *broker, i int32, before int64) {
	alive := b.alive()
	b.m.DeleteRecords([]DeletePart{{b.part(modelTopic, i), before}}, 10*time.Second, func(op *DeleteOp) {
		if r := op.Results[0]; r.Err == nil && alive() {
			if r.LowWatermark < before {
				m.c.t.Fatalf("broker %d: deleted below %d, and the low watermark is %d", b.id, before, r.LowWatermark)
			}
			m.deleted[i] = max(m.deleted[i], r.LowWatermark)
			m.deletions++
		}
	})
}

// ended holds the acknowledged writes against what is there when all has healed.
func (m *model) ended() {
	for _, b := range m.c.nodes {
		for i := range int32(modelPartitions) {
			p := b.part(modelTopic, i)
			all, err := p.stored(p.log.StartOffset(), p.log.EndOffset())
			if err != nil {
				m.c.t.Fatal(err)
			}
			at := map[int64]string{}
			for _, r := range all {
				at[r.offset] = r.value
			}
			for _, a := range m.acked {
				if a.part == i && a.offset >= p.log.StartOffset() && at[a.offset] != a.value {
					m.c.t.Fatalf("broker %d: acknowledged record %d of %d is %q, was %q", b.id, a.offset, i, at[a.offset], a.value)
				}
			}
		}
	}
}

const modelPartitions = 2

// TestModel runs three brokers under faults, one seed a time, and holds what they have
// against what was once committed or acknowledged.
func TestModel(t *testing.T) {
	seeds := *modelSeeds
	if seeds == 0 {
		seeds = 150
		if raceEnabled {
			seeds = 12
		}
	}
	var sum Stats
	acked, deletions := 0, 0
	for s := range uint64(seeds) {
		stats, c := modelCluster(t, *modelSeed+s)
		acked += len(c.model.acked)
		deletions += c.model.deletions
		sum.Elections += stats.Elections
		sum.Truncations += stats.Truncations
		sum.Diverging += stats.Diverging
		sum.OutOfRange += stats.OutOfRange
		sum.ISRShrinks += stats.ISRShrinks
		sum.ISRExpands += stats.ISRExpands
		sum.SessionsLost += stats.SessionsLost
		sum.TruncatedBelowHW += stats.TruncatedBelowHW
		sum.OldDuplicates += stats.OldDuplicates
		sum.LostDuplicates += stats.LostDuplicates
		sum.FoundFull += stats.FoundFull
	}
	t.Logf("%d seeds: %d writes and %d deletions acknowledged, %+v", seeds, acked, deletions, sum)
	if seeds >= 30 && (sum.Truncations == 0 || sum.Diverging == 0 || sum.OutOfRange == 0 || sum.ISRShrinks == 0 || sum.ISRExpands == 0 || sum.SessionsLost == 0 || sum.OldDuplicates == 0 || sum.FoundFull == 0 || acked == 0 || deletions == 0) {
		t.Error("something never happened")
	}
	if sum.TruncatedBelowHW > 0 {
		t.Error("committed records were truncated")
	}
}

// TestModelRepeats: one seed gives one history.
func TestModelRepeats(t *testing.T) {
	for seed := range uint64(3) {
		var traces [2]string
		for i := range traces {
			_, c := modelCluster(t, seed)
			traces[i] = fmt.Sprint(c.clock.Now(), c.calls, c.model.acked, c.model.deleted, c.model.committed, len(c.records)) + c.dump()
		}
		if traces[0] != traces[1] {
			t.Fatalf("seed %d went two ways:\n%s\n%s", seed, traces[0], traces[1])
		}
	}
}

func modelCluster(t *testing.T, seed uint64) (sum Stats, c *cluster) {
	defer func() {
		if t.Failed() {
			t.Logf("go test ./internal/replica -run TestModel -model.seed %d -model.seeds 1", seed)
		}
	}()
	c = newCluster(t, seed, 3)
	c.tuning.LagMax = time.Duration(2+c.rng.IntN(8)) * time.Second
	c.tuning.PartitionMaxBytes = int32(200 + c.rng.IntN(2000))
	c.start()
	c.create(modelTopic, modelPartitions, fmt.Sprint(1+c.rng.IntN(2)))
	c.model = &model{c: c, committed: map[int32][]stored{}, seen: map[[2]int32]*view{}, deleted: map[int32]int64{}}
	for i := range int32(modelPartitions) {
		c.model.idems = append(c.model.idems, &idem{m: c.model, part: i})
	}
	c.quiet = false
	add := func(b *broker) {
		s := b.m.Stats()
		sum.Elections += s.Elections
		sum.Truncations += s.Truncations
		sum.Diverging += s.Diverging
		sum.OutOfRange += s.OutOfRange
		sum.ISRShrinks += s.ISRShrinks
		sum.ISRExpands += s.ISRExpands
		sum.SessionsLost += s.SessionsLost
		sum.TruncatedBelowHW += s.TruncatedBelowHW
		sum.OldDuplicates += s.OldDuplicates
		sum.LostDuplicates += s.LostDuplicates
		sum.FoundFull += s.FoundFull
	}
	value := 0
	for range 150 {
		c.run(time.Duration(c.rng.IntN(400)) * time.Millisecond)
		for range c.rng.IntN(4) {
			value++
			c.model.produce(fmt.Sprintf("v%d", value))
			c.model.idems[c.rng.IntN(modelPartitions)].step()
		}
		c.model.fault(add)
	}
	c.quiet = true
	clear(c.cut)
	for _, b := range c.nodes {
		if b.disk.OnOp(nil); !b.up {
			b.open()
		}
	}
	c.until("all replicas are in sync and equal", c.inSync)
	c.model.ended()
	for _, p := range c.model.idems {
		p.ended()
	}
	for _, b := range c.nodes {
		add(b)
	}
	return sum, c
}

// produce sends a value to the leader, or to whom somebody may think to be it.
func (m *model) produce(value string) {
	c := m.c
	i := c.rng.Int32N(modelPartitions)
	b := m.somebody(i)
	if b == nil {
		return
	}
	acks := int16(-1)
	if c.rng.IntN(4) == 0 {
		acks = 1
	}
	alive := b.alive()
	b.m.Produce([]ProducePart{{b.part(modelTopic, i), batchAt(c.clock.Now(), value)}}, acks, 10*time.Second, func(op *ProduceOp) {
		if r := op.Results[0]; acks == -1 && r.Err == nil && alive() {
			m.acked = append(m.acked, ack{i, r.Info.FirstOffset, value})
		}
	})
}

// somebody is the leader, or a broker that somebody may think to be it; nil if it cannot
// be asked.
func (m *model) somebody(i int32) *broker {
	c := m.c
	b := c.nodes[c.rng.IntN(len(c.nodes))]
	if l := c.leader(modelTopic, i); l != nil && c.rng.IntN(5) > 0 {
		b = l
	}
	if !b.up || b.part(modelTopic, i) == nil {
		return nil
	}
	return b
}

// noAppends has a disk without room for records. It has some for all else: a log that finds
// none half-way through a truncation takes nothing more until its broker is started again.
func noAppends(op env.Op) error {
	if op.Kind == env.OpWrite && strings.HasSuffix(op.Path, ".log") {
		return syscall.ENOSPC
	}
	return nil
}

// fault makes or heals something, now and then.
func (m *model) fault(gone func(*broker)) {
	c := m.c
	b := c.nodes[c.rng.IntN(len(c.nodes))]
	switch n := c.rng.IntN(100); {
	case n < 6 && b.up:
		gone(b)
		b.crash(c.rng.IntN(2) == 0)
	case n < 25 && !b.up:
		b.disk.OnOp(nil)
		b.open()
	case n < 33:
		from, to := int32(c.rng.IntN(4)), int32(c.rng.IntN(4))
		c.cut[[2]int32{from, to}] = true
	case n < 45:
		clear(c.cut)
	case n < 48 && b.up:
		i := c.rng.Int32N(modelPartitions)
		if p := b.part(modelTopic, i); p != nil && p.Leading() {
			m.deleteRecords(b, i, p.HighWatermark()-c.rng.Int64N(3))
		}
	case n < 52 && b.up:
		clear(b.sessions)
	case n < 55 && b.up:
		b.disk.OnOp(noAppends)
	case n < 61:
		b.disk.OnOp(nil)
	}
}
