package log

import (
	"errors"
	"slices"
)

// Recovered tells what opening a log found.
type Recovered struct {
	// Point is the recovery point: everything below it was recorded as synced; -1 when
	// nothing was recorded.
	Point int64
	End   int64 // of the log after recovery
	// Kept: everything that was recorded as synced is there and can be read. A durable replica keeps its
	// eligibility for leadership then (decision D6).
	Kept         bool
	ScannedBytes int64
	CutBytes     int64
	// FollowedByGood: behind the first bad batch, at which the log was cut off, good ones
	// came. A torn write leaves none; synced data may have been lost.
	FollowedByGood bool
}

// Recovered tells what opening the log found.
func (l *Log) Recovered() Recovered {
	if _, err := l.segments(); err != nil {
		return Recovered{Point: -1}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recovered
}

// recovery is the work of opening one log: find the files, complete what a crash
// interrupted, then read and check everything from the recovery point on, building
// indexes, epochs and producer state again on the way.
type recovery struct {
	l         *Log
	dir       string
	cfg       *Config
	point     int64
	saved     *savedLog // nil: nothing is known
	segs      []*segment
	snapshots []int64 // offsets, ascending
	epochs    epochs
	prod      producers
	loaded    int64 // the snapshot that was read; 0: none
	damage    []damagedRange
	swapped   []damagedRange // segments that a completed swap replaced
	given     []int64        // bases of segments that were given up (trash.giveUp)
	res       Recovered
	replayed  int64 // bytes read for the producer state
	changed   bool  // files changed: the next sync round must make them durable
	clean     bool  // the files are those of a clean stop
	end       int64
}

// load makes the log usable: from its files, unless it is loaded; w is held.
func (l *Log) load() error {
	if l.segs.Load() != nil {
		return nil
	}
	if p := l.closed.Load(); p != nil {
		return *p
	}
	r := &recovery{l: l, dir: *l.path.Load(), cfg: l.cfg.Load(), point: l.dirty.point, saved: l.saved}
	r.prod.max = r.cfg.MaxProducers
	r.res = Recovered{Point: r.point, Kept: true}
	if err := r.run(); err != nil {
		return storageError("recover", l.d.fatal(err))
	}
	l.saved = nil
	return nil
}

func (r *recovery) run() error {
	if err := r.list(); err != nil {
		return err
	}
	if err := errors.Join(r.readHoles(), r.dropEmpty(), r.dropGiven()); err != nil {
		return err
	}
	if err := r.dropHeadless(); err != nil {
		return err
	}
	if err := r.dropDeleted(); err != nil {
		return err
	}
	if err := r.readEpochs(); err != nil {
		return err
	}
	first := int64(0)
	if len(r.segs) > 0 {
		first = r.segs[0].base
	}
	start := max(r.l.start.Load(), first)
	r.end = start
	if r.l.trusted() != nil && r.matches() {
		return r.loadClean(r.missedFrom(start))
	}
	if err := r.recheck(); err != nil {
		return err
	}
	start = r.missedFrom(start)
	from, err := r.scanStart()
	if err != nil {
		return err
	}
	if err := r.startProducers(from); err != nil {
		return err
	}
	if err := r.scan(from); err != nil {
		return err
	}
	r.end = max(r.end, start) // the start may be beyond what is left
	if err := r.missingTail(); err != nil {
		return err
	}
	if err := r.cleanUp(); err != nil {
		return err
	}
	if err := r.checkEpochs(); err != nil {
		return err
	}
	if err := r.secureEnd(); err != nil {
		return err
	}
	r.publish(start)
	return nil
}

// missedFrom is where the log starts if its first segment begins at start: what is missing
// at the front is missed.
func (r *recovery) missedFrom(start int64) int64 {
	for _, d := range r.damage {
		if s := r.l.start.Load(); d.from <= s && d.to > s {
			return s
		}
	}
	return start
}

// matches tells whether the files are those that a clean stop left.
func (r *recovery) matches() bool {
	if len(r.segs) != len(r.saved.segs) {
		return false
	}
	for i, g := range r.saved.segs {
		s := r.segs[i]
		if s.base != g.base || s.size.Load() != g.size {
			return false
		}
	}
	return true
}

// loadClean takes the log as a clean stop left it.
func (r *recovery) loadClean(start int64) error {
	r.clean = true
	for i, g := range r.saved.segs {
		r.segs[i].recall(g)
	}
	r.end = r.saved.point
	r.prod.reset(r.end)
	if !r.saved.noProducers && len(r.segs) > 0 {
		if err := r.producersAt(r.end); err != nil {
			return err
		}
	}
	if err := r.checkEpochs(); err != nil {
		return err
	}
	r.publish(start)
	return nil
}

// cleanUp removes what refers to offsets beyond the end.
func (r *recovery) cleanUp() error {
	// One at the end itself, unless it was read, may be torn; the next roll takes its name.
	for n := len(r.snapshots); n > 0 && r.snapshots[n-1] >= r.end && r.snapshots[n-1] != r.loaded; n-- {
		if err := removeIfThere(r.l.d.fs, r.dir+"/"+segmentName(r.snapshots[n-1], snapshotSuffix)); err != nil {
			return err
		}
		r.snapshots = r.snapshots[:n-1]
		r.changed = true
	}
	r.epochs.truncateEnd(r.end)
	return r.forgive()
}

// forgive refuses nothing at or behind the end: other records will have those offsets.
func (r *recovery) forgive() error {
	var kept []damagedRange
	for _, d := range r.damage {
		if d.from < r.end {
			kept = append(kept, d)
			continue
		}
		if err := r.l.d.fs.Rename(r.dir+"/"+corruptName(d), r.dir+"/"+corruptName(damagedRange{d.from, d.from})); err != nil {
			return err
		}
		r.changed = true
	}
	r.damage = kept
	return nil
}

// secureEnd makes the log's end durable as it was found when the page cache is that of a
// process before, which may have been killed between a truncation and its syncs: what it
// cut off must not come back behind what the journal alone will hold. The names of
// segments and snapshots that it removed are synced by the next round.
func (r *recovery) secureEnd() error {
	if !r.l.d.again {
		return nil
	}
	r.changed = true
	if len(r.segs) == 0 {
		return nil
	}
	return r.segs[len(r.segs)-1].syncData()
}

// publish hands the result over to the log.
func (r *recovery) publish(start int64) {
	l := r.l
	now := l.d.opt.Clock.Now().UnixMilli()
	for _, s := range r.segs {
		s.created = now
	}
	r.res.End = r.end
	all := r.damage
	r.damage = slices.DeleteFunc(slices.Clone(all), func(d damagedRange) bool {
		return d.to <= start || slices.ContainsFunc(all, func(o damagedRange) bool { return o != d && o.from <= d.from && o.to >= d.to })
	})
	if r.point > r.end || len(r.damage) > 0 {
		r.res.Kept = false
	}
	r.prod.end = r.end
	r.prod.passed(l.hw.Load())
	if l.hw.Load() < 0 {
		r.prod.done = nil
	}
	l.mu.Lock()
	l.producers, l.epochs, l.recovered = r.prod, r.epochs, r.res
	l.setDamage(r.damage)
	l.snapshots = r.snapshots
	l.dirty.snapshotBytes = r.replayed + r.res.ScannedBytes
	l.start.Store(start)
	l.end.Store(r.end)
	l.synced.Store(min(max(r.point, start), r.end))
	l.unstable.Store(l.producers.firstUnstable())
	l.setSegments(r.segs)
	if n := len(r.segs); n > 0 && r.end <= r.point { // otherwise the next round knows
		l.dirty.synced = r.segs[n-1].place()
		l.dirty.ready = mark{r.end, l.dirty.synced}
	}
	if n := len(r.segs); n > 0 && r.segs[n-1].base >= r.point {
		l.dirty.newFiles = true
	}
	if r.point == 0 { // the partition itself may be in the page cache only
		l.dirty.newFiles, l.dirty.newDir = true, true
	}
	sealed := r.unsyncedSealed()
	if r.end > r.point || r.changed || r.epochs.dirty || len(sealed) > 0 {
		l.dirty.newFiles = true
		l.dirty.sealed = sealed
		l.queue()
		l.touch()
	}
	l.mu.Unlock()
	if len(r.given) > 0 { // the start is recorded before they go
		t := &trash{log: l}
		for _, base := range r.given {
			t.files = append(t.files, segmentName(base, logSuffix+deletedSuffix))
		}
		l.d.throwAway(t)
	}
	if r.res.ScannedBytes > 0 || r.res.CutBytes > 0 || !r.res.Kept {
		l.d.event(LogRecovered{Log: l.ID(), Recovered: r.res})
	}
	l.d.opt.Metrics.RecoveredLogs.Add(1)
	l.d.opt.Metrics.ScannedBytes.Add(r.res.ScannedBytes)
}

// unsyncedSealed are the sealed segments that hold offsets from the recovery point on, and
// the one that ends at it: it may have been sealed since.
func (r *recovery) unsyncedSealed() []*segment {
	if r.clean {
		return nil
	}
	var list []*segment
	for i, s := range r.segs {
		if i+1 < len(r.segs) && r.segs[i+1].base >= r.point {
			list = append(list, s)
		}
	}
	return list
}

// damagedRange is a range of offsets that cannot be read.
type damagedRange struct{ from, to int64 }
