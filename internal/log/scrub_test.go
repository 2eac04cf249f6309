package log

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

var quick = ScrubOptions{BytesPerSecond: 1 << 30, Interval: time.Hour}

// scrub is one whole pass.
func (w *world) scrub() {
	w.t.Helper()
	s := w.dir.NewScrubber()
	s.first = false
	for n := 0; ; n++ {
		next := s.Step(w.clock.Now(), quick)
		if s.at == nil && s.urgent == nil && len(s.list) == 0 {
			return
		}
		if n > 10_000 {
			w.t.Fatal("it never ends")
		}
		w.clock.Advance(next.Sub(w.clock.Now()))
	}
}

// TestScrubSetsAside: whatever is damaged in what is synced is refused from then on and after
// each start, all around it is read, and nothing wrong is; cut off and fetched again, the
// log is whole.
func TestScrubSetsAside(t *testing.T) {
	for name, c := range map[string]struct {
		harm     func(w *world, size int)
		from, to int64
	}{
		"a value":                         {func(w *world, size int) { w.change(bLog, flip(2*size-1)) }, 4, 5},
		"the first batch of a segment":    {func(w *world, size int) { w.change(bLog, flip(size-1)) }, 3, 4},
		"the last batch of a segment":     {func(w *world, size int) { w.change(bLog, flip(4*size-1)) }, 6, 7},
		"two batches":                     {func(w *world, size int) { w.change(bLog, flip(2*size-1)); w.change(bLog, flip(3*size-1)) }, 4, 6},
		"the last batch of the log":       {func(w *world, size int) { w.change(cLog, flip(3*size-1)) }, 9, 10},
		"the active segment":              {func(w *world, size int) { w.change(cLog, flip(2*size-1)) }, 8, 9},
		"a count of offsets":              {func(w *world, size int) { w.change(bLog, flip(size+record.OffLastOffsetDelta+3)) }, 4, 5},
		"a length":                        {func(w *world, size int) { w.change(bLog, flip(size+record.OffLength)) }, 4, 5},
		"the length of the last":          {func(w *world, size int) { w.change(bLog, flip(3*size+record.OffLength)) }, 6, 7},
		"a leader epoch":                  {func(w *world, size int) { w.change(bLog, flip(size+record.OffLeaderEpoch+3)) }, 4, 5},
		"an offset":                       {func(w *world, size int) { w.change(bLog, flip(size+7)) }, 4, 5},
		"a segment is cut":                {func(w *world, size int) { w.change(bLog, cutAt(2*size+30)) }, 5, 7},
		"a segment is cut between":        {func(w *world, size int) { w.change(bLog, cutAt(2*size)) }, 5, 7},
		"a segment is empty":              {func(w *world, _ int) { w.change(bLog, cutAt(0)) }, 3, 7},
		"the active segment is cut":       {func(w *world, size int) { w.change(cLog, cutAt(size+3)) }, 8, 10},
		"the first segment, at its begin": {func(w *world, size int) { w.change(aLog, flip(size-1)) }, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			size := synced(w)
			l := w.log("a")
			readAll(t, l, 0) // it is in use
			c.harm(w, size)
			w.events = nil
			w.scrub()
			if got := l.Damaged(); !covers(got, c.from, c.to) {
				t.Fatalf("refused %v, want %d to %d", got, c.from, c.to)
			}
			if e, ok := saw[Quarantined](w); !ok || e.Log != testID("a") || e.From < c.from || !errors.Is(e.Err, ErrCorrupt) {
				t.Fatalf("told %+v", w.events)
			}
			check := func(what string) {
				t.Helper()
				l := w.log("a")
				for at := range l.EndOffset() {
					run, err := l.Read(at, 1<<20, l.EndOffset(), true)
					if at >= c.from && at < c.to {
						if !errors.Is(err, ErrCorrupt) {
							t.Fatalf("%s: read at %d: %v", what, at, err)
						}
						continue
					}
					if err != nil || run.Len() == 0 || at < c.from && run.NextOffset() > c.from {
						t.Fatalf("%s: read at %d: %v", what, at, err)
					}
					p := make([]byte, run.Len())
					if _, err := run.ReadAt(p, 0); err != nil {
						t.Fatal(err)
					}
					run.Release()
					if b := record.Batch(p); b.BaseOffset() != at {
						t.Fatalf("%s: read at %d: offset %d", what, at, b.BaseOffset())
					}
					for b, err := range record.Split(p) {
						if err != nil || !b.CheckCRC() {
							t.Fatalf("%s: read at %d: bytes that are wrong, %v", what, at, err)
						}
					}
				}
			}
			check("at once")
			w.events = nil
			w.scrub()
			if e, ok := saw[Quarantined](w); ok {
				t.Fatalf("told again: %v", e)
			}
			w.append(l, batch(1, 100))
			w.sync()
			for _, again := range []func(){w.kill, w.crash, w.reopen} {
				w.events = nil
				again()
				if ids := w.dir.Damaged(); len(ids) != 1 {
					t.Fatalf("damaged: %v", ids)
				}
				if r, ok := saw[LogRecovered](w); !ok || r.Kept {
					t.Fatalf("told %v", w.events)
				}
				check("after a start")
			}
			l = w.log("a")
			end, err := l.TruncateDamage()
			if err != nil || end != c.from {
				t.Fatalf("ends at %d, want %d: %v", end, c.from, err)
			}
			for range 11 - end {
				w.append(l, batch(1, 100))
			}
			w.sync()
			w.scrub()
			w.crash()
			if got := readAll(t, w.log("a"), 0); len(got) != 11 || len(w.log("a").Damaged()) > 0 {
				t.Fatalf("read %v", got)
			}
		})
	}
}

