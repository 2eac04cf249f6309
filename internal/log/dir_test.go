package log

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

func (w *world) close() {
	w.t.Helper()
	if err := w.dir.Close(true); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) reopen() {
	w.t.Helper()
	w.close()
	w.open()
}

// saw tells whether an event of the type was seen, and forgets all events.
func saw[E Event](w *world) (e E, ok bool) {
	for _, x := range w.events {
		if x, is := x.(E); is {
			e, ok = x, true
		}
	}
	return e, ok
}

func TestCleanStopNeedsNoScan(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	for range 5 {
		w.append(l, batch(2, 100, idempotent(9, 0, int32(2*l.EndOffset()/2))))
	}
	w.reopen()
	w.disk.FailReads(func(name string, _ int64, _ int) error {
		if strings.HasSuffix(name, logSuffix) {
			return errors.New("a log was read at a clean start")
		}
		return nil
	})
	l = w.dir.Log("a", 0)
	if l.EndOffset() != 10 || l.SyncedOffset() != 10 || l.Size() == 0 {
		t.Fatalf("end %d synced %d size %d", l.EndOffset(), l.SyncedOffset(), l.Size())
	}
	w.disk.FailReads(nil)
	l = w.log("a")
	if p := l.Producers(); len(p) != 1 || p[0].ProducerID != 9 || p[0].LastSequence != 9 {
		t.Fatalf("producers %+v", p)
	}
	if o, ok := saw[Opened](w); !ok || !o.Clean || o.Logs != 1 {
		t.Fatalf("opened: %+v", o)
	}
	if got := readAll(t, l, 0); len(got) != 5 {
		t.Fatalf("read %v", got)
	}
	w.append(l, batch(1, 1))
	w.close()
	w.open()
	w.kill() // the marker is gone since the start
	if o, _ := saw[Opened](w); o.Clean {
		t.Fatal("clean after kill")
	}
	if end := w.log("a").EndOffset(); end != 11 {
		t.Fatalf("end %d", end)
	}
}

