package quorum

import (
	"errors"
	"syscall"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/env"
)

// TestFailedSyncThenKill: what a failed sync left in the page cache is there after a
// restart under the same kernel, and another sync would not write it. Whatever the
// restart takes for its log must survive a power cut all the same.
func TestFailedSyncThenKill(t *testing.T) {
	entry := func(index uint64) []write {
		return []write{{entries: []*raftpb.Entry{{Term: new(uint64(1)), Index: new(index), Data: make([]byte, 200)}}, sync: true}}
	}
	open := func(disk *env.Disk) (*store, *recovered) {
		t.Helper()
		st, r, err := openStore(disk, crashDir, self.ID(), 600)
		if err != nil {
			t.Fatal(err)
		}
		return st, r
	}
	trusted := 0
	for synced := range uint64(6) { // entries before the failure: also when a segment is begun
		for seed := range uint64(40) {
			disk := newDisk(t)
			if err := bootstrap(disk, crashDir, []Member{self}); err != nil {
				t.Fatal(err)
			}
			st, _ := open(disk)
			for i := range synced {
				if err := st.write(entry(2 + i)); err != nil {
					t.Fatal(err)
				}
			}
			disk.FailSyncs(syscall.EIO)
			if err := st.write(entry(2 + synced)); !errors.Is(err, syscall.EIO) {
				t.Fatalf("the write ended with %v", err)
			}
			disk.FailSyncs(nil)
			disk = disk.KillClone()
			st, r := open(disk)
			at := r.lastIndex()
			if at > 1+synced {
				trusted++
			}
			if err := st.write(entry(at + 1)); err != nil {
				t.Fatal(err)
			}
			if seed%2 == 0 {
				if err := st.close(); err != nil {
					t.Fatal(err)
				}
			}
			if _, r = open(disk.CrashClone(env.NewRand(seed))); r.lastIndex() != at+1 {
				t.Fatalf("%d entries synced: the log ends at %d after the power cut, at %d before", synced, r.lastIndex(), at+1)
			}
		}
	}
	if trusted == 0 {
		t.Error("no restart found what the failed sync left")
	}
}
