package replica

import (
	"errors"
	"os"
	"testing"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/record"
)

// A coordinator's state is not built from bytes that do not have their checksum.
func TestEachRecordChecksTheBatch(t *testing.T) {
	var b record.Builder
	b.Reset(record.NewHeader(0), record.Compression{})
	b.Append(1, []byte("key"), []byte("value"))
	run, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	b.Reset(record.NewHeader(1), record.Compression{})
	b.Append(2, []byte("key"), []byte("later"))
	if run, err = b.Build(run); err != nil {
		t.Fatal(err)
	}
	var seen []string
	read := func() (int64, error) {
		seen = nil
		return eachRecord(run, 0, 2, func(_ record.Batch, r record.Record) error { seen = append(seen, string(r.Value)); return nil })
	}
	if next, err := read(); err != nil || next != 2 || len(seen) != 2 {
		t.Fatalf("%q, next %d, %v", seen, next, err)
	}
	run[len(run)-2] ^= 1 // in the second value
	if next, err := read(); !errors.Is(err, record.ErrCorrupt) || next != 1 || len(seen) != 1 || seen[0] != "value" {
		t.Fatalf("%q, next %d, %v", seen, next, err)
	}
}

// TestEachRecordChecksTheChain: what leads from batch to batch is under no checksum. Nothing is
// left out or read twice for it.
func TestEachRecordChecksTheChain(t *testing.T) {
	var run []byte
	size := 0
	for i := range 3 {
		var b record.Builder
		b.Reset(record.NewHeader(int64(4+i)), record.Compression{})
		b.Append(1, []byte("key"), []byte("value"))
		var err error
		if run, err = b.Build(run); err != nil {
			t.Fatal(err)
		}
		size = len(run) / (i + 1)
	}
	read := func(from int64) (n int, err error) {
		_, err = eachRecord(run, from, 7, func(record.Batch, record.Record) error { n++; return nil })
		return n, err
	}
	for from, want := range map[int64]int{2: 3, 4: 3} { // compaction leaves gaps
		if n, err := read(from); err != nil || n != want {
			t.Fatalf("%d records from %d on, %v", n, from, err)
		}
	}
	for name, at := range map[string]int{
		"an offset that is lower": 2*size + 7, "that is higher": size + 6, "of the last": 2*size + 3, "that was passed": 5,
		"a length": size + record.OffLength + 2, "a shorter one": size + record.OffLength + 3, "a format": size + record.OffMagic,
	} {
		t.Run(name, func(t *testing.T) {
			was := run[at]
			defer func() { run[at] = was }()
			for bit := range 8 {
				run[at] = was ^ 1<<bit
				if n, err := read(4); !errors.Is(err, record.ErrCorrupt) {
					t.Errorf("bit %d: %d records, %v", bit, n, err)
				}
			}
		})
	}
}

// loaded is what a coordinator finds in the partition.
func (b *broker) loaded() (n int, err error) {
	p := b.part("t", 0)
	_, err = p.ReadAll(p.Leadership().LeaderEpoch, func(record.Batch, record.Record) error { n++; return nil })
	return n, err
}

// TestCoordinatorWaitsForWhoIsWhole: with what its own replica has lost a coordinator would go
// back behind what it has told. Whoever is whole is to lead.
func TestCoordinatorWaitsForWhoIsWhole(t *testing.T) {
	c := filled(t, 40)
	b := c.leader("t", 0)
	b.flip()
	if n, err := b.loaded(); !errors.Is(err, record.ErrCorrupt) {
		t.Fatalf("%d records, %v", n, err)
	}
	c.until("another one leads", func() bool {
		if n, err := b.loaded(); err == nil {
			t.Fatalf("loaded %d records", n)
		}
		next := c.leader("t", 0)
		return next != b && next.part("t", 0).Leading()
	})
	if n, err := c.leader("t", 0).loaded(); n != 40 || err != nil {
		t.Fatalf("%d records, %v", n, err)
	}
}

