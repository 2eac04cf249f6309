package env

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, fsys FS, name, content string) File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	if content != "" {
		n, err := f.WriteAt([]byte(content), 0)
		must(t, err)
		if n != len(content) {
			t.Fatalf("wrote %d of %d", n, len(content))
		}
	}
	return f
}

// content is a file's text, or "-" when there is no such file.
func content(t *testing.T, fsys FS, name string) string {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return string(b)
}

// outcomes are all contents of name that many power cuts leave.
func outcomes(t *testing.T, d *Disk, name string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for seed := range uint64(400) {
		seen[content(t, d.CrashClone(NewRand(seed)), name)]++
	}
	return seen
}

func TestSyncedBytesAndNamesSurvive(t *testing.T) {
	d := NewDisk(1)
	must(t, d.MkdirAll("a/b", 0o755))
	must(t, d.SyncDir("/"))
	must(t, d.SyncDir("a"))
	f := create(t, d, "a/b/f", "hello")
	must(t, f.Sync())
	must(t, d.SyncDir("a/b"))
	if got := outcomes(t, d, "a/b/f"); len(got) != 1 || got["hello"] == 0 {
		t.Fatalf("got %v", got)
	}
}

func TestEachMissingSyncCanLose(t *testing.T) {
	full := func(t *testing.T, skip string) map[string]int {
		d := NewDisk(1)
		d.SkipSync(func(op Op) bool { return op.Kind+" "+op.Path == skip })
		must(t, d.MkdirAll("a", 0o755))
		must(t, d.SyncDir("/"))
		f := create(t, d, "a/f", "hello")
		must(t, f.Sync())
		must(t, d.SyncDir("a"))
		return outcomes(t, d, "a/f")
	}
	for skip, lost := range map[string]string{"syncdir .": "-", "sync a/f": "", "syncdir a": "-"} {
		if got := full(t, skip); got[lost] == 0 || got["hello"] == 0 {
			t.Errorf("without %q: %v", skip, got)
		}
	}
}

func TestUnsyncedWritesAreLostKeptTornAndReordered(t *testing.T) {
	d := NewDisk(1)
	f := create(t, d, "f", "0000")
	must(t, f.Sync())
	must(t, d.SyncDir("/"))
	for i, s := range []string{"1111", "2222"} {
		_, err := f.WriteAt([]byte(s), int64(4+4*i))
		must(t, err)
	}
	got := outcomes(t, d, "f")
	for _, want := range []string{
		"0000", "00001111", "000011112222", // in order
		"0000\x00\x00\x00\x002222",             // the later one alone
		"0000\x00\x00\x00\x00",                 // size without bytes
		"0000\x00\x00\x00\x00\x00\x00\x00\x00", // sizes without bytes
		"000011112",                            // torn
	} {
		if got[want] == 0 {
			t.Errorf("never left %q", want)
		}
	}
	for s := range got {
		if !strings.HasPrefix(s, "0000") {
			t.Errorf("synced bytes changed: %q", s)
		}
	}
}

func TestTornInSectors(t *testing.T) {
	d := NewDisk(1)
	f := create(t, d, "f", "")
	must(t, f.Preallocate(2048))
	must(t, f.Sync())
	must(t, d.SyncDir("/"))
	_, err := f.WriteAt([]byte(strings.Repeat("x", 2048)), 0)
	must(t, err)
	hole := strings.Repeat("x", 512) + strings.Repeat("\x00", 512) + strings.Repeat("x", 1024)
	if got := outcomes(t, d, "f"); got[hole] == 0 {
		t.Error("no sector was lost from the middle")
	}
}

func TestTruncateIsUndoneUnlessSynced(t *testing.T) {
	d := NewDisk(1)
	f := create(t, d, "f", "abcdef")
	must(t, f.Sync())
	must(t, d.SyncDir("/"))
	must(t, f.Truncate(2))
	_, err := f.WriteAt([]byte("Z"), 2)
	must(t, err)
	got := outcomes(t, d, "f")
	for _, want := range []string{"abcdef", "ab", "abZdef", "abZ"} {
		if got[want] == 0 {
			t.Errorf("never left %q: %v", want, got)
		}
	}
	must(t, f.Sync())
	if got := outcomes(t, d, "f"); len(got) != 1 || got["abZ"] == 0 {
		t.Errorf("after sync: %v", got)
	}
}

