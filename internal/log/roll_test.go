package log

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/record"
)

// stamped is a batch of one record with a timestamp.
func stamped(ts int64) []byte {
	var b record.Builder
	b.Reset(record.NewHeader(0), record.Compression{})
	b.Append(ts, []byte("k"), []byte("v"))
	p, err := b.Build(nil)
	if err != nil {
		panic(err)
	}
	return p
}

func (l *Log) bases() (all []int64) {
	for _, s := range *l.segs.Load() {
		all = append(all, s.base)
	}
	return all
}

func wantBases(t *testing.T, l *Log, want ...int64) {
	t.Helper()
	if got := l.bases(); !slices.Equal(got, want) {
		t.Fatalf("segments begin at %d, want %d", got, want)
	}
}

// anyTime lets records have any timestamp.
func anyTime(c *Config) { c.TimestampAfterMaxMs = math.MaxInt64 }

// TestRollByTime: the timestamps of records count, from the first batch of a segment on,
// not the clock.
func TestRollByTime(t *testing.T) {
	w := newWorld(t)
	rules := func(c *Config) { anyTime(c); c.SegmentMs = 1000 }
	l := w.log("a", rules)
	const t0 = 1_000_000
	w.append(l, stamped(t0))
	w.clock.Advance(time.Hour)
	w.append(l, stamped(t0+900))
	w.append(l, stamped(t0+1000))
	w.append(l, stamped(t0-5000))
	wantBases(t, l, 0)
	w.append(l, stamped(t0+1001))
	wantBases(t, l, 0, 4)
	w.append(l, stamped(t0+2001))
	wantBases(t, l, 0, 4)
	w.sync()
	for _, again := range []func(){w.kill, w.reopen, w.crash} { // what the first batch's time is, the file says
		again()
		l = w.log("a", rules)
		w.append(l, stamped(t0+2001))
		wantBases(t, l, 0, 4)
		w.sync()
	}
	w.append(l, stamped(t0+2002))
	wantBases(t, l, 0, 4, 9)
	if e, ok := saw[Rolled](w); !ok || e.Base != 9 || e.Sealed != 4 {
		t.Fatalf("%+v", e)
	}
	if got := len(readAll(t, l, 0)); got != 10 {
		t.Fatalf("%d batches are read", got)
	}
}

// TestRollByTimeWithoutTimestamps: then a segment is as old as its file.
func TestRollByTimeWithoutTimestamps(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", func(c *Config) { c.SegmentMs = 1000 })
	w.append(l, stamped(record.NoTimestamp))
	w.clock.Advance(time.Second)
	w.append(l, stamped(record.NoTimestamp))
	wantBases(t, l, 0)
	w.clock.Advance(time.Millisecond)
	w.append(l, stamped(record.NoTimestamp))
	wantBases(t, l, 0, 2)
}

// TestRollByAppendTime: of a topic with LogAppendTime the broker's clock decides.
func TestRollByAppendTime(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", func(c *Config) { c.SegmentMs, c.TimestampType = 1000, record.LogAppendTime })
	w.append(l, stamped(5))
	w.clock.Advance(time.Second)
	w.append(l, stamped(math.MaxInt32))
	wantBases(t, l, 0)
	w.clock.Advance(time.Millisecond)
	w.append(l, stamped(5))
	wantBases(t, l, 0, 2)
}

// TestRollJitter: segments roll earlier by less than the jitter, each by its own amount,
// and never at once.
func TestRollJitter(t *testing.T) {
	w := newWorld(t)
	for _, jitter := range []int64{0, 400, 5000} {
		seen := map[int64]bool{}
		for i := range 30 {
			l := w.log(fmt.Sprint("jitter-", jitter, "-", i), anyTime, func(c *Config) { c.SegmentMs, c.SegmentJitterMs = 1000, jitter })
			w.append(l, stamped(0))
			early := l.jitter(0, l.Config())
			if early < 0 || early > 0 && early >= min(jitter, 1000) {
				t.Fatalf("%d ms early, the jitter is %d", early, jitter)
			}
			seen[early] = true
			w.append(l, stamped(1000-early))
			wantBases(t, l, 0)
			w.append(l, stamped(1001-early))
			wantBases(t, l, 0, 2)
		}
		if many := len(seen) > 15; many != (jitter > 0) {
			t.Fatalf("jitter %d: %d different ones", jitter, len(seen))
		}
	}
}

