package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Damage is a range of a journal file that held synced frames and cannot be read.
type Damage struct {
	File     string
	From, To int64 // bytes
}

// Replayed tells what Replay found.
type Replayed struct {
	Frames  int
	Entries int   // handed out
	Bytes   int64 // handed out
	Void    int   // entries that a later forget voids
	// Damaged synced frames. Entries around them were handed out; those in them are lost
	// unless their segments have the bytes. Reset keeps a copy of such a file aside.
	Damaged []Damage
}

// frame is a valid frame's place.
type frame struct {
	header
	off int64
}

// scan is what one file holds.
type scan struct {
	frames  []frame
	damaged []Damage
}

func (s *scan) generation() uint64 {
	if len(s.frames) == 0 {
		return 0
	}
	return s.frames[0].generation
}

// headless: its first frame is not the generation's first one.
func (s *scan) headless() bool { return len(s.frames) > 0 && s.frames[0].off > 0 }

// load reads both files and finds where to go on.
func (j *Journal) load() error {
	var body []byte
	for i := range j.files {
		if err := j.scans[i].read(&j.files[i], &body); err != nil {
			return err
		}
	}
	// A file without a valid first frame may be one whose overwriting was cut short. It
	// counts only if it carries the salt of the other file and is not void.
	j.salt = j.o.Salt
	for i := range j.scans {
		if s := &j.scans[i]; len(s.frames) > 0 && !s.headless() {
			j.salt = s.frames[0].salt
		}
	}
	for i := range j.scans {
		s := &j.scans[i]
		for _, f := range s.frames {
			if f.salt == j.salt {
				j.firstLive = max(j.firstLive, f.firstLive)
			}
		}
	}
	for i := range j.scans {
		s := &j.scans[i]
		if s.generation() < j.firstLive {
			*s = scan{}
		} else if s.headless() && s.frames[0].salt != j.salt {
			s.frames = nil // the damage stays on record
		}
		if g := s.generation(); g > 0 {
			last := s.frames[len(s.frames)-1]
			j.files[i].end = last.off + last.size()
			if g > j.generation {
				j.cur, j.generation = i, g
				j.sequence, j.at = last.sequence+1, j.files[i].end
			}
		}
	}
	if other := 1 - j.cur; j.otherHeld() && j.scans[other].generation() != j.generation-1 {
		// The current generation began when this file was full.
		f := &j.files[other]
		j.scans[other] = scan{damaged: []Damage{{File: f.name, To: f.size}}}
	}
	return nil
}