// covers tells whether the ranges are from…to-1 together.
func covers(list []Range, from, to int64) bool {
	for _, r := range list {
		if r.From != from {
			return false
		}
		from = r.To
	}
	return from == to && len(list) > 0
}

// TestScrubOfWhatAReaderMet: a reader's damage is set aside by the next step, also where no
// scrub is wanted.
func TestScrubOfWhatAReaderMet(t *testing.T) {
	w := newWorld(t)
	size := synced(w)
	l := w.log("a")
	w.change(bLog, flip(size+record.OffLength))
	if _, err := l.Read(5, 1, 10, true); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	s := w.dir.NewScrubber()
	s.Step(w.clock.Now(), ScrubOptions{})
	if got := l.Damaged(); !covers(got, 4, 5) {
		t.Fatalf("refused %v", got)
	}
}

// TestScrubOfWhatCompactionMet: compaction checks what it copies; the damage is set aside by
// the next step, also where no scrub is wanted.
func TestScrubOfWhatCompactionMet(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", compacted)
	for range 2 {
		w.append(l, keyed(record.NewHeader(0), "a", "1"))
		w.append(l, keyed(record.NewHeader(0), "a", "2"))
		w.roll(l)
	}
	w.checkpoint()
	w.change(aLog, flip(fileLen(w, aLog)-1))
	w.events = nil
	if _, err := l.Compact(CompactOptions{Now: w.clock.Now()}); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	if e, ok := saw[DamageMet](w); !ok || e.Log != testID("a") {
		t.Fatalf("told %v", w.events)
	}
	w.dir.NewScrubber().Step(w.clock.Now(), ScrubOptions{})
	if got := l.Damaged(); !covers(got, 1, 2) {
		t.Fatalf("refused %v", got)
	}
	if _, ok := saw[Quarantined](w); !ok {
		t.Fatalf("told %v", w.events)
	}
}

// TestCompactionCopiesNoDamage: a batch of which some records remain is written anew, and
// its checksum with it: what was damaged before would pass for good.
func TestCompactionCopiesNoDamage(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", compacted)
	partly := keyed(record.NewHeader(0), "a", "1", "b", "good")
	w.append(l, slices.Clone(partly))
	w.append(l, keyed(record.NewHeader(0), "a", "2"))
	w.roll(l)
	w.checkpoint()
	w.change(aLog, flip(len(partly)-2)) // the end of the last value
	was := w.content(aLog)
	if _, err := l.Compact(CompactOptions{Now: w.clock.Now()}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("compaction of a changed value: %v", err)
	}
	if !slices.Equal(w.content(aLog), was) {
		t.Fatal("the segment is another")
	}
}

