package log

import (
	"errors"
	"io/fs"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

// retained runs retention over what is checkpointed, and tells what went.
func (w *world) retained(l *Log, hw int64) Retained {
	w.t.Helper()
	w.checkpoint()
	r, err := l.Retain(w.clock.Now(), hw)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// hourly appends n batches of one record, each an hour after the one before, in a segment
// of its own.
func (w *world) hourly(l *Log, n int) {
	for range n {
		w.append(l, stamped(w.clock.Now().UnixMilli()))
		w.clock.Advance(time.Hour)
	}
}

func ownSegments(c *Config) { c.SegmentBytes = int64(len(stamped(0))) }

const hourMs = 3600_000

// TestRetentionByTime: a segment goes once its latest record is older than retention.ms,
// the oldest first, and none above the high watermark. When all are old, the active one
// goes too and an empty one takes its place.
func TestRetentionByTime(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", ownSegments, func(c *Config) { c.RetentionMs = 3 * hourMs })
	w.hourly(l, 6) // the last is an hour old
	if r := w.retained(l, 2); r.Segments != 2 {
		t.Fatalf("below the high watermark: %+v", r)
	}
	if r := w.retained(l, 6); r.Segments != 1 || l.StartOffset() != 3 {
		t.Fatalf("%+v, starts at %d", r, l.StartOffset())
	}
	w.clock.Advance(time.Millisecond)
	if r := w.retained(l, 6); r.Segments != 1 || l.StartOffset() != 4 {
		t.Fatalf("a moment later: %+v, starts at %d", r, l.StartOffset())
	}
	if e, ok := saw[SegmentDeleted](w); !ok || e.Base != 3 || e.Reason != "retention.ms" {
		t.Fatalf("%+v", e)
	}
	w.clock.Advance(2 * time.Hour)
	if r := w.retained(l, 5); r.Segments != 1 {
		t.Fatalf("the last is above the high watermark: %+v", r)
	}
	if r := w.retained(l, 6); r.Segments != 1 || l.StartOffset() != 6 || l.EndOffset() != 6 {
		t.Fatalf("%+v, %d to %d", r, l.StartOffset(), l.EndOffset())
	}
	wantBases(t, l, 6)
	if r := w.retained(l, 6); r.Segments != 0 { // not over and over
		t.Fatalf("%+v", r)
	}
	w.crash()
	l = w.log("a", ownSegments)
	if l.StartOffset() != 6 || l.EndOffset() != 6 {
		t.Fatalf("%d to %d after a power cut", l.StartOffset(), l.EndOffset())
	}
	if info := w.append(l, stamped(1)); info.FirstOffset != 6 {
		t.Fatalf("appended at %d", info.FirstOffset)
	}
}

// TestRetentionHoldsAtAYoungSegment: what is behind a segment that stays, stays.
func TestRetentionHoldsAtAYoungSegment(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", ownSegments, anyTime, func(c *Config) { c.RetentionMs = hourMs })
	now := w.clock.Now().UnixMilli()
	for _, ts := range []int64{now - 2*hourMs, now, now - 2*hourMs} {
		w.append(l, stamped(ts))
	}
	if r := w.retained(l, 3); r.Segments != 1 || l.StartOffset() != 1 {
		t.Fatalf("%+v, starts at %d", r, l.StartOffset())
	}
}

// TestRetentionWithoutTimestamps: then a segment is as old as its file.
func TestRetentionWithoutTimestamps(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", ownSegments, func(c *Config) { c.RetentionMs = hourMs })
	w.append(l, stamped(record.NoTimestamp))
	w.clock.Advance(time.Hour)
	w.append(l, stamped(record.NoTimestamp))
	if r := w.retained(l, 2); r.Segments != 0 {
		t.Fatalf("%+v", r)
	}
	w.clock.Advance(time.Millisecond)
	if r := w.retained(l, 2); r.Segments != 1 {
		t.Fatalf("%+v", r)
	}
}

// TestRetentionBySize: segments go while what stays is at least retention.bytes. Limits
// may change on the way, and without the delete policy there are none.
func TestRetentionBySize(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", ownSegments, func(c *Config) { c.RetentionMs, c.RetentionBytes = -1, -1 })
	size := l.Config().SegmentBytes
	w.hourly(l, 8)
	set := func(change func(*Config)) Retained {
		t.Helper()
		c := *l.Config()
		change(&c)
		l.SetConfig(c)
		return w.retained(l, 8)
	}
	for _, step := range []struct {
		change func(*Config)
		start  int64
	}{
		{func(*Config) {}, 0},
		{func(c *Config) { c.Delete, c.RetentionBytes, c.RetentionMs = false, 0, 0 }, 0},
		{func(c *Config) { c.Delete, c.RetentionBytes, c.RetentionMs = true, 6*size, -1 }, 2},
		{func(c *Config) { c.RetentionBytes = 5*size + 1 }, 2},
		{func(c *Config) { c.RetentionBytes = 5 * size }, 3},
		{func(c *Config) { c.RetentionBytes = 1 }, 7},
		{func(c *Config) { c.RetentionBytes = 0 }, 8},
	} {
		before := l.StartOffset()
		r := set(step.change)
		if l.StartOffset() != step.start || r.Segments != int(step.start-before) || r.Bytes != (step.start-before)*size {
			t.Fatalf("%+v, starts at %d, want %d", r, l.StartOffset(), step.start)
		}
	}
	if e, ok := saw[SegmentDeleted](w); !ok || e.Reason != "retention.bytes" {
		t.Fatalf("%+v", e)
	}
}

// TestDeletedRecordsGo: segments below a start offset that DeleteRecords moved go by the
// next retention whatever the policy, and their files file.delete.delay.ms later. The new
// start is durable at once.
func TestDeletedRecordsGo(t *testing.T) {
	w := newWorld(t)
	rules := func(c *Config) {
		ownSegments(c)
		c.Delete, c.RetentionMs, c.RetentionBytes, c.FileDeleteDelayMs = false, -1, -1, 5000
	}
	l := w.log("a", rules)
	w.hourly(l, 5)
	run, err := l.Read(0, 1000, 5, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetStartOffset(3); err != nil {
		t.Fatal(err)
	}
	if err := l.SetStartOffset(6); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatalf("beyond the end: %v", err)
	}
	if err := l.SetStartOffset(1); err != nil || l.StartOffset() != 3 {
		t.Fatalf("back: %v, starts at %d", err, l.StartOffset())
	}
	if _, err := l.Read(2, 1000, 5, true); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatalf("read below the start: %v", err)
	}
	if r := w.retained(l, 5); r.Segments != 3 {
		t.Fatalf("%+v", r)
	}
	if e, ok := saw[SegmentDeleted](w); !ok || e.Base != 2 || e.Reason != "below the log start offset" {
		t.Fatalf("%+v", e)
	}
	if _, err := run.ReadAt(make([]byte, run.Len()), 0); err != nil {
		t.Fatalf("who reads there can finish: %v", err)
	}
	run.Release()
	there := func() (bases []int64) {
		for base := range int64(5) {
			_, err := w.disk.Stat("data/a-0/" + segmentName(base, logSuffix))
			if err == nil {
				bases = append(bases, base)
			} else if !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		return bases
	}
	tick := func(d time.Duration) {
		t.Helper()
		w.clock.Advance(d)
		if err := w.dir.Tick(w.clock.Now()); err != nil {
			t.Fatal(err)
		}
	}
	tick(4999 * time.Millisecond)
	if got := there(); !slices.Equal(got, []int64{0, 1, 2, 3, 4}) {
		t.Fatalf("files of %d", got)
	}
	tick(time.Millisecond)
	if got := there(); !slices.Equal(got, []int64{3, 4}) {
		t.Fatalf("files of %d", got)
	}
	if err := l.SetStartOffset(4); err != nil {
		t.Fatal(err)
	}
	w.crash()
	l = w.log("a", rules)
	if l.StartOffset() != 4 || l.EndOffset() != 5 {
		t.Fatalf("%d to %d after a power cut", l.StartOffset(), l.EndOffset())
	}
	if got := readAll(t, l, 4); !slices.Equal(got, []int64{4}) {
		t.Fatalf("read %d", got)
	}
}

// TestDeletedRecordsStayDeleted: retention moves the start in memory, and a power cut takes
// it back. Once DeleteRecords was answered it is durable, though it did not move any more.
func TestDeletedRecordsStayDeleted(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", ownSegments, func(c *Config) { c.RetentionMs, c.RetentionBytes = -1, 0 })
	w.hourly(l, 3)
	if r := w.retained(l, 2); r.Segments != 2 {
		t.Fatalf("%+v", r)
	}
	if err := l.SetStartOffset(2); err != nil {
		t.Fatal(err)
	}
	w.crash()
	if l = w.log("a"); l.StartOffset() != 2 || l.EndOffset() != 3 {
		t.Fatalf("%d to %d after a power cut", l.StartOffset(), l.EndOffset())
	}
}

// TestRetentionMovesTheStartFirst: who looks at the segments and then at the start never
// finds the first segment beyond the start, as if nothing had been before it.
func TestRetentionMovesTheStartFirst(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", ownSegments, func(c *Config) { c.RetentionMs, c.RetentionBytes = -1, 0 })
	w.hourly(l, 1)
	done, looked := make(chan struct{}), make(chan struct{})
	var began atomic.Bool
	go func() {
		defer close(looked)
		for {
			list := *l.segs.Load()
			if start := l.start.Load(); list[0].base > start {
				t.Errorf("the first segment begins at %d, the log at %d", list[0].base, start)
				return
			}
			began.Store(true)
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	for !began.Load() {
		runtime.Gosched()
	}
	for hw := int64(1); hw <= 5000; hw++ {
		if hw%250 == 1 {
			w.hourly(l, 250)
			w.checkpoint()
		}
		if _, err := l.Retain(w.clock.Now(), hw); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	<-looked
}

// TestRetentionWaitsForTheRecoveryPoint: recovery does not look below it for what is
// missing, and would miss what went above it.
func TestRetentionWaitsForTheRecoveryPoint(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", ownSegments, func(c *Config) { c.RetentionMs, c.RetentionBytes = -1, 0 })
	w.hourly(l, 2)
	w.checkpoint()
	w.hourly(l, 2)
	w.sync()
	r, err := l.Retain(w.clock.Now(), math.MaxInt64)
	if err != nil || r.Segments != 2 {
		t.Fatalf("%+v %v", r, err)
	}
	if r := w.retained(l, math.MaxInt64); r.Segments != 2 {
		t.Fatalf("%+v", r)
	}
}

// TestRetentionOfALogThatCannotBeWritten: its old segments go, its active one stays.
func TestRetentionOfALogThatCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", ownSegments, func(c *Config) { c.RetentionMs, c.RetentionBytes = -1, 0 })
	w.hourly(l, 3)
	w.checkpoint()
	w.disk.FailAt(1, syscall.EIO)
	c := *l.Config()
	c.SegmentBytes *= 2 // into the file that is there
	l.SetConfig(c)
	w.refused(l, stamped(0), ErrStorage)
	w.refused(l, stamped(0), ErrStorage)
	if r := w.retained(l, 3); r.Segments != 2 || l.StartOffset() != 2 {
		t.Fatalf("%+v, starts at %d", r, l.StartOffset())
	}
	if got := readAll(t, l, 2); !slices.Equal(got, []int64{2}) {
		t.Fatalf("read %d", got)
	}
	if err := w.dir.Tick(w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	w.crash()
	if l = w.log("a"); l.StartOffset() != 2 || l.EndOffset() != 3 {
		t.Fatalf("%d to %d", l.StartOffset(), l.EndOffset())
	}
	w.append(l, stamped(0))
}

// TestRetentionMakesRoom: where there is not even room to record the new start, or a quota is
// used up, what retention drops makes some.
func TestRetentionMakesRoom(t *testing.T) {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		w := newWorld(t)
		l := w.log("a", ownSegments, func(c *Config) { c.RetentionMs, c.RetentionBytes, c.FileDeleteDelayMs = -1, 0, 0 })
		w.hourly(l, 8)
		if r := w.retained(l, 8); r.Segments == 0 {
			t.Fatalf("%+v", r)
		}
		cut := false // segments were emptied
		w.disk.OnOp(func(op env.Op) error {
			switch {
			case op.Kind == env.OpCreate && strings.HasSuffix(op.Path, deletedSuffix), op.Kind == env.OpTruncate && strings.HasSuffix(op.Path, deletedSuffix):
				cut = true
			case !cut && (op.Kind == env.OpCreate || op.Kind == env.OpWrite):
				return full
			}
			return nil
		})
		w.must(w.dir.emptyTrash(w.clock.Now()))
		if !cut || l.RecordedStart() != l.StartOffset() || w.dir.Failed() != nil {
			t.Errorf("%v: emptied %v, recorded %d of %d, %v", full, cut, l.RecordedStart(), l.StartOffset(), w.dir.Failed())
		}
	}
}
