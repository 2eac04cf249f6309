package quorum

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/env"
)

// putBack replaces the folder of a disk by that of another.
func putBack(t *testing.T, to, from *env.Disk) {
	t.Helper()
	if err := to.RemoveAll(crashDir); err != nil {
		t.Fatal(err)
	}
	if err := to.MkdirAll(crashDir, 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := from.ReadDir(crashDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range files {
		in, err := from.OpenFile(crashDir+"/"+e.Name(), os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		size, err := in.Size()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, size)
		if _, err := in.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		out, err := to.OpenFile(crashDir+"/"+e.Name(), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		_, err = out.WriteAt(b, 0)
		if err := errors.Join(err, out.Close(), in.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOldCopyOfTheFolder: one that lacks what was synced since is refused, be it a vote or
// many entries; the newest one is not.
func TestOldCopyOfTheFolder(t *testing.T) {
	before := written(t)
	for name, since := range map[string]func(r *recovered) []write{
		"nothing": func(*recovered) []write { return nil },
		"a vote": func(r *recovered) []write {
			return []write{{hard: &hardState{r.hard.term + 1, 7, r.hard.commit}, sync: true}}
		},
		"several segments": func(r *recovered) (all []write) {
			for i := range uint64(40) {
				all = append(all, write{sync: true, entries: []*raftpb.Entry{{Term: new(r.hard.term), Index: new(r.lastIndex() + 1 + i), Data: fmt.Appendf(nil, "%40d", i)}}})
			}
			return all
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk := before.KillClone()
			st, r, err := openStore(disk, crashDir, self.ID(), 600)
			if err != nil {
				t.Fatal(err)
			}
			copied := disk.KillClone()
			for _, w := range since(r) {
				if err := st.write([]write{w}); err != nil {
					t.Fatal(err)
				}
			}
			if err := st.close(); err != nil {
				t.Fatal(err)
			}
			newest := disk.KillClone()
			putBack(t, newest, disk)
			if err := reopen(newest); err != nil {
				t.Errorf("the newest copy: %v", err)
			}
			putBack(t, disk, copied)
			if err := reopen(disk); (name != "nothing") != errors.Is(err, ErrLostLog) || name == "nothing" && err != nil {
				t.Errorf("an old copy: %v", err)
			}
		})
	}
}
