package log

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/leat-stream/leat/internal/record"
)

// Hooks are called by a log's directory, without locks.
type Hooks struct {
	// Synced tells that the synced end offset moved up to end. It is called after the
	// sync round, without any lock of this package, possibly by two rounds at once: an
	// end below one that was told before says nothing new. After NoRoom it is called in any
	// case.
	Synced func(end int64)
	// NoRoom, if not nil, tells that what was appended could not be made durable, since the
	// disk is full. It is tried again. It is called as Synced is.
	NoRoom func(err error)
}

// Log is one partition on disk. All methods may be called from any goroutine.
type Log struct {
	d    *Dir
	id   atomic.Pointer[LogID]
	path atomic.Pointer[string]
	cfg  atomic.Pointer[Config]

	start, end, synced atomic.Int64
	unstable           atomic.Int64 // first unstable offset; math.MaxInt64: none
	cleaned            atomic.Int64 // up to which offset compaction has come
	hw                 atomic.Int64 // as told by SetHighWatermark; -1: never told
	// segs is the immutable list of segments, ascending; nil until the log is loaded.
	segs      atomic.Pointer[[]*segment]
	hasDamage atomic.Bool   // damage is not empty
	gen       atomic.Uint32 // counts what makes known positions void
	closed    atomic.Pointer[error]

	// unmade: the log has no directory yet. w guards the change.
	unmade atomic.Bool

	wrongID error // what is wrong with partition.metadata; Dir.admin guards it

	compacting  sync.Mutex
	uncleanable atomic.Bool // compaction met damage

	w         sync.Mutex
	broken    error   // why nothing can be appended: a half-written tail could not be cut off
	failed    error   // a write failed for another reason than space; sticky
	snapshots []int64 // offsets of producer snapshots on disk, ascending
	cutting   bool    // a truncation has begun to cut
	gap       bool    // the active segment begins behind a gap that is not recorded

	sweep  sync.Mutex // one removal of old files at a time
	thrown []*trash   // waits for its removal, also in Dir.trash

	mu         sync.Mutex
	hooks      Hooks
	producers  producers
	epochs     epochs
	boundaries *boundaries
	dirty      dirty
	damage     []damagedRange
	recovered  Recovered
	hint       bool // saved is not from a clean stop: it only tells where to begin
	// saved is what the state file says of the log, until it is loaded.
	saved *savedLog
}

// dirty is what a log has not made durable yet; Log.mu guards it.
type dirty struct {
	queued        bool // is in Dir.dirty
	checkpoint    bool // is in Dir.unsaved
	changed       bool // since the directory was opened
	sealed        []*segment
	synced        place // of SyncedOffset
	newFiles      bool  // the partition's directory has names that are not synced
	newDir        bool  // the partition's directory itself is new
	noRoom        bool  // Hooks.NoRoom was told, and Hooks.Synced not yet again
	messages      int64 // appended since the last sync
	since         int64 // wall clock ms of the first append since the last sync
	ready         mark  // up to here everything but the batches is durable too: the next recovery point
	saving        mark  // recovery point and start in the state that is being written
	savingStart   int64
	savedStart    int64
	point         int64      // recovery point in the last state that was written
	tried         int64      // the highest that may be in the state file, a failed write of which may be there
	nextSegs      []*segment // the list that a swap is about to make
	wantStart     int64      // start offset to be made durable before it holds
	snapshotAt    int64      // the latest producer snapshot
	snapshotBytes int64      // appended since
}

// place is a position in a log, with the largest timestamp of its segment up to it and
// the number of its index entries.
type place struct {
	seg            *segment
	size           int64
	maxTs, maxTsAt int64
	n              entryCounts
}

// mark is an offset and its place.
type mark struct {
	offset int64
	place
}

// ID names the log.
func (l *Log) ID() LogID { return *l.id.Load() }

// StartOffset is the first offset that can be read.
func (l *Log) StartOffset() int64 { return l.start.Load() }

// RecordedStart is the start as it survives a crash; retention moves it in memory first.
func (l *Log) RecordedStart() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return min(l.dirty.savedStart, l.start.Load())
}

// RecordedPoint is up to where a start after a crash knows that the log was synced.
func (l *Log) RecordedPoint() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dirty.point
}

// EndOffset is the offset that the next record gets.
func (l *Log) EndOffset() int64 { return l.end.Load() }

