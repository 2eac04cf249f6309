package log

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// BenchmarkManyLogs opens a directory of 10,000 logs after a clean stop and after a
// kill, and closes it.
func BenchmarkManyLogs(b *testing.B) {
	for _, used := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("used=%d", used), func(b *testing.B) { benchManyLogs(b, 10_000, used) })
	}
}

func benchManyLogs(b *testing.B, n, used int) {
	path := b.TempDir()
	open := func() *Dir {
		d, err := OpenDir(DirOptions{FS: env.OS, Clock: env.Real, Path: path, Rand: env.NewRand(1), BootID: "b", MaxOpenFiles: 4096})
		if err != nil {
			b.Fatal(err)
		}
		return d
	}
	cfg := DefaultConfig()
	all := func(d *Dir) {
		for i := range n {
			if _, err := d.OpenLog(LogID{Topic: "topic-with-a-name", TopicID: [16]byte{1}, Partition: int32(i)}, cfg, Hooks{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	step := func(name string, fn func()) {
		t := time.Now()
		fn()
		b.ReportMetric(float64(time.Since(t).Milliseconds()), name+"-ms")
	}
	for b.Loop() {
		os.RemoveAll(path)
		d := open()
		step("create", func() { all(d) })
		for i := range used {
			l := d.Log("topic-with-a-name", int32(i))
			if _, err := l.Append(batch(1, 100), AppendOptions{Now: epoch0}); err != nil {
				b.Fatal(err)
			}
		}
		step("sync", func() {
			if _, err := d.SyncRound(); err != nil {
				b.Fatal(err)
			}
		})
		step("checkpoint", func() {
			if err := d.Checkpoint(); err != nil {
				b.Fatal(err)
			}
		})
		step("close", func() {
			if err := d.Close(true); err != nil {
				b.Fatal(err)
			}
		})
		d = nil
		var m0, m1 runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m0)
		step("open-clean", func() { d = open(); all(d) })
		runtime.GC()
		runtime.ReadMemStats(&m1)
		b.ReportMetric(float64(int64(m1.HeapAlloc)-int64(m0.HeapAlloc))/float64(n), "heap-B/log")
		d.lock.Close() // killed
		d = nil
		step("open-killed", func() { d = open(); all(d) })
		runtime.GC()
		runtime.ReadMemStats(&m1)
		b.ReportMetric(float64(int64(m1.HeapAlloc)-int64(m0.HeapAlloc))/float64(n), "heap-killed-B/log")
		step("close-again", func() { d.Close(true) })
	}
}
