package env

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Disk is a simulated file system in memory that can lose power. It keeps what a
// reader sees apart from what a power cut is certain to leave:
//
//   - A file has synced bytes and an ordered list of changes (write, truncate,
//     preallocate) that no Sync covers yet.
//   - A directory has synced entries and changes (create, remove, rename) that no
//     SyncDir covers yet. Syncing a file says nothing about its name.
//   - CrashClone returns a disk that such a power cut may leave.
//
// It injects faults (CrashAt, FailAt, FailSyncs, OnOp, SetFree, FailReads,
// FlipBit, SkipSync) and records its operations, so that a test can pin the order
// of writes, syncs and renames. It is safe for concurrent use. Names are cleaned
// slash-separated paths; "a" and "/a" are the same file.
type Disk struct {
	mu   sync.Mutex
	root *node
	rng  *rand.Rand
	now  func() time.Time

	nameOps []*nameOp // changes of directory entries, oldest first, of all directories

	ops      int           // mutating operations so far
	off      bool          // the power is cut
	crashAt  int           // 0: never
	failAt   map[int]error // by operation number
	failSync error         // answer of every sync, nil: none
	onOp     func(Op) error
	skipSync func(Op) bool
	onRead   func(name string, off int64, n int) error
	free     int64 // bytes; negative: no limit
	used     int64

	recording bool
	record    []Op
}

// ErrPowerOff answers every call after the simulated power cut.
var ErrPowerOff error = powerOff{}

type powerOff struct{}

func (powerOff) Error() string        { return "simulated power cut" }
func (powerOff) Is(target error) bool { return target == syscall.EIO }

// Partial is a fault for a write: its first N bytes reach the file, then Err.
type Partial struct {
	N   int
	Err error
}

func (p Partial) Error() string { return fmt.Sprintf("after %d bytes: %v", p.N, p.Err) }
func (p Partial) Unwrap() error { return p.Err }

// Kinds of mutating operations.
const (
	OpCreate      = "create"
	OpMkdir       = "mkdir"
	OpWrite       = "write"
	OpTruncate    = "truncate"
	OpPreallocate = "preallocate"
	OpSync        = "sync"
	OpSyncDir     = "syncdir"
	OpRename      = "rename"
	OpRemove      = "remove"
)

// Op is one mutating operation.
type Op struct {
	N    int    // 1 for the disk's first operation
	Kind string // one of the Op constants
	Path string // without a leading slash, the root is "."
	To   string // new name of a rename
	Off  int64  // of a write
	Len  int64  // of a write; new size of a truncate or preallocate
	Err  error  // its result, set only in the record
}

// String is the operation as golden tests show it: "write a/00.log 0+123",
// "truncate a/00.log 5", "sync a/00.log", "rename a b", and " = error" if it failed.
func (o Op) String() string {
	var b strings.Builder
	b.WriteString(o.Kind + " " + o.Path)
	switch o.Kind {
	case OpWrite:
		fmt.Fprintf(&b, " %d+%d", o.Off, o.Len)
	case OpTruncate, OpPreallocate:
		fmt.Fprintf(&b, " %d", o.Len)
	case OpRename:
		b.WriteString(" " + o.To)
	}
	if o.Err != nil {
		b.WriteString(" = " + o.Err.Error())
	}
	return b.String()
}

// NewDisk is an empty simulated disk whose root exists; its own randomness (for
// CrashClone without a source) follows from seed.
func NewDisk(seed uint64) *Disk {
	return newDisk(NewRand(seed))
}

func newDisk(rng *rand.Rand) *Disk {
	d := &Disk{rng: rng, free: -1, now: func() time.Time { return time.Unix(0, 0) }}
	d.root = &node{mode: fs.ModeDir | 0o755, dir: &dirState{entries: map[string]*node{}, durable: map[string]*node{}}}
	return d
}

// SetClock makes modification times follow c; without it they are the Unix epoch.
func (d *Disk) SetClock(c Clock) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = c.Now
}

// Ops is the number of mutating operations so far.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// CrashAt cuts the power at the n-th operation from now (1: the next one): it
// answers ErrPowerOff, as does every call after it, reads included. A write or a
// change of names that was under way then may or may not survive; a sync does not
// happen. 0 takes the plan back.
func (d *Disk) CrashAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crashAt = 0
	if n > 0 {
		d.crashAt = d.ops + n
	}
}

