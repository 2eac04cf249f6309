package replica

import (
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/record"
	"github.com/leat-stream/leat/internal/schema"
)

type logID = log.LogID

// topicRecords adds the records of a topic without applying them.
func (w *world) topicRecords(name string, partitions int) {
	w.t.Helper()
	w.record(&schema.Topic{TopicID: topicID(name), Name: name})
	for i := range partitions {
		w.record(&schema.Partition{TopicID: topicID(name), Index: int32(i), Leader: self, Replicas: []int32{self}, ISR: []int32{self}})
	}
}

// dirs lists the directories of partitions.
func (w *world) dirs() string {
	w.t.Helper()
	list, err := w.disk.ReadDir("data")
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		if e.IsDir() && !strings.HasSuffix(e.Name(), "-delete") && strings.Contains(e.Name(), "-") {
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, " ")
}

func TestDeletedTopicLeavesTheDiskBeforeApplyReturns(t *testing.T) {
	w := newWorld(t)
	w.create("t", 2, durable())
	w.create("u", 1, durable())
	w.send("t", 0, 1, "a")
	w.mustSync()
	w.send("u", 0, 1, "a")
	w.remove("t")
	if got := w.dirs(); got != "u-0" {
		t.Fatalf("directories: %s", got)
	}
	w.disk = w.disk.CrashClone(env.NewRand(3))
	if got := w.dirs(); got != "" && got != "u-0" { // u was never synced; t is gone for good
		t.Fatalf("directories after a power cut: %s", got)
	}
	w.create("t", 1, durable()) // the name is free again
}

func TestReconcile(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"kept", "deleted", "unknown"} {
		w.create(name, 2, durable())
		w.send(name, 0, 1, "a")
		w.send(name, 1, 1, "a")
	}
	w.mustSync()
	w.disk = w.disk.KillClone()
	w.builder = metadata.NewBuilder(nil)
	w.index = 0
	w.topicRecords("kept", 2)
	w.reopen()
	strays, err := w.m.Reconcile(w.img, map[[16]byte]struct{}{topicID("deleted"): {}, topicID("other"): {}})
	if err != nil {
		t.Fatal(err)
	}
	if len(strays) != 1 || strays[0].Topic != "unknown" || strays[0].TopicID != topicID("unknown") ||
		!slices.Equal(strays[0].Partitions, []int32{0, 1}) || strays[0].Path != "data/unknown-0" {
		t.Fatalf("strays: %+v", strays)
	}
	if got := w.dirs(); got != "kept-0 kept-1 unknown-0 unknown-1" {
		t.Fatalf("directories: %s", got)
	}
	if !w.m.Settled() {
		t.Fatal("not settled")
	}
}

