package log

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

func indexed(c *Config) { c.SegmentBytes, c.IndexIntervalBytes = 40_000, 2_000 }

// timed is one batch whose record is a second later than that of the offset before.
func timed(offset int64, value string, change func(*record.BatchHeader)) []byte {
	h := record.NewHeader(0)
	if change != nil {
		change(&h)
	}
	return now(keyed(h, "k", value), secondOf(offset))
}

func secondOf(offset int64) time.Time { return epoch0.Add(time.Duration(offset) * time.Second) }

// writeIndexed appends to a log until it has so many records: among them transactions
// that were aborted.
func writeIndexed(w *world, l *Log, records int64) {
	w.t.Helper()
	value := strings.Repeat("v", 800)
	for at := l.EndOffset(); at < records; at = l.EndOffset() {
		if at%7 != 3 {
			w.append(l, timed(at, value, nil))
			continue
		}
		h := inTxn(at, 0, 0)
		w.append(l, timed(at, value, func(into *record.BatchHeader) { *into = h }))
		end := record.NewHeader(0)
		end.ProducerID, end.ProducerEpoch = h.ProducerID, h.ProducerEpoch
		b, err := record.AppendEndTxn(nil, end, record.ControlAbort, 1, secondOf(at+1).UnixMilli())
		if err != nil {
			w.t.Fatal(err)
		}
		w.appendAs(l, OriginCoordinator, b)
	}
}

