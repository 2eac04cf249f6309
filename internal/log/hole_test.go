package log

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/record"
)

// TestBrokenChain flips each bit that leads from batch to batch, in a batch at each place of a
// segment: its offsets are lost and no others, whether the index leads behind it or not.
func TestBrokenChain(t *testing.T) {
	for name, at := range map[string][2]int{
		"length":     {record.OffLength, record.OffLeaderEpoch},
		"offset":     {record.OffBaseOffset, record.OffLength},
		"count":      {record.OffLastOffsetDelta, record.OffLastOffsetDelta + 4},
		"magic":      {record.OffMagic, record.OffCRC},
		"checksum":   {record.OffCRC, record.OffCRC + 1},
		"attributes": {record.OffAttributes, record.OffAttributes + 1},
	} {
		t.Run(name, func(t *testing.T) {
			for bit := 8 * at[0]; bit < 8*at[1]; bit++ {
				for _, interval := range []int64{1, 1 << 20} {
					for _, i := range []int{0, 4, 5, 6, 11} { // the first, the last of a segment, the first, and the last of the log
						c := newChain(t, uint64(bit))
						c.interval = interval
						c.opened()
						for len(*c.l.segs.Load()) < 2 || len(c.batches) < 12 {
							if len(c.batches) == 5 {
								c.roll(c.l)
							}
							c.add(1)
						}
						c.checkpoint()
						c.harm(i, bit)
						c.lostNoMore()
					}
				}
			}
		})
	}
}

// lostNoMore scrubs, starts without indexes, scrubs again and appends; nothing but the bad
// batches is lost by that.
func (c *chain) lostNoMore() {
	c.t.Helper()
	c.scrub()
	c.check()
	c.again("stop", true)
	c.scrub()
	c.check()
	c.add(2)
	c.sync()
	c.scrub()
	c.check()
	c.again("kill", true)
	c.check()
}

// sized is a batch of one record that is n bytes long.
func sized(n int, change ...func(*record.BatchHeader)) []byte {
	for size := n - record.HeaderSize; ; size-- {
		if b := batch(1, size, change...); len(b) <= n {
			if len(b) < n {
				panic(fmt.Sprint("no batch is that long: ", n))
			}
			return b
		}
	}
}

// without starts without the files of a log that have one of these suffixes.
func (w *world) without(suffixes ...string) {
	w.t.Helper()
	for _, name := range filesOf(w.t, w.disk, "data") {
		for _, suffix := range suffixes {
			if strings.HasSuffix(name, suffix) {
				w.must(w.disk.Remove(name))
			}
		}
	}
	w.open()
}

// doubled is a log of twelve batches of 256 bytes, each of a producer of its own and a second
// later than the one before. The length of that with offset 4 says 512: it seems to end where
// the next one does.
func doubled(t *testing.T) (*world, *Log) {
	w := newWorld(t)
	l := w.log("a")
	for i := range int64(12) {
		w.append(l, now(sized(256, idempotent(i, 0, 0)), secondOf(i)))
	}
	w.checkpoint()
	w.reopen()
	w.change(aLog, flip(4*256+record.OffLength+2))
	return w, w.log("a")
}

// TestLengthOfTwo: a length that reaches to the end of the next batch takes that with it
// neither from readers nor from the producers.
func TestLengthOfTwo(t *testing.T) {
	w, l := doubled(t)
	run, err := l.Read(0, 1<<20, 5, true) // to where offset 5 seems to be
	w.must(err)
	run.Release()
	w.scrub()
	wantRefused(t, l, 4, 5, 12)
	w.must(l.SetStartOffset(5))
	if at, ok, err := l.OffsetForTime(secondOf(5).UnixMilli(), 12); err != nil || !ok || at.Offset != 5 {
		t.Fatalf("time of 5: %+v %v %v", at, ok, err)
	}
	w.close()
	w.without(snapshotSuffix)
	for _, p := range w.log("a").Producers() {
		if p.ProducerID == 5 {
			return
		}
	}
	t.Fatalf("producer 5 is not known: %v", w.log("a").Producers())
}

