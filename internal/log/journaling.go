package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log/journal"
	"github.com/leat-stream/leat/internal/mutant"
)

// A round goes through the journal when it has at most so many bytes in all, and per
// log on average.
const (
	journalRound  = 4 << 20
	journalPerLog = 64 << 10
)

// journalName is how the journal knows a log.
func (l *Log) journalName() journal.Log {
	return journal.Log{Dir: l.ID().String(), TopicID: l.ID().TopicID}
}

// small tells whether all that the job has to sync are bytes at the end of the active
// segment, and how many.
func (j *job) small() (bytes int64, ok bool) {
	g := &j.g
	if len(g.sealed) > 0 || g.newFiles || g.newDir || g.epochs != nil || !g.grown {
		return 0, false
	}
	return g.active.size - g.from, true
}

// bySize moves the jobs that the journal can take to the front and returns how many
// go through it in this round.
func (d *Dir) bySize(jobs []job) (n int) {
	total := int64(0)
	for i := range jobs {
		if bytes, ok := jobs[i].small(); ok {
			jobs[i], jobs[n] = jobs[n], jobs[i]
			total += bytes
			n++
		}
	}
	if total > journalRound || total > int64(n)*journalPerLog {
		return 0
	}
	return n
}

// journalJobs makes the bytes of the jobs durable by one frame of the journal. It is
// false when they have to be synced in place instead.
func (d *Dir) journalJobs(jobs []job) bool {
	if len(jobs) == 0 {
		return true
	}
	if !d.gather(jobs) {
		return false
	}
	err := error(nil)
	if !mutant.On("log/synced-without-sync") {
		err = d.journal.Append(d.entries)
	}
	clear(d.entries)
	switch {
	case errors.Is(err, journal.ErrFull), errors.Is(err, journal.ErrTooLarge):
		d.opt.Metrics.JournalFull.Add(1)
		d.wakeSettle()
		return false
	case err != nil:
		err = syncError{err}
	}
	d.opt.Metrics.JournalRounds.Add(1)
	for i := range jobs {
		jobs[i].err = err
		jobs[i].l.finish(&jobs[i].g, err)
	}
	if _, ok := d.journal.Waiting(); ok {
		d.wakeSettle()
	}
	return true
}

// gather reads the bytes of the jobs back from the page cache into d.entries.
func (d *Dir) gather(jobs []job) bool {
	total := int64(0)
	for i := range jobs {
		bytes, _ := jobs[i].small()
		total += bytes
	}
	if int64(cap(d.bytes)) < total {
		d.bytes = make([]byte, max(total, journalRound/16))
	}
	d.entries = d.entries[:0]
	at := int64(0)
	for i := range jobs {
		g := &jobs[i].g
		n := g.active.size - g.from
		p := d.bytes[at : at+n : at+n]
		at += n
		f, err := g.active.seg.file.acquire()
		if err != nil {
			return false
		}
		got, err := f.ReadAt(p, g.from)
		g.active.seg.file.release()
		if int64(got) < n {
			if errors.Is(err, io.EOF) {
				d.event(DamageMet{Log: jobs[i].l.ID(), Segment: g.active.seg.base, Offset: g.end, Err: damaged("the file is shorter than written")})
			}
			return false
		}
		d.entries = append(d.entries, journal.Entry{Log: jobs[i].l.journalName(), Base: g.active.seg.base, Position: g.from, Data: p})
	}
	return true
}

// settleJobs tells the journal what was synced in place; round is held.
func (d *Dir) settleJobs(jobs []job) {
	through := d.journal.Generation()
	for i := range jobs {
		j := &jobs[i]
		if j.err != nil {
			continue
		}
		name := j.l.journalName()
		for _, s := range j.g.sealed {
			d.journal.Settle(journal.Segment{Log: name, Base: s.base}, through)
		}
		if j.g.grown {
			d.journal.Settle(journal.Segment{Log: name, Base: j.g.active.seg.base}, through)
		}
	}
}

