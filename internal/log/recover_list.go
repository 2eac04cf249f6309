package log

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// list reads the partition's directory: what a crash left half-done is completed or
// removed, segments and snapshots are noted.
func (r *recovery) list() error {
	fsys := r.l.d.fs
	entries, err := fsys.ReadDir(r.dir)
	if err != nil {
		return err
	}
	names := make(map[string]bool, len(entries))
	sorted := make([]string, 0, len(entries))
	for _, e := range entries {
		if !e.IsDir() {
			names[e.Name()] = true
			sorted = append(sorted, e.Name())
		}
	}
	if err := r.completeSwaps(names, sorted); err != nil {
		return err
	}
	sorted = slices.Sorted(maps.Keys(names))
	for _, name := range sorted {
		if base, suffix, ok := parseSegmentName(name); ok && suffix == logSuffix+deletedSuffix {
			r.given = append(r.given, base)
			continue
		}
		if strings.HasSuffix(name, deletedSuffix) || strings.HasSuffix(name, cleanedSuffix) || strings.HasSuffix(name, tmpSuffix) {
			if err := removeIfThere(fsys, r.dir+"/"+name); err != nil {
				return err
			}
			continue
		}
		if d, ok := parseCorruptName(name); ok && d.from < d.to {
			r.damage = append(r.damage, d)
			continue
		}
		base, suffix, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		switch suffix {
		case logSuffix:
			if err := r.addSegment(base, names); err != nil {
				return err
			}
		case snapshotSuffix:
			r.snapshots = append(r.snapshots, base)
		case indexSuffix, timeIndexSuffix, txnIndexSuffix:
			if !names[segmentName(base, logSuffix)] { // its segment was never durable, or is gone
				if err := removeIfThere(fsys, r.dir+"/"+name); err != nil {
					return err
				}
			}
		}
	}
	slices.SortFunc(r.segs, func(a, b *segment) int { return cmp.Compare(a.base, b.base) })
	slices.SortFunc(r.damage, func(a, b damagedRange) int { return cmp.Compare(a.from, b.from) })
	slices.Sort(r.snapshots)
	return nil
}

func (r *recovery) addSegment(base int64, names map[string]bool) error {
	s := newSegment(r.l, base)
	info, err := r.l.d.fs.Stat(s.path(logSuffix))
	if err != nil {
		return err
	}
	s.size.Store(info.Size())
	s.offsets.inFile, s.times.inFile, s.maxTs = -1, -1, unknownTs
	if names[segmentName(base, txnIndexSuffix)] {
		s.txns.inFile = -1
	}
	r.segs = append(r.segs, s)
	return nil
}

// corruptName is the name of the file that keeps damaged bytes: the first offset that
// cannot be read and the first behind it that can. If both are equal nothing is
// refused; the bytes were cut off the log.
func corruptName(d damagedRange) string {
	return segmentName(d.from, "-"+segmentName(d.to, corruptSuffix))
}

func parseCorruptName(name string) (d damagedRange, ok bool) {
	if len(name) != 41+len(corruptSuffix) || name[20] != '-' || !strings.HasSuffix(name, corruptSuffix) {
		return d, false
	}
	from, err1 := strconv.ParseUint(name[:20], 10, 63)
	to, err2 := strconv.ParseUint(name[21:41], 10, 63)
	return damagedRange{int64(from), int64(to)}, err1 == nil && err2 == nil
}
