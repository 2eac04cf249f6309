package log

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

// badBlock makes the disk refuse bytes from…to-1 of the segment, as often as times says;
// it counts the reads that it refused.
func badBlock(w *world, from, to int64, times int) (refused *int) {
	refused = new(int)
	w.disk.FailReads(func(name string, off int64, n int) error {
		if strings.HasSuffix(name, "/00000000000000000000.log") && off < to && off+int64(n) > from && *refused < times {
			*refused++
			return syscall.EIO
		}
		return nil
	})
	return refused
}

// tenIndexed is a log of ten synced batches of one size, each with an index entry.
func tenIndexed(w *world) (l *Log, size int64) {
	l = w.log("a", func(c *Config) { c.IndexIntervalBytes = 1 })
	for range 10 {
		w.append(l, batch(1, 100))
	}
	w.checkpoint()
	w.events = nil
	return l, int64(len(batch(1, 100)))
}

// TestUnreadable: what the disk does not give is damage, as far as it goes; what is around
// it is read. One that comes back is none.
func TestUnreadable(t *testing.T) {
	for name, c := range map[string]struct {
		from, to func(size int64) int64
		times    int
		damaged  [2]int64
	}{
		"a value":          {func(n int64) int64 { return 5*n - 1 }, func(n int64) int64 { return 5 * n }, 1 << 30, [2]int64{4, 5}},
		"a header":         {func(n int64) int64 { return 4 * n }, func(n int64) int64 { return 4*n + 1 }, 1 << 30, [2]int64{4, 5}},
		"several":          {func(n int64) int64 { return 4*n + 1 }, func(n int64) int64 { return 5*n + 1 }, 1 << 30, [2]int64{4, 6}},
		"the end":          {func(n int64) int64 { return 9*n + 70 }, func(n int64) int64 { return 10 * n }, 1 << 30, [2]int64{9, 10}},
		"all":              {func(n int64) int64 { return 0 }, func(n int64) int64 { return 10 * n }, 1 << 30, [2]int64{0, 10}},
		"only for a while": {func(n int64) int64 { return 4 * n }, func(n int64) int64 { return 5 * n }, 2, [2]int64{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l, size := tenIndexed(w)
			badBlock(w, c.from(size), c.to(size), c.times)
			w.scrub()
			got := l.Damaged()
			if c.damaged == [2]int64{} {
				if len(got) != 0 {
					t.Fatalf("refused %v", got)
				}
				return
			}
			if !covers(got, c.damaged[0], c.damaged[1]) {
				t.Fatalf("refused %v, want %v", got, c.damaged)
			}
			if e, ok := saw[Quarantined](w); !ok || !errors.Is(e.Err, syscall.EIO) {
				t.Fatalf("told %+v", w.events)
			}
			w.disk.FailReads(nil)
			for at := range l.EndOffset() {
				run, err := l.Read(at, int(size), l.EndOffset(), true)
				if at >= c.damaged[0] && at < c.damaged[1] {
					if !errors.Is(err, ErrCorrupt) {
						t.Fatalf("read at %d: %v", at, err)
					}
					continue
				}
				if err != nil || run.Len() != int(size) {
					t.Fatalf("read at %d: %v", at, err)
				}
				run.Release()
			}
		})
	}
}

// TestUnreadableMet: bytes that the disk does not give to a reader are looked at by the next
// step, whether the reader met them itself or whoever sends them did.
func TestUnreadableMet(t *testing.T) {
	for name, read := range map[string]func(l *Log, run *Run) error{
		"by the reader": func(_ *Log, run *Run) error {
			_, err := run.ReadAt(make([]byte, run.Len()), 0)
			return err
		},
		"by the kernel": func(_ *Log, run *Run) error {
			run.Failed(errors.New("connection reset"))
			run.Failed(syscall.EIO)
			return syscall.EIO
		},
		"by a look-up": func(l *Log, _ *Run) error {
			_, err := l.Read(4, 1, 10, true)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, size := tenIndexed(w)
			w.reopen()
			l := w.log("a")
			run, err := l.Read(3, 2*int(size), 5, true)
			if err != nil {
				t.Fatal(err)
			}
			defer run.Release()
			badBlock(w, 4*size, 5*size, 1<<30)
			if err := read(l, run); !errors.Is(err, syscall.EIO) {
				t.Fatal(err)
			}
			if e, ok := saw[DamageMet](w); !ok || !errors.Is(e.Err, syscall.EIO) {
				t.Fatalf("told %+v", w.events)
			}
			w.dir.NewScrubber().Step(w.clock.Now(), ScrubOptions{})
			if got := l.Damaged(); !covers(got, 4, 5) {
				t.Fatalf("refused %v", got)
			}
		})
	}
}
