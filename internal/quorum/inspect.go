package quorum

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/machine"
)

// Item is one thing that Inspect found: the field that is set says what.
type Item struct {
	File string
	// Pos is the byte in the file where it starts; of a snapshot's record, the number
	// of the record from 0.
	Pos int64

	Segment  *SegmentInfo
	Hard     *HardState
	Entry    *Entry
	Batch    *Batch // of Entry, if its data is a batch
	Snapshot *SnapshotMeta
	Data     *SnapshotInfo   // the head of a metadata snapshot's data
	Record   *machine.Record // of a metadata snapshot
	Synced   *SyncedNote
	// Damage says what is wrong there; Skipped bytes could not be read.
	Damage  error
	Skipped int64
}

// SegmentInfo is a segment's header.
type SegmentInfo struct {
	Member, Number      uint64
	PreviousBytes       uint64 // length of the previous segment
	PrevIndex, PrevTerm uint64 // the log's last entry when the segment was begun
}

// HardState is what a voter promised: the term, whom it voted for, and the commit index.
type HardState struct{ Term, Vote, Commit uint64 }

// SnapshotInfo is the head of a metadata snapshot's data.
type SnapshotInfo struct{ LastOffset, Timestamp int64 }

// SyncedNote says how far a segment was synced at least.
type SyncedNote struct{ Segment, Bytes uint64 }