// TestForgedBatch: a record can hold what looks like the batches behind its own, up to where
// that ends. It is not taken for one when a bit of its own batch flips, by whoever looks.
func TestForgedBatch(t *testing.T) {
	forged := record.Batch(batch(1, 50, idempotent(77, 0, 0)))
	forged.SetBaseOffset(5)
	forged.SetLeaderEpoch(0)
	var bl record.Builder
	bl.Reset(record.NewHeader(0), record.Compression{})
	bl.Append(epoch0.UnixMilli(), nil, nil, record.Header{Key: "k", Value: forged})
	outer, err := bl.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(outer, forged) {
		t.Fatal("the forged batch does not end with the record")
	}
	for name, bit := range map[string]int{"length": 8*record.OffLength + 20, "magic": 8 * record.OffMagic, "offset": 8*record.OffBaseOffset + 60, "count": 8*record.OffLastOffsetDelta + 30} {
		for _, last := range []bool{false, true} {
			for _, scrubbed := range []bool{false, true} {
				if name == "offset" && last && !scrubbed {
					continue // at the end of a log there may be a gap
				}
				t.Run(fmt.Sprint(name, last, scrubbed), func(t *testing.T) {
					w := newWorld(t)
					l := w.log("a")
					end := int64(0)
					add := func(p []byte) (pos int64) {
						pos, end = l.Size(), end+1
						w.append(l, slices.Clone(p))
						return pos
					}
					for range 4 {
						add(batch(1, 50, idempotent(1, 0, int32(end))))
					}
					if !scrubbed {
						w.checkpoint()
						w.reopen()
						l = w.log("a")
					}
					pos := int(add(outer))
					for !last && end < 8 {
						add(batch(1, 50, idempotent(1, 0, int32(end-1))))
					}
					if scrubbed {
						w.checkpoint()
					}
					w.change(aLog, func(p []byte) []byte {
						p[pos+bit/8] ^= 1 << (bit % 8)
						return p
					})
					if scrubbed {
						w.scrub()
						w.must(l.d.Checkpoint())
						w.close()
						w.without(snapshotSuffix)
					} else {
						w.kill()
					}
					l = w.log("a")
					if last && !scrubbed { // a write that was never finished
						wantRefused(t, l, 4, 4, 4)
					} else {
						wantRefused(t, l, 4, 5, end)
					}
					for _, p := range l.Producers() {
						if p.ProducerID == 77 {
							t.Fatalf("the forged batch counts: %+v", p)
						}
					}
				})
			}
		}
	}
}

// TestOffsetAfterAKill: recovery, too, finds the batch that is wrong where offsets overlap.
func TestOffsetAfterAKill(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(w *world, size int)
		to   int64
	}{
		"an offset": {func(w *world, size int) { w.change(aLog, flip(5*size+5)) }, 6},
		"a length and the next one's offset": {func(w *world, size int) {
			w.change(aLog, flip(5*size+record.OffLength))
			w.change(aLog, flip(6*size+7))
		}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.harm(w, unsynced(w))
			w.events = nil
			w.kill()
			wantRefused(t, w.log("a"), 5, c.to, 8)
			for _, e := range w.events {
				if q, ok := e.(Quarantined); ok && (q.From != 5 || q.To != c.to) {
					t.Errorf("told %v", q)
				}
				if cut, ok := e.(Truncated); ok {
					t.Errorf("told %v", cut)
				}
			}
		})
	}
}

// TestCoveredBy: ranges cover another one together.
func TestCoveredBy(t *testing.T) {
	list := []damagedRange{{2, 4}, {3, 6}, {6, 7}, {9, 10}}
	for d, want := range map[damagedRange]bool{{2, 7}: true, {5, 7}: true, {1, 4}: false, {2, 8}: false, {7, 9}: false, {9, 10}: true, {6, 10}: false, {3, 3}: true} {
		if d.coveredBy(list) != want {
			t.Errorf("%v: %v", d, !want)
		}
	}
}

