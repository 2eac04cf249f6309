// Package journal makes many small appends durable with one write and one sync.
//
// A log directory has one journal of two files. A sync round hands it the bytes that
// were appended to segments since the last one; once Append returns, they survive a
// power cut, because recovery writes them into their segments again. The segments
// themselves are synced later, off the path of any reply, and the journal is trimmed.
// FORMAT.md shows the bytes; docs/decisions/0002-sync-by-journal-and-in-place.md why.
//
// Life of the two files. One is current and fills with the frames of one generation.
// When it is full, the next generation starts in the other file, which must be free:
// every segment with bytes in its generation was synced in place (Settle) and a frame
// in the current file says so (Trim).
//
// Invariants:
//
//   - Replay only ever repeats writes: it puts the same bytes where they already stood.
//     So a log that the journal still holds may only grow. Whoever truncates a log,
//     replaces or reuses the name of one of its segments, or recreates it under the same
//     name and topic id, must first sync it in place and then Forget it, in this order;
//     Holds tells whether that is needed. Removing whole segments from the front
//     (retention) or a whole log needs nothing before: a data entry whose segment or log
//     is gone is skipped. A removed log must be forgotten before it is created again.
//   - A frame is written after the frame before it was synced. So damage within synced
//     frames can be told from a torn last frame.
//   - A file is overwritten from its start only when a synced frame of the other file
//     voids what it held.
//   - A failed sync is never retried: the journal then refuses everything with the same
//     error, and what was in that Append may or may not be durable.
//
// A Journal starts no goroutine and takes no lock: one caller at a time.
package journal

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leat-stream/leat/internal/env"
)

// Log names a partition's log within its log directory.
type Log struct {
	Dir     string   // its directory, such as "orders-0"
	TopicID [16]byte // tells it from an earlier topic of the same name
}

// Segment is a segment file of a log, by its base offset.
type Segment struct {
	Log  Log
	Base int64
}

// Entry says that Data stands at Position of a segment.
type Entry struct {
	Log      Log
	Base     int64 // the segment's base offset
	Position int64 // in bytes
	Data     []byte
}

// Options of a journal. Zero values mean the defaults.
type Options struct {
	FS  env.FS // env.OS
	Dir string // the log directory
	// Size is the most bytes of one file; 64 MiB. A multiple of 4,096, at least 16,384.
	Size int64
	// Chunk is by how much a file grows at least, written with zeros: a sync of bytes that
	// overwrite written ones costs less than one that must record new blocks. 1 MiB.
	Chunk int64
	// Salt is drawn at the journal's creation, to know its own frames; required to be unguessable.
	Salt uint64
}

// Errors of Append and Forget that leave the journal as it was.
var (
	// ErrFull: the entries fit neither the current file nor the other one, or the disk
	// has no space to grow it. Sync the segments in place instead, or Trim and try again.
	ErrFull = errors.New("journal is full")
	// ErrTooLarge: the entries can never fit one frame.
	ErrTooLarge = errors.New("entries exceed the journal's largest frame")
	// errNotReset: Append before Replay and Reset.
	errNotReset = errors.New("journal: not reset since it was opened")
)

// Journal is the journal of one log directory.
type Journal struct {
	o     Options
	files [2]file
	cur   int // index of the current file

	salt       uint64
	generation uint64 // of the current file; 0: nothing written yet
	firstLive  uint64
	sequence   uint64 // of the next frame
	at         int64  // where the next frame goes in the current file

	scans  [2]scan
	ready  bool
	failed error

	held      map[uint64]*holding // by live generation
	forgotten []Log               // by the last frame, to repeat in the next one

	head []byte   // header and table, reused
	vec  [][]byte // buffers of one write, reused
}

// holding is what one generation's frames hold on disk.
type holding struct {
	logs      map[Log]struct{}
	unsettled map[Segment]struct{} // not known to be synced in place
}

