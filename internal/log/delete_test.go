package log

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// topics makes logs with a record each, and their ids.
func (w *world) topics(n int) (ids []LogID) {
	w.t.Helper()
	for i := range n {
		name := fmt.Sprint("t", i)
		w.append(w.log(name), batch(1, 100))
		ids = append(ids, testID(name))
	}
	w.sync()
	return ids
}

// TestManyDeletionsShareASync: logs leave with one sync of the directory for hundreds, and
// with no other.
func TestManyDeletionsShareASync(t *testing.T) {
	w := newWorld(t)
	stays := w.log("stays")
	w.append(stays, batch(1, 100))
	ids := w.topics(maxTakenOut + 10)
	w.checkpoint()
	w.log("unwritten")
	twice, unknown, ofAnother := ids[3], testID("unknown"), anotherID("stays")
	all := slices.Concat(ids, []LogID{twice, unknown, ofAnother, testID("unwritten")})
	renames, syncs, most := 0, 0, 0
	for _, op := range w.operations(func() { w.must(w.dir.Delete(all...)) }) {
		switch {
		case strings.HasPrefix(op, "rename data/t"):
			renames++
			most++
		case op == "syncdir data":
			syncs++
			if most > maxTakenOut {
				t.Errorf("%d logs left while those wait who wait for a round", most)
			}
			most = 0
		default:
			t.Errorf("%s", op)
		}
	}
	if renames != len(ids) || syncs != 2 || most > 0 {
		t.Fatalf("%d logs left with %d syncs, %d after the last", renames, syncs, most)
	}
	w.crash()
	if got := w.dir.Logs(); len(got) != 1 || got[0] != stays.ID() {
		t.Fatalf("after a power cut: %d logs, first %v", len(got), got[0])
	}
	if l := w.log("stays"); l.EndOffset() != 1 {
		t.Fatalf("%v ends at %d", l.ID(), l.EndOffset())
	}
}

// TestPowerCutInADeletionOfMany: wherever the power fails in a deletion of many logs, and
// while others are made under their names, each of them is whole or gone at the next start;
// none has lost its beginning, and nothing of it is the other's.
func TestPowerCutInADeletionOfMany(t *testing.T) {
	const logs = 4
	for n := 1; ; n++ {
		over := false
		for seed := range uint64(10) {
			w := newWorld(t)
			stays := w.log("stays")
			w.append(stays, batch(1, 100))
			var ids []LogID
			for i := range logs {
				l := w.log(fmt.Sprint("t", i))
				w.must(l.TruncateFullyTo(100))
				for range 3 {
					w.append(l, batch(1, 100))
				}
				ids = append(ids, l.ID())
			}
			w.sync()
			for _, id := range ids {
				w.dir.Log(id.Topic, id.Partition).SetHighWatermark(103)
			}
			w.checkpoint()
			w.append(w.dir.Log("t0", 0), batch(1, 100)) // which the journal holds
			w.sync()
			w.must(w.disk.SyncDir("data"))

			w.disk.CrashAt(n)
			err := w.dir.Delete(ids...)
			deleted := err == nil
			if deleted {
				err = w.dir.forgetStates() // the state file is synced before the directory is again
			}
			for i := range logs / 2 {
				if err == nil {
					var l *Log
					l, err = w.dir.OpenLog(anotherID(fmt.Sprint("t", i)), DefaultConfig(), Hooks{})
					w.must(err)
					_, err = l.Append(batch(1, 100), AppendOptions{Now: w.clock.Now()})
				}
			}
			if over = !w.disk.Crashed(); over {
				w.must(err)
			}
			w.crashAs(seed)
			if w.dir.Log("stays", 0) == nil {
				t.Fatalf("operation %d, seed %d: what stays is gone", n, seed)
			}
			for _, id := range w.dir.Logs() {
				l := w.dir.Log(id.Topic, id.Partition)
				switch {
				case id == stays.ID() && l.EndOffset() == 1:
				case slices.Contains(ids, id) && !deleted:
					end := int64(103)
					if id.Topic == "t0" {
						end++
					}
					if l.StartOffset() != 100 || l.EndOffset() != end || !l.Recovered().Kept {
						t.Fatalf("operation %d, seed %d: %v came back with %d to %d: %+v", n, seed, id, l.StartOffset(), l.EndOffset(), l.Recovered())
					}
				case slices.Contains(ids, id):
					t.Fatalf("operation %d, seed %d: %v came back", n, seed, id)
				case l.StartOffset() != 0 || l.EndOffset() > 1 || l.HighWatermark() > 0:
					t.Fatalf("operation %d, seed %d: %v has %d to %d, high watermark %d", n, seed, id, l.StartOffset(), l.EndOffset(), l.HighWatermark())
				}
			}
		}
		if over {
			return
		}
	}
}

