package log

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
)

// TestTruncateWhereReadsFail: a truncation that meets bytes which the disk does not give for
// a while is carried out, or leaves the log as it is and is tried again.
func TestTruncateWhereReadsFail(t *testing.T) {
	const until = 201
	third := func(l *Log) int64 { return (*l.segs.Load())[2].base }
	for name, c := range map[string]struct {
		truncate func(l *Log) error
		end      func(l *Log) int64
	}{
		"within a segment": {func(l *Log) error { return l.TruncateTo(131) }, func(*Log) int64 { return 131 }},
		"at a boundary":    {func(l *Log) error { return l.TruncateTo(third(l)) }, third},
		"fully":            {func(l *Log) error { return l.TruncateFullyTo(5) }, func(*Log) int64 { return 5 }},
	} {
		for _, started := range []bool{false, true} { // nothing is known of the segments then but what the disk has
			t.Run(fmt.Sprintf("%s, started %v", name, started), func(t *testing.T) {
				failed := 0
				for n, met := 1, true; met; n++ {
					w := newWorld(t)
					l := w.log("a", indexed)
					writeIndexed(w, l, until)
					if started {
						w.reopen()
						l = w.log("a", indexed)
					}
					if _, err := l.segments(); err != nil {
						t.Fatal(err)
					}
					end, reads := c.end(l), 0
					w.disk.FailReads(func(string, int64, int) error {
						if reads++; reads == n {
							return syscall.EIO
						}
						return nil
					})
					err := c.truncate(l)
					w.disk.FailReads(nil)
					if met = reads >= n; met {
						failed++
					}
					if err != nil {
						if !errors.Is(err, syscall.EIO) || l.EndOffset() != until {
							t.Fatalf("read %d failed: %v; the log ends at %d", n, err, l.EndOffset())
						}
						w.must(c.truncate(l))
					}
					if l.EndOffset() != end {
						t.Fatalf("read %d failed: the log ends at %d, not at %d", n, l.EndOffset(), end)
					}
					w.append(l, batch(1, 100))
					w.sync()
					all := readAll(t, l, l.StartOffset())
					for _, again := range []func(){w.kill, w.crash} {
						again()
						if l = w.log("a", indexed); !slices.Equal(readAll(t, l, l.StartOffset()), all) || l.EndOffset() != end+1 {
							t.Fatalf("read %d failed: the log has %d to %d after a start", n, l.StartOffset(), l.EndOffset())
						}
					}
				}
				if failed == 0 && !started {
					t.Fatal("nothing was read")
				}
			})
		}
	}
}
