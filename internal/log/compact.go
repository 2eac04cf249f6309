package log

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/record"
)

// CompactOptions say how compaction works.
type CompactOptions struct {
	Now time.Time // wall clock
	// BufferBytes bounds the map of keys (log.cleaner.dedupe.buffer.size): 24 bytes per
	// key. What does not fit is left to the next time. 128 MiB.
	BufferBytes int64
	// Throttle is told how many bytes were read or written, and may block
	// (log.cleaner.io.max.bytes.per.second).
	Throttle func(bytes int)
	// Stop is asked now and then whether to give up.
	Stop func() bool
}

func (o *CompactOptions) fill() {
	if o.BufferBytes <= 0 {
		o.BufferBytes = 128 << 20
	}
	if o.Throttle == nil {
		o.Throttle = func(int) {}
	}
	if o.Stop == nil {
		o.Stop = func() bool { return false }
	}
}

// Compacted tells what one compaction did.
type Compacted struct {
	Log          LogID
	From, To     int64 // the dirty offsets that were taken into the map
	Keys         int
	ReadBytes    int64
	WrittenBytes int64
	Removed      int64 // records
	Segments     int   // before; 0: there was nothing to do
}

// errStopped ends a compaction that was told to stop, or whose segments were changed
// by somebody else meanwhile.
var errStopped = errors.New("compaction stopped")

// CompactOnce compacts the log that is due and has the largest part to clean; ok is
// false when none is due.
func (d *Dir) CompactOnce(o CompactOptions) (res Compacted, ok bool, err error) {
	o.fill()
	var best *Log
	var most float64
	for _, l := range d.all() {
		if !l.cfg.Load().Compact || l.d.Failed() != nil || !l.mayBeDirty() {
			continue
		}
		r, err := l.cleanable(o.Now)
		if err != nil {
			if !errors.Is(err, ErrDeleted) && !errors.Is(err, ErrClosed) {
				d.event(CompactionFailed{Log: l.ID(), Err: err})
			}
			continue
		}
		if r.due && (best == nil || r.ratio > most) {
			best, most = l, r.ratio
		}
	}
	if best == nil {
		return Compacted{}, false, nil
	}
	res, err = best.Compact(o)
	return res, true, err
}

// mayBeDirty spares logs that were not touched since they were found clean to the end.
func (l *Log) mayBeDirty() bool {
	if l.segs.Load() != nil {
		return true
	}
	saved := l.trusted()
	return saved == nil || len(saved.segs) > 1
}

// cleanRange is what compaction may work on.
type cleanRange struct {
	list     []*segment // sealed ones below the limit
	from, to int64      // dirty offsets
	ratio    float64    // of dirty bytes in all
	due      bool
}

// cleanable finds the dirty part: from where the last compaction ended, to the active
// segment, the first unstable offset, the high watermark, or the first segment that
// is younger than min.compaction.lag.ms.
func (l *Log) cleanable(now time.Time) (r cleanRange, err error) {
	all, err := l.segments()
	if err != nil {
		return r, err
	}
	if l.uncleanable.Load() || len(all) < 2 {
		return r, nil
	}
	cfg := l.cfg.Load()
	l.mu.Lock()
	point := l.dirty.point // gaps are only looked for behind it
	l.mu.Unlock()
	limit := min(all[len(all)-1].base, l.unstable.Load(), point)
	if hw := l.hw.Load(); hw >= 0 {
		limit = min(limit, hw)
	}
	r.from = max(l.cleaned.Load(), l.start.Load(), all[0].base)
	if r.from > l.end.Load() {
		r.from = max(l.start.Load(), all[0].base)
	}
	r.to = limit
	var clean, dirty int64
	oldest := int64(math.MaxInt64)
	for i, s := range all[:len(all)-1] {
		end := l.segmentEnd(all, i)
		if end > limit { // whole segments only
			break
		}
		ts, _, err := s.largest()
		if err != nil {
			return r, storageError("compaction", err)
		}
		if end > r.from && cfg.MinCompactLagMs > 0 && ts > now.UnixMilli()-cfg.MinCompactLagMs {
			r.to = min(r.to, s.base)
			break
		}
		r.list = append(r.list, s)
		if end <= r.from {
			clean += s.size.Load()
			continue
		}
		dirty += s.size.Load()
		oldest = min(oldest, max(ts, 0))
	}
	if r.to <= r.from || dirty == 0 {
		return cleanRange{}, nil
	}
	r.to = l.segmentEnd(all, len(r.list)-1)
	r.ratio = float64(dirty) / float64(clean+dirty)
	tooOld := cfg.MaxCompactLagMs < math.MaxInt64 && now.UnixMilli()-oldest > cfg.MaxCompactLagMs
	r.due = r.ratio > cfg.MinCleanable || tooOld
	return r, nil
}