// reopen opens directory and manager without an image applied.
func (w *world) reopen() {
	w.t.Helper()
	d, err := log.OpenDir(log.DirOptions{
		FS: w.disk, Clock: w.clock, Path: "data", Rand: env.NewRand(8), ClusterID: "cluster", NodeID: self, BootID: "boot",
		SyncParallel: 1, RecoveryThreads: 1, JournalBytes: 1 << 20,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.dir = d
	opt := w.m.opt
	opt.FS, opt.Dir = w.disk, d
	w.m = New(opt)
	w.img, _ = w.builder.Image()
}

// TestReconcileNeverDeletesByNameAlone: a directory of the deleted topic's name that
// holds another topic's data stays; when a topic of that name is there, under another name.
func TestReconcileNeverDeletesByNameAlone(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	w.send("t", 0, 1, "a")
	w.mustSync()
	w.disk = w.disk.KillClone()
	w.builder, w.index = metadata.NewBuilder(nil), 0
	other := topicID("t")
	other[14] = 9
	w.record(&schema.Topic{TopicID: other, Name: "t"})
	w.record(&schema.Partition{TopicID: other, Leader: self, Replicas: []int32{self}, ISR: []int32{self}})
	w.reopen()
	strays, err := w.m.Reconcile(w.img, map[[16]byte]struct{}{other: {}, {}: {}})
	if err != nil || len(strays) != 1 {
		t.Fatal(strays, err)
	}
	if err := w.m.Apply(w.img, metadata.Diff(nil, w.img)); err != nil {
		t.Fatal(err)
	}
	w.expectRead("t", 0, 0, "nothing, hw 0")
	w.expect(w.send("t", 0, 1, "b"), "0-0")
	w.mustSync()
	w.expectRead("t", 0, 0, "b, hw 1")
	aside := func() string {
		names := strings.Fields(w.dirs())
		i := slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, "t-0.") && strings.HasSuffix(n, "-stray") })
		if len(names) != 2 || i < 0 || !slices.Contains(names, "t-0") {
			t.Fatalf("directories: %s", names)
		}
		return names[i]
	}
	f, err := w.disk.OpenFile("data/"+aside()+"/00000000000000000000.log", os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := io.ReadAll(io.NewSectionReader(f, 0, 1000))
	f.Close()
	if err != nil || !strings.Contains(string(kept), "a") || len(kept) < 60 {
		t.Fatalf("%q, %v", kept, err)
	}
	w.clock.Advance(time.Hour)
	if err := w.dir.Tick(w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	w.power(env.NewRand(3))
	aside()
	w.expectRead("t", 0, 0, "b, hw 1")
}

func TestFailedDeletionIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	w.send("t", 0, 1, "a")
	w.mustSync()
	w.disk.OnOp(func(o env.Op) error {
		if o.Kind == env.OpRename && strings.HasSuffix(o.Path, "t-0") {
			return syscall.ENOSPC
		}
		return nil
	})
	w.record(&schema.RemoveTopic{TopicID: topicID("t")})
	if err := w.apply(); err == nil {
		t.Fatal("the deletion succeeded")
	}
	if w.m.Settled() {
		t.Fatal("settled, though the files are there")
	}
	if _, err := w.m.Find(Ref{Topic: "t"}); err == nil {
		t.Fatal("the deleted partition is served")
	}
	w.disk.OnOp(nil)
	if err := w.m.Retry(w.img); err != nil || !w.m.Settled() {
		t.Fatal(err, w.m.Settled())
	}
	if got := w.dirs(); got != "" {
		t.Fatalf("directories: %s", got)
	}
}

// TestFailedDeletionHoldsTheNameUp: a topic made anew waits until the files of the one before
// it are gone, and they are deleted, not set aside.
func TestFailedDeletionHoldsTheNameUp(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	w.send("t", 0, 1, "a")
	w.mustSync()
	failed := false
	w.disk.OnOp(func(o env.Op) error {
		if o.Kind == env.OpRename && strings.HasSuffix(o.Path, "t-0") && !failed {
			failed = true
			return syscall.ENOSPC
		}
		return nil
	})
	w.record(&schema.RemoveTopic{TopicID: topicID("t")})
	other := topicID("t")
	other[14] = 9
	w.record(&schema.Topic{TopicID: other, Name: "t"})
	w.record(&schema.Partition{TopicID: other, Leader: self, Replicas: []int32{self}, ISR: []int32{self}})
	if err := w.apply(); err == nil {
		t.Fatal("the deletion succeeded")
	}
	if _, err := w.m.Find(Ref{Topic: "t"}); err == nil {
		t.Fatal("the new topic has the old one's files")
	}
	if err := w.m.Retry(w.img); err != nil || !w.m.Settled() {
		t.Fatal(err, w.m.Settled())
	}
	w.expect(w.send("t", 0, 1, "b"), "0-0")
	w.mustSync()
	w.expectRead("t", 0, 0, "b, hw 1")
	if err := w.dir.Delete(logID{Topic: "t", TopicID: topicID("t")}); err != nil { // once more
		t.Fatal(err)
	}
	if got := w.dirs(); got != "t-0" {
		t.Fatalf("directories: %s", got)
	}
}

