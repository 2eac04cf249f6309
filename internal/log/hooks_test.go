package log

import (
	"sync"
	"testing"
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