// Compact keeps the latest record of every key in the sealed segments, whether or not
// that is due. It reads the dirty part twice and the clean part once, holds no lock
// while it does, and replaces segments in groups, each atomically. Damage ends it and
// takes the log out of compaction until it is opened again.
func (l *Log) Compact(o CompactOptions) (res Compacted, err error) {
	o.fill()
	res.Log = l.ID()
	if !l.compacting.TryLock() {
		return res, nil
	}
	defer l.compacting.Unlock()
	r, err := l.cleanable(o.Now)
	if err != nil || len(r.list) == 0 {
		return res, err
	}
	c := &compaction{l: l, o: &o, cfg: l.cfg.Load(), res: &res, r: r}
	if err := c.run(); err != nil {
		if errors.Is(err, errStopped) {
			return res, nil
		}
		if errors.Is(err, ErrCorrupt) {
			l.uncleanable.Store(true)
		} else if !errors.Is(err, ErrStorage) {
			err = storageError("compaction", err)
		}
		l.d.event(CompactionFailed{Log: l.ID(), Err: err})
		return res, err
	}
	m := l.d.opt.Metrics
	m.Compactions.Add(1)
	m.CompactionReadBytes.Add(res.ReadBytes)
	m.CompactionWrittenBytes.Add(res.WrittenBytes)
	l.d.event(CompactionDone{res})
	return res, nil
}

// compaction is one run over one log.
type compaction struct {
	l     *Log
	o     *CompactOptions
	cfg   *Config
	res   *Compacted
	r     cleanRange
	keys  *offsetMap
	last  map[int64]lastBatch // of the producers that are remembered
	dirty map[int64]int64     // the last offset of each producer's last batch in the map
	point int64               // batches from here on may be lost yet
	txns  *cleanTxns
	build record.Builder
}

// lastBatch is the last batch of a producer, which must not vanish while the producer
// is remembered: its sequence would be lost with it.
type lastBatch struct {
	offset int64 // -1: only a marker
	epoch  int16
}

func (c *compaction) run() error {
	c.l.mu.Lock()
	c.point = c.l.dirty.point
	c.l.mu.Unlock()
	if err := c.mapKeys(); err != nil {
		return err
	}
	c.res.From, c.res.To, c.res.Keys = c.r.from, c.keys.end, c.keys.len()
	c.rememberProducers()
	var err error
	if c.txns, err = newCleanTxns(c.l, c.r.list[0].base, c.keys.end); err != nil {
		return err
	}
	list := c.r.list
	for len(list) > 0 && list[0].base < c.keys.end {
		n := c.group(list)
		if err := c.replace(list[:n]); err != nil {
			return err
		}
		c.res.Segments += n
		list = list[n:]
	}
	c.l.mu.Lock()
	c.l.cleaned.Store(c.keys.end)
	c.l.touch()
	c.l.mu.Unlock()
	return nil
}

func (c *compaction) rememberProducers() {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.last = make(map[int64]lastBatch, len(c.l.producers.m))
	for id, p := range c.l.producers.m {
		b := lastBatch{offset: -1, epoch: p.epoch}
		if p.n > 0 {
			b.offset = p.batches[p.n-1].lastOffset
		}
		c.last[id] = b
	}
}