// PowerOff cuts the power now.
func (d *Disk) PowerOff() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
}

// Crashed tells whether the power is cut.
func (d *Disk) Crashed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}

// FailAt makes the n-th operation from now fail with err and have no effect (a
// write: a part of it with Partial). Later operations work again.
func (d *Disk) FailAt(n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failAt == nil {
		d.failAt = map[int]error{}
	}
	d.failAt[d.ops+n] = err
}

// FailSyncs makes every Sync and SyncDir fail with err from now on; nil ends it.
// As on Linux, bytes that a failed Sync should have covered are not covered by a
// later one that succeeds: they may be lost for good though readers see them.
func (d *Disk) FailSyncs(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failSync = err
}

// OnOp calls f before every mutating operation; an error that it returns is the
// operation's result, and ErrPowerOff cuts the power at it as CrashAt does. f must
// not call the disk. nil ends it.
func (d *Disk) OnOp(f func(Op) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onOp = f
}

// SkipSync makes the Syncs and SyncDirs that f picks succeed without doing
// anything, to prove that each one is needed. nil ends it.
func (d *Disk) SkipSync(f func(Op) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.skipSync = f
}

// FailReads calls f before every ReadAt; an error that it returns is the result.
// f must not call the disk. nil ends it.
func (d *Disk) FailReads(f func(name string, off int64, n int) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onRead = f
}

// SetFree leaves n free bytes for files to grow by; growing further is ENOSPC,
// after what fits. Removing and truncating files gives space back. Negative: no limit.
func (d *Disk) SetFree(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = n
}

// FlipBit flips the lowest bit of the byte at off, on the medium and for readers.
func (d *Disk) FlipBit(name string, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup("flip", name)
	if err != nil {
		return err
	}
	if n.file == nil || off < 0 || off >= int64(len(n.file.data)) {
		return &fs.PathError{Op: "flip", Path: name, Err: syscall.EINVAL}
	}
	n.file.data[off] ^= 1
	if off < int64(len(n.file.durable)) {
		n.file.durable[off] ^= 1
	}
	for _, m := range n.file.pending {
		if m.kind == OpWrite && off >= m.off && off < m.off+int64(len(m.data)) {
			m.data[off-m.off] ^= 1
		}
	}
	return nil
}

// Record starts a new record of operations.
func (d *Disk) Record() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recording, d.record = true, nil
}

// Recorded is the record since Record, one line per operation.
func (d *Disk) Recorded() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := make([]string, len(d.record))
	for i, op := range d.record {
		lines[i] = op.String()
	}
	return lines
}

// verdict is what becomes of one operation.
type verdict struct {
	err     error // its answer
	applies bool  // whether it has its effect all the same
	keep    int   // bytes of a write that have; negative: all
}

// begin counts an operation and decides its fate; d.mu is held.
func (d *Disk) begin(op Op) verdict {
	if d.off {
		return verdict{err: ErrPowerOff}
	}
	d.ops++
	op.N = d.ops
	v := d.fate(op)
	if d.recording {
		op.Err = v.err
		d.record = append(d.record, op)
	}
	return v
}

func (d *Disk) fate(op Op) verdict {
	isSync := op.Kind == OpSync || op.Kind == OpSyncDir
	var err error
	if d.onOp != nil {
		err = d.onOp(op)
	}
	if d.crashAt > 0 && op.N >= d.crashAt || err == ErrPowerOff {
		d.off = true
		return verdict{err: ErrPowerOff, applies: !isSync, keep: -1}
	}
	if failAt := d.failAt[op.N]; failAt != nil {
		err = failAt
		delete(d.failAt, op.N)
	}
	if err == nil && isSync {
		err = d.failSync
	}
	if err != nil {
		v := verdict{err: err}
		var p Partial
		if op.Kind == OpWrite && errors.As(err, &p) {
			v.applies, v.keep = p.N > 0, p.N
		}
		return v
	}
	if isSync && d.skipSync != nil && d.skipSync(op) {
		return verdict{}
	}
	return verdict{applies: true, keep: -1}
}

func cleanName(name string) string { return path.Clean("/" + name) }
