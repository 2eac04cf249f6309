package quorum

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/mutant"
)

// listing is what lies in the directory.
type listing struct {
	segments  []uint64 // numbers, ascending
	snapshots []uint64 // indexes, ascending
	leftovers []string // files that were never finished
	marker    bool
}

func list(fsys env.FS, dir string) (listing, error) {
	var l listing
	files, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	} else if err != nil {
		return l, err
	}
	for _, f := range files {
		name := f.Name()
		if n, ok := parseName(name, segmentSuffix); ok {
			l.segments = append(l.segments, n)
		} else if n, ok := parseName(name, snapshotSuffix); ok {
			l.snapshots = append(l.snapshots, n)
		} else if strings.HasSuffix(name, tmpSuffix) {
			l.leftovers = append(l.leftovers, name)
		} else if name == markerName {
			l.marker = true
		}
	}
	slices.Sort(l.segments)
	slices.Sort(l.snapshots)
	return l, nil
}

// replayed is the log as its segments tell it, without changing a file.
type replayed struct {
	segments []segment // in order; the last may have a bad or stray tail
	hard     hardState
	// baseIndex and baseTerm are of the entry before the first of entries.
	baseIndex, baseTerm uint64
	entries             []*raftpb.Entry
	unfinished          uint64 // number of a last segment whose header never got to disk; 0 if none
}

func (r *replayed) lastIndex() uint64 { return r.baseIndex + uint64(len(r.entries)) }

// term is the term of an entry that the log holds or stands on.
func (r *replayed) term(index uint64) (uint64, bool) {
	switch {
	case index == r.baseIndex:
		return r.baseTerm, true
	case index > r.baseIndex && index <= r.lastIndex():
		return r.entries[index-r.baseIndex-1].GetTerm(), true
	}
	return 0, false
}

// truncate drops the entries from index on.
func (r *replayed) truncate(index uint64) {
	n := index - r.baseIndex - 1
	clear(r.entries[n:])
	r.entries = r.entries[:n]
}

// replay reads the segments in order. Damage is an error wherever the bytes were
// synced: in every segment but the last, and in that one below the note.
func replay(fsys env.FS, dir string, numbers []uint64, note synced, member uint64) (*replayed, error) {
	r := &replayed{}
	for i, number := range numbers {
		name := segmentName(number)
		last := i == len(numbers)-1
		if i > 0 && number != numbers[i-1]+1 {
			return nil, fmt.Errorf("%w: segment %s is missing", ErrLostLog, segmentName(numbers[i-1]+1))
		}
		s, err := r.segment(fsys, dir, name, i == 0)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		switch {
		case s.bad != nil && !last:
			return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, name, s.bad)
		case note.segment == number && uint64(s.size) < note.bytes && !mutant.On("quorum/starts-without-end"):
			return nil, damage(name, s, note)
		case s.size == 0: // last, never synced
			r.unfinished = number
			continue
		case s.header.number != number:
			return nil, fmt.Errorf("%w: %s says that it is segment %d", ErrCorrupt, name, s.header.number)
		case member != 0 && s.header.member != member:
			return nil, fmt.Errorf("%w: %s was written by member %016x, this is %016x", ErrWrongMember, name, s.header.member, member)
		case i > 0 && s.header.previous != uint64(r.segments[i-1].size):
			return nil, fmt.Errorf("%w: %s has %d bytes, the next segment says %d",
				ErrCorrupt, segmentName(numbers[i-1]), r.segments[i-1].size, s.header.previous)
		}
		r.segments = append(r.segments, s)
	}
	if r.baseTerm == 0 && len(r.entries) > 0 {
		r.baseIndex, r.baseTerm, r.entries = r.baseIndex+1, r.entries[0].GetTerm(), r.entries[1:]
	}
	if note.segment == math.MaxUint64 {
		return nil, fmt.Errorf("%w: the leader knew of more than was there, and this member stopped for good", ErrLostLog)
	}
	if n := len(numbers); n == 0 && note.segment > 0 && !mutant.On("node/starts-without-metadata") || n > 0 && numbers[n-1] < note.segment {
		return nil, fmt.Errorf("%w: segment %s is missing", ErrLostLog, segmentName(note.segment))
	}
	return r, nil
}

