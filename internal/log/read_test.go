package log

import (
	"testing"

	"github.com/leat-stream/leat/internal/record"
)

// TestReadEndsWhereAsked: a read beside an append ends before the offset it was given, such
// as a high watermark, and whoever reads on from there gets what was appended.
func TestReadEndsWhereAsked(t *testing.T) {
	_, l := benchLog(t)
	c := *l.Config()
	c.SegmentBytes = 20_000
	l.SetConfig(c)
	const records = 20_000
	done := make(chan error, 1)
	go func() {
		for range records {
			if _, err := l.Append(batch(1, 10), AppendOptions{Now: epoch0}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for at := int64(0); at < records; {
		end := l.EndOffset()
		run, err := l.Read(at, 1<<20, end, true)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, run.Len())
		if _, err := run.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
		for b, err := range record.Split(p) {
			if err != nil || b.BaseOffset() != at || at >= end {
				t.Fatalf("read offset %d where %d was expected, up to %d: %v", b.BaseOffset(), at, end, err)
			}
			at = b.NextOffset()
		}
		if run.NextOffset() != at {
			t.Fatalf("the read ended at %d and says %d", at, run.NextOffset())
		}
		run.Release()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