func TestRenameIsAtomicAndNeedsItsDirectory(t *testing.T) {
	d := NewDisk(1)
	old := create(t, d, "f", "old")
	must(t, old.Sync())
	tmp := create(t, d, "f.tmp", "new")
	must(t, tmp.Sync())
	must(t, d.SyncDir("/"))
	must(t, d.Rename("f.tmp", "f"))
	if got := outcomes(t, d, "f"); len(got) != 2 || got["old"] == 0 || got["new"] == 0 {
		t.Fatalf("got %v", got)
	}
	for seed := range uint64(200) {
		c := d.CrashClone(NewRand(seed))
		if f, tmp := content(t, c, "f"), content(t, c, "f.tmp"); (f == "new") != (tmp == "-") {
			t.Fatalf("seed %d: f=%q f.tmp=%q", seed, f, tmp)
		}
	}
	must(t, d.SyncDir("/"))
	if got := outcomes(t, d, "f"); got["new"] != 400 {
		t.Fatalf("after sync: %v", got)
	}
}

func TestRenameBetweenDirectoriesNeedsBoth(t *testing.T) {
	d := NewDisk(1)
	must(t, d.MkdirAll("a", 0o755))
	must(t, d.MkdirAll("b", 0o755))
	must(t, create(t, d, "a/f", "x").Sync())
	must(t, d.SyncDir("/"))
	must(t, d.SyncDir("a"))
	must(t, d.Rename("a/f", "b/f"))
	must(t, d.SyncDir("b"))
	if got := outcomes(t, d, "b/f"); got["x"] == 0 || got["-"] == 0 {
		t.Fatalf("one synced: %v", got)
	}
	for seed := range uint64(200) {
		c := d.CrashClone(NewRand(seed))
		if a, b := content(t, c, "a/f"), content(t, c, "b/f"); (a == "x") == (b == "x") {
			t.Fatalf("seed %d: a/f=%q b/f=%q", seed, a, b)
		}
	}
	must(t, d.SyncDir("a"))
	if got := outcomes(t, d, "b/f"); got["x"] != 400 {
		t.Fatalf("both synced: %v", got)
	}
}

func TestRemovedNameComesBackUnlessSynced(t *testing.T) {
	d := NewDisk(1)
	must(t, d.MkdirAll("a", 0o755))
	must(t, create(t, d, "a/f", "x").Sync())
	must(t, d.SyncDir("/"))
	must(t, d.SyncDir("a"))
	must(t, d.RemoveAll("a"))
	if content(t, d, "a/f") != "-" {
		t.Fatal("still there")
	}
	if got := outcomes(t, d, "a/f"); got["x"] == 0 || got["-"] == 0 {
		t.Fatalf("got %v", got)
	}
	must(t, d.SyncDir("/"))
	if got := outcomes(t, d, "a/f"); got["-"] != 400 {
		t.Fatalf("after sync: %v", got)
	}
}

func TestLaterChangeOfANameImpliesTheEarlier(t *testing.T) {
	d := NewDisk(1)
	must(t, create(t, d, "a", "1").Sync())
	must(t, d.SyncDir("/"))
	must(t, d.Rename("a", "b"))
	must(t, create(t, d, "a", "2").Sync())
	for seed := range uint64(400) {
		c := d.CrashClone(NewRand(seed))
		switch got := content(t, c, "a") + content(t, c, "b"); got {
		case "1-", "-1", "21":
		default:
			t.Fatalf("seed %d: %q", seed, got)
		}
	}
}

