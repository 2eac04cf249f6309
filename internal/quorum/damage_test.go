package quorum

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/env"
)

// written is a disk with a log of two segments and a snapshot behind the first
// entries, closed cleanly.
func written(t *testing.T) *env.Disk {
	t.Helper()
	disk := newDisk(t)
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		o := options(disk, r.hooks())
		o.SegmentBytes, o.KeepEntries = 600, 100
		n := start(t, o)
		synctest.Wait()
		for i := range 10 {
			mustAppend(t, n, r.leads(), fmt.Sprintf("%d %40d", i, 0))
			synctest.Wait()
		}
		if err := n.TakeSnapshot(5, func(w io.Writer) error { _, err := io.WriteString(w, "state"); return err }); err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return disk
}

// reopen tells how a store over the disk opens, and leaves the disk as it was.
func reopen(disk *env.Disk) error {
	disk = disk.KillClone()
	st, r, err := openStore(disk, crashDir, self.ID(), 600)
	if err != nil {
		return err
	}
	if _, err := newCore(self.ID(), r, coreOptions{electionTicks: 10, heartbeatTicks: 1, logger: raftLogger{discard}}); err != nil {
		return err
	}
	return st.abandon()
}

func refused(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrLostLog) || errors.Is(err, ErrVersion)
}

// TestEveryFlippedBitIsNoticed: in what was synced, in every file.
func TestEveryFlippedBitIsNoticed(t *testing.T) {
	disk := written(t)
	if err := reopen(disk); err != nil {
		t.Fatal(err)
	}
	note, err := readMarker(disk, crashDir+"/"+markerName)
	if err != nil {
		t.Fatal(err)
	}
	l, err := list(disk, crashDir)
	if err != nil || len(l.segments) < 2 {
		t.Fatalf("%+v %v", l, err)
	}
	flip := func(name string, size int64) {
		for off := range size {
			d := disk.KillClone()
			if err := d.FlipBit(crashDir+"/"+name, off); err != nil {
				t.Fatal(err)
			}
			if err := reopen(d); !refused(err) {
				t.Fatalf("%s byte %d flipped: %v", name, off, err)
			}
			damage := 0
			err := Inspect(d, crashDir, func(i Item) error {
				if i.Damage != nil {
					damage++
				}
				return nil
			})
			if err != nil || damage == 0 {
				t.Fatalf("%s byte %d flipped: Inspect found %d damages, %v", name, off, damage, err)
			}
		}
	}
	for _, n := range l.segments {
		s, err := scanSegment(disk, crashDir+"/"+segmentName(n), visitor{})
		if err != nil {
			t.Fatal(err)
		}
		size := s.size
		if n == note.segment {
			size = int64(note.bytes)
		}
		flip(segmentName(n), size)
	}
	info, err := disk.Stat(crashDir + "/" + snapshotName(5))
	if err != nil {
		t.Fatal(err)
	}
	flip(snapshotName(5), info.Size())
}

