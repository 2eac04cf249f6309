package quorum

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/mutant"
)

// write is what one MsgStorageAppend of the library asks to make durable.
type write struct {
	entries  []*raftpb.Entry
	hard     *hardState
	snapshot fetched // a fetched snapshot; it replaces the log
	sync     bool    // somebody is told about it
}

// fetched is a synced snapshot file that waits for its name; zero for none.
type fetched struct{ index, term uint64 }

// store is the directory of one member, owned by one goroutine at a time. Its
// order of operations: frames, sync, note; a new segment is synced with its name
// before anything is written to it; a snapshot is durable before what it replaces
// is removed. After an error it must not be used.
type store struct {
	fs       env.FS
	dir      string
	member   uint64
	size     int64 // of a segment
	file     env.File
	segments []segment // the last one is open
	marker   *marker
	hard     hardState
	written  hardState // the last one framed; a commit index alone lags behind
	last     struct{ index, term uint64 }
	todo     []write // taken, and neither framed nor installed yet
	buf      []byte  // framed, and not durable yet
	due      bool    // buf has to be synced with this write, not with the next
	failed   error   // after it nothing is written any more
}

// errNoSpace says that the disk is full and that nothing went wrong otherwise: what
// was not promised yet can be written later, the same bytes in the same place.
var errNoSpace = errors.New("no space")

// noSpace marks a write's error that goes away with space. That of a sync is final.
func noSpace(err error) error {
	if env.IsFull(err) && !failedSync(err) {
		return fmt.Errorf("%w: %w", errNoSpace, err)
	}
	return err
}

// bootstrap makes the log of a new group: a snapshot of nothing at entry 1, which
// carries the first membership, so that a member without it knows no quorum at all.
// The bytes are the same at every founder. Without voters it is the log of a member
// that joins.
func bootstrap(fsys env.FS, dir string, voters []Member) error {
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := fsys.SyncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	meta := SnapshotMeta{Conf: &raftpb.ConfState{}, Members: slices.SortedFunc(slices.Values(voters), byID)}
	if len(voters) > 0 {
		meta.Index, meta.Term = 1, 1
	}
	for _, v := range meta.Members {
		meta.Conf.Voters = append(meta.Conf.Voters, v.ID())
	}
	return saveSnapshot(fsys, dir, meta.Index, func(w io.Writer) error { return encodeSnapshot(w, meta, nil) })
}

// openStore recovers the directory and opens it for writing. It cuts what was never
// synced, and finishes what was interrupted.
func openStore(fsys env.FS, dir string, member uint64, size int64) (*store, *recovered, error) {
	l, err := list(fsys, dir)
	if err != nil {
		return nil, nil, err
	}
	r, note, err := recoverDir(fsys, dir, l, member)
	if err != nil {
		return nil, nil, err
	}
	s := &store{fs: fsys, dir: dir, member: member, size: size, segments: r.segments, hard: r.hard, written: r.hard}
	s.last.index = r.lastIndex()
	s.last.term, _ = r.term(s.last.index)
	if err := s.open(l, r, note); err != nil {
		return nil, nil, errors.Join(err, s.abandon())
	}
	return s, r, nil
}

func (s *store) open(l listing, r *recovered, note synced) error {
	for _, name := range l.leftovers {
		if err := s.fs.Remove(filepath.Join(s.dir, name)); err != nil {
			return err
		}
	}
	if r.unfinished != 0 {
		if err := s.fs.Remove(filepath.Join(s.dir, segmentName(r.unfinished))); err != nil {
			return err
		}
	}
	var err error
	if s.marker, err = openMarker(s.fs, s.dir, note); err != nil {
		return err
	}
	if len(s.segments) > 0 {
		if err := s.reopen(note); err != nil {
			return err
		}
	}
	// Names that a crash left unsynced, and the marker's.
	if err := s.fs.SyncDir(s.dir); err != nil {
		return err
	}
	if len(s.segments) == 0 || r.reset {
		if err := s.roll(); err != nil {
			return err
		}
	}
	if r.reset {
		return s.removeBefore(len(s.segments) - 1)
	}
	last := s.segments[len(s.segments)-1]
	return s.marker.set(last.header.number, uint64(last.size))
}