// Open opens the journal in o.Dir, or creates it, and reads what it holds. Replay and
// Reset must follow before the first Append.
func Open(o Options) (*Journal, error) {
	if o.FS == nil {
		o.FS = env.OS
	}
	if o.Size == 0 {
		o.Size = 64 << 20
	}
	if o.Chunk == 0 {
		o.Chunk = 1 << 20
	}
	if o.Size%block != 0 || o.Size < 4*block || o.Chunk < block {
		return nil, fmt.Errorf("journal: size %d, chunk %d: not a multiple of %d or too small", o.Size, o.Chunk, block)
	}
	o.Chunk = padded(o.Chunk)
	j := &Journal{o: o, held: map[uint64]*holding{}}
	for i := range j.files {
		if err := j.files[i].open(o.FS, filepath.Join(o.Dir, fmt.Sprintf("journal-%d", i))); err != nil {
			return nil, errors.Join(fmt.Errorf("journal: %w", err), j.Close())
		}
	}
	if err := j.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("journal: %w", err), j.Close())
	}
	return j, nil
}

// Close closes the files and writes nothing. Reset before it leaves nothing to replay.
func (j *Journal) Close() error {
	return errors.Join(j.files[0].close(), j.files[1].close())
}

// Err is the error after which the journal refuses everything; nil if there was none.
func (j *Journal) Err() error { return j.failed }

// Generation is the current one; entries appended from now on belong to it or a later one.
func (j *Journal) Generation() uint64 { return j.generation }

// Used is how many bytes of frames the files hold that are not trimmed, to show.
func (j *Journal) Used() int64 {
	used := j.at
	if j.otherHeld() {
		used += j.files[1-j.cur].end
	}
	return used
}

// FrameSize is how many bytes of the journal an Append of these entries takes. Log
// directories longer than 255 bytes do not exist.
func FrameSize(entries []Entry) int64 {
	n := int64(headerSize)
	for i := range entries {
		n += int64(entrySize(kindData, entries[i].Log)) + int64(len(entries[i].Data))
	}
	return padded(n)
}

// MaxFrame is the largest FrameSize that Append takes at once.
func (j *Journal) MaxFrame() int64 { return min(maxFrame, j.o.Size/2) }

// Append makes the entries durable: one write, one sync. An empty list does nothing.
// ErrFull and ErrTooLarge leave the journal as it was, any other error is for good.
// The entries' data is not kept.
func (j *Journal) Append(entries []Entry) error {
	if len(entries) == 0 {
		return j.usable()
	}
	for i := range entries {
		e := &entries[i]
		if !validDir(e.Log.Dir) || e.Base < 0 || e.Position < 0 || len(e.Data) == 0 {
			return fmt.Errorf("journal: entry %d (%q, segment %d, position %d, %d bytes) is not valid",
				i, e.Log.Dir, e.Base, e.Position, len(e.Data))
		}
	}
	if err := j.write(kindData, entries, false); err != nil {
		return err
	}
	h := j.held[j.generation]
	for i := range entries {
		h.logs[entries[i].Log] = struct{}{}
		h.unsettled[Segment{entries[i].Log, entries[i].Base}] = struct{}{}
	}
	return nil
}

// Forget voids durably all that the journal holds of these logs. Those that it does
// not hold are left out; with none left nothing is written. Errors are those of Append.
func (j *Journal) Forget(logs ...Log) error {
	if err := j.usable(); err != nil {
		return err
	}
	entries := make([]Entry, 0, len(logs))
	for _, l := range logs {
		if j.Holds(l) {
			entries = append(entries, Entry{Log: l})
		}
	}
	if len(entries) == 0 {
		return nil
	}
	if err := j.write(kindForget, entries, false); err != nil {
		return err
	}
	for _, e := range entries {
		j.forgotten = append(j.forgotten, e.Log)
		for _, h := range j.held {
			delete(h.logs, e.Log)
			for s := range h.unsettled {
				if s.Log == e.Log {
					delete(h.unsettled, s)
				}
			}
		}
	}
	return nil
}

// Holds tells whether a replay would write to this log.
func (j *Journal) Holds(l Log) bool {
	for _, h := range j.held {
		if _, ok := h.logs[l]; ok {
			return true
		}
	}
	return false
}