// TestManyDeletionsShareASync: the logs of all topics that one change of the metadata deletes, and
// of the partitions that it moves away, leave the disk with one sync of the directory; so do
// those that a start deletes. A topic that the change makes anew is there at once.
func TestManyDeletionsShareASync(t *testing.T) {
	const partitions = 100
	w := newWorld(t)
	for _, name := range []string{"t", "u", "v"} {
		w.create(name, partitions, durable())
		for i := range partitions {
			w.send(name, int32(i), 1, "a")
		}
	}
	w.mustSync()
	dirSyncs := func(fn func() error) (n int) {
		w.disk.Record()
		if err := fn(); err != nil {
			t.Fatal(err)
		}
		for _, op := range w.disk.Recorded() {
			if op == "syncdir data" {
				n++
			}
		}
		return n
	}
	w.record(&schema.RemoveTopic{TopicID: topicID("t")})
	w.record(&schema.RemoveTopic{TopicID: topicID("u")})
	for i := range partitions / 2 {
		w.moveTo("v", int32(i), 2)
	}
	other := topicID("t")
	other[14] = 9
	w.record(&schema.Topic{TopicID: other, Name: "t"})
	w.record(&schema.Partition{TopicID: other, Leader: self, Replicas: []int32{self}, ISR: []int32{self}})
	if n := dirSyncs(w.apply); n != 1 || !w.m.Settled() {
		t.Fatalf("%d syncs of the directory, settled: %v", n, w.m.Settled())
	}
	w.expect(w.send("t", 0, 1, "b"), "0-0")
	w.mustSync()
	w.expectRead("t", 0, 0, "b, hw 1")
	if got := len(strings.Fields(w.dirs())); got != 1+partitions/2 {
		t.Fatalf("%d directories: %s", got, w.dirs())
	}

	w.disk = w.disk.KillClone()
	w.record(&schema.RemoveTopic{TopicID: topicID("v")})
	w.reopen()
	n := dirSyncs(func() error {
		_, err := w.m.Reconcile(w.img, map[[16]byte]struct{}{topicID("v"): {}})
		return err
	})
	if n != 1 || w.dirs() != "t-0" {
		t.Fatalf("at a start: %d syncs of the directory, which has %s", n, w.dirs())
	}
}

// moveTo adds the record of a partition that is on one other broker from now on.
func (w *world) moveTo(topic string, index, broker int32) {
	w.t.Helper()
	c := schema.NewPartitionChange()
	c.TopicID, c.Index, c.Leader, c.Replicas, c.ISR = topicID(topic), index, broker, []int32{broker}, []int32{broker}
	w.record(c)
}

// TestMovedBackBeforeItIsDeleted: a partition that comes back waits until what it had here is
// deleted, which must not be carried out on what it is given then.
func TestMovedBackBeforeItIsDeleted(t *testing.T) {
	w := newWorld(t)
	w.create("t", 2, durable())
	w.send("t", 0, 1, "a")
	w.send("t", 1, 1, "a")
	w.mustSync()
	w.disk.OnOp(func(o env.Op) error {
		if o.Kind == env.OpRename && strings.HasSuffix(o.Path, "t-0") {
			return syscall.ENOSPC
		}
		return nil
	})
	for _, broker := range []int32{2, self} {
		w.moveTo("t", 0, broker)
		w.moveTo("t", 1, broker)
		if err := w.apply(); err == nil || w.m.Settled() {
			t.Fatalf("moved to %d: %v", broker, err)
		}
	}
	if _, err := w.m.Find(Ref{Topic: "t"}); err == nil {
		t.Fatal("it is there before its deletion")
	}
	if _, err := w.m.Find(Ref{Topic: "t", Index: 1}); err != nil {
		t.Fatalf("one waits for the deletion of another: %v", err)
	}
	w.disk.OnOp(nil)
	for range 2 {
		if err := w.m.Retry(w.img); err != nil || !w.m.Settled() {
			t.Fatal(err, w.m.Settled())
		}
		for i := range int32(2) {
			w.send("t", i, 1, "b")
			w.mustSync()
		}
	}
	w.expectRead("t", 0, 0, "b,b, hw 2")
	w.expectRead("t", 1, 0, "b,b, hw 2")
}

