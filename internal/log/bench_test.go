package log

import (
	"testing"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

func benchLog(b testing.TB) (*Dir, *Log) {
	d, err := OpenDir(DirOptions{FS: env.OS, Clock: env.Real, Path: b.TempDir(), Rand: env.NewRand(1), BootID: "b"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Close(false); err != nil {
			b.Error(err)
		}
	})
	c := DefaultConfig()
	c.Durable = false
	c.SegmentBytes = 64 << 20
	l, err := d.OpenLog(LogID{Topic: "t", TopicID: [16]byte{1}}, c, Hooks{})
	if err != nil {
		b.Fatal(err)
	}
	return d, l
}

func benchAppend(b *testing.B, records, size int) {
	_, l := benchLog(b)
	p := batch(records, size)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		clear(p[:8]) // the log patched the offset
		if _, err := l.Append(p, AppendOptions{Now: epoch0}); err != nil {
			b.Fatal(err)
		}
		if l.Size() > 1<<30 {
			b.StopTimer()
			if err := l.TruncateFullyTo(0); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
}

func BenchmarkAppend64KiB(b *testing.B) { benchAppend(b, 60, 1024) }
func BenchmarkAppendSmall(b *testing.B) { benchAppend(b, 1, 100) }

// BenchmarkReadOn reads on from where the last read ended, as a consumer does.
func BenchmarkReadOn(b *testing.B) {
	_, l := benchLog(b)
	for range 2000 {
		if _, err := l.Append(batch(60, 1024), AppendOptions{Now: epoch0}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	at := int64(0)
	for b.Loop() {
		run, err := l.Read(at, 1<<20, l.EndOffset(), true)
		if err != nil {
			b.Fatal(err)
		}
		if at = run.NextOffset(); at == l.EndOffset() {
			at = 0
		}
		run.Release()
	}
}

// TestAppendAllocations: one append of a large batch allocates nothing to speak of.
func TestAppendAllocations(t *testing.T) {
	d, err := OpenDir(DirOptions{FS: env.OS, Clock: env.Real, Path: t.TempDir(), Rand: env.NewRand(1), BootID: "b"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(false)
	l, err := d.OpenLog(LogID{Topic: "t", TopicID: [16]byte{1}}, DefaultConfig(), Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	p := batch(60, 1024)
	n := testing.AllocsPerRun(200, func() {
		clear(p[:8])
		if _, err := l.Append(p, AppendOptions{Now: epoch0}); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1 {
		t.Fatalf("%v allocations per append", n)
	}
}

// BenchmarkAppendAndSync is one small append and the round that makes it durable, by a
// started directory; the disk is simulated, so that what is measured is ours.
func BenchmarkAppendAndSync(b *testing.B) {
	w := newWorld(b)
	var g env.Goroutines
	w.dir.Start(&g)
	defer g.Wait()
	defer w.dir.Stop()
	synced := make(chan struct{}, 1)
	c := DefaultConfig()
	l, err := w.dir.OpenLog(testID("a"), c, Hooks{Synced: func(int64) { synced <- struct{}{} }})
	if err != nil {
		b.Fatal(err)
	}
	p := batch(1, 100)
	for b.Loop() {
		clear(p[:8])
		if _, err := l.Append(p, AppendOptions{Now: epoch0}); err != nil {
			b.Fatal(err)
		}
		<-synced
	}
}

// BenchmarkReplicated is what a follower does with fetched batches: the checksum of each is
// checked.
func BenchmarkReplicated(b *testing.B) {
	_, l := benchLog(b)
	p := batch(60, 1024)
	const n = 16
	run := make([]byte, 0, n*len(p))
	for range n {
		run = append(run, p...)
	}
	b.SetBytes(int64(len(run)))
	b.ReportAllocs()
	for b.Loop() {
		at := l.EndOffset()
		for i := range n {
			record.Batch(run[i*len(p):]).SetBaseOffset(at + int64(60*i))
		}
		if _, err := l.Append(run, AppendOptions{Now: epoch0, Origin: OriginReplication}); err != nil {
			b.Fatal(err)
		}
		if l.Size() > 1<<30 {
			b.StopTimer()
			if err := l.TruncateFullyTo(0); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
}
