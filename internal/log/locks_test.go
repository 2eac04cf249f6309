package log

import (
	"fmt"
	"os"
	"sync"
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
	cuts := make([]Cut, 3)
	for i := range cuts {
		l := w.log(fmt.Sprint("t", i))
		for n := range 4 {
			w.append(l, batch(1, 100, func(h *record.BatchHeader) {
				h.ProducerID, h.ProducerEpoch, h.BaseSequence = 1, 0, int32(n)
			}))
		}
		cuts[i] = Cut{Log: l, To: 2}
	}
	w.sync()
	reads := 0
	w.disk.FailReads(func(string, int64, int) error {
		if reads++; w.dir.round.TryLock() {
			w.dir.round.Unlock()
		} else {
			t.Error("read while a round is held up")
		}
		return nil
	})
	w.dir.TruncateLogs(cuts)
	for _, c := range cuts {
		if c.Err != nil || c.Log.EndOffset() != 2 || reads == 0 {
			t.Fatalf("%v ends at %d, after %d reads: %v", c.Log.ID(), c.Log.EndOffset(), reads, c.Err)
		}
	}
}

// TestCutWithoutProducers: a log that no producer is known of is not read for them.
func TestCutWithoutProducers(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	for range 200 {
		w.append(l, batch(1, 20_000))
	}
	w.sync()
	read := 0
	w.disk.FailReads(func(_ string, _ int64, n int) error {
		read += n
		return nil
	})
	w.must(l.TruncateTo(190))
	if l.EndOffset() != 190 || read > 2_000_000 {
		t.Fatalf("ends at %d; %d bytes of 4 million were read", l.EndOffset(), read)
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

// TestCutsBesideEachOther: logs are cut by several goroutines while others sync, write
// checkpoints and read.
func TestCutsBesideEachOther(t *testing.T) {
	d, err := OpenDir(DirOptions{FS: env.NewDisk(1), Clock: env.Real, Path: "data", Rand: env.NewRand(1), BootID: "b", JournalBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(false)
	cuts := make([]Cut, maxCuts+6)
	logs := make([]*Log, len(cuts))
	for i := range cuts {
		if logs[i], err = d.OpenLog(LogID{Topic: "t", TopicID: [16]byte{1}, Partition: int32(i)}, DefaultConfig(), Hooks{}); err != nil {
			t.Fatal(err)
		}
		cuts[i].Log = logs[i]
	}
	var others sync.WaitGroup
	for round := range 4 {
		for n := range 3 {
			for _, l := range logs {
				b := batch(1, 200, func(h *record.BatchHeader) {
					h.ProducerID, h.ProducerEpoch, h.BaseSequence = 1, int16(round), int32(n)
				})
				if _, err := l.Append(b, AppendOptions{Now: epoch0}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := d.SyncRound(); err != nil {
				t.Fatal(err)
			}
		}
		for _, beside := range []func() error{
			d.Checkpoint,
			func() error { _, err := d.SyncRound(); return err },
			func() error { // what stays
				for _, l := range logs {
					run, err := l.Read(0, 1<<20, int64(round+1), true)
					if err != nil {
						return err
					}
					if err = run.Check(1 << 20); err != nil {
						return err
					}
					run.Release()
				}
				return nil
			},
		} {
			others.Go(func() {
				if err := beside(); err != nil {
					t.Error(err)
				}
			})
		}
		for i := range cuts {
			cuts[i].To = int64(round + 1)
		}
		d.TruncateLogs(cuts)
		others.Wait()
		for _, c := range cuts {
			if c.Err != nil || c.Log.EndOffset() != c.To {
				t.Fatalf("%v ends at %d, not %d: %v", c.Log.ID(), c.Log.EndOffset(), c.To, c.Err)
			}
		}
	}
}
