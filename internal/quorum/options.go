package quorum

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/nodewire"
)

// Options of a Node. FS, Dir, Clock and Self are required; other zero values get
// the stated defaults.
type Options struct {
	FS    env.FS
	Dir   string // of this log alone; the owner holds the lock of the data folder
	Clock env.Clock
	// Exec runs the disk and the hooks; without it the node has goroutines of its own.
	Exec env.Exec
	Self Member
	// Voters begin a new log when Dir holds none; they must be the same at every one
	// of them. Without it, and without Join, an empty Dir is ErrEmpty.
	Voters []Member
	// Join begins a log when Dir holds none, of a member that waits to be added to a
	// group that exists (Change) and takes everything from its leader.
	Join bool
	// Hooks are told what happens.
	Hooks Hooks
	// Failed is called once when the node has stopped for good.
	Failed func(error)
	// Moved is told after another leader is known, or none. It must not block; may be nil.
	Moved func()
	// Doubted is told when a heartbeat came that only fits a log with more in it: the
	// owner is to ask the leader what it knows of this member, until it can say so (Told).
	// It must not block. Without it the heartbeat is believed.
	Doubted func()
	// Send passes messages to other members; it must not block and may lose them. It is
	// called by whoever steps the node, one call at a time, and may step other nodes.
	Send func([]*raftpb.Message)
	// FetchSnapshot asks a member, by its Raft id, for a part of a snapshot (its
	// ReadSnapshot answers). done is called once; it may be within the call.
	FetchSnapshot func(from uint64, req *nodewire.SnapshotRequest, done func(*nodewire.SnapshotResponse, error))

	TickInterval   time.Duration // 100 ms
	ElectionTicks  int           // 10: an election begins 1 to 2 s after the leader fell silent
	HeartbeatTicks int           // 2
	SegmentBytes   int64         // 4 MiB, preallocated
	SnapshotBytes  int64         // 20 MiB of entries behind a snapshot ask for the next
	KeepEntries    uint64        // 1,000 entries, of 4 MiB at most, stay behind a snapshot for those who lag
	Logger         *slog.Logger
}

// Hooks are called in the order of the log, one at a time, by a loop of their own
// (Restore of what lies on disk: within Open). They may block: elections and
// heartbeats go on meanwhile. An error stops the node for good.
type Hooks struct {
	// Restore replaces the state by a snapshot's. Data must be read to its io.EOF.
	Restore func(m SnapshotMeta, data io.Reader) error
	// Commit hands out one committed entry; entries without data are left out.
	Commit func(e Entry) error
	// Lead says that this member leads in a term, and that all that earlier leaders
	// committed has been handed out.
	Lead func(term uint64)
	// Resign says that it does not lead in that term any more.
	Resign func(term uint64)
	// SnapshotDue asks for a snapshot, of index or later.
	SnapshotDue func(index uint64)
}

// Entry is one committed entry.
type Entry struct {
	Index, Term uint64
	Type        raftpb.EntryType
	Data        []byte // shared: not to be changed
}

func (o Options) withDefaults() (Options, error) {
	if o.FS == nil || o.Dir == "" || o.Clock == nil {
		return o, errors.New("quorum: FS, Dir and Clock are required")
	}
	if o.Hooks.Restore == nil {
		o.Hooks.Restore = func(_ SnapshotMeta, r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }
	}
	if o.Hooks.Commit == nil {
		o.Hooks.Commit = func(Entry) error { return nil }
	}
	for _, f := range []*func(uint64){&o.Hooks.Lead, &o.Hooks.Resign, &o.Hooks.SnapshotDue} {
		if *f == nil {
			*f = func(uint64) {}
		}
	}
	if o.Send == nil {
		o.Send = func([]*raftpb.Message) {}
	}
	if o.FetchSnapshot == nil {
		o.FetchSnapshot = func(_ uint64, _ *nodewire.SnapshotRequest, done func(*nodewire.SnapshotResponse, error)) {
			done(nil, errors.New("quorum: no way to fetch snapshots"))
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.TickInterval, 100*time.Millisecond)
	setDefault(&o.ElectionTicks, 10)
	setDefault(&o.HeartbeatTicks, 2)
	setDefault(&o.SegmentBytes, 4<<20)
	setDefault(&o.SnapshotBytes, 20<<20)
	setDefault(&o.KeepEntries, 1000)
	if o.ElectionTicks <= o.HeartbeatTicks || o.TickInterval < 0 || o.SegmentBytes < 0 || o.SnapshotBytes < 0 || o.HeartbeatTicks < 0 {
		return o, fmt.Errorf("quorum: bad options: %d election ticks, %d heartbeat ticks", o.ElectionTicks, o.HeartbeatTicks)
	}
	return o, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// raftLogger passes the library's words on: its chatter as debug, warnings as such.
// A panic of the library is a broken invariant; the node's goroutine recovers it
// and fails for good.
type raftLogger struct{ *slog.Logger }

var _ raft.Logger = raftLogger{}

func (l raftLogger) Debug(v ...any)            { l.Logger.Debug(fmt.Sprint(v...)) }
func (l raftLogger) Debugf(f string, v ...any) { l.Logger.Debug(fmt.Sprintf(f, v...)) }
func (l raftLogger) Info(v ...any)             { l.Logger.Debug(fmt.Sprint(v...)) }
func (l raftLogger) Infof(f string, v ...any)  { l.Logger.Debug(fmt.Sprintf(f, v...)) }
func (l raftLogger) Warning(v ...any)          { l.Logger.Warn(fmt.Sprint(v...)) }
func (l raftLogger) Warningf(f string, v ...any) {
	l.Logger.Warn(fmt.Sprintf(f, v...))
}
func (l raftLogger) Error(v ...any)            { l.Logger.Error(fmt.Sprint(v...)) }
func (l raftLogger) Errorf(f string, v ...any) { l.Logger.Error(fmt.Sprintf(f, v...)) }
func (l raftLogger) Fatal(v ...any)            { panic(libraryPanic(fmt.Sprint(v...))) }
func (l raftLogger) Fatalf(f string, v ...any) { panic(libraryPanic(fmt.Sprintf(f, v...))) }
func (l raftLogger) Panic(v ...any)            { panic(libraryPanic(fmt.Sprint(v...))) }
func (l raftLogger) Panicf(f string, v ...any) { panic(libraryPanic(fmt.Sprintf(f, v...))) }

type libraryPanic string
