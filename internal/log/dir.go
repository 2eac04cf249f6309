package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log/journal"
)

// DirOptions are what a log directory needs. FS, Clock, Path and Rand are required.
type DirOptions struct {
	FS    env.FS
	Clock env.Clock
	Path  string
	// Rand draws the directory's id and the names of deleted directories.
	Rand *rand.Rand
	// ClusterID and NodeID say whose the directory is; one of others is refused. An
	// empty ClusterID takes what is there.
	ClusterID string
	NodeID    int32
	// DirectoryID is the id of a new directory; zero draws one.
	DirectoryID [16]byte
	// BootID is the kernel's (env.BootID): while it is the same as the last time, what
	// was in the page cache then is still there.
	BootID string

	MaxOpenFiles    int           // segment and index files kept open; 512
	IndexCacheBytes int64         // of index files' content kept in memory; 16 MiB
	RecoveryThreads int           // num.recovery.threads.per.data.dir; 2. 1 keeps all on the caller's goroutine
	SyncParallel    int           // syncs at once in a round; 8. 1 keeps all on the caller's goroutine
	CheckpointBytes int64         // appended, after which Tick writes a checkpoint; 64 MiB
	CheckpointEvery time.Duration // after which Tick writes one; 5 s
	JournalBytes    int64         // of each of the journal's two files; 64 MiB

	// Default is the configuration under which logs are recovered until OpenLog gives theirs.
	Default *Config
	// Events is told what notable happens, from any goroutine; it must not call back.
	Events func(Event)
	// Failed is told once when the directory goes offline.
	Failed  func(error)
	Metrics *Metrics
}

func (o *DirOptions) fill() {
	def := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	def(&o.MaxOpenFiles, 512)
	def(&o.RecoveryThreads, 2)
	def(&o.SyncParallel, 8)
	if o.IndexCacheBytes <= 0 {
		o.IndexCacheBytes = 16 << 20
	}
	if o.CheckpointBytes <= 0 {
		o.CheckpointBytes = 64 << 20
	}
	if o.JournalBytes <= 0 {
		o.JournalBytes = 64 << 20
	}
	if o.CheckpointEvery <= 0 {
		o.CheckpointEvery = 5 * time.Second
	}
	if o.Default == nil {
		c := DefaultConfig()
		o.Default = &c
	}
	if o.Metrics == nil {
		o.Metrics = new(Metrics)
	}
}

// Dir is one log directory. It holds a lock file while it is open.
type Dir struct {
	opt      DirOptions
	fs       env.FS
	path     string
	metaMu   sync.Mutex
	meta     meta   // guarded by metaMu once the directory is open
	sameBoot bool   // the kernel is that of the last time: its page cache is there
	again    bool   // this kernel has had the directory open, if only for a recovery that failed
	lastBoot string // boot id of the last time
	hasState bool   // the state file of the last time could be read
	isNew    bool   // the directory was made
	knew     bool   // which logs it had (HasState)
	lock     io.Closer
	files    *fileCache
	pages    *pageCache
	failed   atomic.Pointer[error]
	loops    atomic.Pointer[loops] // while it is started

	checkpointAt atomic.Int64 // appended bytes at which a checkpoint is due

	noticeMu sync.Mutex
	notices  []notice // hooks that are due after the round

	round   sync.Mutex // guards what follows
	journal *journal.Journal
	jobs    []job // reused
	spare   []*Log
	entries []journal.Entry
	bytes   []byte

	admin sync.Mutex // one creation or deletion of a log at a time

	ckptMu   sync.Mutex // guards what follows
	state    stateLog
	missing  []LogMissing // until ForgetMissing, by name
	stateBuf []byte
	texts    map[string]string // contents of the text checkpoints as last written

	mu       sync.Mutex // guards what follows
	logs     map[key]*Log
	dirty    []*Log        // to sync
	unsaved  []*Log        // to checkpoint
	gone     []LogID       // deleted, and still in the state file
	left     map[key]int64 // have no log any more, and may be in the checkpoints of Kafka's form; numbered
	leftLast int64
	replayed map[journal.Log]struct{} // deleted, and still in the journal
	trash    []*trash
	// suspects are segments in which a reader met damage, for the scrubber.
	suspects []*segment
	closed   bool

	lastCheckpoint time.Time
	lastAppended   int64
}

// OpenDir opens a log directory, or makes one, and recovers its logs: after an unclean
// stop what lies behind their recovery points is read and checked. Errors: env.ErrLocked,
// those of the file system, and ones that say whose the directory is.
func OpenDir(o DirOptions) (*Dir, error) {
	o.fill()
	d := &Dir{
		opt: o, fs: o.FS, path: o.Path, logs: map[key]*Log{},
		texts: map[string]string{}, left: map[key]int64{}, replayed: map[journal.Log]struct{}{},
		files: &fileCache{fs: o.FS, limit: o.MaxOpenFiles},
		pages: &pageCache{limit: max(int(o.IndexCacheBytes/pageSize), 4), pages: map[pageKey]*page{}},
	}
	d.checkpointAt.Store(o.CheckpointBytes)
	if err := makeDir(d.fs, d.path); err != nil {
		return nil, fmt.Errorf("log directory: %w", err)
	}
	lock, err := d.fs.Lock(d.path + "/" + lockFile)
	if err != nil {
		return nil, fmt.Errorf("log directory: %w", err)
	}
	d.lock = lock
	if err := d.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("log directory %s: %w", d.path, err), lock.Close())
	}
	return d, nil
}

