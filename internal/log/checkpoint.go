package log

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
)

// snapshotEvery is how many bytes are appended to a log at least between two producer
// snapshots other than those of rolls and clean stops.
const snapshotEvery = 1 << 20

// snapshotLast is the same for a clean stop: the next load reads so much instead.
const snapshotLast = 64 << 10

func (d *Dir) addUnsaved(l *Log) {
	d.mu.Lock()
	d.unsaved = append(d.unsaved, l)
	d.mu.Unlock()
}

// all is every log of the directory, by name.
func (d *Dir) all() []*Log {
	d.mu.Lock()
	list := make([]*Log, 0, len(d.logs))
	for _, l := range d.logs {
		list = append(list, l)
	}
	d.mu.Unlock()
	slices.SortFunc(list, func(a, b *Log) int {
		if c := strings.Compare(a.ID().Topic, b.ID().Topic); c != 0 {
			return c
		}
		return int(a.ID().Partition) - int(b.ID().Partition)
	})
	return list
}

// Checkpoint writes what shortens the next recovery for all logs that changed since
// the last one: relaxed logs are synced, index entries and producer snapshots
// written, and recovery points, start offsets and high watermarks made durable.
func (d *Dir) Checkpoint() error {
	if err := d.Failed(); err != nil {
		return err
	}
	d.mu.Lock()
	list := d.unsaved
	d.unsaved = nil
	d.mu.Unlock()
	err := d.checkpoint(list)
	if err != nil { // the next one tries again
		for _, l := range list {
			l.mu.Lock()
			l.touch()
			l.mu.Unlock()
		}
		d.event(CheckpointFailed{Path: d.path, Err: err})
	}
	return err
}

func (d *Dir) checkpoint(list []*Log) error {
	for _, l := range list {
		l.mu.Lock()
		l.dirty.checkpoint = false
		if !l.cfg.Load().Durable && l.synced.Load() < l.end.Load() {
			l.queue()
		}
		l.mu.Unlock()
	}
	if _, err := d.SyncRound(); err != nil {
		return err
	}
	for _, l := range list {
		if err := l.flushFiles(false); err != nil {
			return d.fatal(err)
		}
	}
	d.ckptMu.Lock()
	defer d.ckptMu.Unlock()
	if err := d.writeState(list); err != nil {
		return d.fatal(err)
	}
	for _, l := range list {
		l.markSaved()
	}
	d.opt.Metrics.Checkpoints.Add(1)
	return d.fatal(d.writeTexts())
}

// fatal puts the directory offline if err is that of a sync.
func (d *Dir) fatal(err error) error {
	var s syncError
	if errors.As(err, &s) {
		d.fail(err)
	}
	return err
}

// saveLogs makes the state of some logs durable at once.
func (d *Dir) saveLogs(list ...*Log) error {
	d.ckptMu.Lock()
	defer d.ckptMu.Unlock()
	if err := d.writeState(list); err != nil {
		return d.fatal(err)
	}
	for _, l := range list {
		l.markSaved()
	}
	return nil
}

// flushFiles writes what a log holds in memory of its indexes, and a snapshot of its
// producers if that is due, or needed because it is the last chance.
func (l *Log) flushFiles(last bool) error {
	l.w.Lock()
	defer l.w.Unlock()
	if l.deleted() || l.segs.Load() == nil || l.failed != nil {
		return nil
	}
	l.mu.Lock()
	reached := mark{l.synced.Load(), l.dirty.synced}
	l.mu.Unlock()
	if seg := l.active(); seg != nil {
		if err := seg.flush(); err != nil {
			return err
		}
		if err := l.snapshotIfDue(last); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.dirty.ready = reached
	l.mu.Unlock()
	return nil
}

// flush writes the index entries that are in memory, those of the transaction index
// durably.
func (s *segment) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	isNew := s.txns.inFile == 0 && len(s.txns.tail) > 0
	if err := s.flushIndexes(); err != nil {
		return err
	}
	if isNew {
		if err := s.l.d.fs.SyncDir(*s.l.path.Load()); err != nil {
			return syncError{err}
		}
	}
	return nil
}

// snapshotIfDue writes a producer snapshot if there are producers and enough was
// appended since the latest one; w is held.
func (l *Log) snapshotIfDue(last bool) error {
	end := l.end.Load()
	l.mu.Lock()
	due := len(l.producers.m) > 0 && l.dirty.snapshotAt != end &&
		(l.dirty.snapshotBytes >= snapshotEvery || last && l.dirty.snapshotBytes >= snapshotLast)
	l.mu.Unlock()
	if !due {
		return nil
	}
	return l.writeSnapshot(end)
}

// writeTexts writes the checkpoints in Kafka's form, those that changed. A crash leaves
// whole ones, the old or the new: the state file is what counts.
func (d *Dir) writeTexts() error {
	points, starts, marks, cleaned := map[key]int64{}, map[key]int64{}, map[key]int64{}, map[key]int64{}
	for _, l := range d.all() {
		if l.unmade.Load() {
			continue
		}
		k := l.ID().key()
		l.mu.Lock()
		points[k] = l.dirty.point
		l.mu.Unlock()
		first := int64(-1)
		if p := l.segs.Load(); p != nil && len(*p) > 0 {
			first = (*p)[0].base
		} else if saved := l.trusted(); saved != nil && len(saved.segs) > 0 {
			first = saved.segs[0].base
		}
		if start := l.start.Load(); start > max(first, 0) {
			starts[k] = start
		}
		if hw := l.hw.Load(); hw >= 0 {
			marks[k] = hw
		}
		if c := l.cleaned.Load(); c > 0 {
			cleaned[k] = c
		}
	}
	for _, t := range []struct {
		name string
		m    map[key]int64
	}{{recoveryPointFile, points}, {startOffsetFile, starts}, {watermarkFile, marks}, {cleanerFile, cleaned}} {
		content := encodeOffsets(t.m)
		if d.texts[t.name] == string(content) {
			continue
		}
		if err := replaceSmall(d.fs, d.path, t.name, content); err != nil {
			return err
		}
		d.texts[t.name] = string(content)
	}
	return nil
}