// TestScrubRate: a step reads so much as the rate allows until the next, a pass reads all
// that is synced once, and the next pass begins after the interval.
func TestScrubRate(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", func(c *Config) { c.SegmentBytes = 300_000 })
	for range 100 {
		w.append(l, batch(1, 10_000))
	}
	w.checkpoint()
	o := ScrubOptions{BytesPerSecond: 200_000, Interval: time.Hour}
	s := w.dir.NewScrubber()
	began := w.clock.Now()
	read := func() int64 { return w.dir.opt.Metrics.ScrubbedBytes.Load() }
	for read() < l.Size() {
		next := s.Step(w.clock.Now(), o)
		w.clock.Advance(next.Sub(w.clock.Now()))
		took := w.clock.Now().Sub(began).Seconds()
		if rate := float64(read()) / took; rate > float64(o.BytesPerSecond)*1.01 {
			t.Fatalf("%v bytes a second", rate)
		}
	}
	if took := w.clock.Now().Sub(began); took > 6*time.Second {
		t.Fatalf("a pass of %d bytes took %v", l.Size(), took)
	}
	next := s.Step(w.clock.Now(), o)
	if want := began.Add(time.Hour); !next.Equal(want) || read() != l.Size() {
		t.Fatalf("next step at %v, want %v; read %d of %d", next, want, read(), l.Size())
	}
	w.clock.Advance(time.Hour)
	if s.Step(w.clock.Now(), o); read() == l.Size() {
		t.Fatal("no second pass")
	}
	if next := w.dir.NewScrubber().Step(w.clock.Now(), ScrubOptions{Interval: time.Hour}); next.Before(w.clock.Now().Add(time.Hour)) {
		t.Fatal("a scrub that is off")
	}
}

// TestScrubMendsIndexes: an index that leads to no batch is built again.
func TestScrubMendsIndexes(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", smallSegments)
	for range 40 {
		w.append(l, batch(1, 200))
	}
	w.checkpoint()
	name := aDir + segmentName(0, indexSuffix)
	w.reopen()
	l = w.log("a", smallSegments)
	good := w.content(name)
	w.change(name, flip(15)) // of the second entry's position
	w.events = nil
	w.scrub()
	if !slices.ContainsFunc(w.events, func(e Event) bool { r, ok := e.(IndexRebuilt); return ok && r.File == segmentName(0, indexSuffix) }) {
		t.Fatalf("told %v", w.events)
	}
	if !slices.Equal(w.content(name), good) {
		t.Fatal("it is not as it was")
	}
	if len(readAll(t, l, 0)) != 40 || len(l.Damaged()) > 0 {
		t.Fatalf("refused %v", l.Damaged())
	}
}

// TestScrubBesideOthers: appends, truncations, retention and compaction go on beside a scrub,
// and nothing is taken for damage.
func TestScrubBesideOthers(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	d, err := OpenDir(func() DirOptions {
		w.close()
		o := w.options()
		o.Events = func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			switch e.(type) {
			case Quarantined, DamageMet, IndexRebuilt:
				t.Error(e)
			}
		}
		return o
	}())
	if err != nil {
		t.Fatal(err)
	}
	w.dir = d
	l := w.log("a", func(c *Config) { compacted(c); c.SegmentBytes, c.Delete, c.RetentionBytes = 3000, true, 20_000 })
	var g sync.WaitGroup
	done := make(chan struct{})
	g.Go(func() {
		s := d.NewScrubber()
		now := w.clock.Now()
		for {
			select {
			case <-done:
				return
			default:
				now = s.Step(now, ScrubOptions{BytesPerSecond: 1 << 20, Interval: time.Second})
			}
		}
	})
	rng := env.NewRand(3)
	for range 3000 {
		switch rng.IntN(40) {
		case 0:
			w.must(l.TruncateTo(max(l.StartOffset(), l.EndOffset()-rng.Int64N(30))))
		case 1:
			l.SetHighWatermark(l.EndOffset())
			w.retained(l, l.EndOffset())
		case 2:
			w.checkpoint()
		case 3:
			if _, err := l.Compact(CompactOptions{Now: w.clock.Now()}); err != nil {
				t.Fatal(err)
			}
		case 4:
			w.sync()
		default:
			w.append(l, keyed(record.NewHeader(0), string(rune('a'+rng.IntN(20))), "value value value value"))
		}
	}
	close(done)
	g.Wait()
}

// TestScrubbedBytes: what the last step of a pass reads counts, too.
func TestScrubbedBytes(t *testing.T) {
	w := newWorld(t)
	synced(w)
	l := w.log("a")
	readAll(t, l, 0)
	w.scrub()
	if got := w.dir.opt.Metrics.ScrubbedBytes.Load(); got != l.Size() {
		t.Fatalf("%d of %d bytes", got, l.Size())
	}
}
