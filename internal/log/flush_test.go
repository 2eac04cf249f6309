package log

import (
	"testing"
	"time"
)

// relaxedLog is a log of a relaxed topic whose first segment is made and synced.
func relaxedLog(w *world, change func(*Config)) *Log {
	l := w.log("a", func(c *Config) { c.Durable = false }, change)
	w.append(l, batch(1, 10))
	w.sync()
	return l
}

func wantSynced(t *testing.T, w *world, l *Log, dirty bool, synced int64) {
	t.Helper()
	if w.dir.Dirty() != dirty {
		t.Fatalf("waits for a round: %v, want %v", w.dir.Dirty(), dirty)
	}
	w.sync()
	if l.SyncedOffset() != synced {
		t.Fatalf("synced to %d, want %d", l.SyncedOffset(), synced)
	}
}

// TestFlushMessages: a relaxed log is synced once so many records, not batches, are
// waiting.
func TestFlushMessages(t *testing.T) {
	w := newWorld(t)
	l := relaxedLog(w, func(c *Config) { c.FlushMessages = 5 })
	for _, end := range []int64{6, 11} {
		w.append(l, batch(2, 10))
		w.append(l, batch(2, 10))
		wantSynced(t, w, l, false, end-5)
		w.append(l, batch(1, 10))
		wantSynced(t, w, l, true, end)
	}
	c := *l.Config()
	c.FlushMessages = 1
	l.SetConfig(c)
	w.append(l, batch(1, 10))
	wantSynced(t, w, l, true, 12)
}

// TestFlushMs: and once its oldest record has waited so long.
func TestFlushMs(t *testing.T) {
	w := newWorld(t)
	w.close()
	w.opt.CheckpointEvery = time.Hour
	w.open()
	l := relaxedLog(w, func(c *Config) { c.FlushMs = 3000 })
	tick := func(d time.Duration) {
		t.Helper()
		w.clock.Advance(d)
		if err := w.dir.Tick(w.clock.Now()); err != nil {
			t.Fatal(err)
		}
	}
	tick(0) // the first checkpoint
	for _, end := range []int64{3, 5} {
		w.append(l, batch(1, 10))
		tick(2 * time.Second)
		w.append(l, batch(1, 10))
		tick(999 * time.Millisecond)
		wantSynced(t, w, l, false, end-2)
		tick(time.Millisecond)
		wantSynced(t, w, l, true, end)
	}
	c := *l.Config()
	c.FlushMs = 0
	l.SetConfig(c)
	w.append(l, batch(1, 10))
	tick(0)
	wantSynced(t, w, l, true, 6)
	c.FlushMs = 1 << 40
	l.SetConfig(c)
	w.append(l, batch(1, 10))
	tick(30 * time.Minute)
	wantSynced(t, w, l, false, 6)
	c.Durable = true // what waits counts from now on
	l.SetConfig(c)
	wantSynced(t, w, l, true, 7)
}
