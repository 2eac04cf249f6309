package log

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// TruncateTo drops everything from offset on, down to the batch boundary at or below
// it. When the log ends there already, only leader epochs that begin there and have no
// records are dropped: they may be others than the leader's. Errors: ErrOffsetOutOfRange
// below the start, ErrStorage, ErrClosed, ErrDeleted.
func (l *Log) TruncateTo(offset int64) error {
	c := Cut{Log: l, To: offset}
	l.d.truncateLogs([]*Cut{&c})
	return c.Err
}

// cutDue tells whether there is something to cut off at offset or behind it; w is held.
func (l *Log) cutDue(offset int64) (bool, error) {
	if err := l.writable(); err != nil {
		return false, err
	}
	if offset >= l.end.Load() {
		l.dropUnusedEpochs(offset)
		return false, nil
	}
	if start := l.start.Load(); offset < start {
		return false, fmt.Errorf("%w: truncation to %d, the log starts at %d", ErrOffsetOutOfRange, offset, start)
	}
	return true, nil
}

// dropUnusedEpochs drops the epochs that begin at the offset, the log's end, or later. A
// crash may bring them back until the next start looks at them.
func (l *Log) dropUnusedEpochs(offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.epochs.list)
	if l.epochs.truncateEnd(offset); len(l.epochs.list) < n {
		l.queue()
	}
}

// AdvanceStart moves the start up to the leader's, as far as the log is synced; a lower
// offset does not move it. The next checkpoint makes it durable: after a crash before, the
// leader tells it again. It costs nothing when there is nothing to do.
func (l *Log) AdvanceStart(offset int64) {
	if offset = min(offset, l.synced.Load()); offset > l.start.Load() && l.segs.Load() != nil && l.usable() == nil {
		l.advanceStart(offset)
	}
}

// TruncateFullyTo drops everything and goes on at start, which may be anywhere.
func (l *Log) TruncateFullyTo(start int64) error { return l.beginAt(start, &producers{}) }

// SetStartOffset moves the log's start up to offset (DeleteRecords); lower ones do not
// move it. It is durable when it returns. ErrOffsetOutOfRange above the end.
func (l *Log) SetStartOffset(offset int64) error {
	synced := false
	defer func() {
		if synced {
			l.d.tell() // without w: a hook may wait for whoever appends here
		}
	}()
	l.w.Lock()
	defer l.w.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	if end := l.end.Load(); offset > end {
		return fmt.Errorf("%w: start %d, the log ends at %d", ErrOffsetOutOfRange, offset, end)
	}
	if offset <= l.start.Load() { // retention moves it in memory
		if err := l.recordStart(offset); err != nil {
			return storageError("start offset", err)
		}
		return nil
	}
	if offset > l.synced.Load() { // a start that is durable needs a log that is
		l.markDirty()
		synced = true
		if _, err := l.d.syncRound(); err != nil {
			return storageError("start offset", err)
		}
	}
	l.wantStart(offset)
	err := l.d.saveLogs(l)
	l.wantStart(0)
	if err != nil {
		return storageError("start offset", err)
	}
	l.advanceStart(offset)
	return nil
}

func (l *Log) wantStart(offset int64) {
	l.mu.Lock()
	l.dirty.wantStart = offset
	l.mu.Unlock()
}

// Retain drops segments that are too old, too many or below the start offset, as far
// as the high watermark allows, and forgets expired producers. If the active segment
// is too old as well it is rolled first; that of a log that cannot be written stays.
func (l *Log) Retain(now time.Time, hw int64) (Retained, error) {
	l.w.Lock()
	defer l.w.Unlock()
	if err := l.usable(); err != nil {
		return Retained{}, err
	}
	if l.failed == nil || l.segs.Load() == nil {
		if err := l.writable(); err != nil {
			return Retained{}, err
		}
	}
	return l.retain(now, hw)
}

// Retained tells what Retain dropped.
type Retained struct {
	Segments int
	Bytes    int64
	Expired  int // producers
}

// cutBack cuts a log while no sync round is under way; w is held.
func (l *Log) cutBack(fn func() error) error {
	l.d.round.Lock()
	defer l.d.round.Unlock()
	if err := l.d.forgetInJournal(l); err != nil {
		return storageError("truncate", err)
	}
	l.cutting = false
	return l.cutEnded(fn())
}

// settle makes end the log's end; l.mu is held.
func (l *Log) settle(prod producers, end int64) {
	l.producers = prod
	l.unstable.Store(prod.firstUnstable())
	l.end.Store(end)
	if l.synced.Load() > end {
		l.synced.Store(end)
	}
	l.setDamage(slices.DeleteFunc(slices.Clone(l.damage), func(d damagedRange) bool { return d.to > end }))
	l.dirty.snapshotAt = 0
	l.uncleanable.Store(false) // if the damage stays, compaction meets it again
	if l.cleaned.Load() > end {
		l.cleaned.Store(end)
	}
	l.touch()
	l.queue()
}

