package replica

import (
	"errors"
	"testing"

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
		return eachRecord(run, 0, func(_ record.Batch, r record.Record) error { seen = append(seen, string(r.Value)); return nil })
	}
	if next, err := read(); err != nil || next != 2 || len(seen) != 2 {
		t.Fatalf("%q, next %d, %v", seen, next, err)
	}
	run[len(run)-2] ^= 1 // in the second value
	if next, err := read(); !errors.Is(err, record.ErrCorrupt) || next != 1 || len(seen) != 1 || seen[0] != "value" {
		t.Fatalf("%q, next %d, %v", seen, next, err)
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
	c := newCluster(t, 1, 2)
	c.start()
	c.create("t", 1, "1")
	b := c.leader("t", 0)
	c.until("all are in sync", c.inSync)
	c.fill40(40)
	c.until("all are in sync", c.inSync)
	c.isolate(c.others()[0].id, true)
	c.until("it is alone", func() bool { return len(c.img().Partition("t", 0).ISR) == 1 })
	b.flip()
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
