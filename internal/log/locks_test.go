package log

import (
	"os"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

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

// TestCutsReadBesideTheRounds: what a truncation has to read, which may be a segment of each
// log, it reads before it holds up those who wait for a sync round.
func TestCutsReadBesideTheRounds(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	w.append(l, batch(1, 100))
	w.roll(l)
	for range 3 {
		w.append(l, batch(1, 100))
	}
	w.sync()
	snapshot := "data/a-0/" + segmentName(1, snapshotSuffix)
	f, err := w.disk.OpenFile(snapshot, os.O_RDWR, 0)
	w.must(err)
	_, err = f.WriteAt([]byte("garbage"), 0)
	w.must(err)
	w.must(f.Close())
	read := 0 // the snapshot: it is removed as it is read
	w.disk.OnOp(func(op env.Op) error {
		if op.Kind != env.OpRemove || !strings.HasPrefix(op.Path, snapshot) {
			return nil
		}
		if read++; w.dir.round.TryLock() {
			w.dir.round.Unlock()
		} else {
			t.Error("read while a round is held up")
		}
		return nil
	})
	w.must(l.TruncateTo(3))
	if read != 1 || l.EndOffset() != 3 {
		t.Fatalf("read %d times, ends at %d", read, l.EndOffset())
	}
}

// TestCutsEndWithTheDisk: once a sync has failed no log is emptied any more.
func TestCutsEndWithTheDisk(t *testing.T) {
	w := newWorld(t)
	a, b := w.log("a"), w.log("b")
	far := record.Batch(batch(1, 100)) // leaves the segment's offsets behind
	far.SetBaseOffset(1 << 32)
	_, err := a.Append(far, AppendOptions{Origin: OriginReplication, Now: w.clock.Now()})
	w.must(err)
	for range 4 {
		w.append(b, batch(1, 100))
	}
	w.sync()
	w.checkpoint()
	w.disk.OnOp(func(op env.Op) error {
		if op.Kind == env.OpSync && op.Path == "data/"+stateFile {
			return os.ErrInvalid
		}
		return nil
	})
	cuts := []Cut{{Log: a, To: 5}, {Log: b, To: 2}} // all of a goes
	w.dir.TruncateLogs(cuts)
	for i, want := range []int{1, 4} {
		if got := readAll(t, cuts[i].Log, 0); cuts[i].Err == nil || len(got) != want {
			t.Errorf("%v: %v, and %v are left", cuts[i].Log.ID(), cuts[i].Err, got)
		}
	}
}