// damage tells lost bytes from changed ones.
func damage(name string, s segment, note synced) error {
	if s.bad == nil || s.fileSize < int64(note.bytes) {
		return fmt.Errorf("%w: %s ends at byte %d, it was synced up to %d", ErrLostLog, name, s.size, note.bytes)
	}
	return fmt.Errorf("%w: %s: %w, which was synced", ErrCorrupt, name, s.bad)
}

// segment replays one segment.
func (r *replayed) segment(fsys env.FS, dir, name string, first bool) (segment, error) {
	return scanSegment(fsys, filepath.Join(dir, name), visitor{
		begin: func(h segmentHeader) {
			if term, ok := r.term(h.prevIndex); first || !ok || term != h.prevTerm || h.prevIndex != r.lastIndex() {
				// The log starts here, or was replaced by a snapshot.
				r.baseIndex, r.baseTerm, r.entries = h.prevIndex, h.prevTerm, nil
			}
		},
		hard: func(_ int64, h hardState) { r.hard = h },
		entry: func(_ int64, e *raftpb.Entry) error {
			switch index := e.GetIndex(); {
			case index > r.lastIndex()+1:
				return fmt.Errorf("%w: entry %d in a log that ends at %d", errFrame, index, r.lastIndex())
			case index > r.baseIndex:
				r.truncate(index)
			default:
				// It replaced one that lay in a segment removed since.
				r.baseIndex, r.baseTerm, r.entries = index-1, 0, nil
			}
			e.Data = bytes.Clone(e.Data) // or the whole file stays in memory
			r.entries = append(r.entries, e)
			return nil
		},
	})
}

// recovered is what a store starts from.
type recovered struct {
	*replayed
	snapshot SnapshotMeta
	// reset: the snapshot replaces the log (it was received, and the power went
	// before the log was begun anew).
	reset bool
}

// recover reads a directory and checks that nothing which was promised is missing.
// It changes nothing.
func recoverDir(fsys env.FS, dir string, l listing, member uint64) (*recovered, synced, error) {
	note, err := readNotes(fsys, dir)
	if err != nil {
		return nil, note, err
	}
	if len(l.snapshots) == 0 {
		if len(l.segments) > 0 || note.segment > 0 {
			return nil, note, fmt.Errorf("%w: %s has no snapshot", ErrCorrupt, dir)
		}
		return nil, note, ErrEmpty
	}
	r := &recovered{}
	if r.replayed, err = replay(fsys, dir, l.segments, note, member); err != nil {
		return nil, note, err
	}
	if r.snapshot, err = verifySnapshot(fsys, dir, l.snapshots[len(l.snapshots)-1]); err != nil {
		return nil, note, err
	}
	if err := r.join(); err != nil {
		return nil, note, err
	}
	return r, note, nil
}

// join lays the log onto the snapshot.
func (r *recovered) join() error {
	s := r.snapshot
	if term, ok := r.term(s.Index); ok && term == s.Term {
		if r.hard.commit > r.lastIndex() {
			return fmt.Errorf("%w: entry %d was committed, the log ends at %d", ErrLostLog, r.hard.commit, r.lastIndex())
		}
	} else {
		if s.Index < r.baseIndex || r.hard.commit > s.Index {
			return fmt.Errorf("%w: the snapshot holds entries up to %d, the log starts at %d and %d was committed",
				ErrLostLog, s.Index, r.baseIndex+1, r.hard.commit)
		}
		r.reset = true
		r.baseIndex, r.baseTerm, r.entries = s.Index, s.Term, nil
	}
	if s.Term > r.hard.term {
		r.hard.term, r.hard.vote = s.Term, 0
	}
	r.hard.commit = max(r.hard.commit, s.Index)
	return nil
}

// verifySnapshot reads a whole snapshot file for its checksums' sake.
func verifySnapshot(fsys env.FS, dir string, index uint64) (SnapshotMeta, error) {
	s, err := openSnapshot(fsys, dir, index)
	if err != nil {
		return SnapshotMeta{}, corrupt(err)
	}
	_, err = io.Copy(io.Discard, s)
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return SnapshotMeta{}, fmt.Errorf("%s: %w", snapshotName(index), corrupt(err))
	}
	return s.Meta(), nil
}

// corrupt marks a bad frame as damage.
func corrupt(err error) error {
	if errors.Is(err, errFrame) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}