// broken is a log of twelve batches in three segments of four, of which the one with offset 5
// has a length that leads nowhere, and is refused.
func broken(t *testing.T) (*world, *Log, int) {
	w := newWorld(t)
	l := w.log("a")
	size := 0
	for i := range int64(12) {
		if i > 0 && i%4 == 0 {
			w.roll(l)
		}
		size = len(now(batch(1, 100), secondOf(i)))
		w.append(l, now(batch(1, 100), secondOf(i)))
	}
	w.checkpoint()
	w.reopen()
	w.change(midLog, flip(size+record.OffLength))
	w.scrub()
	l = w.log("a")
	wantRefused(t, l, 5, 6, 12)
	w.events = nil
	return w, l, size
}

const (
	midLog  = aDir + "00000000000000000004.log"
	midHole = aDir + "00000000000000000005-00000000000000000006.corrupt"
)

// TestScrubPassesHoles: what was set aside is not read again.
func TestScrubPassesHoles(t *testing.T) {
	w, l, size := broken(t)
	read := w.dir.opt.Metrics.ScrubbedBytes.Load()
	w.scrub()
	if got := w.dir.opt.Metrics.ScrubbedBytes.Load() - read; got != l.Size()-int64(size) {
		t.Fatalf("read %d bytes of %d", got, l.Size())
	}
}

// TestRecoveryPassesHoles: a recovery that reads a segment again passes over what was set
// aside in it, and tells of what is missing only.
func TestRecoveryPassesHoles(t *testing.T) {
	for name, c := range map[string]struct {
		harm     func(w *world, size int)
		from, to int64
	}{
		"what is known is lost": {func(w *world, _ int) {
			w.must(errors.Join(w.disk.Remove("data/"+stateFile), w.disk.Remove("data/"+recoveryPointFile)))
		}, 5, 6},
		"the segment is cut": {func(w *world, size int) { w.change(midLog, cutAt(3*size)) }, 7, 8},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, size := broken(t)
			c.harm(w, size)
			w.kill()
			l := w.log("a")
			for at := range int64(12) {
				run, err := l.Read(at, 1, 12, true)
				if at == 5 || at >= c.from && at < c.to {
					if !errors.Is(err, ErrCorrupt) {
						t.Fatalf("read at %d: %v", at, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("read at %d: %v", at, err)
				}
				run.Release()
			}
			for _, e := range w.events {
				if q, ok := e.(Quarantined); ok && q.From <= 5 {
					t.Fatalf("told again: %v", q)
				}
			}
		})
	}
}

// TestHoleOfAnotherFile: a record that does not fit the segment, since a build that does not
// know it has changed that, moves nobody; what is refused stays so.
func TestHoleOfAnotherFile(t *testing.T) {
	for name, p := range map[string]func(size int) []byte{
		"another place":  func(size int) []byte { return hole{0, int64(3 * size), 6}.encode(4) },
		"no batch":       func(size int) []byte { return hole{0, int64(2*size + 1), 6}.encode(4) },
		"beyond the end": func(size int) []byte { return hole{0, int64(9 * size), 6}.encode(4) },
		"a flipped bit":  func(size int) []byte { return flip(20)(hole{int64(size), int64(2 * size), 6}.encode(4)) },
		"no segment":     func(size int) []byte { return hole{0, int64(size), 6}.encode(5) },
		"nothing":        func(int) []byte { return nil },
		"kept bytes":     func(size int) []byte { return make([]byte, holeSize) },
	} {
		t.Run(name, func(t *testing.T) {
			w, _, size := broken(t)
			w.close()
			w.change(midHole, func([]byte) []byte { return p(size) })
			w.open()
			l := w.log("a")
			if got := l.Damaged(); !covers(got, 5, 6) {
				t.Fatalf("refused %v", got)
			}
			run, err := l.Read(4, 1, 12, true)
			w.must(err)
			run.Release()
			w.scrub() // finds it again
			w.reopen()
			wantRefused(t, w.log("a"), 5, 6, 12)
		})
	}
}

