package log

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

// bytesOf is what a run holds.
func bytesOf(r *Run) ([]byte, error) {
	p := make([]byte, r.Len())
	_, err := r.ReadAt(p, 0)
	return p, err
}

func (w *world) read(l *Log, offset int64) *Run {
	w.t.Helper()
	run, err := l.Read(offset, 1<<20, l.EndOffset(), true)
	if err != nil || run.Len() == 0 {
		w.t.Fatalf("%v, %v", run, err)
	}
	return run
}

// openFiles is how many segment files are open, and how many of those are gone.
func (d *Dir) openFiles() (open, gone int) {
	d.files.mu.Lock()
	defer d.files.mu.Unlock()
	for _, h := range d.files.ring {
		if h.gone.Load() {
			gone++
		}
	}
	return len(d.files.ring), gone
}

// TestRunsHoldNoFiles: what is read and not sent yet, of however many partitions, takes no
// file from anything else, and can all be read.
func TestRunsHoldNoFiles(t *testing.T) {
	w := newWorld(t)
	w.opt.MaxOpenFiles = 8
	w.kill()
	within := func(when string) {
		t.Helper()
		if open, _ := w.dir.openFiles(); open > 8 {
			t.Fatalf("%s: %d files are open, of 8", when, open)
		}
	}
	var logs []*Log
	var runs []*Run
	for i := range 40 {
		l := w.log(fmt.Sprint("t", i))
		w.append(l, batch(1, i))
		logs = append(logs, l)
	}
	w.sync()
	for i, l := range logs {
		runs = append(runs, w.read(l, 0))
		within(fmt.Sprint("read ", i))
	}
	for _, l := range logs {
		w.append(l, batch(1, 1000))
		within("an append beside")
	}
	w.sync()
	w.clock.Advance(time.Minute)
	w.must(w.dir.Tick(w.clock.Now()))
	within("a checkpoint beside")
	for i, run := range runs {
		if err := run.Check(1 << 20); err != nil {
			t.Fatal(err)
		}
		p, err := bytesOf(run)
		if err != nil || !record.Batch(p).CheckCRC() || len(p) != len(batch(1, i)) {
			t.Fatalf("run %d: %d bytes, %v", i, len(p), err)
		}
		run.Release()
		within(fmt.Sprint("sent ", i))
	}
}

// TestSlowSendersLeaveFiles: of runs that are being sent from the file only so many are at
// once that others find files to close; the rest has to be read.
func TestSlowSendersLeaveFiles(t *testing.T) {
	w := newWorld(t)
	w.must(w.dir.Close(true))
	d, err := OpenDir(DirOptions{FS: env.OS, Clock: env.Real, Path: t.TempDir(), Rand: env.NewRand(1), BootID: "b", MaxOpenFiles: 8})
	w.must(err)
	w.dir = d
	t.Cleanup(func() { w.must(d.Close(true)) })
	open := func(run *Run) bool {
		t.Helper()
		f, pos, err := run.Open()
		w.must(err)
		if f == nil {
			return false
		}
		p := make([]byte, run.Len())
		if _, err := f.ReadAt(p, pos); err != nil || !record.Batch(p).CheckCRC() {
			t.Fatalf("%d bytes from the file: %v", len(p), err)
		}
		return true
	}
	var runs []*Run
	for i := range 12 {
		l := w.log(fmt.Sprint("t", i))
		w.append(l, batch(1, i))
		run := w.read(l, 0)
		runs = append(runs, run)
		if got := open(run); got != (i < 4) {
			t.Fatalf("sender %d gets a file: %v", i, got)
		}
		if _, err := bytesOf(run); err != nil {
			t.Fatal(err)
		}
		if open, _ := d.openFiles(); open > 8 {
			t.Fatalf("%d files are open, of 8", open)
		}
	}
	if !open(runs[3]) {
		t.Fatal("a file that is being sent costs nothing more")
	}
	runs[3].Close()
	if open(runs[4]) {
		t.Fatal("one sender of two has ended, and the file is still in use")
	}
	runs[3].Close()
	if !open(runs[4]) {
		t.Fatal("a sender has ended, and no other gets a file")
	}
	for _, i := range []int{0, 1, 2, 4} {
		runs[i].Close()
	}
	for _, run := range runs {
		run.Release()
	}
	if n := d.files.sending.Load(); n != 0 {
		t.Fatalf("%d files count as being sent", n)
	}
}