// TestStateCutAfterACleanStop: what an older frame says of a log is not taken for the
// last word, since consumers would miss what came after it until the log is first used.
func TestStateCutAfterACleanStop(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	w.append(l, batch(2, 100))
	w.checkpoint()
	w.append(l, batch(2, 100))
	w.close()
	f, err := w.fs.OpenFile("data/"+stateFile, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err := errors.Join(err, f.Truncate(size-1), f.Close()); err != nil {
		t.Fatal(err)
	}
	w.open()
	if l = w.dir.Log("a", 0); l.EndOffset() != 4 || l.SyncedOffset() != 4 {
		t.Errorf("end %d, synced %d", l.EndOffset(), l.SyncedOffset())
	}
	if e, ok := saw[IndexRebuilt](w); !ok || e.File != stateFile || !strings.HasPrefix(e.String(), stateFile) {
		t.Errorf("nothing is said of the state: %v", e)
	}
}

func TestCleanStopIsDurable(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", func(c *Config) { c.Durable = false })
	for i := range 100 {
		w.append(l, batch(10, 1000, idempotent(9, 0, int32(10*i))))
	}
	w.close()
	w.crash()
	if o, _ := saw[Opened](w); !o.Clean {
		t.Fatal("the marker was lost")
	}
	l = w.log("a")
	if l.EndOffset() != 1000 {
		t.Fatalf("end %d", l.EndOffset())
	}
	if got := readAll(t, l, 0); len(got) != 100 {
		t.Fatalf("read %d batches", len(got))
	}
	if p := l.Producers(); len(p) != 1 || p[0].LastSequence != 999 {
		t.Fatalf("producers %+v", p)
	}
}

func TestLockAndOwner(t *testing.T) {
	w := newWorld(t)
	if _, err := OpenDir(w.options()); !errors.Is(err, env.ErrLocked) {
		t.Fatalf("second open: %v", err)
	}
	w.close()
	o := w.options()
	o.ClusterID = "other"
	if _, err := OpenDir(o); err == nil || !strings.Contains(err.Error(), "belongs to cluster") {
		t.Fatalf("other cluster: %v", err)
	}
	o = w.options()
	o.NodeID = 2
	if _, err := OpenDir(o); err == nil || !strings.Contains(err.Error(), "belongs to node") {
		t.Fatalf("other node: %v", err)
	}
	id := w.dir.DirectoryID()
	w.open()
	if w.dir.DirectoryID() != id {
		t.Fatal("the directory's id changed")
	}
}

func TestDeleteAndCreateAgain(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	w.append(l, batch(1, 10))
	w.sync()
	w.append(l, batch(1, 10))
	w.sync() // by the journal
	if err := w.dir.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	run, err := l.Read(0, 1000, 2, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.dir.Delete(l.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(batch(1, 1), AppendOptions{}); !errors.Is(err, ErrDeleted) {
		t.Fatalf("append to a deleted log: %v", err)
	}
	if _, err := run.ReadAt(make([]byte, run.Len()), 0); err != nil {
		t.Fatalf("a run that was held: %v", err)
	}
	run.Release()
	l = w.log("a") // with the same topic id
	if l.EndOffset() != 0 {
		t.Fatalf("a new log ends at %d", l.EndOffset())
	}
	w.append(l, batch(1, 500))
	w.sync()
	if err := w.dir.Tick(w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	w.crash()
	l = w.log("a")
	if got := readAll(t, l, 0); !slices.Equal(got, []int64{0}) || l.Recovered().Kept != true {
		t.Fatalf("read %v, %+v", got, l.Recovered())
	}
	names, err := w.disk.ReadDir("data")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		if strings.Contains(e.Name(), "-delete") {
			t.Fatalf("%s is left", e.Name())
		}
	}
	other := testID("a")
	other.TopicID[0]++
	if _, err := w.dir.OpenLog(other, DefaultConfig(), Hooks{}); !errors.Is(err, ErrInconsistentTopicID) {
		t.Fatalf("other topic id: %v", err)
	}
}

func idempotent(id int64, epoch int16, seq int32) func(*record.BatchHeader) {
	return func(h *record.BatchHeader) { h.ProducerID, h.ProducerEpoch, h.BaseSequence = id, epoch, seq }
}

func TestFullDiskHeals(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	w.append(l, batch(1, 100))
	w.sync()
	size := l.Size()
	w.disk.SetFree(60)
	for range 3 {
		if _, err := l.Append(batch(1, 100), AppendOptions{Now: w.clock.Now()}); !errors.Is(err, ErrStorage) {
			t.Fatalf("append to a full disk: %v", err)
		}
	}
	info, err := w.disk.Stat("data/a-0/" + segmentName(0, logSuffix))
	if err != nil || info.Size() != size {
		t.Fatalf("half an append stays: %d bytes, want %d (%v)", info.Size(), size, err)
	}
	if got := readAll(t, l, 0); len(got) != 1 {
		t.Fatalf("read %v", got)
	}
	w.disk.SetFree(-1)
	if i := w.append(l, batch(1, 100)); i.FirstOffset != 1 {
		t.Fatalf("appended at %d", i.FirstOffset)
	}
	w.sync()
}

// TestCheckpointsOnAFullDisk: those that fail leave nothing behind but the wish for another.
func TestCheckpointsOnAFullDisk(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", func(c *Config) { c.Durable = false })
	w.append(l, batch(1, 100))
	w.checkpoint()
	w.disk.OnOp(func(op env.Op) error {
		if strings.HasPrefix(op.Path, "data/"+stateFile) && op.Kind == env.OpWrite {
			return syscall.ENOSPC
		}
		return nil
	})
	for range 5 {
		w.append(l, batch(1, 100))
		if err := w.dir.Checkpoint(); !errors.Is(err, syscall.ENOSPC) || w.dir.Failed() != nil {
			t.Fatalf("%v, %v", err, w.dir.Failed())
		}
	}
	if n := len(w.dir.unsaved); n != 1 {
		t.Fatalf("one log waits %d times for a checkpoint", n)
	}
	if e, ok := saw[CheckpointFailed](w); !ok || !errors.Is(e.Err, syscall.ENOSPC) {
		t.Fatalf("told %+v", e)
	}
	w.disk.OnOp(nil)
	w.checkpoint()
	w.kill()
	if r := w.log("a").Recovered(); r.Point != 6 || r.ScannedBytes != 0 {
		t.Fatalf("%+v", r)
	}
}

func TestFailedSyncIsFinal(t *testing.T) {
	w := newWorld(t)
	synced := int64(-1)
	l, err := w.dir.OpenLog(testID("a"), DefaultConfig(), Hooks{Synced: func(end int64) { synced = end }})
	if err != nil {
		t.Fatal(err)
	}
	w.append(l, batch(1, 100))
	w.sync()
	if synced != 1 {
		t.Fatalf("hook told %d", synced)
	}
	w.append(l, batch(1, 100))
	w.disk.FailSyncs(errors.New("no medium"))
	if _, err := w.dir.SyncRound(); err == nil {
		t.Fatal("the failed sync was not told")
	}
	w.disk.FailSyncs(nil)
	if _, err := w.dir.SyncRound(); !errors.Is(err, ErrStorage) {
		t.Fatalf("the next round: %v", err)
	}
	if synced != 1 || l.SyncedOffset() != 1 {
		t.Fatalf("synced %d, %d", synced, l.SyncedOffset())
	}
	if _, err := l.Append(batch(1, 1), AppendOptions{}); !errors.Is(err, ErrStorage) {
		t.Fatalf("append: %v", err)
	}
	if got := readAll(t, l, 0); len(got) != 2 {
		t.Fatalf("reads go on: %v", got)
	}
}

// TestFailedSyncAnywhereIsFinal: a sync that fails where nobody waits for it takes the
// directory offline too. The next sync of the same file would succeed, and tell nothing.
func TestFailedSyncAnywhereIsFinal(t *testing.T) {
	noMedium := errors.New("no medium")
	for name, fails := range map[string]func(w *world) error{
		"cutting off what a clean stop did not leave": func(w *world) error {
			w.append(w.log("a"), batch(1, 100))
			w.close()
			f, err := w.disk.OpenFile("data/a-0/"+segmentName(0, logSuffix), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			info, err := w.disk.Stat("data/a-0/" + segmentName(0, logSuffix))
			if err != nil {
				return err
			}
			if _, err := f.WriteAt([]byte("rubbish"), info.Size()); err != nil {
				return err
			}
			w.open()
			l := w.dir.Log("a", 0)
			w.disk.FailSyncs(noMedium)
			_, err = l.Read(0, 100, 1, true)
			return err
		},
		"truncation": func(w *world) error {
			l := w.log("a")
			w.append(l, batch(1, 100))
			w.append(l, batch(1, 100))
			w.failSyncAfterTruncate(noMedium)
			return l.TruncateTo(1)
		},
		"cutting off a refused batch that could not be cut off at once": func(w *world) error {
			l := w.log("a")
			w.append(l, batch(1, 100))
			w.disk.FailAt(1, env.Partial{N: 50, Err: syscall.ENOSPC})
			w.disk.FailAt(2, syscall.EIO)
			w.refused(l, batch(1, 100), ErrStorage)
			w.failSyncAfterTruncate(noMedium)
			_, err := l.Append(batch(1, 100), AppendOptions{Now: w.clock.Now()})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if err := fails(w); !errors.Is(err, noMedium) {
				t.Fatalf("the sync did not fail: %v", err)
			}
			w.disk.FailSyncs(nil)
			w.disk.OnOp(nil)
			if !errors.Is(w.dir.Failed(), noMedium) {
				t.Fatalf("the directory goes on: %v", w.dir.Failed())
			}
		})
	}
}

// failSyncAfterTruncate makes the operation behind the next truncation of log a's first
// segment fail if it is the sync of that.
func (w *world) failSyncAfterTruncate(err error) {
	cut := false
	w.disk.OnOp(func(op env.Op) error {
		if cut && op.Kind == env.OpSync && op.Path == aLog {
			return err
		}
		cut = op.Kind == env.OpTruncate && op.Path == aLog
		return nil
	})
}