// TestTruncateAroundHoles: a truncation behind it keeps what is refused, one to it or before
// drops it, and what is written then is read.
func TestTruncateAroundHoles(t *testing.T) {
	for to := int64(3); to <= 8; to++ {
		for _, noIndex := range []bool{false, true} {
			t.Run(fmt.Sprint(to, noIndex), func(t *testing.T) {
				w, l, _ := broken(t)
				if noIndex {
					w.close()
					w.without(indexSuffix, timeIndexSuffix)
					l = w.log("a")
				}
				w.must(l.TruncateTo(to))
				from, end := int64(5), to
				if to <= 6 {
					from, end = 0, min(to, 5)
				}
				if l.EndOffset() != end {
					t.Fatalf("ends at %d", l.EndOffset())
				}
				for range 3 {
					w.append(l, batch(1, 100))
				}
				w.sync()
				for range 2 {
					if to <= 6 {
						wantRefused(t, l, 0, 0, end+3)
					} else {
						wantRefused(t, l, from, 6, end+3)
					}
					w.scrub()
					w.kill()
					l = w.log("a")
				}
			})
		}
	}
}

// TestStartBehindAHole: what is refused is forgotten with the start behind it, and still does
// not stand in the way to what is behind.
func TestStartBehindAHole(t *testing.T) {
	w, l, _ := broken(t)
	w.must(l.SetStartOffset(6))
	w.close()
	w.without(indexSuffix)
	l = w.log("a")
	if got := l.Damaged(); len(got) > 0 {
		t.Fatalf("refused %v", got)
	}
	if got := readAll(t, l, 6); len(got) != 6 {
		t.Fatalf("read %v", got)
	}
	l.SetHighWatermark(12)
	w.must(l.SetStartOffset(8))
	w.retained(l, 12)
	w.clock.Advance(time.Hour)
	w.must(w.dir.emptyTrash(w.clock.Now()))
	w.reopen()
	if got := readAll(t, w.log("a"), 8); len(got) != 4 {
		t.Fatalf("read %v", got)
	}
}

// TestNoCompactionOfHoles: its positions would be those of another file, also where the
// checksum of what is in it is good.
func TestNoCompactionOfHoles(t *testing.T) {
	w, l, size := broken(t)
	w.change(midLog, flip(size+record.OffLength)) // good again
	w.change(midLog, flip(3*size+5))              // the last one's offset
	w.scrub()
	if got := l.Damaged(); !slices.Equal(got, []Range{{5, 6}, {7, 8}}) {
		t.Fatalf("refused %v", got)
	}
	was := w.content(midLog)
	l.SetConfig(func() Config { c := *l.Config(); compacted(&c); return c }())
	l.SetHighWatermark(12)
	if _, err := l.Compact(CompactOptions{Now: w.clock.Now()}); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	if !bytes.Equal(w.content(midLog), was) {
		t.Fatal("the segment is another")
	}
}

// TestTimesAroundHoles: whoever looks for a time where the answer may be among what is refused
// is told so, and nobody else.
func TestTimesAroundHoles(t *testing.T) {
	_, l, _ := broken(t)
	for at := range int64(12) {
		got, ok, err := l.OffsetForTime(secondOf(at).UnixMilli(), 12)
		if at == 5 || at == 6 {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("time of %d: %+v %v %v", at, got, ok, err)
			}
		} else if err != nil || !ok || got.Offset != at {
			t.Errorf("time of %d: %+v %v %v", at, got, ok, err)
		}
	}
}

