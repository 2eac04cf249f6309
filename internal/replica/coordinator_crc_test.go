package replica

import (
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
	first := len(run)
	b.Reset(record.NewHeader(1), record.Compression{})
	b.Append(2, []byte("key"), []byte("later"))
	if run, err = b.Build(run); err != nil {
		t.Fatal(err)
	}
	var seen []string
	var bad []int64
	read := func() (int64, error) {
		seen, bad = nil, nil
		return eachRecord(run, 0, func(b record.Batch) { bad = append(bad, b.BaseOffset()) },
			func(_ record.Batch, r record.Record) error { seen = append(seen, string(r.Value)); return nil })
	}
	if next, err := read(); err != nil || next != 2 || len(seen) != 2 || bad != nil {
		t.Fatalf("%q, bad %v, next %d, %v", seen, bad, next, err)
	}
	run[first-2] ^= 1 // in the first value
	if next, err := read(); err != nil || next != 2 || len(seen) != 1 || seen[0] != "later" || len(bad) != 1 {
		t.Fatalf("%q, bad %v, next %d, %v", seen, bad, next, err)
	}
}