// cutPosition is where the batch starts that holds offset, and the offset behind the
// batch before it: what the log's end becomes.
func (l *Log) cutPosition(s *segment, offset int64) (pos, end int64, err error) {
	f, err := s.file.acquire()
	if err != nil {
		return 0, 0, err
	}
	defer s.file.release()
	if pos, end, err = s.cutAt(f, offset); errors.Is(err, ErrCorrupt) {
		pos, end, err = s.cutBeforeDamage(f, offset)
	}
	return pos, max(end, l.start.Load()), err
}

func (s *segment) cutAt(f env.File, offset int64) (pos, end int64, err error) {
	if pos, err = s.position(f, offset, s.size.Load()); err != nil {
		return 0, 0, err
	}
	end = s.base
	if pos > 0 {
		from, err := s.boundary(f, pos-1)
		if err != nil {
			return 0, 0, err
		}
		err = s.headers(f, from, pos, func(h header) bool {
			end = h.last + 1
			return true
		})
		return pos, end, err
	}
	return pos, end, nil
}

// cutBeforeDamage is where the first damage below offset starts: nothing behind it is kept.
func (s *segment) cutBeforeDamage(f env.File, offset int64) (pos, end int64, err error) {
	end = s.base
	err = s.headers(f, 0, s.size.Load(), func(h header) bool {
		if h.last >= offset {
			return false
		}
		pos, end = h.pos+h.size, h.last+1
		return true
	})
	if errors.Is(err, ErrCorrupt) {
		err = nil
	}
	return pos, end, err
}

// lowerPoint makes everything from end on, which is at p, count as not synced. If it was
// recorded as synced the caller has to save the log.
func (l *Log) lowerPoint(end int64, p place) (recorded bool) {
	l.mu.Lock()
	if l.synced.Load() > end {
		l.synced.Store(end)
		l.dirty.synced = p
	}
	if l.dirty.ready.offset > end {
		l.dirty.ready = mark{end, p}
	}
	recorded = max(l.dirty.point, l.dirty.tried) > end
	l.mu.Unlock()
	return recorded
}

// kept is what stays of a segment that is cut, as it was read before.
type kept struct {
	offsets, times int // entries of the indexes
	txns           []AbortedTxn
}

// keeps reads what stays of a segment's indexes below offset, which is at pos.
func (s *segment) keeps(offset, pos int64, txns []AbortedTxn) (k kept, err error) {
	if err := s.look(); err != nil {
		return k, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	k.txns = txns
	if k.offsets, err = s.offsets.below(pos, (*index).value); err != nil {
		return k, err
	}
	k.times, err = s.times.below(offset-s.base, (*index).value)
	return k, err
}

// cut drops the bytes behind p, which hold offset and what follows, durably. It reads
// nothing: a read that fails would leave the log half cut.
func (s *segment) cut(offset int64, p place, k kept) error {
	pos := p.size
	f, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	s.size.Store(pos)
	s.dropHoles(pos)
	if err := f.Truncate(pos); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return syncError{err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxTs, s.maxTsAt, s.sinceIndex = p.maxTs, p.maxTsAt, 0
	s.offsets.want, s.times.want = 0, 0
	if pos == 0 {
		s.firstTs = unknownTs
	}
	return errors.Join(
		s.offsets.truncate(min(k.offsets, s.offsets.count())),
		s.times.truncate(min(k.times, s.times.count())),
		s.truncateTxns(offset, k.txns),
	)
}

// unlink removes a segment's files at once, but for a snapshot that another one is to have.
// The caller syncs the directory.
func (l *Log) unlink(s *segment, keepSnapshot bool) error {
	s.retire()
	suffixes := []string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix, snapshotSuffix}
	if keepSnapshot {
		suffixes = suffixes[:4]
	}
	for _, suffix := range suffixes {
		if err := removeIfThere(l.d.fs, s.path(suffix)); err != nil {
			return err
		}
	}
	return nil
}

// undamaged is the offset, or where the damage begins in which it lies or behind which it is.
func (l *Log) undamaged(offset int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range slices.Backward(l.damage) {
		if offset > d.from && offset <= d.to {
			offset = max(d.from, l.start.Load())
		}
	}
	return offset
}

// absolve renames the files that make offsets from end on refused, so that they only keep
// the bytes; w is held. The caller syncs the directory.
func (l *Log) absolve(end int64) (some bool, err error) {
	entries, err := l.d.fs.ReadDir(*l.path.Load())
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		d, ok := parseCorruptName(e.Name())
		if !ok || d.to <= max(d.from, end) {
			continue
		}
		dir := *l.path.Load() + "/"
		if err := l.d.fs.Rename(dir+e.Name(), dir+corruptName(damagedRange{d.from, d.from})); err != nil {
			return some, err
		}
		some = true
	}
	return some, nil
}