// TestIndexBehindDamage: an index that was built only up to the damage is built again when a
// scrub has found the way behind it.
func TestIndexBehindDamage(t *testing.T) {
	w := newWorld(t)
	_, size := tenIndexed(w)
	w.close()
	w.change(aLog, flip(4*int(size)+record.OffLength))
	w.without(indexSuffix, timeIndexSuffix)
	l := w.log("a", func(c *Config) { c.IndexIntervalBytes = 1 })
	if _, err := l.Read(9, 1, 10, true); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	w.scrub()
	s := (*l.segs.Load())[0]
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n := s.offsets.count(); n != 8 { // not of the first, and not of the damaged one
		t.Fatalf("%d entries", n)
	}
}

// TestUnknownDamage: where no header tells, the index does; and without it a batch of which
// the offset is the damaged one's own is none that follows.
func TestUnknownDamage(t *testing.T) {
	smash := func(w *world, pos int) {
		w.change(aLog, func(p []byte) []byte {
			copy(p[pos:pos+record.HeaderSize], bytes.Repeat([]byte{0xfe}, record.HeaderSize))
			return p
		})
	}
	w := newWorld(t)
	l, size := tenIndexed(w)
	smash(w, 4*int(size))
	w.change(aLog, flip(6*int(size)-1)) // of the next
	w.scrub()
	if got := l.Damaged(); !slices.Equal(joined(got), []Range{{4, 6}}) {
		t.Errorf("refused %v", got)
	}

	w = newWorld(t)
	l, size = tenIndexed(w)
	w.change(aLog, flip(5*int(size)+5))
	w.change(aLog, flip(6*int(size)+7)) // 7, as the one behind it
	w.scrub()
	if got := l.Damaged(); !slices.Equal(joined(got), []Range{{5, 7}}) {
		t.Errorf("refused %v", got)
	}

	w = newWorld(t)
	l = w.log("a")
	forged := record.Batch(batch(1, 50))
	forged.SetLeaderEpoch(0)
	var bl record.Builder
	bl.Reset(record.NewHeader(0), record.Compression{})
	bl.Append(epoch0.UnixMilli(), nil, nil, record.Header{Key: "k", Value: forged})
	outer, err := bl.Build(nil)
	w.must(err)
	w.append(l, outer)
	w.append(l, batch(1, 50))
	w.checkpoint()
	smash(w, 0)
	w.scrub()
	if got := (*l.segs.Load())[0].passed(); !slices.Equal(got, holes{{0, int64(len(outer)), 1}}) {
		t.Errorf("passed over %v", got)
	}
	wantRefused(t, l, 0, 1, 2)
}

// TestHoleBeforeAHole: one may lead to another.
func TestHoleBeforeAHole(t *testing.T) {
	c := newChain(t, 1)
	c.add(12)
	c.checkpoint()
	for _, i := range []int{5, 4, 6} {
		c.harm(i, 8*record.OffBaseOffset+20)
		c.scrub()
		c.check()
		c.again("stop", true)
		c.check()
	}
}

// TestRefusedTwice: a range within another one, as of a build that found less, is not told.
func TestRefusedTwice(t *testing.T) {
	w, _, _ := broken(t)
	w.must(createSmall(w.fs, aDir+corruptName(damagedRange{4, 8}), nil))
	w.reopen()
	if got := w.log("a").Damaged(); !slices.Equal(got, []Range{{4, 8}}) {
		t.Fatalf("refused %v", got)
	}
	if got := readAll(t, w.log("a"), 8); len(got) != 4 {
		t.Fatalf("read %v", got)
	}
}

// TestRecoveryOfTwo: in a segment that is cut recovery finds what is wrong before the end, too,
// and loses neither what is between nor what is around.
func TestRecoveryOfTwo(t *testing.T) {
	w := newWorld(t)
	size := synced(w)
	w.change(bLog, flip(size+5)) // the offset of 4
	w.change(bLog, cutAt(3*size+30))
	w.kill()
	l := w.log("a")
	for at := range int64(10) {
		run, err := l.Read(at, 1, 10, true)
		if at == 4 || at == 6 {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("read at %d: %v", at, err)
			}
			continue
		}
		if err != nil || run.Len() != size {
			t.Fatalf("read at %d: %v", at, err)
		}
		run.Release()
	}
	if got := l.Damaged(); !slices.Equal(got, []Range{{4, 5}, {6, 7}}) {
		t.Fatalf("refused %v", got)
	}
}