// Settle syncs in place the segments that only the journal's waiting file holds, so
// that the file can be used again. A started directory calls it when there is something to settle.
func (d *Dir) Settle() error {
	if err := d.Failed(); err != nil {
		return err
	}
	d.round.Lock()
	generation, ok := d.journal.Waiting()
	var list []journal.Segment
	if ok {
		list = d.journal.Unsettled(generation)
	}
	d.round.Unlock()
	if !ok {
		return nil
	}
	err := d.settleSegments(list, generation)
	if err != nil {
		return err
	}
	d.round.Lock()
	defer d.round.Unlock()
	if now, ok := d.journal.Waiting(); !ok || now != generation {
		return nil
	}
	if err := d.journal.Trim(); err != nil && !errors.Is(err, journal.ErrFull) {
		return d.fatal(syncError{err})
	}
	return nil
}

// settleSegments syncs segments in place and tells the journal.
func (d *Dir) settleSegments(list []journal.Segment, through uint64) error {
	if err := d.syncSegments(list); err != nil {
		return err
	}
	d.round.Lock()
	defer d.round.Unlock()
	for _, s := range list {
		d.journal.Settle(s, through)
	}
	return nil
}

// findSegment is a segment that the journal names, nil when it is gone.
func (d *Dir) findSegment(name journal.Segment) *segment {
	k, ok := parseDirName(name.Log.Dir)
	if !ok {
		return nil
	}
	d.mu.Lock()
	l := d.logs[k]
	d.mu.Unlock()
	if l == nil || l.ID().TopicID != name.Log.TopicID {
		return nil
	}
	p := l.segs.Load()
	if p == nil {
		return nil
	}
	if i := find(*p, name.Base); i >= 0 && (*p)[i].base == name.Base {
		return (*p)[i]
	}
	return nil
}