// setDamage replaces what is refused; mu is held.
func (l *Log) setDamage(list []damagedRange) {
	slices.SortFunc(list, func(a, b damagedRange) int { return cmp.Compare(a.from, b.from) })
	l.damage = list
	l.hasDamage.Store(len(list) > 0)
}

// restart empties the log but for what is known of producers; w and round are held.
func (l *Log) restart(start int64, prod producers) error {
	list := *l.segs.Load()
	if l.lowerPoint(0, place{}) {
		if err := l.d.saveLogs(l); err != nil {
			return err
		}
	}
	// A segment that waits for its removal may have the name that the new one gets.
	if err := l.sweepOut(); err != nil {
		return err
	}
	told := len(prod.m) > 0
	if told {
		if err := l.keepProducers(start, &prod); err != nil {
			return err
		}
	}
	l.cutting = true
	l.forget()
	l.mu.Lock()
	l.setSegments(nil)
	l.epochs = epochs{dirty: true}
	l.dirty.sealed = nil
	l.start.Store(start)
	l.hw.Store(min(l.hw.Load(), start))
	prod.end, prod.max = start, l.producers.max
	l.settle(prod, start)
	l.mu.Unlock()
	var old []int64
	for _, at := range l.snapshots {
		if !told || at != start {
			old = append(old, at)
		}
	}
	l.snapshots = old
	for _, s := range slices.Backward(list) {
		if err := l.unlink(s, told && s.base == start); err != nil {
			return err
		}
	}
	_, err := l.absolve(0)
	if err = errors.Join(err, l.dropSnapshots(-1)); err != nil {
		return err
	}
	if told {
		l.snapshots = []int64{start}
		l.mu.Lock()
		l.dirty.snapshotAt, l.dirty.snapshotBytes = start, 0
		l.mu.Unlock()
	}
	if _, err := l.addSegment(start, l.d.opt.Clock.Now()); err != nil {
		return err
	}
	l.gap = false
	return l.saveEnd()
}

// keepProducers makes what is known of producers at start durable. The batches from which it
// could be built again are not here, and who is told of it is so once: it is there before
// anything else goes.
func (l *Log) keepProducers(start int64, prod *producers) error {
	name := *l.path.Load() + "/" + segmentName(start, snapshotSuffix)
	if err := createSmall(l.d.fs, name, prod.encodeSnapshot()); err != nil {
		return err
	}
	if err := syncFile(l.d.fs, name); err != nil {
		return err
	}
	if err := l.d.fs.SyncDir(*l.path.Load()); err != nil {
		return syncError{err}
	}
	return nil
}

// saveEnd makes the log's end its recovery point, durably; w and round are held.
func (l *Log) saveEnd() error {
	// The end is only as durable as the log's directory and its segments. The names of
	// segments that a restart removed are synced with them, behind the epoch file.
	if err := l.d.syncNewDirs([]*Log{l}); err != nil {
		return err
	}
	g := l.goal()
	err := l.reach(&g)
	g.hooks = Hooks{} // the caller knows
	l.finish(&g, err)
	if err != nil {
		return l.d.fatal(err)
	}
	l.mu.Lock()
	l.dirty.ready = mark{g.end, l.dirty.synced}
	l.mu.Unlock()
	return l.d.saveLogs(l)
}

// dropSnapshots removes the producer snapshots beyond end; w is held. The caller syncs
// the directory.
func (l *Log) dropSnapshots(end int64) error {
	for len(l.snapshots) > 0 {
		last := l.snapshots[len(l.snapshots)-1]
		if last <= end {
			break
		}
		if err := removeIfThere(l.d.fs, *l.path.Load()+"/"+segmentName(last, snapshotSuffix)); err != nil {
			return err
		}
		l.snapshots = l.snapshots[:len(l.snapshots)-1]
	}
	return nil
}

// truncateTxns drops those of the segment's aborted transactions that ended at offset or
// later; mu is held.
func (s *segment) truncateTxns(offset int64, list []AbortedTxn) error {
	n := 0
	for n < len(list) && list[n].LastOffset < offset {
		n++
	}
	if n == len(list) {
		return nil
	}
	if inFile := len(list) - len(s.txns.tail); n >= inFile {
		s.txns.tail = list[inFile:n]
		return nil
	}
	s.txns.inFile, s.txns.tail = n, nil
	if s.txns.kept != nil {
		s.txns.kept = s.txns.kept[:n]
	}
	return cutTxns(s.l.d.fs, s.path(txnIndexSuffix), n)
}