// makeDir makes a directory and those above it. Until the directory has been made ours,
// which its meta.properties tells, all names on the way to it are made durable.
func makeDir(fsys env.FS, name string) error {
	if err := fsys.MkdirAll(name, 0o755); err != nil {
		return err
	}
	if _, err := fsys.Stat(name + "/" + metaFile); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		err := fsys.SyncDir(dir)
		if err != nil && !errors.Is(err, fs.ErrPermission) { // what we may not open we have not made
			return err
		}
		if dir == path.Dir(dir) {
			return nil
		}
	}
}

func (d *Dir) open() error {
	if err := d.claim(); err != nil {
		return err
	}
	if err := d.openMeta(); err != nil {
		return err
	}
	if err := d.readBoot(); err != nil {
		return err
	}
	if err := d.openLogs(); err != nil {
		return err
	}
	return d.writeBoot(false)
}

// openLogs finds the logs of the directory and recovers them.
func (d *Dir) openLogs() error {
	names, err := d.fs.ReadDir(d.path)
	if err != nil {
		return err
	}
	clean := slices.ContainsFunc(names, func(e fs.DirEntry) bool { return e.Name() == cleanFile })
	if clean {
		if err := removeIfThere(d.fs, d.path+"/"+cleanFile); err != nil { // the journal syncs the name
			return err
		}
	}
	marks, err := d.readCheckpoints()
	if err != nil {
		return err
	}
	if err := d.openJournal(marks.state); err != nil {
		return err
	}
	if clean && marks.state != nil && !marks.stateWhole {
		// A clean stop leaves it whole. Its older frames must not pass for the last ones.
		d.event(IndexRebuilt{File: stateFile, Err: damagedFile("it breaks off after byte %d", marks.stateSize)})
		clean = false
	}
	marks.clean = clean
	d.hasState = marks.state != nil
	var list []*Log // to recover
	for _, e := range names {
		l, err := d.found(e, &marks)
		if err != nil {
			return err
		}
		if l == nil {
			continue
		}
		delete(marks.state, l.ID().key())
		if l.trusted() == nil {
			list = append(list, l)
		}
	}
	d.findLeft(&marks)
	d.findMissing(&marks)
	if err := d.recoverAll(list, clean); err != nil {
		return err
	}
	if clean && len(list) == 0 && marks.stateWhole && !marks.stateOld && len(marks.state) == 0 {
		return d.openState(marks.stateSize)
	}
	d.ckptMu.Lock()
	defer d.ckptMu.Unlock()
	return d.rewriteState()
}

// found looks at one entry of the directory: a partition becomes a Log, what a
// deletion left is removed, anything else is left alone.
func (d *Dir) found(e fs.DirEntry, marks *checkpoints) (*Log, error) {
	name := e.Name()
	if !e.IsDir() {
		if strings.HasSuffix(name, tmpSuffix) {
			return nil, removeIfThere(d.fs, d.path+"/"+name)
		}
		return nil, nil
	}
	if strings.HasSuffix(name, deleteDirSuffix) {
		return nil, d.fs.RemoveAll(d.path + "/" + name)
	}
	k, ok := parseDirName(name)
	if !ok {
		return nil, nil
	}
	id := LogID{Topic: k.topic, Partition: k.partition}
	saved := marks.state[k]
	var wrong error
	if marks.clean && saved != nil {
		id = saved.id
	} else {
		var err error
		if id.TopicID, wrong, err = d.readTopicID(name, saved); err != nil {
			return nil, err
		}
	}
	l := d.newLog(id)
	l.wrongID = wrong
	if hw, ok := marks.watermarks[k]; ok {
		l.hw.Store(hw)
	}
	l.cleaned.Store(marks.cleaned[k])
	switch {
	case saved != nil && saved.id.TopicID == id.TopicID:
		l.saved, l.hint = saved, !marks.clean
		l.start.Store(saved.start)
		l.end.Store(saved.point)
		l.synced.Store(saved.point)
		l.unstable.Store(saved.unstable)
		l.hasDamage.Store(saved.damaged)
		l.dirty.point, l.dirty.savedStart = saved.point, saved.start
	case marks.state == nil:
		l.dirty.point = marks.points[k]
		l.start.Store(marks.starts[k])
	}
	d.logs[k] = l
	return l, nil
}