// TestHoleIsCutOff: what a recovery cuts off takes the hole with it: what is written there then
// is no damage.
func TestHoleIsCutOff(t *testing.T) {
	w := newWorld(t)
	_, n := tenIndexed(w)
	size := int(n)
	w.change(aLog, flip(5*size+record.OffLength))
	w.scrub()
	w.change(aLog, flip(4*size-1))
	w.must(errors.Join(w.disk.Remove("data/"+stateFile), w.disk.Remove("data/"+recoveryPointFile), w.disk.SyncDir("data")))
	w.crash()
	l := w.log("a")
	start := l.EndOffset()
	for range 10 {
		w.append(l, batch(1, 130))
	}
	w.sync()
	l.forget() // where they are
	for at := start; at < l.EndOffset(); at++ {
		run, err := l.Read(at, 1, l.EndOffset(), true)
		if err != nil || run.NextOffset() != at+1 {
			t.Fatalf("read at %d, from %d on: %v", at, start, err)
		}
		run.Release()
	}
}

// TestStartBetweenHoles: a truncation to the start, which lies between two holes that touch,
// takes the one behind it: what is written there is no damage.
func TestStartBetweenHoles(t *testing.T) {
	w, l, size := broken(t)
	w.change(midLog, flip(2*size+record.OffLength))
	w.scrub()
	if got := (*l.segs.Load())[1].passed(); len(got) != 2 {
		t.Fatalf("holes: %v", got)
	}
	w.must(l.SetStartOffset(6))
	end, err := l.TruncateDamage()
	if err != nil || end != 6 {
		t.Fatal(end, err)
	}
	for range 3 {
		w.append(l, batch(1, 100))
	}
	w.checkpoint()
	for range 2 {
		l.forget()
		if got := readAll(t, l, 6); len(got) != 3 {
			t.Fatalf("read %v", got)
		}
		w.scrub()
		if got := l.Damaged(); len(got) > 0 {
			t.Fatalf("refused %v", got)
		}
		w.reopen()
		l = w.log("a")
	}
}

// TestZerosBehindAGap: a compaction leaves gaps, and zeros behind a batch that follows one are
// no lower offset.
func TestZerosBehindAGap(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	pos := 0
	for _, base := range []int64{0, 1, 5, 6, 7} {
		if base == 6 {
			pos = int(l.Size())
		}
		b := record.Batch(batch(1, 100))
		b.SetBaseOffset(base)
		b.SetLeaderEpoch(0)
		_, err := l.Append(b, AppendOptions{Origin: OriginReplication, Now: w.clock.Now()})
		w.must(err)
	}
	w.checkpoint()
	w.reopen()
	w.change(aLog, func(p []byte) []byte {
		copy(p[pos:], make([]byte, 100))
		return p
	})
	w.scrub()
	if got := w.log("a").Damaged(); !slices.Equal(got, []Range{{6, 7}}) {
		t.Fatalf("refused %v", got)
	}
}

// TestIndexBehindDamageAgain: the index is built again also when the scrub of its segment began
// anew meanwhile.
func TestIndexBehindDamageAgain(t *testing.T) {
	w := newWorld(t)
	_, size := tenIndexed(w)
	w.close()
	w.change(aLog, flip(4*int(size)+record.OffLength))
	w.without(indexSuffix, timeIndexSuffix)
	l := w.log("a", func(c *Config) { c.IndexIntervalBytes = 1 })
	if _, err := l.Read(9, 1, 10, true); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	c := &scrubbed{l: l}
	for !c.badIx {
		c.step(1)
	}
	l.forget()
	for done := false; !done; {
		_, done = c.step(1)
	}
	s := (*l.segs.Load())[0]
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n := s.offsets.count(); n != 8 {
		t.Fatalf("%d entries", n)
	}
}