// TestTruncatedFilesAreNoticed: at any length.
func TestTruncatedFilesAreNoticed(t *testing.T) {
	disk := written(t)
	l, err := list(disk, crashDir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{snapshotName(5)}
	for _, n := range l.segments {
		names = append(names, segmentName(n))
	}
	for _, name := range names {
		size := int64(0)
		if strings.HasSuffix(name, segmentSuffix) {
			s, err := scanSegment(disk, crashDir+"/"+name, visitor{})
			if err != nil {
				t.Fatal(err)
			}
			size = s.size
		} else if info, err := disk.Stat(crashDir + "/" + name); err == nil {
			size = info.Size()
		}
		for n := range size {
			d := disk.KillClone()
			f, err := d.OpenFile(crashDir+"/"+name, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Truncate(n), f.Close()); err != nil {
				t.Fatal(err)
			}
			if err := reopen(d); !refused(err) {
				t.Fatalf("%s truncated to %d of %d: %v", name, n, size, err)
			}
			if err := Inspect(d, crashDir, func(Item) error { return nil }); err != nil {
				t.Fatalf("%s truncated to %d: Inspect: %v", name, n, err)
			}
		}
		d := disk.KillClone()
		if err := d.Remove(crashDir + "/" + name); err != nil {
			t.Fatal(err)
		}
		if err := reopen(d); name != segmentName(l.segments[0]) && name != snapshotName(5) && !refused(err) {
			t.Fatalf("%s removed: %v", name, err)
		}
	}
}

// TestUnsyncedTailIsCut: what lies behind the note may be a torn write.
func TestUnsyncedTailIsCut(t *testing.T) {
	disk := written(t)
	note, err := readMarker(disk, crashDir+"/"+markerName)
	if err != nil {
		t.Fatal(err)
	}
	name := crashDir + "/" + segmentName(note.segment)
	tail := appendEntry(nil, &raftpb.Entry{Term: new(uint64(9)), Index: new(uint64(99)), Data: []byte("x")})
	for n := 1; n < len(tail); n++ {
		d := disk.KillClone()
		f, err := d.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(tail[:n], int64(note.bytes))
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		st, r, err := openStore(d, crashDir, self.ID(), 600)
		if err != nil {
			t.Fatalf("%d bytes of tail: %v", n, err)
		}
		if err := st.write([]write{{entries: []*raftpb.Entry{{Term: new(r.hard.term), Index: new(r.lastIndex() + 1), Data: []byte("next")}}}}); err != nil {
			t.Fatal(err)
		}
		if err := st.close(); err != nil {
			t.Fatal(err)
		}
		_, r2, err := openStore(d.CrashClone(nil), crashDir, self.ID(), 600)
		if err != nil || r2.lastIndex() != r.lastIndex()+1 {
			t.Fatalf("%d bytes of tail: then %v, %d entries after %d", n, err, r2.lastIndex(), r.lastIndex())
		}
	}
}

// TestLogBehind: a voter whose log ends before its recorded commit does not start,
// even if nothing tells how far it was synced.
func TestLogBehind(t *testing.T) {
	disk := newDisk(t)
	if err := bootstrap(disk, crashDir, []Member{self}); err != nil {
		t.Fatal(err)
	}
	b := appendSegmentHeader(nil, segmentHeader{member: self.ID(), number: 1, prevIndex: 1, prevTerm: 1})
	b = appendEntry(b, &raftpb.Entry{Term: new(uint64(1)), Index: new(uint64(2)), Data: []byte("x")})
	put(t, disk, crashDir+"/"+segmentName(1), appendHardState(b, hardState{term: 1, commit: 2}))
	if err := reopen(disk); err != nil {
		t.Fatal(err)
	}
	put(t, disk, crashDir+"/"+segmentName(1), appendHardState(b, hardState{term: 1, commit: 3}))
	if err := reopen(disk); !errors.Is(err, ErrLostLog) {
		t.Fatalf("committed 3, has 2: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	disk := written(t)
	o := options(disk, Hooks{})
	o.Self.NodeID++
	if _, err := Open(o); !errors.Is(err, ErrWrongMember) {
		t.Fatalf("another member's directory: %v", err)
	}
	o = options(newDisk(t), Hooks{})
	o.Voters = nil
	if _, err := Open(o); !errors.Is(err, ErrEmpty) {
		t.Fatalf("nothing there: %v", err)
	}
	if _, err := Open(Options{}); err == nil {
		t.Fatal("opened without a directory")
	}
	// All files but the synced note are gone: this is no new log.
	l, err := list(disk, crashDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range l.segments {
		if err := disk.Remove(crashDir + "/" + segmentName(n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(options(disk, Hooks{})); !errors.Is(err, ErrLostLog) {
		t.Fatalf("segments removed: %v", err)
	}
	for _, n := range l.snapshots {
		if err := disk.Remove(crashDir + "/" + snapshotName(n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(options(disk, Hooks{})); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("everything removed: %v", err)
	}
	failed := errors.New("unknown record type")
	o = options(newDisk(t), Hooks{Restore: func(SnapshotMeta, io.Reader) error { return failed }})
	if _, err := Open(o); !errors.Is(err, failed) {
		t.Fatalf("a state that cannot be restored: %v", err)
	}
}