func TestCrashAtEveryOperation(t *testing.T) {
	work := func(d *Disk) error {
		f, err := d.OpenFile("f", os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		if _, err := f.WriteAt([]byte("abc"), 0); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		return d.SyncDir("/")
	}
	whole := NewDisk(1)
	must(t, work(whole))
	if whole.Ops() != 4 {
		t.Fatalf("%d operations", whole.Ops())
	}
	for n := 1; n <= 4; n++ {
		d := NewDisk(1)
		d.CrashAt(n)
		if err := work(d); !errors.Is(err, ErrPowerOff) || !errors.Is(err, syscall.EIO) {
			t.Fatalf("crash at %d: %v", n, err)
		}
		if _, err := d.Stat("/"); !errors.Is(err, ErrPowerOff) {
			t.Fatalf("crash at %d: still on: %v", n, err)
		}
		c := d.CrashClone(nil)
		if c.Crashed() {
			t.Fatal("the clone has no power")
		}
		must(t, work(c))
		if got := content(t, c, "f"); got != "abc" {
			t.Fatalf("crash at %d, then again: %q", n, got)
		}
	}
}

func TestOnOpCutsThePower(t *testing.T) {
	d := NewDisk(1)
	f := create(t, d, "f", "")
	must(t, d.SyncDir("/"))
	d.OnOp(func(op Op) error {
		if op.Kind == OpWrite && op.Off == 3 {
			return ErrPowerOff
		}
		return nil
	})
	_, err := f.WriteAt([]byte("abc"), 0)
	must(t, err)
	if _, err := f.WriteAt([]byte("def"), 3); !errors.Is(err, ErrPowerOff) || !d.Crashed() {
		t.Fatalf("got %v", err)
	}
	if got := outcomes(t, d, "f"); got["abc"] == 0 || got["abcdef"] == 0 {
		t.Fatalf("the write under way is never there or always: %v", got)
	}
}

func TestFaults(t *testing.T) {
	boom := errors.New("boom")
	d := NewDisk(1)
	f := create(t, d, "f", "")

	d.FailAt(2, boom)
	_, err := f.WriteAt([]byte("ab"), 0)
	must(t, err)
	if _, err := f.WriteAt([]byte("cd"), 2); !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	if got := content(t, d, "f"); got != "ab" {
		t.Fatalf("a failed write left %q", got)
	}

	d.FailAt(1, Partial{N: 1, Err: syscall.ENOSPC})
	n, err := f.WriteAt([]byte("cd"), 2)
	if n != 1 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("short write: %d, %v", n, err)
	}
	if got := content(t, d, "f"); got != "abc" {
		t.Fatalf("a short write left %q", got)
	}

	d.OnOp(func(op Op) error {
		if op.Kind == OpRename && op.Path == "f" {
			return boom
		}
		return nil
	})
	if err := d.Rename("f", "g"); !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	must(t, d.SyncDir("/"))
	d.OnOp(nil)

	d.FailReads(func(name string, off int64, n int) error { return syscall.EIO })
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v", err)
	}
	d.FailReads(nil)

	must(t, d.FlipBit("f", 1))
	if got := content(t, d, "f"); got != "acc" {
		t.Fatalf("flipped: %q", got)
	}
	must(t, f.Sync())
	if got := outcomes(t, d, "f"); got["acc"] != 400 {
		t.Fatalf("flipped and cut: %v", got)
	}
}

func TestFailedSyncLosesForGood(t *testing.T) {
	d := NewDisk(1)
	f := create(t, d, "f", "ab")
	must(t, d.SyncDir("/"))
	d.FailSyncs(syscall.EIO)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v", err)
	}
	if err := d.SyncDir("/"); !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v", err)
	}
	d.FailSyncs(nil)
	_, err := f.WriteAt([]byte("cd"), 2)
	must(t, err)
	must(t, f.Sync())
	got := outcomes(t, d, "f")
	if got["abcd"] == 0 || got["\x00\x00cd"] == 0 {
		t.Fatalf("got %v", got)
	}
	for s := range got {
		if !strings.HasSuffix(s, "cd") || len(s) != 4 {
			t.Fatalf("a write after the failed sync was lost: %q", s)
		}
	}
}

func TestSpace(t *testing.T) {
	d := NewDisk(1)
	d.SetFree(10)
	f := create(t, d, "f", "12345678")
	n, err := f.WriteAt([]byte("abcd"), 7)
	if n != 3 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write over the end: %d, %v", n, err)
	}
	if got := content(t, d, "f"); got != "1234567abc" {
		t.Fatalf("left %q", got)
	}
	if err := f.Preallocate(11); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	if u, err := d.Usage("/"); err != nil || u.Free != 0 || u.Total != 10 {
		t.Fatalf("usage %+v, %v", u, err)
	}
	must(t, f.Truncate(4))
	g := create(t, d, "g", "123456")
	must(t, d.Remove("f"))
	if _, err := g.WriteAt([]byte("x"), 6); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the open file's space was given back: %v", err)
	}
	must(t, f.Close())
	_, err = g.WriteAt([]byte("x"), 6)
	must(t, err)
	must(t, d.Rename("g", "h"))
	if u, err := d.Usage("/"); err != nil || u.Free != 3 {
		t.Fatalf("usage %+v, %v", u, err)
	}
}