// harmedLog is a directory with a log of several segments that was stopped; the files
// named are harmed before the start. After a kill some records are behind the recovery point.
func harmedLog(t *testing.T, clean bool, harm func(*world)) (*world, *Log) {
	t.Helper()
	w := newWorld(t)
	c := DefaultConfig() // of a recovery
	indexed(&c)
	w.opt.Default = &c
	l := w.log("a", indexed)
	writeIndexed(w, l, 180)
	w.checkpoint()
	if clean {
		w.close()
	} else {
		writeIndexed(w, l, 190)
		w.sync()
		if err := w.dir.lock.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if harm != nil {
		harm(w)
	}
	w.events = nil
	w.open()
	return w, w.log("a", indexed)
}

// lookUpAll looks at every record by offset and by time, and at the aborted transactions
// around it.
func lookUpAll(t *testing.T, l *Log) {
	t.Helper()
	for at := range l.EndOffset() {
		run, err := l.Read(at, 1, l.EndOffset(), true)
		if err != nil || run.NextOffset() != at+1 {
			t.Fatalf("read at %d: %v", at, err)
		}
		run.Release()
		by, ok, err := l.OffsetForTime(secondOf(at).UnixMilli(), l.EndOffset())
		if err != nil || !ok || by.Offset != at {
			t.Fatalf("time of %d: %+v %v %v", at, by, ok, err)
		}
		list, err := l.AbortedTxns(at, at+1)
		if want := at % 7; err != nil || (want == 3 || want == 4) != (len(list) == 1) {
			t.Fatalf("aborted at %d: %+v %v", at, list, err)
		}
		if len(list) == 1 && list[0] != (AbortedTxn{at - at%7 + 3, at - at%7 + 3, at - at%7 + 4, at - at%7 + 5}) {
			t.Fatalf("aborted at %d: %+v", at, list)
		}
	}
}

// logReads counts the reads of batches that look-ups of a few offsets and times take.
func logReads(t *testing.T, w *world, l *Log) (n int) {
	t.Helper()
	l.forget()
	w.disk.FailReads(func(name string, _ int64, _ int) error {
		if strings.HasSuffix(name, logSuffix) {
			n++
		}
		return nil
	})
	defer w.disk.FailReads(nil)
	for at := int64(30); at < l.EndOffset(); at += 40 {
		if _, ok, err := l.OffsetForTime(secondOf(at).UnixMilli(), l.EndOffset()); err != nil || !ok {
			t.Fatal(ok, err)
		}
		run, err := l.Read(at, 1, l.EndOffset(), true)
		if err != nil {
			t.Fatal(err)
		}
		run.Release()
	}
	return n
}

// rebuilt are the files that were told to be built again.
func rebuilt(w *world) map[string]bool {
	all := map[string]bool{}
	for _, e := range w.events {
		if e, ok := e.(IndexRebuilt); ok {
			all[aDir+e.File] = true
		}
	}
	return all
}

var cuts = map[string]func(*world, string) error{
	"removed": func(w *world, name string) error { return w.disk.Remove(name) },
	"emptied": func(w *world, name string) error { w.change(name, cutAt(0)); return nil },
	"cut between entries": func(w *world, name string) error {
		width := map[string]int{indexSuffix: 8, timeIndexSuffix: 12, txnIndexSuffix: 34}[name[strings.LastIndex(name, "."):]]
		w.change(name, cutAt(len(w.content(name))/2/width*width))
		return nil
	},
	"cut behind a wrong entry": func(w *world, name string) error {
		width := map[string]int{indexSuffix: 8, timeIndexSuffix: 12, txnIndexSuffix: 34}[name[strings.LastIndex(name, "."):]]
		w.change(name, func(p []byte) []byte {
			p = p[:max(len(p)/2/width, 1)*width]
			p[len(p)-1]++
			return p
		})
		return nil
	},
	"cut in an entry": func(w *world, name string) error {
		w.change(name, cutAt(len(w.content(name))/2+3))
		return nil
	},
}

// TestCutIndexes: an index that is missing or was cut below the recovery point is noticed
// when its segment is first looked into, built again as it was, and told of once.
func TestCutIndexes(t *testing.T) {
	for _, clean := range []bool{true, false} {
		w, l := harmedLog(t, clean, nil)
		lookUpAll(t, l)
		if told := rebuilt(w); len(told) > 0 {
			t.Fatalf("told %v of files that are whole", told)
		}
		reads := logReads(t, w, l)
		w.close()
		for _, suffix := range []string{indexSuffix, timeIndexSuffix, txnIndexSuffix} {
			want := w.derived(suffix)
			for how, cut := range cuts {
				t.Run(fmt.Sprint(suffix, " ", how, ", clean stop ", clean), func(t *testing.T) {
					var harmed []string
					w, l := harmedLog(t, clean, func(w *world) {
						harmed = slices.Sorted(maps.Keys(w.derived(suffix)))
						for _, name := range harmed {
							if err := cut(w, name); err != nil {
								t.Fatal(err)
							}
						}
					})
					if len(harmed) < 3 {
						t.Fatalf("only %v", harmed)
					}
					if told := rebuilt(w); clean && len(told) > 0 {
						t.Fatalf("the start looked into segments: %v", told)
					}
					lookUpAll(t, l)
					if told := slices.Sorted(maps.Keys(rebuilt(w))); !slices.Equal(told, harmed) {
						t.Fatalf("told %v, harmed were %v", told, harmed)
					}
					if n := logReads(t, w, l); n != reads {
						t.Fatalf("look-ups read the log %d times, with whole indexes %d times", n, reads)
					}
					w.close()
					if got := w.derived(suffix); !maps.EqualFunc(got, want, bytes.Equal) {
						t.Fatalf("the files are not as they were:\n%x\n%x", got, want)
					}
					w.events = nil
					w.open()
					lookUpAll(t, w.log("a", indexed))
					if told := rebuilt(w); len(told) > 0 {
						t.Fatalf("the next start told %v", told)
					}
				})
			}
		}
	}
}

// TestOneLargeBatch: a segment has an index once a batch begins behind the first interval. One
// that holds a large batch, and small ones before it, has none and lacks none.
func TestOneLargeBatch(t *testing.T) {
	large := strings.Repeat("v", 2*syncIndexEntries*4096)
	for _, test := range []struct {
		name    string
		small   int64 // batches before the large one
		after   int64
		missing bool
	}{
		{"alone", 0, 0, false}, {"behind a small one", 1, 0, false}, {"before a small one", 0, 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			l := w.log("a")
			for at := range test.small {
				w.append(l, timed(at, "v", nil))
			}
			w.append(l, timed(test.small, large, nil))
			for at := range test.after {
				w.append(l, timed(test.small+1+at, "v", nil))
			}
			look := func() map[string]bool {
				w.events = nil
				l := w.log("a")
				list, err := l.segments()
				if err != nil {
					t.Fatal(err)
				}
				list[0].offsets.want = 0 // as where nothing is recorded of it
				for at := range l.EndOffset() {
					if _, ok, err := l.OffsetForTime(secondOf(at).UnixMilli(), l.EndOffset()); !ok || err != nil {
						t.Fatal(ok, err)
					}
				}
				return rebuilt(w)
			}
			w.reopen()
			if told := look(); len(told) > 0 {
				t.Fatalf("told %v of a log that was stopped cleanly", told)
			}
			w.close()
			name := aDir + segmentName(0, indexSuffix)
			if test.missing {
				w.change(name, cutAt(0))
			}
			w.open()
			if told := look(); told[name] != test.missing {
				t.Fatalf("told %v", told)
			}
		})
	}
}

