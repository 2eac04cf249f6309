package log

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// operations tells what fn does to the disk.
func (w *world) operations(fn func()) []string {
	w.disk.Record()
	fn()
	return w.disk.Recorded()
}

// TestLogsThatNobodyWritesTo cost nothing: the file system hears of none of them when it is
// opened, checkpointed or deleted, not after a deletion of logs with the same names either,
// and nothing that lasts speaks of it.
func TestLogsThatNobodyWritesTo(t *testing.T) {
	w := newWorld(t)
	const logs = 100
	topic := func(i int) string { return fmt.Sprint("t", i) }
	written := w.log("written")
	w.append(written, batch(1, 100))
	for i := range logs {
		w.append(w.log(topic(i)), batch(1, 100))
	}
	w.sync()
	w.checkpoint()
	for i := range logs {
		w.must(w.dir.Delete(testID(topic(i))))
	}
	ops := w.operations(func() {
		for i := range logs {
			w.log(topic(i)).SetHighWatermark(0)
			w.must(w.dir.Log(topic(i), 0).TruncateTo(0))
			w.must(w.dir.Log(topic(i), 0).SetStartOffset(0))
		}
		w.sync()
	})
	if len(ops) > 0 {
		t.Fatalf("opened: %d operations: %v", len(ops), ops[:min(len(ops), 10)])
	}
	w.must(w.dir.Tick(w.clock.Now()))
	w.checkpoint()
	if ops := w.operations(func() { w.must(w.dir.Delete(testID(topic(0)))) }); len(ops) > 0 {
		t.Fatalf("deleted: %v", ops)
	}
	for _, stop := range []func(){w.reopen, w.kill, w.crash} {
		stop()
		if got := w.dir.Logs(); len(got) != 1 || len(w.dir.Missing()) > 0 || len(w.dir.left) > 0 {
			t.Fatalf("started again: %v, missing %v, in checkpoints %v", got, w.dir.Missing(), w.dir.left)
		}
		for i := range logs {
			w.log(topic(i)).SetHighWatermark(0)
		}
	}
	l := w.log(topic(7))
	w.append(l, batch(1, 100))
	w.sync()
	w.crash()
	if l := w.log(topic(7)); l.EndOffset() != 1 || l.ID() != testID(topic(7)) {
		t.Fatalf("%v ends at %d", l.ID(), l.EndOffset())
	}
}

// TestNoRoomForADirectory: the first append fails without room for the directory or for what
// is in it, and is taken once there is some; such a log can be deleted, too.
func TestNoRoomForADirectory(t *testing.T) {
	for _, kind := range []string{env.OpMkdir, env.OpCreate, env.OpWrite} {
		for _, path := range []string{"data/a-0", "data/a-0/" + metadataFile, "data/a-0/" + segmentName(0, logSuffix)} {
			for _, deleted := range []bool{false, true} {
				w := newWorld(t)
				l := w.log("a")
				met := false
				w.disk.OnOp(func(op env.Op) error {
					if op.Kind == kind && op.Path == path {
						met = true
						return syscall.ENOSPC
					}
					return nil
				})
				_, err := l.Append(batch(1, 100), AppendOptions{Now: w.clock.Now()})
				w.disk.OnOp(nil)
				if met != (err != nil) || err != nil && !errors.Is(err, ErrStorage) {
					t.Fatalf("%v %s: %v, %v", kind, path, met, err)
				}
				if !met {
					continue
				}
				if deleted {
					w.must(w.dir.Delete(testID("a")))
					if l = w.log("a"); l.EndOffset() != 0 {
						t.Fatalf("%v %s: made anew it ends at %d", kind, path, l.EndOffset())
					}
				}
				w.append(l, batch(1, 100))
				w.sync()
				w.crash()
				if l = w.log("a"); l.EndOffset() != 1 || l.ID() != testID("a") {
					t.Fatalf("%v %s: %v ends at %d", kind, path, l.ID(), l.EndOffset())
				}
			}
		}
	}
}

// TestFirstAppendForgets: an append within 50 ms of the deletion of a log of the same name
// makes durable that it is gone, before it makes its directory.
func TestFirstAppendForgets(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	w.append(l, batch(1, 100))
	w.sync()
	w.checkpoint()
	w.must(w.dir.Delete(testID("a")))
	l = w.log("a")
	ops := w.operations(func() { w.append(l, batch(1, 100)) })
	state := slices.Index(ops, "sync data/"+stateFile)
	texts := slices.Index(ops, "syncdir data")
	dir := slices.Index(ops, "mkdir data/a-0")
	if state < 0 || texts < state || dir < texts {
		t.Fatalf("%s", strings.Join(ops, "\n"))
	}
}

