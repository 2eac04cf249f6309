package log

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// point is the recovery point that a start after a crash would find.
func (l *Log) point() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dirty.point
}

// TestCheckpointAfterSoManyBytes: under load a checkpoint comes when it is due by what was
// appended, not with the next second, so that recovery never reads much more.
func TestCheckpointAfterSoManyBytes(t *testing.T) {
	const every = 20_000
	for _, durable := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.close()
			w.opt.CheckpointBytes = every
			w.open()
			ctx, cancel := context.WithCancel(t.Context())
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				w.dir.Run(ctx)
			}()
			l := w.log("a", func(c *Config) { c.Durable, c.SegmentBytes = durable, 3*every })
			appended := int64(0)
			for range 100 { // the clock stands still
				appended += int64(w.append(l, batch(1, 1900)).Bytes)
				synctest.Wait()
				if behind := appended - l.point()*appended/l.EndOffset(); behind >= every+2000 {
					t.Fatalf("recovery would read %d bytes, a checkpoint is due after %d", behind, every)
				}
			}
			if n := w.dir.opt.Metrics.Checkpoints.Load(); n > appended/every {
				t.Fatalf("%d checkpoints for %d bytes", n, appended)
			}
			cancel()
			<-stopped
			w.kill()
			r := w.log("a").Recovered()
			if r.End != 100 || r.ScannedBytes == 0 || r.ScannedBytes > every {
				t.Fatalf("recovered %+v", r)
			}
		})
	}
}

// TestCheckpointAfterSomeTime: what is appended slowly is checkpointed five seconds later,
// with a snapshot of its producers once there is enough to read without one.
func TestCheckpointAfterSomeTime(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	tick := func(d time.Duration) {
		t.Helper()
		w.clock.Advance(d)
		if err := w.dir.Tick(w.clock.Now()); err != nil {
			t.Fatal(err)
		}
	}
	w.append(w.log("b"), batch(1, 1, idempotent(7, 0, 0)))
	tick(0) // the first checkpoint
	for i := range int32(3) {
		w.append(l, batch(1, 600_000, idempotent(7, 0, i)))
	}
	w.sync()
	tick(4 * time.Second)
	if l.point() != 0 {
		t.Fatalf("recovery point %d after 4 s", l.point())
	}
	tick(time.Second)
	if l.point() != 3 {
		t.Fatalf("recovery point %d after 5 s", l.point())
	}
	if _, err := w.disk.Stat("data/a-0/" + segmentName(3, snapshotSuffix)); err != nil {
		t.Fatal(err)
	}
	w.kill()
	l = w.log("a")
	if r := l.Recovered(); r.ScannedBytes != 0 || len(l.Producers()) != 1 {
		t.Fatalf("recovered %+v, %d producers", r, len(l.Producers()))
	}
}
