package log

import "testing"

// TestHooksAreToldWithoutLocks: a hook may wait for a partition whose holder waits for the
// log, as a batch of truncations does.
func TestHooksAreToldWithoutLocks(t *testing.T) {
	w := newWorld(t)
	var l *Log
	told := 0
	c := DefaultConfig()
	c.Durable = false
	var err error
	l, err = w.dir.OpenLog(testID("a"), c, Hooks{Synced: func(int64) {
		told++
		if !l.w.TryLock() {
			t.Error("told with the log locked")
			return
		}
		l.w.Unlock()
	}})
	w.must(err)
	w.append(l, batch(3, 10))
	w.must(l.SetStartOffset(2)) // which calls for a round
	if told != 1 || l.SyncedOffset() != 3 {
		t.Fatalf("told %d times, synced to %d", told, l.SyncedOffset())
	}
}