// TestCutIndexesThatCannotBeWritten: they are left, and look-ups read the segments.
func TestCutIndexesThatCannotBeWritten(t *testing.T) {
	for _, why := range []string{"failed sync", "full disk", "read-only files"} {
		t.Run(why, func(t *testing.T) {
			w, l := harmedLog(t, true, func(w *world) {
				for _, name := range filesOf(t, w.disk, "data/a-0") {
					if strings.HasSuffix(name, "index") {
						w.change(name, cutAt(len(w.content(name))/2))
					}
				}
			})
			content := func() map[string][]byte {
				return map[string][]byte{indexSuffix: w.content(aDir + segmentName(0, indexSuffix)),
					timeIndexSuffix: w.content(aDir + segmentName(0, timeIndexSuffix)), txnIndexSuffix: w.content(aDir + segmentName(0, txnIndexSuffix))}
			}
			before := content()
			switch why {
			case "failed sync":
				w.append(w.log("other"), batch(1, 10))
				w.disk.FailSyncs(syscall.EIO)
				if _, err := w.dir.SyncRound(); err == nil || w.dir.Failed() == nil {
					t.Fatal("the directory goes on")
				}
				w.disk.FailSyncs(nil)
			case "full disk":
				w.disk.SetFree(0)
			default:
				w.disk.OnOp(func(op env.Op) error {
					if op.Kind != "" && strings.Contains(op.Path, "index") {
						return syscall.EROFS
					}
					return nil
				})
			}
			lookUpAll(t, l)
			l.forget()
			lookUpAll(t, l)
			for _, s := range *l.segs.Load() {
				if s.isSealed() && len(s.offsets.tail)+len(s.times.tail) > 0 {
					t.Fatalf("segment %d has its index in memory", s.base)
				}
			}
			told := 0
			for _, e := range w.events {
				if e, ok := e.(IndexRebuilt); ok && strings.HasSuffix(e.File, txnIndexSuffix) {
					told++
				}
			}
			if want := len(w.derived(txnIndexSuffix)); told != want {
				t.Fatalf("%d transaction indexes were built %d times", want, told)
			}
			if why == "failed sync" {
				if got := content(); !maps.EqualFunc(got, before, bytes.Equal) {
					t.Fatal("files of a directory that is offline were written")
				}
			}
		})
	}
}

// TestTruncateWithCutIndexes: what is cut off a log needs its indexes.
func TestTruncateWithCutIndexes(t *testing.T) {
	for how, cut := range cuts {
		t.Run(how, func(t *testing.T) {
			w, l := harmedLog(t, true, func(w *world) {
				for _, name := range filesOf(t, w.disk, "data/a-0") {
					if strings.HasSuffix(name, "index") {
						if err := cut(w, name); err != nil {
							t.Fatal(err)
						}
					}
				}
			})
			if err := l.TruncateTo(103); err != nil {
				t.Fatal(err)
			}
			lookUpAll(t, l)
			writeIndexed(w, l, 150)
			lookUpAll(t, l)
			w.reopen()
			w.events = nil
			lookUpAll(t, w.log("a", indexed))
			if told := rebuilt(w); len(told) > 0 {
				t.Fatalf("told %v", told)
			}
		})
	}
}

// TestReindexThenTheLogGrows: entries that are added while others are built stay.
func TestReindexThenTheLogGrows(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", func(c *Config) { c.IndexIntervalBytes = 1_000 })
	writeIndexed(w, l, 60)
	w.checkpoint()
	s := l.active()
	f, err := s.file.acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer s.file.release()
	work := rework{s: s}
	limit := s.size.Load()
	w.must(work.begin(f, faults{whole: true}))
	w.must(work.build(f, limit))
	writeIndexed(w, l, 120)
	w.checkpoint()
	want := s.counts()
	w.must(work.install())
	if got := s.counts(); got != want || want.offsets < 40 {
		t.Fatalf("%+v, then %+v", want, got)
	}
	l.forget()
	lookUpAll(t, l)
}

// TestReindexWhileTheLogGrows is that with real goroutines.
func TestReindexWhileTheLogGrows(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", func(c *Config) { c.IndexIntervalBytes = 1_000 })
	writeIndexed(w, l, 60)
	s := (*l.segs.Load())[0]
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 30 {
			if err := s.reindex(errors.New("for the test")); err != nil {
				t.Error(err)
			}
		}
	})
	writeIndexed(w, l, 400)
	wg.Wait()
	s.mu.RLock()
	for _, ix := range []*index{&s.offsets, &s.times} {
		if n, err := ix.validPrefix(s.size.Load()); err != nil || n != ix.count() || n < 150 {
			t.Errorf("%d entries of %d are good: %v", n, ix.count(), err)
		}
	}
	s.mu.RUnlock()
	lookUpAll(t, l)
	if err := s.reindex(errors.New("for the test")); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	lookUpAll(t, w.log("a"))
}

// TestIndexBuiltWithAnotherInterval: an index that is built again may have fewer entries
// than before. The next start does not take it for one that was cut.
func TestIndexBuiltWithAnotherInterval(t *testing.T) {
	w, _ := harmedLog(t, true, func(w *world) {
		for _, name := range slices.Sorted(maps.Keys(w.derived(indexSuffix))) {
			w.change(name, cutAt(0))
		}
	})
	sparse := func(c *Config) { indexed(c); c.IndexIntervalBytes = 10_000 }
	lookUpAll(t, w.log("a", sparse))
	if told := rebuilt(w); len(told) < 3 {
		t.Fatalf("told %v", told)
	}
	for _, again := range []func(){func() { w.checkpoint(); w.kill() }, w.reopen} {
		again()
		w.events = nil
		lookUpAll(t, w.log("a", sparse))
		if told := rebuilt(w); len(told) > 0 {
			t.Fatalf("told %v", told)
		}
	}
}