// TestDeletionByPowerCutAtEveryOperation: whenever the power goes in the middle of a
// deletion, the next start finishes it, and nothing else is touched.
func TestDeletionByPowerCutAtEveryOperation(t *testing.T) {
	for n := 1; ; n++ {
		w := newWorld(t)
		w.create("t", 2, durable())
		w.create("u", 1, durable())
		w.send("t", 0, 1, "a")
		w.send("t", 1, 1, "a")
		w.send("u", 0, 1, "a")
		w.mustSync()
		if err := w.dir.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		w.disk.CrashAt(n)
		w.record(&schema.RemoveTopic{TopicID: topicID("t")})
		_ = w.apply() // fails when the power goes
		over := !w.disk.Crashed()
		w.disk = w.disk.CrashClone(env.NewRand(uint64(n)))
		w.reopen()
		if _, err := w.m.Reconcile(w.img, map[[16]byte]struct{}{topicID("t"): {}}); err != nil {
			t.Fatal(err)
		}
		if err := w.m.Apply(w.img, metadata.Diff(nil, w.img)); err != nil {
			t.Fatal(err)
		}
		if got := w.dirs(); got != "u-0" {
			t.Fatalf("power cut at operation %d: directories %s", n, got)
		}
		w.expectRead("u", 0, 0, "a, hw 1")
		if over {
			return
		}
	}
}

func TestCoordinatorHooks(t *testing.T) {
	w := newWorld(t)
	s := durable()
	s.Watched = true
	w.create("offsets", 1, s)
	w.send("offsets", 0, 1, "a")
	w.mustSync()
	w.kill()
	w.remove("offsets")
	want := "led offsets-0 0, committed offsets-0 0, committed offsets-0 1, led offsets-0 1, committed offsets-0 1, resigned offsets-0 1"
	if got := strings.Join(w.told, ", "); got != want {
		t.Fatalf("told %q, want %q", got, want)
	}
}

func TestCoordinatorAppendsOnlyInItsEpoch(t *testing.T) {
	w := newWorld(t)
	s := durable()
	s.Watched = true
	w.create("offsets", 1, s)
	p := w.part("offsets", 0)
	if last, err := p.AppendIn(0, w.batch("a", "b")); err != nil || last != 1 {
		t.Fatal(last, err)
	}
	if _, err := p.AppendIn(1, w.batch("c")); err == nil {
		t.Fatal("appended in a later epoch")
	}
	c := schema.NewPartitionChange()
	c.TopicID, c.Leader = topicID("offsets"), self
	w.record(c)
	if err := w.apply(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.AppendIn(0, w.batch("c")); err == nil {
		t.Fatal("appended in an earlier epoch")
	}
	w.mustSync()
	var all []string
	end, err := p.ReadAll(1, func(_ record.Batch, r record.Record) error {
		all = append(all, string(r.Value))
		return nil
	})
	if err != nil || end != 2 || strings.Join(all, ",") != "a,b" {
		t.Fatal(end, all, err)
	}
	w.disk.SetFree(0)
	if _, err := p.AppendIn(1, w.batch(strings.Repeat("x", 10_000))); err == nil {
		t.Fatal("appended to a full disk")
	}
}

// TestTrashIsEmptied: the directory of a deleted topic goes after file.delete.delay.ms.
func TestTrashIsEmptied(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	w.send("t", 0, 1, "a")
	w.remove("t")
	count := func() (n int) {
		list, err := w.disk.ReadDir("data")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if strings.HasSuffix(e.Name(), "-delete") {
				n++
			}
		}
		return n
	}
	if count() != 1 {
		t.Fatal("the directory is not on its way out")
	}
	w.clock.Advance(61 * time.Second)
	if err := w.dir.Tick(w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	if count() != 0 {
		t.Fatal("the directory is still there")
	}
}