// TestCoordinatorOfTheOnlyReplica: what nobody else has is left out, once that is known.
func TestCoordinatorOfTheOnlyReplica(t *testing.T) {
	c, b := flippedAlone(t)
	c.until("it is told that nobody else has it", func() bool {
		n, err := b.loaded()
		if err == nil && c.told("DamagedAlone") == 0 {
			t.Fatalf("loaded %d records", n)
		}
		return c.told("DamagedAlone") == 1
	})
	if n, err := b.loaded(); n != 39 || err != nil {
		t.Fatalf("%d records, %v", n, err)
	}
}

// segmented is a compacted partition with the keys a, b, b, c and d in batches of that size, two
// in a segment.
func segmented(t *testing.T) (w *world, p *Partition, size int) {
	t.Helper()
	batch := func(key string) []byte {
		var b record.Builder
		b.Reset(record.NewHeader(0), record.Compression{})
		b.Append(0, []byte(key), []byte("value"))
		p, err := b.Build(nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	w = newWorld(t)
	s := durable()
	size = len(batch("a"))
	s.Log.Compact, s.Log.Delete, s.Log.MinCleanable, s.Log.SegmentBytes = true, false, 0, int64(2*size+1)
	w.create("t", 1, s)
	p, _ = w.m.Find(Ref{Topic: "t"})
	for _, key := range []string{"a", "b", "b", "c", "d"} {
		if _, err := p.AppendIn(p.Leadership().LeaderEpoch, batch(key)); err != nil {
			t.Fatal(err)
		}
	}
	w.mustSync()
	if err := w.dir.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	return w, p, size
}

// keys are those that a coordinator finds.
func keys(p *Partition) (all string, err error) {
	_, err = p.ReadAll(p.Leadership().LeaderEpoch, func(_ record.Batch, r record.Record) error { all += string(r.Key); return nil })
	return all, err
}

// TestCoordinatorAtTheEndOfASegment: an offset there does not lead into the next segment.
func TestCoordinatorAtTheEndOfASegment(t *testing.T) {
	w, p, size := segmented(t)
	f, err := w.disk.OpenFile("data/t-0/00000000000000000000.log", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{1 ^ 2}, int64(size+7)); err != nil {
		t.Fatal(err)
	}
	if got, err := keys(p); !errors.Is(err, record.ErrCorrupt) {
		t.Fatalf("%q, %v", got, err)
	}
}

// TestCoordinatorBehindAGap: compaction removed what stood right before a damaged batch. Who loads
// meets the damage all the same, has it looked at where it is, and does not take the gap for
// the end of the log.
func TestCoordinatorBehindAGap(t *testing.T) {
	w, p, size := segmented(t)
	if res, err := p.log.Compact(log.CompactOptions{Now: w.clock.Now()}); err != nil || res.Removed != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	load := func() (string, error) { return keys(p) }
	if keys, err := load(); keys != "abcd" || err != nil {
		t.Fatalf("%q, %v", keys, err)
	}
	if err := w.disk.FlipBit("data/t-0/00000000000000000002.log", int64(size-1)); err != nil {
		t.Fatal(err)
	}
	if keys, err := load(); !errors.Is(err, record.ErrCorrupt) {
		t.Fatalf("%q, %v", keys, err)
	}
	w.dir.NewScrubber().Step(w.clock.Now(), log.ScrubOptions{}) // what a reader has met
	if d := p.log.Damaged(); len(d) != 1 || d[0] != (log.Range{From: 2, To: 3}) {
		t.Fatalf("damaged: %v", d)
	}
	if keys, err := load(); !errors.Is(err, record.ErrCorrupt) {
		t.Fatalf("%q, %v", keys, err)
	}
	p.damage = &damage{alone: true}
	if keys, err := load(); keys != "acd" || err != nil {
		t.Fatalf("%q, %v", keys, err)
	}
}
