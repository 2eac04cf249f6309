package log

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/leat-stream/leat/internal/env"
)

// Replacing a group of segments by a compacted one, so that a crash at any point
// leaves either the old ones or the new one:
//
//  1. The new files are written under ".cleaned" and synced. A crash drops them.
//  2. They are renamed to ".swap", the log file last, and the names are synced. From
//     here on a crash ends with the new segment: recovery goes on with 3.
//  3. The files of the old segments but the first are removed, the new index files are
//     renamed over those of the first, and the names are synced.
//  4. The new log file is renamed over the first old one. If a power cut undoes that,
//     recovery does it again.

// replace compacts one group of segments.
func (c *compaction) replace(group []*segment) error {
	out, err := c.clean(group)
	if err == nil && c.o.Stop() {
		err = errStopped
	}
	if err == nil {
		err = c.swap(group, out)
	}
	if err != nil && out != nil && !out.committed {
		for _, suffix := range [...]string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix} {
			for _, state := range [...]string{cleanedSuffix, swapSuffix} {
				err = errors.Join(err, removeIfThere(c.l.d.fs, out.path(suffix, state)))
			}
		}
	}
	return err
}

// swap puts the new segment in the place of the group.
func (c *compaction) swap(group []*segment, out *cleanedSegment) error {
	l := c.l
	l.w.Lock()
	defer l.w.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	list := *l.segs.Load()
	at := slices.Index(list, group[0])
	if at < 0 || at+len(group) >= len(list) || !slices.Equal(list[at:at+len(group)], group) {
		return errStopped // retention or a truncation was there
	}
	l.d.round.Lock()
	defer l.d.round.Unlock()
	if err := l.d.forgetInJournal(l); err != nil {
		return err
	}
	if err := out.commit(); err != nil {
		return l.d.fatal(err)
	}
	next := append(slices.Clone(list[:at]), out.seg)
	next = append(next, list[at+len(group):]...)
	// What is recorded of the segments is to be what is there: a smaller one is damage.
	// Until it is recorded the ".swap" files tell.
	l.mu.Lock()
	before := l.dirty.ready
	l.dirty.nextSegs = next
	if slices.Contains(group, l.dirty.ready.seg) {
		l.dirty.ready.place = out.seg.place()
	}
	l.mu.Unlock()
	if err := l.d.saveLogs(l); err != nil {
		l.mu.Lock()
		l.dirty.nextSegs, l.dirty.ready = nil, before
		l.mu.Unlock()
		out.committed = false
		return err
	}
	for _, s := range group { // before the names mean other files
		s.retire()
	}
	err := completeSwap(l.d.fs, *l.path.Load(), out.seg.base, basesOf(group[1:]))
	if err != nil { // the files are between old and new: a restart completes it
		l.failed = storageError("compaction", err)
		return l.d.fatal(err)
	}
	l.forget()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setSegments(next)
	l.dirty.nextSegs = nil
	if slices.Contains(group, l.dirty.synced.seg) { // nothing behind the group is synced yet
		l.dirty.synced = out.seg.place()
	}
	l.touch()
	return nil
}

func basesOf(list []*segment) []int64 {
	bases := make([]int64, len(list))
	for i, s := range list {
		bases[i] = s.base
	}
	return bases
}

// commit renames the ".cleaned" files to ".swap", the log file last.
func (o *cleanedSegment) commit() error {
	fsys := o.c.l.d.fs
	for _, part := range append(o.parts(), logSuffix) {
		if err := fsys.Rename(o.path(part, cleanedSuffix), o.path(part, swapSuffix)); err != nil {
			return err
		}
	}
	o.committed = true
	if err := fsys.SyncDir(*o.c.l.path.Load()); err != nil {
		return syncError{err}
	}
	return nil
}

// completeSwap ends the replacement of the segment base and the others behind it by
// the ".swap" files of base. It can be repeated from any point.
func completeSwap(fsys env.FS, dir string, base int64, others []int64) error {
	name := func(base int64, suffix string) string { return dir + "/" + segmentName(base, suffix) }
	for _, o := range slices.Backward(others) {
		for _, suffix := range [...]string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix} {
			if err := removeIfThere(fsys, name(o, suffix)); err != nil {
				return err
			}
		}
	}
	for _, suffix := range [...]string{indexSuffix, timeIndexSuffix, txnIndexSuffix} {
		err := fsys.Rename(name(base, suffix+swapSuffix), name(base, suffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := fsys.SyncDir(dir); err != nil {
		return syncError{err}
	}
	return fsys.Rename(name(base, logSuffix+swapSuffix), name(base, logSuffix))
}

// completeSwaps ends what a compaction had begun to replace when the process died, and
// drops what it had not. names are the files of the partition; they are updated.
func (r *recovery) completeSwaps(names map[string]bool, sorted []string) error {
	fsys := r.l.d.fs
	for _, n := range sorted {
		base, suffix, ok := parseSegmentName(n)
		if !ok || suffix != logSuffix+swapSuffix {
			continue
		}
		last, err := r.lastOffset(r.dir+"/"+n, base)
		if err != nil {
			return err
		}
		var others []int64
		for _, o := range sorted {
			if b, suffix, ok := parseSegmentName(o); ok && suffix == logSuffix && b > base && b <= last {
				others = append(others, b)
				for _, suffix := range [...]string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix} {
					delete(names, segmentName(b, suffix))
				}
			}
		}
		for _, suffix := range [...]string{indexSuffix, timeIndexSuffix, txnIndexSuffix, logSuffix} {
			if from := segmentName(base, suffix+swapSuffix); names[from] {
				delete(names, from)
				names[segmentName(base, suffix)] = true
			}
		}
		if err := completeSwap(fsys, r.dir, base, others); err != nil {
			return err
		}
		r.swapped = append(r.swapped, damagedRange{base, max(base, last)})
		r.l.d.event(SwapCompleted{Log: r.l.ID(), Base: base, Replaced: 1 + len(others)})
	}
	for _, n := range sorted {
		if names[n] && strings.HasSuffix(n, swapSuffix) {
			if err := removeIfThere(fsys, r.dir+"/"+n); err != nil {
				return err
			}
			delete(names, n)
		}
	}
	return nil
}

// lastOffset is the last offset in a file of batches, -1 when there is none.
func (r *recovery) lastOffset(name string, base int64) (last int64, err error) {
	f, err := r.l.d.fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	last = -1
	size, err := f.Size()
	if err == nil {
		err = headers(f, base, 0, size, func(h header) bool {
			last = h.last
			return true
		})
	}
	if errors.Is(err, ErrCorrupt) {
		err = nil // the scan of the log will meet it
	}
	return last, errors.Join(err, f.Close())
}