// SyncedOffset is the end of what survives a power cut.
func (l *Log) SyncedOffset() int64 { return l.synced.Load() }

// Config is the configuration in force.
func (l *Log) Config() *Config { return l.cfg.Load() }

// SetConfig changes the configuration; it holds from the next operation on.
func (l *Log) SetConfig(c Config) {
	l.cfg.Store(&c)
	l.mu.Lock()
	l.producers.max = c.MaxProducers
	l.mu.Unlock()
	if c.Durable && l.synced.Load() < l.end.Load() {
		l.markDirty()
	}
}

// SetHooks replaces the hooks.
func (l *Log) SetHooks(h Hooks) {
	l.mu.Lock()
	l.hooks = h
	l.mu.Unlock()
}

// SetHighWatermark tells the log its high watermark: ended transactions stay
// unstable until it has passed their marker, and the checkpoint keeps it.
func (l *Log) SetHighWatermark(hw int64) {
	if l.hw.Swap(hw) == hw || l.unstable.Load() == math.MaxInt64 {
		return
	}
	l.mu.Lock()
	l.producers.passed(hw)
	l.unstable.Store(l.producers.firstUnstable())
	l.mu.Unlock()
}

// HighWatermark is what SetHighWatermark told, at first what the checkpoint held
// when the directory was opened; -1 when there was none.
func (l *Log) HighWatermark() int64 { return l.hw.Load() }

// FirstUnstableOffset is the first offset of a transaction that is open, or whose
// marker the high watermark has not passed; ok is false when there is none.
func (l *Log) FirstUnstableOffset() (first int64, ok bool) {
	u := l.unstable.Load()
	return u, u != math.MaxInt64
}

// LastStableOffset is the offset up to which readers of committed data may read,
// given the high watermark.
func (l *Log) LastStableOffset(hw int64) int64 {
	l.SetHighWatermark(hw)
	return min(hw, l.unstable.Load())
}

// segments is the list of segments; the log is loaded if it is not.
func (l *Log) segments() ([]*segment, error) {
	if p := l.segs.Load(); p != nil {
		return *p, nil
	}
	l.w.Lock()
	defer l.w.Unlock()
	if err := l.load(); err != nil {
		return nil, err
	}
	return *l.segs.Load(), nil
}

func (l *Log) setSegments(list []*segment) { l.segs.Store(&list) }

// active is the last segment, nil when there is none; w is held and the log loaded.
func (l *Log) active() *segment {
	list := *l.segs.Load()
	if len(list) == 0 {
		return nil
	}
	return list[len(list)-1]
}

// writable tells why the log cannot be changed; w is held. It loads the log, and
// repairs what an earlier failed write left.
func (l *Log) writable() error {
	if err := l.usable(); err != nil {
		return err
	}
	if l.failed != nil {
		return l.failed
	}
	if err := l.load(); err != nil {
		return err
	}
	return l.repair()
}

func (l *Log) deleted() bool {
	p := l.closed.Load()
	return p != nil && *p == ErrDeleted
}

// usable tells whether the log is gone or its directory offline, without a lock.
func (l *Log) usable() error {
	if p := l.closed.Load(); p != nil {
		return *p
	}
	return l.d.Failed()
}