// TestHolesOfOnePlace: a hole that was found to go further stays so at a start.
func TestHolesOfOnePlace(t *testing.T) {
	w, _, size := broken(t)
	w.change(midLog, func(p []byte) []byte {
		copy(p[2*size:2*size+100], make([]byte, 100))
		return p
	})
	w.reopen()
	w.scrub()
	for range 2 {
		l := w.log("a")
		if got := readAll(t, l, 7); len(got) != 5 {
			t.Errorf("read %v", got)
		}
		if got := (*l.segs.Load())[1].passed(); !slices.Equal(got, holes{{int64(size), int64(3 * size), 7}}) {
			t.Errorf("passed over %v", got)
		}
		w.reopen()
	}
}

// TestHoleAtTheEnd: a hole at the end of a file that is reserved further is one.
func TestHoleAtTheEnd(t *testing.T) {
	for _, torn := range []bool{false, true} {
		w := newWorld(t)
		l := w.log("a", func(c *Config) { c.Preallocate, c.SegmentBytes = !torn, 1<<20 })
		size := 0
		for range 8 {
			size = w.append(l, batch(1, 100)).Bytes
		}
		w.checkpoint()
		w.change(aLog, func(p []byte) []byte {
			copy(p[7*size:7*size+80], bytes.Repeat([]byte{0xfe}, 80))
			return p
		})
		w.scrub()
		w.must(w.dir.Checkpoint())
		if torn {
			w.append(l, batch(1, 100))
			w.change(aLog, cutAt(9*size-10))
		}
		w.kill()
		l = w.log("a")
		wantRefused(t, l, 7, 8, 8)
		if got := (*l.segs.Load())[0].passed(); !slices.Equal(got, holes{{int64(7 * size), int64(8 * size), 8}}) {
			t.Errorf("torn %v: passed over %v", torn, got)
		}
		wantRefused(t, l, 7, 8, 8)
		w.append(l, batch(1, 100))
		w.sync()
		l.forget()
		wantRefused(t, l, 7, 8, 9)
	}
}

// TestTimesOfRefusedEnds: what is refused at the end of a segment may be the answer, too.
func TestTimesOfRefusedEnds(t *testing.T) {
	for at, file := range map[int64]string{7: midLog, 11: aDir + segmentName(8, logSuffix)} {
		for name, bit := range map[string]func(size int) int{
			"a record": func(size int) int { return 4*size - 1 },
			"a length": func(size int) int { return 3*size + record.OffLength },
		} {
			t.Run(fmt.Sprint(at, name), func(t *testing.T) {
				w := newWorld(t)
				l := w.log("a")
				size := 0
				for i := range int64(12) {
					if i > 0 && i%4 == 0 {
						w.roll(l)
					}
					size = w.append(l, now(batch(1, 100), secondOf(i))).Bytes
				}
				w.checkpoint()
				w.reopen()
				w.change(file, flip(bit(size)))
				w.scrub()
				l = w.log("a")
				for i := range int64(12) {
					got, ok, err := l.OffsetForTime(secondOf(i).UnixMilli(), 12)
					if i == at {
						if !errors.Is(err, ErrCorrupt) {
							t.Errorf("time of %d: %+v %v %v", i, got, ok, err)
						}
					} else if err != nil || !ok || got.Offset != i {
						t.Errorf("time of %d: %+v %v %v", i, got, ok, err)
					}
				}
				if got, ok, err := l.OffsetForTime(secondOf(at).UnixMilli(), at); err != nil || ok {
					t.Errorf("time of %d before it: %+v %v %v", at, got, ok, err)
				}
				got, ok, err := l.MaxTimestampOffset(12)
				if at == 11 && !errors.Is(err, ErrCorrupt) || at == 7 && (err != nil || got.Offset != 11) {
					t.Errorf("largest: %+v %v %v", got, ok, err)
				}
			})
		}
	}
}
