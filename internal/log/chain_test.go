package log

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

// chain is a log of many batches, one bit of which is flipped: the batch that has it may be
// missing from then on, and nothing else.
type chain struct {
	*world
	rng      *rand.Rand
	l        *Log
	interval int64
	batches  []record.Batch
	bad      map[int]bool // the batches with flipped bits
	epoch    int32
	plain    bool // no record has what looks like a batch
	did      []string
}

func newChain(t testing.TB, seed uint64) *chain {
	c := &chain{world: newWorld(t), rng: env.NewRand(seed), bad: map[int]bool{}}
	c.interval = []int64{1, 300, 1000, 1 << 20}[c.rng.IntN(4)]
	return c.opened()
}

func (c *chain) opened() *chain {
	c.l = c.log("a", func(o *Config) { o.SegmentBytes, o.IndexIntervalBytes = 6000, c.interval })
	return c
}

func (c *chain) note(format string, a ...any) { c.did = append(c.did, fmt.Sprintf(format, a...)) }

func (c *chain) fail(format string, a ...any) {
	c.t.Helper()
	c.t.Fatalf("%s\n%s\n%v", strings.Join(c.did, "\n"), fmt.Sprintf(format, a...), c.events)
}

// value is some bytes, or what looks like a batch that stands in the log about here.
func (c *chain) value() []byte {
	if c.plain || c.rng.IntN(3) > 0 {
		return make([]byte, c.rng.IntN(300))
	}
	var v []byte
	for at := c.l.EndOffset() + c.rng.Int64N(3); c.rng.IntN(3) > 0; {
		b := record.Batch(now(batch(1+c.rng.IntN(2), c.rng.IntN(60)), secondOf(at)))
		b.SetBaseOffset(at)
		b.SetLeaderEpoch(c.epoch)
		v, at = append(v, b...), b.NextOffset()
	}
	return v
}

// add appends n batches, each a second later than the one before.
func (c *chain) add(n int) {
	c.t.Helper()
	for range n {
		if c.rng.IntN(8) == 0 {
			c.epoch++
		}
		var bl record.Builder
		bl.Reset(record.NewHeader(0), record.Compression{})
		for range 1 + c.rng.IntN(3) {
			bl.Append(c.time(len(c.batches)), nil, c.value(), record.Header{Key: "h", Value: c.value()})
		}
		p, err := bl.Build(nil)
		c.must(err)
		info, err := c.l.Append(p, AppendOptions{Now: c.clock.Now(), LeaderEpoch: c.epoch})
		c.must(err)
		if want := c.end(); info.FirstOffset != want {
			c.fail("appended at %d, want %d", info.FirstOffset, want)
		}
		c.batches = append(c.batches, slices.Clone(record.Batch(p)))
	}
	c.note("%d batches were added, up to offset %d", n, c.end())
}

func (c *chain) time(batch int) int64 { return secondOf(int64(batch)).UnixMilli() }

func (c *chain) end() int64 {
	if n := len(c.batches); n > 0 {
		return c.batches[n-1].NextOffset()
	}
	return 0
}

// place is where a batch stands in its segment's file.
func (c *chain) place(batch int) (file string, pos int) {
	b := c.batches[batch]
	list := *c.l.segs.Load()
	s := list[find(list, b.BaseOffset())]
	for _, o := range c.batches[:batch] {
		if o.BaseOffset() >= s.base {
			pos += len(o)
		}
	}
	return s.path(logSuffix), pos
}

// harm flips a bit of a batch.
func (c *chain) harm(batch int, bit int) {
	b := c.batches[batch]
	file, pos := c.place(batch)
	c.change(file, func(p []byte) []byte {
		if !bytes.Equal(p[pos:pos+len(b)], b) {
			c.fail("batch %d is not at %d", batch, pos)
		}
		p[pos+bit/8] ^= 1 << (bit % 8)
		return p
	})
	c.bad[batch] = true
	c.note("bit %d of byte %d of batch %d, offsets %d to %d, at %d of %s is flipped; index interval %d", bit%8, bit/8, batch,
		b.BaseOffset(), b.LastOffset(), pos, file, c.interval)
}