// reopen opens the last segment and wipes what follows its last frame. What the note
// does not cover is written once more where it stands: if a sync failed before this
// start, the kernel takes the bytes in its page cache for written, and a sync alone
// would do nothing about them.
func (s *store) reopen(note synced) error {
	last := &s.segments[len(s.segments)-1]
	name := filepath.Join(s.dir, segmentName(last.header.number))
	f, err := s.fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	s.file = f
	if last.bad != nil || last.stray {
		if err := f.Truncate(last.size); err != nil {
			return err
		}
		if last.size < s.size {
			if err := f.Preallocate(s.size); err != nil {
				return err
			}
		}
		last.bad, last.stray = nil, false
	}
	from := int64(0)
	if note.segment == last.header.number {
		from = int64(note.bytes)
	}
	if from < last.size {
		b := make([]byte, last.size-from)
		if _, err := f.ReadAt(b, from); err != nil {
			return err
		}
		if _, err := f.WriteAt(b, from); err != nil {
			return err
		}
	}
	return f.Sync()
}

// write makes all the writes durable in their order, with one sync when no snapshot
// or full segment lies between them. After errNoSpace the next call goes on with what
// is left before it takes more.
func (s *store) write(ws []write) error {
	if s.failed != nil {
		return s.failed
	}
	s.todo = append(s.todo, ws...)
	err := noSpace(s.advance())
	if !errors.Is(err, errNoSpace) {
		s.failed = err
	}
	return err
}

func (s *store) advance() error {
	for ; len(s.todo) > 0; s.todo = s.todo[1:] {
		w := s.todo[0]
		if w.snapshot.index != 0 {
			if err := s.flush(); err != nil {
				return err
			}
			if err := s.install(w); err != nil {
				return err
			}
			s.due = len(w.entries) > 0
			continue
		}
		if w.hard != nil {
			s.hard = *w.hard
			if s.hard.term != s.written.term || s.hard.vote != s.written.vote {
				// Before the entries of that term. The commit index comes behind the
				// entries that it covers, or a torn write would look like lost entries.
				s.frameHard(hardState{s.hard.term, s.hard.vote, s.written.commit})
				s.due = true
			}
		}
		s.frameEntries(w.entries)
		s.due = s.due || w.sync || len(w.entries) > 0
	}
	s.todo = nil
	if !s.due {
		return nil // a commit index alone goes with the next write
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.due = false
	return nil
}

func (s *store) frameHard(h hardState) {
	s.buf = appendHardState(s.buf, h)
	s.written = h
}

func (s *store) frameEntries(es []*raftpb.Entry) {
	for _, e := range es {
		s.buf = appendEntry(s.buf, e)
		s.last.index, s.last.term = e.GetIndex(), e.GetTerm()
	}
}

// flush writes the buffered frames and the hard state, and syncs.
func (s *store) flush() error {
	if s.hard != s.written {
		s.frameHard(s.hard)
	}
	if len(s.buf) == 0 {
		return nil
	}
	seg := &s.segments[len(s.segments)-1]
	if _, err := s.file.WriteAt(s.buf, seg.size); err != nil {
		return err
	}
	if !mutant.On("quorum/no-sync") {
		if err := s.file.Sync(); err != nil {
			return syncError{err}
		}
	}
	seg.size += int64(len(s.buf))
	if err := s.marker.set(seg.header.number, uint64(seg.size)); err != nil {
		return err
	}
	s.buf = s.buf[:0]
	if cap(s.buf) > 4<<20 {
		s.buf = nil
	}
	if seg.size < s.size {
		return nil
	}
	if err := s.roll(); failedSync(err) || !env.IsFull(err) {
		return err
	}
	return nil // the open segment grows beyond its size, as far as it gets
}

// roll begins a new segment where the log stands now. On a full disk it leaves
// everything as it was.
func (s *store) roll() error {
	h := segmentHeader{member: s.member, number: 1, prevIndex: s.last.index, prevTerm: s.last.term}
	if n := len(s.segments); n > 0 {
		h.number, h.previous = s.segments[n-1].header.number+1, uint64(s.segments[n-1].size)
	}
	b := appendHardState(appendSegmentHeader(nil, h), s.hard)
	f, err := s.create(filepath.Join(s.dir, segmentName(h.number)), b)
	if err != nil {
		return err
	}
	if s.file != nil {
		if err := s.file.Close(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	s.file, s.written = f, s.hard
	s.segments = append(s.segments, segment{header: h, size: int64(len(b))})
	return s.marker.set(h.number, uint64(len(b)))
}

// create makes a segment file durable with its first frames.
func (s *store) create(name string, b []byte) (env.File, error) {
	f, err := s.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	if err = f.Preallocate(s.size); err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), s.fs.Remove(name))
	}
	if err = f.Sync(); err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		return nil, errors.Join(syncError{err}, f.Close())
	}
	return f, nil
}