// Unsettled are the segments, by name, with bytes in generations up to through
// that only the journal is known to hold.
func (j *Journal) Unsettled(through uint64) []Segment {
	seen := map[Segment]struct{}{}
	for g, h := range j.held {
		if g <= through {
			for s := range h.unsettled {
				seen[s] = struct{}{}
			}
		}
	}
	list := make([]Segment, 0, len(seen))
	for s := range seen {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Segment) int {
		return cmp.Or(strings.Compare(a.Log.Dir, b.Log.Dir), slices.Compare(a.Log.TopicID[:], b.Log.TopicID[:]), cmp.Compare(a.Base, b.Base))
	})
	return list
}

// Settle says that the segment was synced in place, by a sync that began after the last
// Append to a generation up to through, or is gone for good.
func (j *Journal) Settle(s Segment, through uint64) {
	for g, h := range j.held {
		if g <= through {
			delete(h.unsettled, s)
		}
	}
}

// Waiting is the generation in the other file, which must be settled and trimmed before
// the current file is full; false if that file is free.
func (j *Journal) Waiting() (generation uint64, ok bool) {
	return j.generation - 1, j.otherHeld()
}

func (j *Journal) otherHeld() bool { return j.generation > 1 && j.firstLive < j.generation }

// Trim voids durably the generation that Waiting tells, so that its file can be used
// again. All its segments must be settled.
func (j *Journal) Trim() error {
	if err := j.usable(); err != nil {
		return err
	}
	g, ok := j.Waiting()
	if !ok {
		return nil
	}
	if left := j.Unsettled(g); len(left) > 0 {
		return fmt.Errorf("journal: trim of generation %d with %d unsettled segments", g, len(left))
	}
	was := j.firstLive
	j.firstLive = j.generation
	if err := j.write(kindData, nil, true); err != nil {
		j.firstLive = was
		return err
	}
	for old := range j.held {
		if old <= g {
			delete(j.held, old)
		}
	}
	return nil
}

// Reset voids all that the journal holds: after Replay, when the segments that it
// wrote to are synced, and at a clean end, when all segments are settled and synced. After
// ErrFull it holds what it held.
func (j *Journal) Reset() error {
	if j.failed != nil {
		return j.failed
	}
	if left := j.Unsettled(j.generation); len(left) > 0 {
		return fmt.Errorf("journal: reset with %d unsettled segments", len(left))
	}
	if err := j.setAside(); err != nil {
		return j.fail(err)
	}
	if !j.ready {
		// A process that was killed may have left names and a last frame that are in the page
		// cache only. If the sync of that frame failed, another one would write nothing.
		if err := errors.Join(j.o.FS.SyncDir(j.o.Dir), j.rewriteLast(), j.files[j.cur].Sync()); err != nil {
			return j.fail(err)
		}
		j.ready = true
	}
	if err := j.Trim(); err != nil {
		return err
	}
	if err := j.grow(&j.files[j.next()], block); err != nil {
		return err
	}
	was, forgotten, firstLive, cur, sequence, at := j.held, j.forgotten, j.firstLive, j.cur, j.sequence, j.at
	j.advance()
	delete(was, j.generation)
	j.held = map[uint64]*holding{j.generation: {logs: map[Log]struct{}{}, unsettled: map[Segment]struct{}{}}}
	j.forgotten = nil
	j.firstLive = j.generation
	err := j.write(kindData, nil, true)
	if err != nil { // nothing is void: what is held may still be replayed
		j.held, j.forgotten, j.firstLive, j.cur, j.sequence, j.at = was, forgotten, firstLive, cur, sequence, at
		j.generation--
	}
	return err
}