// smash puts other bytes in the place of up to 500.
func (c *chain) smash() {
	i := c.rng.IntN(len(c.batches))
	file, pos := c.place(i)
	at, n := c.rng.IntN(len(c.batches[i])), 1+c.rng.IntN(500)
	c.change(file, func(p []byte) []byte {
		n = min(n, len(p)-pos-at)
		for k := range n {
			p[pos+at+k] = byte(c.rng.Uint32()) | 128
		}
		return p
	})
	c.note("%d bytes from %d of %s on are others", n, pos+at, file)
	for left := at + n; left > 0; i++ {
		c.bad[i] = true
		left -= len(c.batches[i])
	}
}

// again stops and starts, without indexes if that is asked for.
func (c *chain) again(how string, noIndex bool) {
	c.t.Helper()
	c.note("%s; without indexes: %v", how, noIndex)
	c.events = nil
	segs := *c.l.segs.Load()
	switch how {
	case "stop":
		c.close()
	case "kill":
		c.must(c.dir.lock.Close())
	default:
		c.disk = c.disk.CrashClone(nil)
		c.disk.SetClock(c.clock)
		c.fs, c.opt.BootID = c.disk, c.opt.BootID+"+"
	}
	if noIndex {
		for _, s := range segs {
			c.must(errors.Join(removeIfThere(c.fs, s.path(indexSuffix)), removeIfThere(c.fs, s.path(timeIndexSuffix))))
		}
	}
	c.open()
	c.opened()
}

// meet has readers look at everything, whatever they meet.
func (c *chain) meet() {
	for _, b := range c.batches {
		if run, err := c.l.Read(b.BaseOffset(), 1, c.l.EndOffset(), true); err == nil {
			run.Release()
		}
		_, _, _ = c.l.OffsetForTime(b.MaxTimestamp(), c.l.EndOffset())
	}
}

// check wants all batches but the bad ones, and those refused.
func (c *chain) check() {
	c.t.Helper()
	if c.l.EndOffset() != c.end() || c.l.StartOffset() != 0 {
		c.fail("the log has %d to %d, want 0 to %d", c.l.StartOffset(), c.l.EndOffset(), c.end())
	}
	var want []Range
	for i := range c.batches {
		if c.bad[i] {
			want = append(want, Range{c.batches[i].BaseOffset(), c.batches[i].NextOffset()})
		}
	}
	if got := c.l.Damaged(); !slices.Equal(joined(got), joined(want)) {
		c.fail("refused: %v, want %v", got, want)
	}
	for i, b := range c.batches {
		run, err := c.l.Read(b.BaseOffset(), 1, c.end(), true)
		if c.bad[i] {
			if !errors.Is(err, ErrCorrupt) {
				c.fail("the bad batch is read: %v", err)
			}
			continue
		}
		if err != nil {
			c.fail("read of batch %d, offset %d: %v", i, b.BaseOffset(), err)
		}
		c.wantRun(run, i)
		at, ok, err := c.l.OffsetForTime(c.time(i), c.end())
		if c.bad[i-1] && errors.Is(err, ErrCorrupt) {
			continue
		}
		if err != nil || !ok || at.Offset != b.BaseOffset() {
			c.fail("time of batch %d, offset %d: %+v %v %v", i, b.BaseOffset(), at, ok, err)
		}
	}
	seen := 0
	for offset := int64(0); offset < c.end(); {
		run, err := c.l.Read(offset, 2000, c.end(), true)
		if to, bad := c.l.DamagedTo(offset); bad {
			for offset = to; seen < len(c.batches) && c.batches[seen].BaseOffset() < to; seen++ {
			}
			continue
		}
		if err != nil || run.Len() == 0 {
			c.fail("read at %d: %v", offset, err)
		}
		offset = run.NextOffset()
		seen += c.wantRun(run, seen)
	}
	if seen != len(c.batches) {
		c.fail("read %d batches of %d", seen, len(c.batches))
	}
}

// joined are ascending ranges without those that touch.
func joined(list []Range) (all []Range) {
	for _, r := range list {
		if n := len(all); n > 0 && r.From <= all[n-1].To {
			all[n-1].To = max(all[n-1].To, r.To)
		} else {
			all = append(all, r)
		}
	}
	return all
}