// String is one line, without the file's name.
func (i Item) String() string {
	switch {
	case i.Damage != nil:
		return fmt.Sprintf("%d damage: %v (%d bytes skipped)", i.Pos, i.Damage, i.Skipped)
	case i.Segment != nil:
		s := i.Segment
		return fmt.Sprintf("%d segment %d of member %016x, after entry %d term %d", i.Pos, s.Number, s.Member, s.PrevIndex, s.PrevTerm)
	case i.Hard != nil:
		return fmt.Sprintf("%d state term %d vote %016x commit %d", i.Pos, i.Hard.Term, i.Hard.Vote, i.Hard.Commit)
	case i.Batch != nil:
		b := i.Batch
		return fmt.Sprintf("%d entry %d term %d offsets %d to %d %s", i.Pos, i.Entry.Index, i.Entry.Term, b.Base, b.End()-1, stamp(b.Timestamp))
	case i.Entry != nil:
		e := i.Entry
		return fmt.Sprintf("%d entry %d term %d %v %d bytes", i.Pos, e.Index, e.Term, e.Type, len(e.Data))
	case i.Snapshot != nil:
		s := i.Snapshot
		return fmt.Sprintf("%d snapshot up to entry %d term %d voters %x members %v", i.Pos, s.Index, s.Term, s.Conf.GetVoters(), s.Members)
	case i.Data != nil:
		return fmt.Sprintf("%d state up to offset %d %s", i.Pos, i.Data.LastOffset, stamp(i.Data.Timestamp))
	case i.Record != nil:
		return fmt.Sprintf("%d record key %x value %x", i.Pos, i.Record.Key, i.Record.Value)
	case i.Synced != nil:
		return fmt.Sprintf("%d synced segment %d up to byte %d", i.Pos, i.Synced.Segment, i.Synced.Bytes)
	}
	return fmt.Sprintf("%d nothing", i.Pos)
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// Inspect reads the files of a directory that no member needs to run on, and calls
// fn for all that they hold: the synced note, the snapshots, the segments. It
// changes nothing, and carries on behind damage as well as it can. An error is
// fn's, or of reading.
func Inspect(fsys env.FS, dir string, fn func(Item) error) error {
	l, err := list(fsys, dir)
	if err != nil {
		return err
	}
	var names []string
	if l.marker {
		names = append(names, markerName)
	}
	for _, n := range l.snapshots {
		names = append(names, snapshotName(n))
	}
	for _, n := range l.segments {
		names = append(names, segmentName(n))
	}
	if len(names) == 0 {
		return fmt.Errorf("%s: %w", dir, ErrEmpty)
	}
	for _, name := range names {
		if err := InspectFile(fsys, filepath.Join(dir, name), fn); err != nil {
			return err
		}
	}
	return nil
}

// InspectFile is Inspect of one file, whose name says what it should be.
func InspectFile(fsys env.FS, path string, fn func(Item) error) error {
	name := filepath.Base(path)
	in := inspector{name, fn}
	if strings.HasSuffix(name, snapshotSuffix) {
		return in.snapshot(fsys, path)
	}
	if name != markerName && !strings.HasSuffix(name, segmentSuffix) {
		return fmt.Errorf("%s: %w", path, fs.ErrInvalid)
	}
	b, err := readFile(fsys, path)
	if err != nil {
		return err
	}
	if name == markerName {
		return in.marker(b)
	}
	return in.segment(b)
}

type inspector struct {
	file string
	fn   func(Item) error
}

func (in inspector) emit(pos int64, i Item) error {
	i.File, i.Pos = in.file, pos
	return in.fn(i)
}

func (in inspector) marker(b []byte) error {
	for pos := 0; pos < len(b); pos += markerSlot {
		f, ok, err := nextFrame(b[pos:min(pos+markerSlot, len(b))])
		if err == nil && !ok {
			continue
		}
		var s synced
		if err == nil {
			s, err = parseSynced(f.body)
		}
		i := Item{Synced: &SyncedNote{s.segment, s.bytes}}
		if err != nil {
			i = Item{Damage: err, Skipped: markerSlot}
		}
		if err := in.emit(int64(pos), i); err != nil {
			return err
		}
	}
	return nil
}

func (in inspector) segment(b []byte) error {
	budget := int64(len(b))*8 + 1<<20
	for pos := 0; pos < len(b); {
		f, ok, err := nextFrame(b[pos:])
		var i Item
		if err == nil && ok {
			i, err = describe(f)
		}
		switch {
		case err == nil && !ok:
			if allZero(b[pos:]) == nil {
				return nil // preallocated
			}
			err = fmt.Errorf("%w: stray bytes behind the end", errFrame)
			fallthrough
		case err != nil:
			next := resync(b, pos, &budget)
			i = Item{Damage: err, Skipped: int64(next - pos)}
			if err := in.emit(int64(pos), i); err != nil {
				return err
			}
			pos = next
			continue
		}
		if err := in.emit(int64(pos), i); err != nil {
			return err
		}
		pos += f.size
	}
	return nil
}

// describe decodes a frame of a segment.
func describe(f frame) (Item, error) {
	switch f.kind {
	case kindSegment:
		h, err := parseSegmentHeader(f.body)
		return Item{Segment: &SegmentInfo{h.member, h.number, h.previous, h.prevIndex, h.prevTerm}}, err
	case kindHardState:
		h, err := parseHardState(f.body)
		return Item{Hard: &HardState{h.term, h.vote, h.commit}}, err
	case kindEntry:
		e, err := parseEntry(f.body)
		if err != nil {
			return Item{}, err
		}
		i := Item{Entry: &Entry{e.GetIndex(), e.GetTerm(), e.GetType(), e.GetData()}}
		if b, err := DecodeBatch(e.GetData()); err == nil && e.GetType() == raftpb.EntryNormal {
			i.Batch = &b
		}
		return i, nil
	}
	return Item{}, fmt.Errorf("%w: kind %d", errFrame, f.kind)
}

// resync finds the next good frame behind a bad one. budget bounds the bytes that
// are checksummed on the way: hostile bytes could look like the start of a large
// frame everywhere.
func resync(b []byte, bad int, budget *int64) int {
	for pos := bad + 1; pos+frameHead < len(b); pos++ {
		n := int64(len(b) - pos)
		if k := frameKind(b[pos+frameHead]); k != kindSegment && k != kindHardState && k != kindEntry {
			continue
		}
		f, ok, err := nextFrame(b[pos:])
		if ok && err == nil {
			if _, err := describe(f); err == nil {
				return pos
			}
		}
		if f.size > 0 { // it was checksummed
			if *budget -= min(n, int64(f.size)); *budget < 0 {
				break
			}
		}
	}
	return len(b)
}

func (in inspector) snapshot(fsys env.FS, path string) error {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	damage := func(pos int64, err error) error {
		if !errors.Is(err, errFrame) && !errors.Is(err, ErrVersion) {
			return err
		}
		return in.emit(pos, Item{Damage: err})
	}
	r, err := newSnapshotReader(io.NewSectionReader(f, 0, size))
	if err != nil {
		return damage(0, err)
	}
	if err := in.emit(0, Item{Snapshot: &r.meta}); err != nil {
		return err
	}
	h, err := readSnapshotHead(r)
	if err != nil {
		return damage(0, err)
	}
	if err := in.emit(0, Item{Data: &SnapshotInfo{h.last, h.timestamp}}); err != nil {
		return err
	}
	n := int64(0)
	for rec, err := range records(r) {
		if err != nil {
			return damage(n, err)
		}
		if err := in.emit(n, Item{Record: &rec}); err != nil {
			return err
		}
		n++
	}
	return nil
}