func TestRecordPinsTheOrder(t *testing.T) {
	d := NewDisk(1)
	must(t, d.MkdirAll("t-0", 0o755))
	d.Record()
	f := create(t, d, "t-0/00.log.tmp", "abc")
	must(t, f.Preallocate(8))
	must(t, f.Truncate(3))
	must(t, f.Sync())
	must(t, d.Rename("t-0/00.log.tmp", "t-0/00.log"))
	_, err := f.WriteVecAt([][]byte{[]byte("d"), []byte("ef")}, 3)
	must(t, err)
	must(t, d.SyncDir("t-0"))
	d.FailSyncs(syscall.EIO)
	if f.Sync() == nil {
		t.Fatal("no error")
	}
	must(t, d.Remove("t-0/00.log"))
	want := `create t-0/00.log.tmp
write t-0/00.log.tmp 0+3
preallocate t-0/00.log.tmp 8
truncate t-0/00.log.tmp 3
sync t-0/00.log.tmp
rename t-0/00.log.tmp t-0/00.log
write t-0/00.log 3+3
syncdir t-0
sync t-0/00.log = input/output error
remove t-0/00.log`
	if got := strings.Join(d.Recorded(), "\n"); got != want {
		t.Fatalf("got\n%s", got)
	}
}

func TestKillKeepsThePageCache(t *testing.T) {
	d := NewDisk(1)
	must(t, d.MkdirAll("a", 0o755))
	lock, err := d.Lock("a/.lock")
	must(t, err)
	defer lock.Close()
	create(t, d, "a/f", "unsynced")
	c := d.KillClone()
	if got := content(t, c, "a/f"); got != "unsynced" {
		t.Fatalf("got %q", got)
	}
	again, err := c.Lock("a/.lock")
	must(t, err)
	must(t, again.Close())
	if got := outcomes(t, c, "a/f"); got["-"] == 0 || got["unsynced"] == 0 {
		t.Fatalf("a power cut after the kill: %v", got)
	}
	c.CrashAt(1) // killed again, while it syncs
	f, err := c.OpenFile("a/f", os.O_RDWR, 0)
	must(t, err)
	if err := f.Sync(); !errors.Is(err, ErrPowerOff) {
		t.Fatal(err)
	}
	c = c.KillClone()
	must(t, c.SyncDir("/"))
	must(t, c.SyncDir("a"))
	f, err = c.OpenFile("a/f", os.O_RDWR, 0)
	must(t, err)
	must(t, f.Sync())
	if got := outcomes(t, c, "a/f"); got["unsynced"] != 400 {
		t.Fatalf("synced after the kill: %v", got)
	}
	if got := outcomes(t, d, "a/f"); got["-"] == 0 {
		t.Fatalf("the original was synced too: %v", got)
	}
}

func TestCrashCloneFollowsItsSeed(t *testing.T) {
	d := NewDisk(1)
	f := create(t, d, "f", "")
	for i := range 50 {
		_, err := f.WriteAt([]byte("some bytes"), int64(7*i))
		must(t, err)
	}
	for seed := range uint64(50) {
		a, b := d.CrashClone(NewRand(seed)), d.CrashClone(NewRand(seed))
		if content(t, a, "f") != content(t, b, "f") {
			t.Fatalf("seed %d gave two disks", seed)
		}
	}
}

// The same calls must fail in the same way, and do the same, on both file systems.
func TestDiskBehavesLikeTheSystem(t *testing.T) {
	for name, fsys := range map[string]FS{"os": OS, "disk": NewDisk(1)} {
		t.Run(name, func(t *testing.T) {
			dir := "x"
			if name == "os" {
				dir = t.TempDir()
			}
			testFS(t, fsys, dir+"/d")
		})
	}
}