// TestSomeCannotLeave: a log whose directory cannot be renamed is named, and stays as it is;
// the others leave. All of them can be deleted once more.
func TestSomeCannotLeave(t *testing.T) {
	w := newWorld(t)
	ids := w.topics(5)
	w.disk.OnOp(func(op env.Op) error {
		if op.Kind == env.OpRename && op.Path == "data/t2-0" {
			return syscall.ENOSPC
		}
		return nil
	})
	err := w.dir.Delete(ids...)
	if !IsFull(err) || !errors.Is(err, ErrStorage) || !strings.Contains(err.Error(), "t2-0") || strings.Contains(err.Error(), "t1-0") {
		t.Fatalf("deleted: %v", err)
	}
	w.disk.OnOp(nil)
	if got := w.dir.Logs(); len(got) != 1 || got[0] != ids[2] {
		t.Fatalf("left: %v", got)
	}
	w.append(w.dir.Log("t2", 0), batch(1, 100))
	w.must(w.dir.Delete(ids...))
	w.crash()
	if got := w.dir.Logs(); len(got) > 0 {
		t.Fatalf("after a power cut: %v", got)
	}
}

// TestDeletionCannotBeSynced puts the directory offline, and is no success for any of the logs.
func TestDeletionCannotBeSynced(t *testing.T) {
	w := newWorld(t)
	ids := w.topics(3)
	w.disk.FailSyncs(syscall.EIO)
	if err := w.dir.Delete(ids...); !errors.Is(err, syscall.EIO) || w.dir.Failed() == nil {
		t.Fatalf("deleted: %v, offline: %v", err, w.dir.Failed())
	}
}

// TestDeletionsBesideOthers: many logs are deleted while they are appended to, cut back, synced
// and checkpointed; those that stay take all that is appended.
func TestDeletionsBesideOthers(t *testing.T) {
	w := newWorld(t)
	var g env.Goroutines
	w.dir.Start(&g)
	const logs, staying = 60, 4
	ids := make([]LogID, logs)
	var wg sync.WaitGroup
	for i := range logs {
		l := w.log(fmt.Sprint("t", i))
		ids[i] = l.ID()
		w.append(l, batch(1, 100))
		wg.Go(func() {
			for range 200 {
				_, err := l.Append(batch(1, 100), AppendOptions{Now: w.clock.Now()})
				if i >= staying && errors.Is(err, ErrDeleted) {
					return
				}
				if err != nil {
					t.Errorf("%v: %v", l.ID(), err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for w.dir.Log("t59", 0) != nil {
			var cuts []Cut
			for i := staying; i < logs; i += 3 {
				if l := w.dir.Log(fmt.Sprint("t", i), 0); l != nil {
					cuts = append(cuts, Cut{Log: l, To: 1})
				}
			}
			w.dir.TruncateLogs(cuts)
			for _, c := range cuts {
				if c.Err != nil && !errors.Is(c.Err, ErrDeleted) {
					t.Errorf("%v: %v", c.Log.ID(), c.Err)
				}
			}
			if err := w.dir.Checkpoint(); err != nil {
				t.Error(err)
			}
		}
	})
	for from := staying; from < logs; from += 14 {
		some := slices.Clone(ids[from:min(from+14, logs)])
		slices.Reverse(some)
		w.must(w.dir.Delete(some...))
	}
	wg.Wait()
	w.sync()
	w.dir.Stop()
	g.Wait()
	w.crash()
	if got := len(w.dir.Logs()); got != staying {
		t.Fatalf("%d logs after a power cut", got)
	}
	for i := range staying {
		if end := w.log(fmt.Sprint("t", i)).EndOffset(); end != 201 {
			t.Errorf("t%d ends at %d", i, end)
		}
	}
}