// rewriteLast writes the last frame that was found once more where it stands.
func (j *Journal) rewriteLast() error {
	frames := j.scans[j.cur].frames
	if len(frames) == 0 {
		return nil
	}
	last := frames[len(frames)-1]
	b := make([]byte, min(last.size(), 1<<20))
	for off, end := last.off, last.off+last.size(); off < end; {
		n, err := j.files[j.cur].ReadAt(b[:min(int64(len(b)), end-off)], off)
		if n == 0 {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
		if _, err := j.files[j.cur].WriteAt(b[:n], off); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// Prepare writes zeros ahead of the frames when little room is left, so that the next
// Append need not. A caller may call it after a round, when nobody waits.
func (j *Journal) Prepare() error {
	if err := j.usable(); err != nil {
		return err
	}
	f := &j.files[j.cur]
	if f.size >= j.o.Size || f.size-j.at >= j.o.Chunk/2 {
		return nil
	}
	if err := j.grow(f, f.size+1); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return j.fail(err)
	}
	return nil
}

func (j *Journal) usable() error {
	if j.failed != nil {
		return j.failed
	}
	if !j.ready {
		return errNotReset
	}
	return nil
}

func (j *Journal) fail(err error) error {
	if j.failed == nil {
		j.failed = fmt.Errorf("journal failed: %w", err)
	}
	return j.failed
}

// next is the file of the next generation.
func (j *Journal) next() int {
	if j.generation == 0 {
		return 0
	}
	return 1 - j.cur
}

// advance makes the other file current, for the next generation.
func (j *Journal) advance() {
	j.files[j.cur].end = j.at
	j.cur = j.next()
	j.generation++
	j.sequence, j.at = 0, 0
	j.held[j.generation] = &holding{logs: map[Log]struct{}{}, unsettled: map[Segment]struct{}{}}
}

// write writes and syncs one frame. The last block of a file is kept for the frame that
// voids the other one (last).
func (j *Journal) write(kind byte, entries []Entry, last bool) error {
	if err := j.usable(); err != nil {
		return err
	}
	length := int64(headerSize)
	for i := range entries {
		length += int64(entrySize(kind, entries[i].Log)) + int64(len(entries[i].Data))
	}
	repeat := j.forgotten
	for _, l := range repeat {
		length += int64(entrySize(kindRepeat, l))
	}
	size, room := padded(length), j.o.Size-block
	if last {
		room = j.o.Size
		if j.at+size > room { // the repeats wait for a frame with room for them
			repeat, size = nil, block
		}
	}
	if size > j.MaxFrame() {
		return ErrTooLarge
	}
	if j.at+size > room {
		if j.otherHeld() {
			return ErrFull
		}
		if err := j.grow(&j.files[j.next()], size); err != nil {
			return err
		}
		j.advance()
	}
	f := &j.files[j.cur]
	if err := j.grow(f, j.at+size); err != nil {
		return err
	}
	if _, err := f.WriteVecAt(j.encode(kind, entries, repeat, int(size)), j.at); err != nil {
		if env.IsFull(err) { // a file system that never overwrites in place
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
		return j.fail(err)
	}
	if err := f.Sync(); err != nil {
		return j.fail(err)
	}
	j.sequence++
	j.at += size
	j.forgotten = j.forgotten[len(repeat):]
	return nil
}

// encode is one frame as buffers that fill size bytes.
func (j *Journal) encode(kind byte, entries []Entry, repeat []Log, size int) [][]byte {
	h := header{
		salt: j.salt, generation: j.generation, sequence: j.sequence, firstLive: j.firstLive,
		count: uint32(len(entries) + len(repeat)),
	}
	head := slices.Grow(j.head[:0], headerSize)[:headerSize]
	for _, l := range repeat {
		head = appendEntry(head, kindRepeat, Entry{Log: l})
	}
	for i := range entries {
		head = appendEntry(head, kind, entries[i])
	}
	h.table = uint32(len(head) - headerSize)
	h.bodyLength = h.table
	h.bodyCRC = checksum(head[headerSize:])
	vec := append(j.vec[:0], head)
	for i := range entries {
		if len(entries[i].Data) > 0 {
			vec = append(vec, entries[i].Data)
			h.bodyLength += uint32(len(entries[i].Data))
			h.bodyCRC = crc32.Update(h.bodyCRC, castagnoli, entries[i].Data)
		}
	}
	h.encode(head)
	if pad := size - headerSize - int(h.bodyLength); pad > 0 {
		vec = append(vec, zeros[:pad])
	}
	j.head, j.vec = head, vec
	return vec
}