func (d *Dir) newLog(id LogID) *Log {
	l := &Log{d: d}
	l.id.Store(&id)
	name := d.path + "/" + id.String()
	l.path.Store(&name)
	l.cfg.Store(d.opt.Default)
	l.unstable.Store(math.MaxInt64)
	l.hw.Store(-1)
	l.producers.max = d.opt.Default.MaxProducers
	return l
}

// recoverAll loads the logs, several at a time.
func (d *Dir) recoverAll(list []*Log, clean bool) error {
	if len(list) > 0 {
		if err := d.writeBoot(true); err != nil {
			return err
		}
	}
	var scanned atomic.Int64
	errs := make([]error, len(list))
	run(len(list), d.opt.RecoveryThreads, func(i int) {
		l := list[i]
		l.w.Lock()
		defer l.w.Unlock()
		if err := l.load(); err != nil {
			errs[i] = fmt.Errorf("log %v: %w", l.ID(), err)
			return
		}
		scanned.Add(l.recovered.ScannedBytes)
	})
	if err := errors.Join(errs...); err != nil {
		return err
	}
	// What recovery found is in the files, not necessarily on the disk.
	if _, err := d.SyncRound(); err != nil {
		return err
	}
	for _, l := range list {
		if err := l.flushFiles(false); err != nil {
			return err
		}
	}
	for _, l := range d.all() { // what recovery did not look at may be known to be damaged
		if saved := l.trusted(); saved != nil && saved.damaged {
			d.event(LogRecovered{Log: l.ID(), Recovered: Recovered{Point: saved.point, End: saved.point}})
		}
	}
	d.event(Opened{Path: d.path, Logs: len(d.logs), Clean: clean, SameBoot: d.sameBoot, ScannedBytes: scanned.Load()})
	return nil
}

// Path is the directory's path.
func (d *Dir) Path() string { return d.path }

// DirectoryID is the directory's own id (KIP-858).
func (d *Dir) DirectoryID() [16]byte { return d.meta.directory }

// ClusterID is the cluster that the directory belongs to.
func (d *Dir) ClusterID() string {
	d.metaMu.Lock()
	defer d.metaMu.Unlock()
	return d.meta.cluster
}

// Logs lists the logs of the directory, by name.
func (d *Dir) Logs() []LogID {
	list := d.all()
	ids := make([]LogID, len(list))
	for i, l := range list {
		ids[i] = l.ID()
	}
	return ids
}

// HasState tells whether the directory knew, when it was opened, which logs it had: those
// that are gone are missed then (Missing). Once its state file was not there, it does not
// until ForgetMissing, whatever starts there are before.
func (d *Dir) HasState() bool { return d.knew }

// Log is an existing log, nil when there is none.
func (d *Dir) Log(topic string, partition int32) *Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.logs[key{topic, partition}]
}

// OpenLog gives a log its configuration and hooks. One that does not exist is created
// without a word to the file system: what first wants to keep something makes its
// directory (make), durable by the sync round that follows. A directory of another topic
// of that name is ErrInconsistentTopicID.
func (d *Dir) OpenLog(id LogID, cfg Config, hooks Hooks) (*Log, error) {
	d.admin.Lock()
	defer d.admin.Unlock()
	d.mu.Lock()
	l, closed := d.logs[id.key()], d.closed
	d.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case l == nil:
		var err error
		if l, err = d.createLog(id); err != nil {
			return nil, err
		}
	case id.TopicID == [16]byte{}:
	case l.ID().TopicID == id.TopicID:
		if err := l.rewriteID(); err != nil {
			return nil, err
		}
	case l.ID().TopicID == [16]byte{}:
		if err := l.adopt(id); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%w: %s holds topic id %s, not %s", ErrInconsistentTopicID,
			*l.path.Load(), formatUUID(l.ID().TopicID), formatUUID(id.TopicID))
	}
	l.cfg.Store(&cfg)
	l.mu.Lock()
	l.producers.max = cfg.MaxProducers
	l.hooks = hooks
	l.mu.Unlock()
	if cfg.Durable && l.synced.Load() < l.end.Load() {
		l.markDirty()
	}
	return l, nil
}

// createLog makes a new log, of which nothing is on the disk yet; admin is held.
func (d *Dir) createLog(id LogID) (*Log, error) {
	if err := d.Failed(); err != nil {
		return nil, err
	}
	l := d.newLog(id)
	l.unmade.Store(true)
	l.setSegments(nil)
	l.recovered = Recovered{Point: -1, Kept: true}
	d.mu.Lock()
	d.logs[id.key()] = l
	d.mu.Unlock()
	return l, nil
}

// run calls fn for 0…n-1 on at most threads goroutines; with 1 on the caller's own.
func run(n, threads int, fn func(int)) {
	if threads = min(threads, n); threads <= 1 {
		for i := range n {
			fn(i)
		}
		return
	}
	var next atomic.Int64
	work := func() {
		for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
			fn(int(i))
		}
	}
	var wg sync.WaitGroup
	for range threads - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}