// findLeft takes note of what the checkpoints in Kafka's form say of logs that are not there.
func (d *Dir) findLeft(c *checkpoints) {
	for _, m := range [...]map[key]int64{c.points, c.starts, c.watermarks, c.cleaned} {
		for k := range m {
			if d.logs[k] == nil {
				d.left[k] = 0
			}
		}
	}
}

// forgetLeft makes checkpoints in Kafka's form durable that speak of no log which is gone:
// they know logs by name, and what they say of one would be believed of the next, its high
// watermark for one. The next one's first sync would be too late: its directory may last
// without, and what was believed of it then is in the checkpoints that follow.
func (d *Dir) forgetLeft() error {
	d.ckptMu.Lock()
	defer d.ckptMu.Unlock()
	d.mu.Lock()
	upTo := d.leftLast // a log that goes from here on may be in what is written now
	d.mu.Unlock()
	if err := d.writeTexts(); err != nil {
		return d.fatal(err)
	}
	if err := d.fs.SyncDir(d.path); err != nil {
		return d.fatal(syncError{err})
	}
	d.mu.Lock()
	maps.DeleteFunc(d.left, func(_ key, n int64) bool { return n <= upTo })
	d.mu.Unlock()
	return nil
}

// forgetGone makes durable that logs are gone, soon after they went: whoever makes one under
// such a name, who must not wait, finds that done, and the names are not kept for long.
func (d *Dir) forgetGone() error {
	d.mu.Lock()
	due := len(d.left) > 0
	d.mu.Unlock()
	if !due || d.Failed() != nil {
		return nil
	}
	err := d.forgetStates()
	if err == nil {
		err = d.forgetLeft()
	}
	if err != nil {
		d.event(CheckpointFailed{Path: d.path, Err: err})
	}
	return err
}

// checkpoints is what the directory's own files say of its logs.
type checkpoints struct {
	clean                               bool              // the last stop was clean
	state                               map[key]*savedLog // nil: none
	missing                             map[LogID]int64   // logs that had vanished before
	stateSize                           int64
	stateWhole                          bool // it ends with its last good frame
	stateOld                            bool // it is of an earlier version
	points, starts, watermarks, cleaned map[key]int64
}

func (d *Dir) readCheckpoints() (c checkpoints, err error) {
	if err = d.readState(&c); err != nil {
		return c, err
	}
	for _, t := range []struct {
		name string
		m    *map[key]int64
	}{{recoveryPointFile, &c.points}, {startOffsetFile, &c.starts}, {watermarkFile, &c.watermarks}, {cleanerFile, &c.cleaned}} {
		p, err := readSmall(d.fs, d.path+"/"+t.name, maxCheckpointBytes)
		if err == nil {
			*t.m, err = parseOffsets(p)
		}
		if errors.Is(err, ErrCorrupt) {
			d.event(IndexRebuilt{File: t.name, Err: err})
			err = nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
	return c, nil
}

// Tick does what is due by time: a checkpoint, the flush of relaxed logs, removals.
// A started directory calls it every second, and when so much was appended that a checkpoint is due;
// now is the wall clock.
func (d *Dir) Tick(now time.Time) error {
	d.queueOverdue(now)
	var err error
	if d.checkpointDue(now) {
		err = d.Checkpoint()
	}
	err = errors.Join(err, d.forgetGone(), d.emptyTrash(now))
	d.pruneReplayed()
	return errors.Join(err, d.settleIdle())
}

func (d *Dir) checkpointDue(now time.Time) bool {
	appended := d.opt.Metrics.AppendedBytes.Load()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.unsaved)+len(d.gone) == 0 || d.failed.Load() != nil {
		return false
	}
	if now.Sub(d.lastCheckpoint) < d.opt.CheckpointEvery && appended-d.lastAppended < d.opt.CheckpointBytes {
		return false
	}
	d.lastCheckpoint, d.lastAppended = now, appended
	d.checkpointAt.Store(appended + d.opt.CheckpointBytes)
	return true
}

// appended counts what was appended; when that makes a checkpoint due, it need not wait
// for the next second.
func (d *Dir) appended(bytes int, records int64) {
	d.opt.Metrics.AppendedRecords.Add(records)
	if d.opt.Metrics.AppendedBytes.Add(int64(bytes)) >= d.checkpointAt.Load() {
		d.wakeTick()
	}
}

// queueOverdue queues the relaxed logs whose flush.ms is over.
func (d *Dir) queueOverdue(now time.Time) {
	d.mu.Lock()
	list := slices.Clone(d.unsaved)
	d.mu.Unlock()
	for _, l := range list {
		limit := l.cfg.Load().FlushMs
		l.mu.Lock()
		if l.dirty.since > 0 && now.UnixMilli()-l.dirty.since >= limit {
			l.queue()
		}
		l.mu.Unlock()
	}
}
