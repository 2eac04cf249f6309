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
	seen := 0
	count := func(record.Batch, record.Record) error { seen++; return nil }
	if next, err := eachRecord(run, 0, count); err != nil || next != 1 || seen != 1 {
		t.Fatalf("%d records, next %d, %v", seen, next, err)
	}
	run[len(run)-2] ^= 1 // in the value
	if _, err := eachRecord(run, 0, count); !errors.Is(err, record.ErrCorrupt) || seen != 1 {
		t.Fatalf("%d records, %v", seen, err)
	}
}