// LatestEpoch is the last leader epoch that wrote or was assigned, -1 when there is none.
func (l *Log) LatestEpoch() int32 {
	if l.segs.Load() == nil {
		if _, err := l.segments(); err != nil {
			return -1
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epochs.latest()
}

// AssignEpoch records that epoch starts at the log's end, before its leader writes.
func (l *Log) AssignEpoch(epoch int32) error {
	l.w.Lock()
	defer l.w.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	if err := l.make(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch > l.epochs.latest() {
		l.epochs.assign(epoch, l.end.Load())
		l.touch()
	}
	return nil
}

// EndOffsetForEpoch answers OffsetForLeaderEpoch: the largest epoch not above the
// asked one and the offset at which it ends (KIP-101, KIP-279); -1, -1 when unknown.
func (l *Log) EndOffsetForEpoch(epoch int32) (int32, int64) {
	if _, err := l.segments(); err != nil {
		return -1, -1
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epochs.endOf(epoch, l.end.Load())
}

// EpochForOffset is the epoch in which the record at offset was written, -1 when unknown.
func (l *Log) EpochForOffset(offset int64) int32 {
	if _, err := l.segments(); err != nil {
		return -1
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epochs.at(offset)
}

// ProducerInfo is one producer as DescribeProducers reports it.
type ProducerInfo struct {
	ProducerID       int64
	ProducerEpoch    int16
	LastSequence     int32 // -1: none in this epoch
	LastTimestamp    int64
	CoordinatorEpoch int32 // -1: no marker seen
	TxnStartOffset   int64 // of the open transaction, -1: none
}

// Producers lists the producers that the log remembers, by id.
func (l *Log) Producers() []ProducerInfo {
	if _, err := l.segments(); err != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]ProducerInfo, 0, len(l.producers.m))
	for _, p := range l.producers.m {
		list = append(list, ProducerInfo{p.id, p.epoch, p.lastSeq(), p.timestamp, p.coordinator, p.txnFirst})
	}
	slices.SortFunc(list, func(a, b ProducerInfo) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return list
}

// Size is the bytes of all segments' batches.
func (l *Log) Size() int64 {
	p := l.segs.Load()
	if p == nil {
		if saved := l.trusted(); saved != nil {
			return saved.size()
		}
		list, err := l.segments()
		if err != nil {
			return 0
		}
		p = &list
	}
	var n int64
	for _, s := range *p {
		n += s.size.Load()
	}
	return n
}

// trusted is the state from a clean stop while the log is not loaded, otherwise nil.
func (l *Log) trusted() *savedLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.segs.Load() != nil || l.hint {
		return nil
	}
	return l.saved
}

// SegmentInfo describes one segment.
type SegmentInfo struct {
	Base, End    int64 // offsets; End is the next segment's base or the log's end
	Bytes        int64
	MaxTimestamp int64 // -1: none
	Active       bool
}

// Segments describes the log's segments, ascending.
func (l *Log) Segments() ([]SegmentInfo, error) {
	list, err := l.segments()
	if err != nil {
		return nil, err
	}
	infos := make([]SegmentInfo, len(list))
	for i, s := range list {
		ts, _, err := s.largest()
		if err != nil {
			return nil, storageError("segments", err)
		}
		infos[i] = SegmentInfo{Base: s.base, End: l.segmentEnd(list, i), Bytes: s.size.Load(), MaxTimestamp: ts, Active: i == len(list)-1}
	}
	return infos, nil
}

func (l *Log) segmentEnd(list []*segment, i int) int64 {
	if i+1 < len(list) {
		return list[i+1].base
	}
	return l.end.Load()
}

// find is the index of the last segment whose base is at most offset; -1: none.
func find(list []*segment, offset int64) int {
	lo, hi := 0, len(list)
	for lo < hi {
		mid := (lo + hi) / 2
		if list[mid].base <= offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// boundaries remembers where some batches start: those just appended, and those at
// which a read ended. Whoever reads on from there needs no index. Log.mu guards it.
type boundaries struct {
	slots [64]boundaryAt
}

type boundaryAt struct {
	offset, pos int64
	seg         *segment
}

func slotOf(offset int64) int { return int(uint64(offset) * 0x9e3779b97f4a7c15 >> 58) }

// know remembers that the batch with the next offset at or behind offset starts at
// pos; mu is held. gen is the value of l.gen when the caller began to look.
func (l *Log) know(offset int64, seg *segment, pos int64, gen uint32) {
	if l.gen.Load() != gen {
		return
	}
	if l.boundaries == nil {
		l.boundaries = new(boundaries)
	}
	l.boundaries.slots[slotOf(offset)] = boundaryAt{offset, pos, seg}
}

// known is the position that know remembered for offset in seg.
func (l *Log) known(offset int64, seg *segment) (pos int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.knows(offset, seg)
}

// knows is known for who holds mu.
func (l *Log) knows(offset int64, seg *segment) (pos int64, ok bool) {
	if l.boundaries == nil {
		return 0, false
	}
	b := &l.boundaries.slots[slotOf(offset)]
	return b.pos, b.seg == seg && b.offset == offset
}

// forget voids all known positions.
func (l *Log) forget() {
	l.mu.Lock()
	l.gen.Add(1)
	l.boundaries = nil
	l.mu.Unlock()
}

// Origin says where batches come from; it decides what is checked.
type Origin = record.Origin

// The origins.
const (
	OriginClient      = record.Client      // a Produce request
	OriginCoordinator = record.Coordinator // this node's coordinators, and transaction markers
	OriginReplication = record.Replica     // the partition's leader
)