func testFS(t *testing.T, fsys FS, dir string) {
	is := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	_, err := fsys.OpenFile(dir+"/f", os.O_RDWR|os.O_CREATE, 0o644)
	is(err, fs.ErrNotExist)
	must(t, fsys.MkdirAll(dir+"/sub", 0o755))
	must(t, fsys.MkdirAll(dir+"/sub", 0o755))
	f := create(t, fsys, dir+"/f", "abc")
	_, err = fsys.OpenFile(dir+"/f", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	is(err, fs.ErrExist)
	_, err = fsys.OpenFile(dir+"/none", os.O_RDONLY, 0)
	is(err, fs.ErrNotExist)
	_, err = fsys.OpenFile(dir+"/f/x", os.O_RDONLY, 0)
	is(err, syscall.ENOTDIR)
	is(fsys.MkdirAll(dir+"/f/x", 0o755), syscall.ENOTDIR)
	is(fsys.Remove(dir), syscall.ENOTEMPTY)
	is(fsys.Remove(dir+"/none"), fs.ErrNotExist)
	must(t, fsys.RemoveAll(dir+"/none"))
	is(fsys.Rename(dir+"/none", dir+"/g"), fs.ErrNotExist)
	is(fsys.Rename(dir+"/f", dir+"/sub"), fs.ErrExist)
	is(fsys.SyncDir(dir+"/none"), fs.ErrNotExist)
	_, err = fsys.ReadDir(dir + "/none")
	is(err, fs.ErrNotExist)
	_, err = fsys.Stat(dir + "/none")
	is(err, fs.ErrNotExist)

	var bufs [][]byte
	want := "abc"
	for i := range 3000 {
		b := strings.Repeat(string(rune('a'+i%26)), i%3)
		bufs, want = append(bufs, []byte(b)), want+b
	}
	n, err := f.WriteVecAt(bufs, 3)
	must(t, err)
	if n != int64(len(want)-3) {
		t.Errorf("wrote %d", n)
	}
	if content(t, fsys, dir+"/f") != want {
		t.Error("vectored write differs")
	}
	n, err = f.WriteVecAt(nil, 3)
	if n != 0 || err != nil {
		t.Errorf("empty write: %d, %v", n, err)
	}
	must(t, f.Truncate(2))
	must(t, f.Preallocate(5))
	must(t, f.Preallocate(4))
	must(t, f.Sync())
	if got := content(t, fsys, dir+"/f"); got != "ab\x00\x00\x00" {
		t.Errorf("got %q", got)
	}
	b := make([]byte, 4)
	if n, err := f.ReadAt(b, 3); n != 2 || err != io.EOF {
		t.Errorf("read %d, %v", n, err)
	}
	if n, err := f.ReadAt(b, 9); n != 0 || err != io.EOF {
		t.Errorf("read %d, %v", n, err)
	}
	if f.Name() != dir+"/f" {
		t.Errorf("name %q", f.Name())
	}
	ro, err := fsys.OpenFile(dir+"/f", os.O_RDONLY, 0)
	must(t, err)
	_, err = ro.WriteAt([]byte("x"), 0)
	is(err, syscall.EBADF)
	must(t, ro.Close())
	_, err = ro.ReadAt(b, 0)
	is(err, fs.ErrClosed)
	is(ro.Sync(), fs.ErrClosed)

	must(t, fsys.Rename(dir+"/f", dir+"/sub/g"))
	must(t, fsys.SyncDir(dir))
	must(t, fsys.SyncDir(dir+"/sub"))
	st, err := fsys.Stat(dir + "/sub/g")
	must(t, err)
	if st.Name() != "g" || st.Size() != 5 || st.IsDir() {
		t.Errorf("stat %v", st)
	}
	must(t, create(t, fsys, dir+"/e", "").Close())
	list, err := fsys.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"e", "sub"}) || !list[1].IsDir() {
		t.Errorf("list %v", names)
	}
	u, err := fsys.Usage(dir)
	if err != nil || u.Total < u.Free || u.Free == 0 {
		t.Errorf("usage %+v, %v", u, err)
	}

	lock, err := fsys.Lock(dir + "/.lock")
	must(t, err)
	_, err = fsys.Lock(dir + "/.lock")
	is(err, ErrLocked)
	must(t, lock.Close())
	lock, err = fsys.Lock(dir + "/.lock")
	must(t, err)
	must(t, lock.Close())

	_, err = f.WriteAt([]byte("still"), 0) // a removed file stays usable while open
	must(t, err)
	must(t, fsys.RemoveAll(dir))
	_, err = f.ReadAt(b, 0)
	must(t, err)
	must(t, f.Close())
	is(f.Close(), fs.ErrClosed)
}

func TestDiskIsSafeForConcurrentUse(t *testing.T) {
	d := NewDisk(1)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			name := string(rune('a' + i))
			f := create(t, d, name, "x")
			for j := range 50 {
				if _, err := f.WriteAt([]byte("y"), int64(j)); err != nil {
					t.Error(err)
				}
				if err := f.Sync(); err != nil {
					t.Error(err)
				}
				if j%10 == 0 {
					d.CrashClone(nil)
					d.KillClone()
				}
			}
			if err := d.SyncDir("/"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if d.Ops() != 4*(1+1+100+1) {
		t.Errorf("%d operations", d.Ops())
	}
}

func TestModificationTimeFollowsTheClock(t *testing.T) {
	c := NewClock(time.Unix(100, 0))
	d := NewDisk(1)
	d.SetClock(c)
	f := create(t, d, "f", "")
	c.Advance(time.Minute)
	_, err := f.WriteAt([]byte("x"), 0)
	must(t, err)
	st, err := d.CrashClone(nil).Stat("/")
	must(t, err)
	if !st.IsDir() {
		t.Error("root is no directory")
	}
	st, err = d.Stat("f")
	must(t, err)
	if !st.ModTime().Equal(time.Unix(160, 0)) {
		t.Errorf("modified %v", st.ModTime())
	}
}