// TestRollByFullIndex: the offset index takes what segment.index.bytes hold of its
// entries; the time index keeps one for the roll.
func TestRollByFullIndex(t *testing.T) {
	for name, c := range map[string]struct {
		step  int64 // between timestamps
		bytes int64
		want  []int64 // the first batch has no entry
	}{
		"offset index": {0, 5*offsetEntrySize + 5, []int64{0, 6, 12}},
		"time index":   {1, 5*timeEntrySize + 7, []int64{0, 5, 10, 15}},
	} {
		w := newWorld(t)
		l := w.log("a", func(cfg *Config) { cfg.IndexBytes, cfg.IndexIntervalBytes = c.bytes, 0 })
		for i := range int64(16) {
			w.append(l, stamped(1000+c.step*i))
		}
		if got := l.bases(); !slices.Equal(got, c.want) {
			t.Fatalf("%s: segments begin at %d, want %d", name, got, c.want)
		}
		w.sync()
		w.reopen()
		for _, base := range c.want[:len(c.want)-1] {
			for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
				info, err := w.disk.Stat("data/a-0/" + segmentName(base, suffix))
				if err != nil || info.Size() > c.bytes {
					t.Fatalf("%s: %s: %v bytes (%v)", name, suffix, info, err)
				}
			}
		}
		if got := len(readAll(t, w.log("a"), 0)); got != 16 {
			t.Fatalf("%s: %d batches are read", name, got)
		}
	}
}

// replicated appends a batch as a follower does: at the offset that it has.
func (w *world) replicated(l *Log, base int64) {
	w.t.Helper()
	b := record.Batch(stamped(1000))
	b.SetBaseOffset(base)
	if _, err := l.Append(b, AppendOptions{Origin: OriginReplication, Now: w.clock.Now()}); err != nil {
		w.t.Fatal(err)
	}
}

// TestRollByOffset: a segment holds offsets up to 2147483647 above its base.
func TestRollByOffset(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	const far = math.MaxInt32
	w.replicated(l, 0)
	w.replicated(l, far)
	wantBases(t, l, 0)
	w.replicated(l, far+1)
	wantBases(t, l, 0, far+1)
	w.replicated(l, 1<<40) // does not fit behind what it follows either
	wantBases(t, l, 0, far+1, 1<<40)
	other := w.log("b")
	w.replicated(other, 1<<35) // nor into an empty log
	wantBases(t, other, 1<<35)
	if other.SyncedOffset() != 1<<35 {
		t.Fatalf("synced to %d before a round", other.SyncedOffset())
	}
	w.sync()
	for _, again := range []func(){w.kill, w.crash, w.reopen} {
		again()
		l = w.log("a")
		if got := readAll(t, l, 0); !slices.Equal(got, []int64{0, far, far + 1, 1 << 40}) {
			t.Fatalf("read %d", got)
		}
		if got := readAll(t, w.log("b"), 1<<35); !slices.Equal(got, []int64{1 << 35}) {
			t.Fatalf("read %d", got)
		}
		if e, told := saw[Truncated](w); told {
			t.Fatal(e)
		}
	}
}

// TestRollBySize: a segment takes no byte more than segment.bytes, and a changed limit
// holds for the segment that is there.
func TestRollBySize(t *testing.T) {
	w := newWorld(t)
	size := int64(len(batch(1, 100)))
	l := w.log("a", func(c *Config) { c.SegmentBytes = 3 * size })
	for range 4 {
		w.append(l, batch(1, 100))
	}
	wantBases(t, l, 0, 3)
	c := *l.Config()
	c.SegmentBytes = 2*size - 1
	l.SetConfig(c)
	w.append(l, batch(1, 100))
	wantBases(t, l, 0, 3, 4)
	c.SegmentBytes = size - 1
	l.SetConfig(c)
	if _, err := l.Append(batch(1, 100), AppendOptions{Now: w.clock.Now()}); err == nil || !strings.Contains(err.Error(), "segment") {
		t.Fatalf("a batch larger than a segment: %v", err)
	}
	wantBases(t, l, 0, 3, 4)
	if l.EndOffset() != 5 {
		t.Fatalf("ends at %d", l.EndOffset())
	}
}
