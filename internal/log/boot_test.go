package log

import (
	"slices"
	"syscall"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// After a failed sync the kernel takes the bytes for written: a later sync succeeds and
// writes nothing. A process that starts again must not make that mistake with what it
// finds in the page cache.
func TestRestartAfterAFailedSync(t *testing.T) {
	w := newWorld(t)
	w.append(w.log("a"), batch(1, 100))
	w.sync()
	w.append(w.log("a"), batch(1, 100_000)) // too large for the journal
	w.disk.FailSyncs(syscall.EIO)
	if _, err := w.dir.SyncRound(); err == nil {
		t.Fatal("the sync did not fail")
	}
	w.disk.FailSyncs(nil)
	w.kill()
	if o, ok := saw[Opened](w); !ok || !o.SameBoot {
		t.Fatalf("told %+v", o)
	}
	wantAll(t, w, 0, 1)
	whateverIsLost(t, w, 0, 1)
}

// TestRestartAfterARecoveryThatFailed: the same holds for the syncs of a recovery, after a
// power cut, that is tried again.
func TestRestartAfterARecoveryThatFailed(t *testing.T) {
	w := newWorld(t)
	w.append(w.log("a"), batch(1, 100))
	w.sync()
	w.append(w.log("a"), batch(1, 100_000))
	w.opt.BootID = "another"
	w.disk = w.disk.KillClone() // the kernel had written it, but promised nothing
	w.fs = w.disk
	w.disk.SetClock(w.clock)
	failed := false
	w.disk.OnOp(func(op env.Op) error {
		if op.Kind == env.OpSync && op.Path == aLog {
			failed = true
			return syscall.EIO
		}
		return nil
	})
	if d, err := OpenDir(w.options()); err == nil {
		_ = d.Close(false)
		t.Fatal("the recovery did not fail")
	}
	if !failed {
		t.Fatal("it failed before the sync")
	}
	w.disk.OnOp(nil)
	w.open()
	if o, ok := saw[Opened](w); !ok || o.SameBoot {
		t.Fatalf("told %+v", o)
	}
	wantAll(t, w, 0, 1)
	whateverIsLost(t, w, 0, 1)
}

// whateverIsLost cuts the power in many ways.
func whateverIsLost(t *testing.T, w *world, bases ...int64) {
	t.Helper()
	for seed := range uint64(30) {
		d := w.disk.CrashClone(env.NewRand(seed))
		v := &world{t: t, disk: d, fs: d, clock: w.clock, opt: w.opt}
		v.opt.BootID = "after the power cut"
		v.open()
		wantAll(t, v, bases...)
	}
}

// wantAll wants a log that is synced and has these batches.
func wantAll(t *testing.T, w *world, bases ...int64) {
	t.Helper()
	l := w.log("a")
	if got := readAll(t, l, 0); !slices.Equal(got, bases) || l.SyncedOffset() != l.EndOffset() {
		t.Fatalf("read %d, synced to %d", got, l.SyncedOffset())
	}
}