// install replaces the log by a fetched snapshot. It may be done again as a whole.
func (s *store) install(w write) error {
	index := w.snapshot.index
	name := filepath.Join(s.dir, snapshotName(index))
	err := s.fs.Rename(filepath.Join(s.dir, fetchedName(index)), name)
	if errors.Is(err, fs.ErrNotExist) && index == s.last.index {
		err = nil // it has its name, and the disk was full afterwards
	}
	if err != nil {
		return err
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return syncError{err}
	}
	s.last.index, s.last.term = index, w.snapshot.term
	if w.hard != nil {
		s.hard = *w.hard
	}
	if err := s.roll(); err != nil {
		return err
	}
	s.frameEntries(w.entries)
	if err := s.removeBefore(len(s.segments) - 1); err != nil {
		return err
	}
	return s.dropSnapshots(index)
}

// compact removes the segments that hold nothing above index: a snapshot at or
// behind index must be durable. What a segment's predecessors hold is not above the
// log's end when it was begun, whatever was replaced later. It also removes the
// snapshots before the one before keep, which a reader may still have open.
func (s *store) compact(index, keep uint64) error {
	if s.failed == nil {
		s.failed = s.compactTo(index, keep)
	}
	return s.failed
}

func (s *store) compactTo(index, keep uint64) error {
	for i := len(s.segments) - 1; i > 0; i-- {
		if s.segments[i].header.prevIndex > index {
			continue
		}
		if err := s.removeBefore(i); err != nil {
			return err
		}
		break
	}
	return s.dropSnapshots(keep)
}

// removeBefore removes the segments before the i-th, oldest first, so that what a
// crash leaves is without a gap.
func (s *store) removeBefore(i int) error {
	for _, seg := range s.segments[:i] {
		if err := s.fs.Remove(filepath.Join(s.dir, segmentName(seg.header.number))); err != nil {
			return err
		}
		// Each removal is ordered before the next: names may otherwise come back in any order.
		if err := s.fs.SyncDir(s.dir); err != nil {
			return err
		}
	}
	s.segments = append([]segment(nil), s.segments[i:]...)
	return nil
}

func (s *store) dropSnapshots(keep uint64) error {
	l, err := list(s.fs, s.dir)
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(l.snapshots) && l.snapshots[i+1] < keep; i++ {
		if err := s.fs.Remove(filepath.Join(s.dir, snapshotName(l.snapshots[i]))); err != nil {
			return err
		}
	}
	for _, name := range l.leftovers {
		// Fetched, and overtaken.
		if n, ok := parseName(name, fetchSuffix); ok && n < keep {
			if err := s.fs.Remove(filepath.Join(s.dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// close writes the commit index that is still unwritten, and closes the files.
func (s *store) close() error {
	var err error
	if s.failed == nil {
		err = s.flush()
	}
	return errors.Join(err, s.abandon())
}

// abandon closes the files as they are.
func (s *store) abandon() error {
	var err error
	if s.file != nil {
		err = s.file.Close()
	}
	if s.marker != nil {
		err = errors.Join(err, s.marker.close())
	}
	return err
}