// forgetInJournal makes the journal forget logs whose bytes are about to change other
// than by growing, or whose names are about to be used again; round is held. They are
// synced in place first, so that nothing durable is lost.
func (d *Dir) forgetInJournal(logs ...*Log) error {
	var names []journal.Log
	unsettled := map[journal.Segment]bool{}
	for _, l := range logs {
		if name := l.journalName(); d.journal.Holds(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	for _, s := range d.journal.Unsettled(d.journal.Generation()) {
		unsettled[s] = true
	}
	var due []*segment
	for _, l := range logs {
		if p := l.segs.Load(); p != nil {
			for _, s := range *p {
				if unsettled[journal.Segment{Log: l.journalName(), Base: s.base}] {
					due = append(due, s)
				}
			}
		}
	}
	errs := make([]error, len(due))
	run(len(due), d.opt.SyncParallel, func(i int) { errs[i] = due[i].syncData() })
	if err := errors.Join(errs...); err != nil {
		return d.fatal(err)
	}
	err := d.journal.Forget(names...)
	if errors.Is(err, journal.ErrFull) || errors.Is(err, journal.ErrTooLarge) {
		return d.emptyJournal()
	}
	if err != nil {
		return d.fatal(syncError{err})
	}
	return nil
}

// emptyJournal syncs in place all that the journal holds and resets it; round is held.
func (d *Dir) emptyJournal() error {
	through := d.journal.Generation()
	list := d.journal.Unsettled(through)
	if err := d.syncSegments(list); err != nil {
		return err
	}
	for _, s := range list {
		d.journal.Settle(s, through)
	}
	if err := d.journal.Reset(); err != nil {
		return d.journalError(err)
	}
	return nil
}

// journalError puts the directory offline if the journal has failed; that the disk is full
// leaves it usable.
func (d *Dir) journalError(err error) error {
	if errors.Is(err, journal.ErrFull) {
		return err
	}
	return d.fatal(syncError{err})
}

// Settling while nothing else happens, a few segments at a time, so that whoever
// appends does not wait for long.
const (
	idleSettle = 8   // segments under the round's lock
	idleTick   = 512 // segments in one Tick
)

// settleIdle syncs in place some of what only the journal holds, unless there is
// something to do: a later stop or start then has less to.
func (d *Dir) settleIdle() error {
	d.round.Lock()
	var list []journal.Segment
	if !d.Dirty() {
		list = d.journal.Unsettled(d.journal.Generation())
	}
	d.round.Unlock()
	for part := range slices.Chunk(list[:min(idleTick, len(list))], idleSettle) {
		if more, err := d.settleSome(part); err != nil || !more {
			return err
		}
	}
	return nil
}

func (d *Dir) settleSome(list []journal.Segment) (more bool, err error) {
	d.round.Lock()
	defer d.round.Unlock()
	if d.Failed() != nil || d.Dirty() {
		return false, nil
	}
	through := d.journal.Generation()
	if err := d.syncSegments(list); err != nil {
		return false, err
	}
	for _, s := range list {
		d.journal.Settle(s, through)
	}
	return true, nil
}

// syncSegments syncs segments that the journal names in place.
func (d *Dir) syncSegments(list []journal.Segment) error {
	errs := make([]error, len(list))
	run(len(list), d.opt.SyncParallel, func(i int) {
		if s := d.findSegment(list[i]); s != nil {
			errs[i] = s.syncData()
		}
	})
	return d.fatal(errors.Join(errs...))
}

// prepareJournal lets the journal grow while nobody waits for it.
func (d *Dir) prepareJournal() {
	d.round.Lock()
	defer d.round.Unlock()
	if d.Failed() != nil {
		return
	}
	if err := d.journal.Prepare(); err != nil && d.journal.Err() != nil {
		d.fail(err)
	}
}

// openJournal writes back into the segments what the journal holds of them. state is
// what the state file says.
func (d *Dir) openJournal(state map[key]*savedLog) (err error) {
	d.journal, err = journal.Open(journal.Options{
		FS: d.fs, Dir: d.path, Size: d.opt.JournalBytes, Salt: d.opt.Rand.Uint64(),
	})
	if err != nil {
		return err
	}
	r := replay{d: d, state: state, files: map[journal.Segment]env.File{}, ids: map[string][16]byte{}}
	done, err := r.run()
	if err != nil {
		return err
	}
	for _, g := range done.Damaged {
		d.event(JournalDamaged{File: g.File, From: g.From, To: g.To})
	}
	if done.Entries > 0 {
		d.event(JournalReplayed{Entries: done.Entries, Bytes: done.Bytes, Skipped: r.skipped})
	}
	return d.journal.Reset()
}

// replay writes journal entries into segments. Open files are bounded by maxReplayFiles.
type replay struct {
	d       *Dir
	state   map[key]*savedLog
	files   map[journal.Segment]env.File
	order   []env.File          // as they were opened
	ids     map[string][16]byte // topic ids by directory; zero when it is gone
	skipped int
}

const maxReplayFiles = 256

func (r *replay) run() (journal.Replayed, error) {
	done, err := r.d.journal.Replay(r.entry)
	return done, errors.Join(err, r.closeAll())
}

func (r *replay) entry(e journal.Entry) error {
	id, ok := r.ids[e.Log.Dir]
	if !ok {
		k, _ := parseDirName(e.Log.Dir)
		var err error
		if id, _, err = r.d.readTopicID(e.Log.Dir, r.state[k]); err != nil {
			return err
		}
		r.ids[e.Log.Dir] = id
	}
	if id != e.Log.TopicID {
		r.skipped++
		return nil
	}
	f, err := r.file(journal.Segment{Log: e.Log, Base: e.Base})
	if errors.Is(err, fs.ErrNotExist) {
		r.skipped++ // retention removed it
		return nil
	}
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size < e.Position { // what was before it is lost: there is nothing to continue
		r.skipped++
		return nil
	}
	_, err = f.WriteAt(e.Data, e.Position)
	return err
}

func (r *replay) file(s journal.Segment) (env.File, error) {
	if f := r.files[s]; f != nil {
		return f, nil
	}
	if len(r.files) >= maxReplayFiles {
		if err := r.closeAll(); err != nil {
			return nil, err
		}
	}
	f, err := r.d.fs.OpenFile(path.Join(r.d.path, s.Log.Dir, segmentName(s.Base, logSuffix)), os.O_RDWR, 0)
	if err == nil {
		r.files[s] = f
		r.order = append(r.order, f)
	}
	return f, err
}

// closeAll syncs and closes the open files.
func (r *replay) closeAll() error {
	errs := make([]error, len(r.order))
	run(len(r.order), r.d.opt.SyncParallel, func(i int) {
		f := r.order[i]
		err := f.Sync()
		if err = errors.Join(err, f.Close()); err != nil {
			errs[i] = fmt.Errorf("replay into %s: %w", f.Name(), err)
		}
	})
	clear(r.files)
	r.order = nil
	return errors.Join(errs...)
}
