package log

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/record"
)

// TestRestartWhereTrashIs: a log may go on at the base of a segment that waits for its
// removal; that removal must not take the new one, nor a power cut bring the old one back.
func TestRestartWhereTrashIs(t *testing.T) {
	for _, at := range []int64{4, 0, 3} {
		w := newWorld(t)
		l := w.log("a", func(c *Config) { c.SegmentBytes, c.FileDeleteDelayMs, c.RetentionBytes = 400, 60_000, 500 })
		for range 12 {
			w.append(l, batch(1, 100, idempotent(1, 0, int32(l.EndOffset()))))
		}
		w.checkpoint()
		w.retained(l, l.EndOffset())
		if l.StartOffset() <= 4 {
			t.Fatalf("starts at %d", l.StartOffset())
		}
		w.must(l.TruncateFullyTo(at))
		if len(l.Producers()) > 0 {
			t.Fatal("producers", l.Producers())
		}
		for range 2 {
			w.append(l, batch(1, 100))
		}
		w.sync()
		check := func(what string) {
			t.Helper()
			if l.StartOffset() != at || l.EndOffset() != at+2 || len(readAll(t, l, at)) != 2 {
				t.Fatalf("%s: %d to %d", what, l.StartOffset(), l.EndOffset())
			}
		}
		for seed := range uint64(10) {
			v := *w
			v.crashAs(seed)
			l = v.log("a")
			check("power cut")
		}
		l = w.dir.Log("a", 0)
		w.clock.Advance(2 * time.Minute)
		w.must(w.dir.Tick(w.clock.Now()))
		check("removal")
		w.kill()
		l = w.log("a")
		check("kill")
	}
}

// TestTruncateLiftsDamage: what a follower cuts off and fetches again is not refused by a
// damage that was there before, neither at once nor after the next start.
func TestTruncateLiftsDamage(t *testing.T) {
	for name, c := range map[string]struct {
		harm     func(w *world, size int)
		to, ends int64
	}{
		"where it begins":     {func(w *world, size int) { w.change(bLog, cutAt(2*size)) }, 5, 5},
		"in the middle of it": {func(w *world, size int) { w.change(bLog, cutAt(2*size)) }, 6, 5},
		"behind it":           {func(w *world, size int) { w.change(bLog, cutAt(2*size)) }, 7, 5},
		"before it":           {func(w *world, size int) { w.change(bLog, cutAt(2*size)) }, 2, 2},
		"the first segment":   {func(w *world, _ int) { w.must(w.disk.Remove(aLog)) }, 2, 0},
		"all of it": {func(w *world, _ int) {
			w.must(errors.Join(w.disk.Remove(aLog), w.disk.Remove(bLog), w.disk.Remove(cLog)))
		}, 4, 0},
		"what nobody met":          {func(w *world, size int) { w.change(bLog, flip(size+record.OffLength)) }, 5, 4},
		"what nobody met, exactly": {func(w *world, size int) { w.change(bLog, flip(size+record.OffLength)) }, 4, 4},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			size := synced(w)
			c.harm(w, size)
			w.opt.BootID = "after the power cut"
			w.kill()
			l := w.log("a")
			w.must(l.TruncateTo(c.to))
			if l.EndOffset() != c.ends || l.StartOffset() != 0 {
				t.Fatalf("%d to %d, want 0 to %d", l.StartOffset(), l.EndOffset(), c.ends)
			}
			for range 12 - c.ends {
				w.append(l, batch(1, 100))
			}
			w.sync()
			whole := func(what string) {
				t.Helper()
				if got := readAll(t, w.log("a"), 0); len(got) != 12 {
					t.Fatalf("%s: read %v", what, got)
				}
				if ids := w.dir.Damaged(); len(ids) > 0 {
					t.Fatalf("%s: damaged: %v", what, ids)
				}
			}
			whole("at once")
			w.kill()
			whole("kill")
			w.crash()
			whole("power cut")
			w.reopen()
			whole("clean stop")
		})
	}
}

// TestDamageIsReportedUntilMended: a replica with damage is reported at each start.
func TestDamageIsReportedUntilMended(t *testing.T) {
	w := newWorld(t)
	size := synced(w)
	w.change(bLog, cutAt(2*size))
	w.opt.BootID = "after the power cut"
	for _, again := range []func(){w.kill, w.kill, w.crash, w.reopen, w.reopen} {
		w.events = nil
		again()
		if r, ok := saw[LogRecovered](w); !ok || r.Kept {
			t.Fatalf("told %+v", w.events)
		}
		if ids := w.dir.Damaged(); len(ids) != 1 || ids[0] != testID("a") {
			t.Fatalf("damaged: %v", ids)
		}
	}
	l := w.log("a")
	w.must(l.TruncateTo(5))
	for _, again := range []func(){w.reopen, w.kill, w.crash} {
		w.events = nil
		again()
		if r, ok := saw[LogRecovered](w); ok && !r.Kept {
			t.Fatalf("told %+v", r)
		}
	}
}

// TestTruncateOnAFullDisk: one that could not begin changes nothing, and is tried again.
func TestTruncateOnAFullDisk(t *testing.T) {
	for name, truncate := range map[string]func(l *Log) error{
		"back":  func(l *Log) error { return l.TruncateTo(5) },
		"fully": func(l *Log) error { return l.TruncateFullyTo(5) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l := w.log("a")
			for range 10 {
				w.append(l, batch(1, 100))
			}
			w.checkpoint()
			w.disk.SetFree(0)
			if err := truncate(l); !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			if got := readAll(t, l, 0); len(got) != 10 {
				t.Fatalf("read %v", got)
			}
			w.disk.SetFree(1 << 20)
			w.sync()
			if l.SyncedOffset() != 10 {
				t.Fatalf("synced to %d", l.SyncedOffset())
			}
			w.must(truncate(l))
			w.append(l, batch(1, 100))
			w.sync()
			w.crash()
			if l = w.log("a"); l.EndOffset() != 6 {
				t.Fatalf("ends at %d", l.EndOffset())
			}
		})
	}
}

// TestTruncateLetsCompact: compaction, which damage had stopped, goes on when that is cut off.
func TestTruncateLetsCompact(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", compacted)
	write := func() {
		w.append(l, keyed(record.NewHeader(0), "a", "1"))
		w.append(l, keyed(record.NewHeader(0), "a", "2"))
		w.roll(l)
		w.append(l, keyed(record.NewHeader(0), "a", "3"))
		w.checkpoint()
	}
	write()
	w.change(aLog, flip(fileLen(w, aLog)-1))
	if _, err := l.Compact(CompactOptions{Now: w.clock.Now()}); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	w.must(l.TruncateTo(0))
	write()
	if res := w.compact(l); res.Removed == 0 {
		t.Fatalf("%+v", res)
	}
}

func fileLen(w *world, name string) int { return len(w.content(name)) }