// read finds a file's frames.
func (s *scan) read(f *file, body *[]byte) error {
	var at int64
	var want *header // what the frame at must follow; nil at the start
	for at < f.size {
		h, err := readFrame(f, at, body)
		if err == nil && want != nil && (h.salt != want.salt || h.generation != want.generation || h.sequence != want.sequence+1) {
			err = errFrame
		}
		if err == nil && want == nil && h.sequence != 0 {
			err = errFrame
		}
		if errors.Is(err, errFrame) {
			next, found, serr := findLater(f, at, want, body)
			if serr != nil {
				return serr
			}
			if !found {
				return nil
			}
			s.damaged = append(s.damaged, Damage{File: f.name, From: at, To: next})
			at = next
			if h, err = readFrame(f, at, body); err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		s.frames = append(s.frames, frame{h, at})
		want = &h
		at += h.size()
	}
	return nil
}

// findLater looks behind an invalid frame at off for a valid one that was written later
// in the same generation (want nil: in any).
func findLater(f *file, off int64, want *header, body *[]byte) (int64, bool, error) {
	// One frame was being written; its successor starts at most its length behind it.
	end := min(off+maxFrame, f.size-block)
	var b [headerSize]byte
	for at := off + block; at <= end; at += block {
		if _, err := f.ReadAt(b[:], at); err != nil {
			return 0, false, fmt.Errorf("reading %s: %w", f.name, err)
		}
		var h header
		if h.decode(b[:]) != nil {
			continue
		}
		if want != nil && (h.salt != want.salt || h.generation != want.generation || h.sequence <= want.sequence+1) {
			continue
		}
		switch _, err := readFrame(f, at, body); {
		case err == nil:
			return at, true, nil
		case !errors.Is(err, errFrame):
			return 0, false, err
		}
	}
	return 0, false, nil
}

// readFrame reads and checks the frame at off; its body is in *body. errFrame: there is
// no valid one.
func readFrame(f *file, off int64, body *[]byte) (header, error) {
	var h header
	var b [headerSize]byte
	if off+headerSize > f.size {
		return h, errFrame
	}
	if _, err := f.ReadAt(b[:], off); err != nil {
		return h, fmt.Errorf("reading %s: %w", f.name, err)
	}
	if err := h.decode(b[:]); err != nil {
		return h, err
	}
	if off+h.size() > f.size {
		return h, errFrame
	}
	*body = slices.Grow((*body)[:0], int(h.bodyLength))[:h.bodyLength]
	if _, err := f.ReadAt(*body, off+headerSize); err != nil && err != io.EOF {
		return h, fmt.Errorf("reading %s: %w", f.name, err)
	}
	if checksum(*body) != h.bodyCRC {
		return h, errFrame
	}
	if err := parseBody(&h, *body, func(byte, Entry) error { return nil }); err != nil {
		return h, err
	}
	return h, nil
}

// Replay hands out, in the order in which they were appended, all live entries that no
// Forget voids. The caller writes each to its segment, unless the log or the segment is
// gone or the topic id is another, then syncs those segments and calls Reset. An
// entry's data is valid during the call only. It changes nothing, and can be repeated.
func (j *Journal) Replay(fn func(Entry) error) (Replayed, error) {
	var r Replayed
	order := []int{0, 1}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Compare(j.scans[a].generation(), j.scans[b].generation())
	})
	// First the forgets: what is void must not be written even for a moment.
	type place struct{ generation, sequence uint64 }
	void := map[Log]place{} // entries of frames before it
	var body []byte
	each := func(fn func(f *frame, kind byte, e Entry) error) error {
		for _, i := range order {
			for k := range j.scans[i].frames {
				f := &j.scans[i].frames[k]
				if _, err := readFrame(&j.files[i], f.off, &body); err != nil {
					return fmt.Errorf("journal: %s at %d: %w", j.files[i].name, f.off, err)
				}
				if err := parseBody(&f.header, body, func(kind byte, e Entry) error { return fn(f, kind, e) }); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err := each(func(f *frame, kind byte, e Entry) error {
		if kind != kindData {
			void[e.Log] = place{f.generation, f.sequence}
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	err = each(func(f *frame, kind byte, e Entry) error {
		if kind != kindData {
			return nil
		}
		if v, ok := void[e.Log]; ok && (f.generation < v.generation || f.generation == v.generation && f.sequence < v.sequence) {
			r.Void++
			return nil
		}
		r.Entries++
		r.Bytes += int64(len(e.Data))
		return fn(e)
	})
	for i := range j.scans {
		r.Frames += len(j.scans[i].frames)
		r.Damaged = append(r.Damaged, j.scans[i].damaged...)
	}
	return r, err
}

// setAside copies damaged files next to them, once, before Reset lets them be
// overwritten, and empties those that have no frame to go on from.
func (j *Journal) setAside() error {
	any := false
	for i := range j.scans {
		s, f := &j.scans[i], &j.files[i]
		if len(s.damaged) == 0 {
			continue
		}
		any = true
		if f.size == 0 {
			continue
		}
		if err := f.copyTo(j.o.FS, fmt.Sprintf("%s.damaged-%d", f.name, j.generation)); err != nil {
			return err
		}
	}
	if !any {
		return nil
	}
	if err := j.o.FS.SyncDir(j.o.Dir); err != nil {
		return err
	}
	for i := range j.scans {
		s, f := &j.scans[i], &j.files[i]
		if len(s.damaged) > 0 && len(s.frames) == 0 {
			if err := errors.Join(f.Truncate(0), f.Sync()); err != nil {
				return err
			}
			f.size = 0
		}
		s.damaged = nil
	}
	return nil
}