// group is how many segments from the first on fit into one.
func (c *compaction) group(list []*segment) int {
	n := 1
	size, entries := list[0].size.Load(), list[0].entries()
	for n < len(list) && list[n].base < c.keys.end {
		size += list[n].size.Load()
		entries += list[n].entries()
		end := c.l.end.Load()
		if n+1 < len(list) {
			end = list[n+1].base
		}
		if size > c.cfg.SegmentBytes || entries*timeEntrySize > c.cfg.IndexBytes || end-1-list[0].base > math.MaxInt32 {
			break
		}
		n++
	}
	return n
}

// entries is the number of entries in the larger of its indexes.
func (s *segment) entries() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return int64(max(s.offsets.count(), s.times.count()))
}

// mapKeys takes the keys of the dirty part into the map, each with its last offset.
// Records of aborted transactions do not count.
func (c *compaction) mapKeys() error {
	c.keys = newOffsetMap(c.o.BufferBytes, c.r.to-c.r.from)
	txns, err := newCleanTxns(c.l, c.r.from, c.r.to)
	if err != nil {
		return err
	}
	c.keys.end, c.dirty = c.r.from, map[int64]int64{}
	for i, s := range c.r.list {
		if i+1 < len(c.r.list) && c.r.list[i+1].base <= c.r.from {
			continue
		}
		full := false
		err := c.eachBatch(s, func(h header, b record.Batch) (bool, error) {
			if h.last < c.r.from {
				return true, nil
			}
			if h.base >= c.r.to {
				return false, nil
			}
			if b.IsControl() {
				txns.marker(b, nil)
			} else if !txns.aborted(b) {
				fits, err := c.mapBatch(b)
				if err != nil || !fits {
					full = !fits
					return false, err
				}
			}
			c.keys.end = h.last + 1
			if b.HasProducerID() && !b.IsControl() {
				c.dirty[b.ProducerID()] = h.last
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		if full {
			break
		}
	}
	if c.keys.end == c.r.from && c.keys.len() == c.keys.max {
		return fmt.Errorf("one batch has more keys than %d bytes of dedupe buffer hold", c.o.BufferBytes)
	}
	return nil
}

// mapBatch enters the keys of one batch, all or (false) none.
func (c *compaction) mapBatch(b record.Batch) (fits bool, err error) {
	if c.keys.len()+int(b.Count()) > c.keys.max && c.keys.end > c.r.from {
		return false, nil
	}
	for r, err := range b.Records(maxLookup) {
		if err != nil {
			return false, err
		}
		if r.Key == nil || r.Offset < c.r.from {
			continue
		}
		if !c.keys.put(r.Key, r.Offset) {
			return false, nil
		}
	}
	return true, nil
}

// eachBatch reads, checks and hands out the batches of a segment until fn says stop.
func (c *compaction) eachBatch(s *segment, fn func(header, record.Batch) (bool, error)) error {
	f, err := s.file.acquire()
	if errors.Is(err, errGone) {
		return errStopped
	}
	if err != nil {
		return err
	}
	defer s.file.release()
	limit := s.size.Load()
	if list := s.passed(); len(list) > 0 { // positions would be others, and what is in them may look good
		return damaged("bytes %d to %d of segment %d", list[0].at, list[0].to, s.base)
	}
	sc := newScanner(f, limit)
	next := s.base
	for pos := int64(0); pos < limit; {
		if c.o.Stop() {
			return errStopped
		}
		h, b, err := sc.batch(pos, next)
		if b != nil && mutant.On("log/compaction-takes-damage") {
			err = nil
		}
		if err == nil && int64(len(b)) < h.size {
			b, err = readBatch(f, pos, limit)
		}
		if err != nil {
			return c.l.readFailure(err, s, next)
		}
		more, err := fn(h, b)
		if err != nil || !more {
			return err
		}
		c.res.ReadBytes += h.size
		c.o.Throttle(int(h.size))
		next, pos = h.last+1, pos+h.size
	}
	return nil
}
