package log

import (
	"errors"
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

// baseBit flips a bit of a batch's base offset, which no checksum covers.
func baseBit(at int, bit int) func([]byte) []byte {
	return func(p []byte) []byte {
		p[at+7-bit/8] ^= 1 << (bit % 8)
		return p
	}
}

// TestReadChecksWhatItBeginsWith: whatever stands where a read begins, readers get no offset
// that is not there. It is told once; what is before and in other segments is read.
func TestReadChecksWhatItBeginsWith(t *testing.T) {
	noise := func(p []byte) []byte {
		for i := range p {
			p[i] = byte(i*i>>3 + 7*i)
		}
		return p
	}
	for name, c := range map[string]struct {
		harm   func(size int) func([]byte) []byte // to the segment with 3 to 6
		at, to int64                              // at is refused, and those up to to may be
	}{
		"the base offset is large":          {func(int) func([]byte) []byte { return baseBit(0, 62) }, 3, 7},
		"the base offset is that of others": {func(int) func([]byte) []byte { return baseBit(0, 2) }, 3, 7}, // 3 becomes 7
		"the base offset is one less":       {func(int) func([]byte) []byte { return baseBit(0, 0) }, 3, 7},
		"a later one is large":              {func(size int) func([]byte) []byte { return baseBit(size, 61) }, 4, 7},
		"a later one is one more":           {func(size int) func([]byte) []byte { return baseBit(size, 0) }, 4, 7},   // 4 becomes 5
		"a later one is a little more":      {func(size int) func([]byte) []byte { return baseBit(size, 1) }, 4, 7},   // 4 becomes 6
		"the last one is less":              {func(size int) func([]byte) []byte { return baseBit(3*size, 1) }, 6, 7}, // 6 becomes 4
		"the last one is more":              {func(size int) func([]byte) []byte { return baseBit(3*size, 0) }, 6, 7}, // 6 becomes 7
		"noise":                             {func(int) func([]byte) []byte { return noise }, 3, 7},
	} {
		for _, how := range []string{"at once", "reading on"} {
			t.Run(name+", "+how, func(t *testing.T) {
				w := newWorld(t)
				size := synced(w)
				l := w.log("a")
				if how == "reading on" { // where reads end is remembered
					for at := range int64(10) {
						run, err := l.Read(at, size, at+1, true)
						w.must(err)
						run.Release()
					}
				}
				w.change(bLog, c.harm(size))
				for range 2 {
					for at := range int64(10) {
						run, err := l.Read(at, 1<<20, 10, true)
						if err != nil && at >= c.at && at < c.to {
							if !errors.Is(err, ErrCorrupt) {
								t.Errorf("read at %d: %v", at, err)
							}
							continue
						}
						if err == nil && at == c.at {
							t.Errorf("read at %d: %d bytes", at, run.Len())
						}
						if err != nil {
							t.Errorf("read at %d: %v", at, err)
							continue
						}
						var head [record.HeaderSize]byte
						if _, err := run.ReadAt(head[:], 0); err != nil || record.Batch(head[:]).BaseOffset() != at {
							t.Errorf("read at %d: offset %d, %v", at, record.Batch(head[:]).BaseOffset(), err)
						}
						run.Release()
					}
				}
				told := map[string]int{}
				for _, e := range w.events {
					if e, ok := e.(DamageMet); ok {
						told[e.Err.Error()]++
					}
				}
				for e, n := range told {
					if n > 1 {
						t.Errorf("%q was told %d times", e, n)
					}
				}
				if len(told) == 0 {
					t.Error("nothing was told")
				}
			})
		}
	}
}

// TestReadChecksWhatWasJustWritten: that this process has written a batch says nothing of what
// the disk gives of it.
func TestReadChecksWhatWasJustWritten(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	size := len(batch(1, 100))
	for range 5 {
		w.append(l, batch(1, 100))
	}
	w.checkpoint()
	w.change(aDir+"00000000000000000000.log", baseBit(4*size, 24))
	if run, err := l.Read(4, 1<<20, 5, true); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("%v, %v", run, err)
	}
}

// TestRunsEndBeforeDamage: damage takes nothing from who reads what is before it.
func TestRunsEndBeforeDamage(t *testing.T) {
	w := newWorld(t)
	size := synced(w)
	w.change(bLog, baseBit(size, 61)) // of 4
	l := w.log("a")
	for _, c := range []struct {
		bytes int
		upTo  int64
	}{{2*size + 10, 10}, {1 << 20, 6}} {
		run, err := l.Read(3, c.bytes, c.upTo, true)
		if err != nil || run.Len() != size || run.NextOffset() != 4 {
			t.Fatalf("reading %d bytes up to %d: %d up to %d, %v", c.bytes, c.upTo, run.Len(), run.NextOffset(), err)
		}
		run.Release()
	}
}
