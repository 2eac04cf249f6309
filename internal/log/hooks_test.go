package log

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// An owner's hook may need a lock that the owner holds while it waits for the log:
// so it must not be called inside a round, for which the log's own work (a truncation,
// a compaction's swap) may wait.
func TestHookMayWaitForTheAppender(t *testing.T) {
	w := newWorld(t)
	var owner sync.Mutex
	told := make(chan struct{}, 1)
	l, err := w.dir.OpenLog(testID("a"), DefaultConfig(), Hooks{Synced: func(int64) {
		owner.Lock() // of the one below, until it has the round
		defer owner.Unlock()
		told <- struct{}{}
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.append(l, batch(1, 1))
	owner.Lock()
	synced := make(chan error, 1)
	go func() {
		_, err := w.dir.SyncRound()
		synced <- err
	}()
	// The round takes place while the owner's lock is held, and then waits in the hook.
	takeRound := func() { // as a swap does, on behalf of the owner
		w.dir.round.Lock()
		defer w.dir.round.Unlock()
	}
	for l.SyncedOffset() != 1 {
		takeRound()
	}
	takeRound()
	owner.Unlock()
	<-told
	if err := <-synced; err != nil {
		t.Fatal(err)
	}
}

// TestHookTellsOfNoRoom: who waits for a sync is told that it finds no room, and that it has
// been done, also where what was to be synced is gone meanwhile.
func TestHookTellsOfNoRoom(t *testing.T) {
	for name, gone := range map[string]bool{"synced later": false, "cut off meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var told []string
			l, err := w.dir.OpenLog(testID("a"), DefaultConfig(), Hooks{
				Synced: func(end int64) { told = append(told, fmt.Sprint("synced ", end)) },
				NoRoom: func(err error) { told = append(told, fmt.Sprint("no room ", IsFull(err))) },
			})
			w.must(err)
			w.append(l, batch(1, 1))
			w.sync()
			w.append(l, batch(1, 1))
			l.mu.Lock()
			l.epochs.dirty = true // as the first batch of a leader epoch makes it
			l.mu.Unlock()
			w.disk.OnOp(func(op env.Op) error {
				if op.Kind == env.OpCreate && strings.Contains(op.Path, epochFile) {
					return syscall.ENOSPC
				}
				return nil
			})
			for range 2 {
				if _, err := w.dir.SyncRound(); !IsFull(err) {
					t.Fatal(err)
				}
			}
			w.disk.OnOp(nil)
			want := []string{"synced 1", "no room true", "no room true", "synced 2"}
			if gone {
				w.must(l.TruncateTo(1))
				l.markDirty()
				want[3] = "synced 1"
			}
			w.sync()
			if !slices.Equal(told, want) {
				t.Errorf("told %q, want %q", told, want)
			}
		})
	}
}