// TestRunsOutliveTheirSegments: a run gives the bytes that it was read with although its
// file is closed and its segment leaves the log, and nothing of it stays behind the last one.
func TestRunsOutliveTheirSegments(t *testing.T) {
	for name, leave := range map[string]func(w *world, l *Log){
		"deleted": func(w *world, l *Log) {
			w.must(w.dir.Delete(l.ID()))
			w.must(w.dir.Tick(w.clock.Now()))
		},
		"retained": func(w *world, l *Log) {
			w.must(l.SetStartOffset(2))
			w.retained(l, 2)
			w.must(w.dir.Tick(w.clock.Now()))
		},
		"another takes the name": func(w *world, l *Log) {
			w.must(l.TruncateFullyTo(0))
			w.append(l, batch(1, 100))
			w.sync()
		},
		"directory closed": func(w *world, _ *Log) { w.must(w.dir.Close(true)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.opt.MaxOpenFiles = 4
			w.kill()
			l := w.log("a", func(c *Config) { c.SegmentBytes = 300 })
			for range 3 {
				w.append(l, batch(1, 150)) // a segment each
			}
			w.sync()
			run, again := w.read(l, 0), w.read(l, 0)
			want, err := bytesOf(run)
			w.must(err)
			for i := range 8 { // closes the file
				w.append(w.log(fmt.Sprint("b", i)), batch(1, 1))
			}
			w.sync()
			if n := run.seg.file.state.Load(); n != -1 {
				t.Fatalf("the file is open, with %d users", n)
			}
			leave(w, l)
			again.Release()
			if got, err := bytesOf(run); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes: %v", len(got), err)
			}
			run.Release()
			if _, gone := w.dir.openFiles(); gone > 0 || w.dir.files.kept > 0 {
				t.Fatalf("%d files that are gone are open, %d kept", gone, w.dir.files.kept)
			}
		})
	}
}

// TestFewGoneFilesAreKept: runs of what is gone cannot use up the files either.
func TestFewGoneFilesAreKept(t *testing.T) {
	w := newWorld(t)
	w.opt.MaxOpenFiles = 8
	w.kill()
	var runs []*Run
	for i := range 6 {
		l := w.log(fmt.Sprint("t", i))
		w.append(l, batch(1, 10))
		w.sync()
		runs = append(runs, w.read(l, 0))
		w.must(w.dir.Delete(l.ID()))
	}
	for i, run := range runs {
		if _, err := bytesOf(run); i < 2 && err != nil || i >= 2 && !(errors.Is(err, errGone) && errors.Is(err, ErrStorage)) {
			t.Errorf("run %d: %v", i, err)
		}
		run.Release()
	}
	if _, gone := w.dir.openFiles(); gone > 0 || w.dir.files.kept > 0 {
		t.Fatalf("%d files that are gone are open, %d kept", gone, w.dir.files.kept)
	}
}

// TestReadersBesideSegmentsThatGo: whoever reads while segments leave and files are closed
// gets the bytes or is told, and in the end no file that is gone is open.
func TestReadersBesideSegmentsThatGo(t *testing.T) {
	w := newWorld(t)
	w.opt.MaxOpenFiles = 4
	w.kill()
	l := w.log("a", func(c *Config) { c.SegmentBytes = 300 })
	w.append(l, batch(1, 150))
	w.sync()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				from := l.StartOffset()
				run, err := l.Read(from, 1<<20, l.EndOffset(), true)
				if errors.Is(err, ErrOffsetOutOfRange) || err == nil && run.Len() == 0 {
					continue // the start has moved on
				}
				if err != nil {
					t.Error(err)
					return
				}
				p, err := bytesOf(run)
				if err != nil && !errors.Is(err, errGone) || err == nil && (!record.Batch(p).CheckCRC() || record.Batch(p).BaseOffset() != from) {
					t.Errorf("offset %d: %d bytes, %v", from, len(p), err)
				}
				run.Release()
			}
		})
	}
	for i := range int64(300) {
		w.append(l, batch(1, 150))
		w.must(l.SetStartOffset(i + 1))
		w.retained(l, i+1)
		w.must(w.dir.Tick(w.clock.Now()))
	}
	close(stop)
	readers.Wait()
	if _, gone := w.dir.openFiles(); gone > 0 || w.dir.files.kept > 0 {
		t.Fatalf("%d files that are gone are open, %d kept", gone, w.dir.files.kept)
	}
}

// TestClaimAfterTheSegmentWent: a segment may leave while it is looked through for a run,
// which is to be read all the same.
func TestClaimAfterTheSegmentWent(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	w.append(l, batch(1, 10))
	w.sync()
	h := &(*l.segs.Load())[0].file
	_, err := h.acquire()
	w.must(err)
	w.must(w.dir.Delete(l.ID()))
	h.claim()
	h.release()
	if _, err := h.acquire(); err != nil {
		t.Fatal(err)
	}
	h.unclaim()
	if _, gone := w.dir.openFiles(); gone != 1 {
		t.Fatal("the file was closed below its user")
	}
	h.release()
	if _, gone := w.dir.openFiles(); gone > 0 || w.dir.files.kept > 0 {
		t.Fatalf("%d files that are gone are open, %d kept", gone, w.dir.files.kept)
	}
}