// wantRun wants the bytes of batches from the first one on, and counts them.
func (c *chain) wantRun(run *Run, first int) (n int) {
	c.t.Helper()
	defer run.Release()
	p := make([]byte, run.Len())
	if _, err := run.ReadAt(p, 0); err != nil {
		c.fail("%v", err)
	}
	for ; len(p) > 0; n++ {
		i := first + n
		if i >= len(c.batches) || c.bad[i] || !bytes.HasPrefix(p, c.batches[i]) {
			c.fail("the run has other bytes than batch %d", i)
		}
		p = p[len(c.batches[i]):]
	}
	return n
}

var stops = []string{"stop", "kill", "power cut"}

// flip flips a bit of some batch that is synced and recorded.
func (c *chain) flip() (bit int) {
	i := c.rng.IntN(len(c.batches))
	if c.bad[i] {
		return 0
	}
	bits := 8 * len(c.batches[i])
	if c.rng.IntN(3) > 0 {
		bits = 8 * 27 // up to the count of offsets: what leads from batch to batch
	}
	bit = c.rng.IntN(bits)
	c.harm(i, bit)
	return bit
}

// live goes through what may come after a damage; more, if it is not nil, does another one.
func (c *chain) live(early bool, more func()) {
	c.t.Helper()
	r := c.rng
	if early && r.IntN(2) == 0 {
		c.again(stops[r.IntN(3)], r.IntN(2) == 0)
	}
	if r.IntN(2) == 0 {
		c.note("readers")
		c.meet()
	}
	if r.IntN(3) == 0 {
		c.add(1 + r.IntN(4))
		c.sync()
	}
	for told := 0; ; {
		c.note("scrub")
		c.events = nil
		c.scrub()
		if e, is := saw[Quarantined](c.world); is && told == len(c.bad) {
			c.fail("told again: %v", e)
		}
		told = len(c.bad)
		c.check()
		if r.IntN(2) == 0 {
			c.add(1 + r.IntN(6))
			c.sync()
			c.check()
		}
		if r.IntN(3) == 0 {
			c.checkpoint()
		}
		c.again(stops[r.IntN(3)], r.IntN(2) == 0)
		c.check()
		if r.IntN(3) == 0 {
			break
		}
		if more != nil && r.IntN(3) == 0 {
			c.checkpoint() // what is in the journal alone a start writes again
			more()
		}
	}
	c.mend()
}

// mend cuts off the damage and writes the same again.
func (c *chain) mend() {
	c.t.Helper()
	first := slices.Min(slices.Collect(maps.Keys(c.bad)))
	from := c.batches[first].BaseOffset()
	end, err := c.l.TruncateDamage()
	if err != nil || end != from {
		c.fail("cut off to %d, want %d: %v", end, from, err)
	}
	c.batches, c.bad = c.batches[:first], map[int]bool{}
	c.note("cut off to %d", end)
	c.check()
	c.add(8)
	c.sync()
	c.scrub()
	c.check()
	c.again(stops[c.rng.IntN(3)], false)
	c.check()
}

// seeds runs a test of a chain with many seeds.
func seeds(t *testing.T, n uint64, fn func(*chain)) {
	if testing.Short() {
		n /= 10
	}
	for seed := range n {
		c := newChain(t, seed)
		c.note("seed %d", seed)
		fn(c)
	}
}

func (c *chain) begin() {
	c.add(10 + c.rng.IntN(30))
	c.checkpoint()
	if c.rng.IntN(2) == 0 {
		c.again("stop", false)
		c.meet()
	}
}

// TestFlippedBits flips any bit anywhere in a log of many batches, or several in some: by
// scrubs, starts, lost indexes and appends exactly the batches that have one are lost.
func TestFlippedBits(t *testing.T) {
	seeds(t, 400, func(c *chain) {
		c.begin()
		most := 1 + c.rng.IntN(3)
		bit := c.flip()
		// A start may take the lower leader epoch of an epoch's first batch for true.
		c.live(bit < 8*record.OffLeaderEpoch || bit >= 8*record.OffMagic, func() {
			if len(c.bad) < most {
				c.flip()
			}
		})
	})
}

// TestSmashedBytes overwrites bytes anywhere in a log of many batches: exactly the batches
// that had them are lost.
func TestSmashedBytes(t *testing.T) {
	seeds(t, 400, func(c *chain) {
		c.plain = true
		c.begin()
		c.smash()
		c.live(true, nil)
	})
}
