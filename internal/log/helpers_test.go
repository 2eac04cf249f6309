package log

import (
	"fmt"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

var epoch0 = time.UnixMilli(1_700_000_000_000)

// world is a simulated disk and clock with one log directory.
type world struct {
	t      testing.TB
	fs     env.FS
	disk   *env.Disk
	clock  *env.VirtualClock
	opt    DirOptions
	dir    *Dir
	events []Event
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, disk: env.NewDisk(1), clock: env.NewClock(epoch0)}
	w.opt.JournalBytes = 64 << 10
	w.disk.SetClock(w.clock)
	w.fs = w.disk
	w.open()
	return w
}

func (w *world) options() DirOptions {
	o := w.opt
	o.FS, o.Clock, o.Path = w.fs, w.clock, "data"
	o.Rand = env.NewRand(7)
	o.ClusterID, o.NodeID = "cluster", 1
	if o.BootID == "" {
		o.BootID = "boot"
	}
	o.SyncParallel, o.RecoveryThreads = 1, 1
	o.Events = func(e Event) { w.events = append(w.events, e) }
	return o
}

func (w *world) open() {
	w.t.Helper()
	d, err := OpenDir(w.options())
	if err != nil {
		w.t.Fatal(err)
	}
	w.dir = d
}

// crash goes on with what a power cut leaves.
func (w *world) crash() {
	w.t.Helper()
	w.goOn(w.disk.CrashClone(nil))
}

// crashAs is crash with what the seed draws.
func (w *world) crashAs(seed uint64) {
	w.t.Helper()
	w.goOn(w.disk.CrashClone(env.NewRand(seed)))
}

func (w *world) goOn(disk *env.Disk) {
	w.t.Helper()
	w.disk = disk
	w.opt.BootID += "+"
	w.disk.SetClock(w.clock)
	w.fs = w.disk
	w.open()
}

// kill goes on as after kill -9: all that was written is there.
func (w *world) kill() {
	w.t.Helper()
	if err := w.dir.lock.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

func testID(topic string) LogID {
	id := LogID{Topic: topic, Partition: 0}
	copy(id.TopicID[:], topic+"                ")
	return id
}

func (w *world) log(topic string, change ...func(*Config)) *Log {
	w.t.Helper()
	c := DefaultConfig()
	c.FileDeleteDelayMs = 0
	for _, f := range change {
		f(&c)
	}
	l, err := w.dir.OpenLog(testID(topic), c, Hooks{})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) sync() {
	w.t.Helper()
	if _, err := w.dir.SyncRound(); err != nil {
		w.t.Fatal(err)
	}
}

// batch is a batch of n records whose values have size bytes.
func batch(n, size int, change ...func(*record.BatchHeader)) []byte {
	h := record.NewHeader(0)
	for _, f := range change {
		f(&h)
	}
	var b record.Builder
	b.Reset(h, record.Compression{})
	for i := range n {
		b.Append(epoch0.UnixMilli(), []byte(fmt.Sprintf("key%d", i)), make([]byte, size))
	}
	p, err := b.Build(nil)
	if err != nil {
		panic(err)
	}
	return p
}

func (w *world) append(l *Log, b []byte) AppendInfo {
	w.t.Helper()
	info, err := l.Append(b, AppendOptions{Now: w.clock.Now()})
	if err != nil {
		w.t.Fatal(err)
	}
	return info
}

// readAll reads every batch from offset on.
func readAll(t testing.TB, l *Log, offset int64) (bases []int64) {
	t.Helper()
	for offset < l.EndOffset() {
		run, err := l.Read(offset, 1<<20, l.EndOffset(), true)
		if err != nil {
			t.Fatal(err)
		}
		if run.Len() == 0 {
			t.Fatalf("nothing at %d, the log ends at %d", offset, l.EndOffset())
		}
		p := make([]byte, run.Len())
		if _, err := run.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
		for b, err := range record.Split(p) {
			if err != nil {
				t.Fatal(err)
			}
			if !b.CheckCRC() {
				t.Fatalf("checksum at %d", b.BaseOffset())
			}
			bases = append(bases, b.BaseOffset())
		}
		if run.NextOffset() <= offset {
			t.Fatalf("no progress at %d", offset)
		}
		offset = run.NextOffset()
		run.Release()
	}
	return bases
}