// TestYoungLogVanishes: a log whose first record no checkpoint knows is missed nevertheless,
// unless the power failed, which may take its directory.
func TestYoungLogVanishes(t *testing.T) {
	for _, synced := range []bool{false, true} {
		w := newWorld(t)
		w.append(w.log("a"), batch(1, 100))
		if synced {
			w.sync()
		}
		w.must(w.disk.RemoveAll("data/a-0"))
		w.kill()
		for range 2 { // until it is forgotten
			if got := w.dir.Missing(); len(got) != 1 || got[0].Log != testID("a") {
				t.Fatalf("synced %v: missing %v", synced, got)
			}
			w.log("a") // which has no directory
			w.kill()
		}
		w.must(w.dir.ForgetMissing(testID("a")))
		w.kill()
		if got := w.dir.Missing(); len(got) > 0 {
			t.Fatalf("synced %v: missing again: %v", synced, got)
		}
	}
	for seed := range uint64(50) {
		w := newWorld(t)
		w.append(w.log("a"), batch(1, 100))
		w.crashAs(seed)
		if got := w.dir.Missing(); len(got) > 0 {
			t.Fatalf("seed %d: after a power cut: missing %v", seed, got)
		}
	}
}

// TestEmptyLogAfterAPowerCutInACleanStop: a log whose first record found no room has a
// directory and no record; one that a power cut takes while the marker of a clean stop is
// there already would be missed.
func TestEmptyLogAfterAPowerCutInACleanStop(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(t)
		w.append(w.log("b"), batch(1, 100))
		w.sync()
		l := w.log("a")
		w.disk.OnOp(func(op env.Op) error {
			if op.Kind == env.OpCreate && op.Path == "data/a-0/"+segmentName(0, logSuffix) {
				return syscall.ENOSPC
			}
			return nil
		})
		if _, err := l.Append(batch(1, 100), AppendOptions{Now: w.clock.Now()}); err == nil {
			t.Fatal("there is room")
		}
		marked := false
		w.disk.OnOp(func(op env.Op) error {
			marked = marked || op.Path == "data/"+cleanFile
			if marked && op.Kind == env.OpSyncDir {
				return errors.New("the power fails")
			}
			return nil
		})
		if err := w.dir.Close(true); err == nil || !marked {
			t.Fatalf("stopped: %v", err)
		}
		w.disk.OnOp(nil)
		w.crashAs(seed)
		if got := w.dir.Missing(); len(got) > 0 {
			t.Fatalf("seed %d: missing %v", seed, got)
		}
	}
}

// TestFullDiskWhileTheJournalForgets: the journal, which is full, has to forget a log before
// its name or its offsets are used again, and finds no room to. That puts nothing offline.
func TestFullDiskWhileTheJournalForgets(t *testing.T) {
	for name, use := range map[string]func(w *world) error{
		"first append": func(w *world) error {
			w.must(w.dir.Delete(testID("a")))
			w.must(w.dir.Tick(w.clock.Now()))
			_, err := w.log("a").Append(batch(1, 100), AppendOptions{Now: w.clock.Now()})
			return err
		},
		"truncation": func(w *world) error { return w.log("a").TruncateTo(1) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.must(w.dir.Close(true))
			w.opt.JournalBytes = 16 << 10
			w.open()
			l := w.log("a")
			for range 3 { // the first round is none of the journal's
				w.append(l, batch(1, 100))
				w.sync()
			}
			full := false
			w.disk.OnOp(func(op env.Op) error {
				if op.Kind == env.OpWrite && op.Path == "data/journal-1" {
					full = true
					return syscall.ENOSPC
				}
				return nil
			})
			if err := use(w); !full || !IsFull(err) || w.dir.Failed() != nil {
				t.Fatalf("%v, offline: %v, full: %v", err, w.dir.Failed(), full)
			}
			w.disk.OnOp(nil)
			if name == "truncation" {
				w.must(w.log("a").TruncateTo(0))
			}
			w.append(w.log("a"), batch(1, 100))
			w.sync()
			w.crash()
			if l := w.log("a"); l.EndOffset() != 1 || !l.Recovered().Kept {
				t.Fatalf("it ends at %d, %+v", l.EndOffset(), l.Recovered())
			}
		})
	}
}

// TestDeletionOfALogThatNobodyWroteTo waits for no sync round, of which many may follow each
// other while a topic of many partitions goes.
func TestDeletionOfALogThatNobodyWroteTo(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	w.dir.round.Lock() // a round is under way
	w.must(w.dir.Delete(testID("a")))
	w.dir.round.Unlock()
	if _, err := l.Append(batch(1, 100), AppendOptions{Now: w.clock.Now()}); !errors.Is(err, ErrDeleted) || len(w.dir.Logs()) > 0 {
		t.Fatalf("%v, logs %v", err, w.dir.Logs())
	}
}
