package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sort"
)

// Widths of index entries in bytes.
const (
	offsetEntrySize = 8  // 4 B offset relative to the segment's base, 4 B position
	timeEntrySize   = 12 // 8 B timestamp, 4 B relative offset
)

// index is one index file of a segment: entries of a fixed width, ascending by key
// (the first field) and by value (the second one). The entries that were added last
// are kept in memory until flush: a checkpoint, a roll or a clean close.
//
// seg.mu guards it. A sealed segment's file is looked at when it is first used.
type index struct {
	file   handle
	width  int
	inFile int    // entries in the file; -1: not looked at yet
	want   int    // entries that were recorded; a file with fewer was cut
	tail   []byte // entries behind those in the file
}

func (ix *index) count() int { return max(ix.inFile, 0) + len(ix.tail)/ix.width }

// key and value are the two fields of an entry.
func (ix *index) key(e []byte) int64 {
	if ix.width == timeEntrySize {
		return int64(binary.BigEndian.Uint64(e))
	}
	return int64(binary.BigEndian.Uint32(e))
}

func (ix *index) value(e []byte) int64 {
	return int64(binary.BigEndian.Uint32(e[ix.width-4:]))
}

// add appends an entry behind the last.
func (ix *index) add(key, value int64) {
	if ix.width == timeEntrySize {
		ix.tail = binary.BigEndian.AppendUint64(ix.tail, uint64(key))
	} else {
		ix.tail = binary.BigEndian.AppendUint32(ix.tail, uint32(key))
	}
	ix.tail = binary.BigEndian.AppendUint32(ix.tail, uint32(value))
}

// entry is the i-th entry.
func (ix *index) entry(i int) ([]byte, error) {
	if i >= ix.inFile {
		at := (i - ix.inFile) * ix.width
		return ix.tail[at : at+ix.width], nil
	}
	at := int64(i) * int64(ix.width)
	off := int(at % pageSize)
	f, err := ix.file.acquire()
	if err != nil {
		return nil, err
	}
	defer ix.file.release()
	data, err := ix.file.seg.l.d.pages.get(pageKey{ix, at / pageSize}, off+ix.width, f)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", f.Name(), err)
	}
	return data[off : off+ix.width], nil
}

// floor finds the last entry whose field (key or value) is at most x.
func (ix *index) floor(x int64, field func(*index, []byte) int64) (key, value int64, ok bool, err error) {
	n := ix.count()
	lo := 0
	if len(ix.tail) > 0 && field(ix, ix.tail) <= x { // spares the file for recent entries
		lo = ix.inFile
	}
	i := lo + sort.Search(n-lo, func(i int) bool {
		if err != nil {
			return true
		}
		var e []byte
		if e, err = ix.entry(lo + i); err != nil {
			return true
		}
		return field(ix, e) > x
	})
	if err != nil || i == 0 {
		return 0, 0, false, err
	}
	e, err := ix.entry(i - 1)
	if err != nil {
		return 0, 0, false, err
	}
	return ix.key(e), ix.value(e), true, nil
}

// open looks at the file, if that was not done yet, and returns the number of entries.
func (ix *index) open() (int, error) {
	if ix.inFile >= 0 {
		return ix.count(), nil
	}
	if ix.file.gone.Load() {
		return 0, errGone
	}
	info, err := ix.file.seg.l.d.fs.Stat(ix.file.seg.path(ix.file.kind.suffix()))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		ix.inFile = 0
	case err != nil:
		return 0, err
	default:
		ix.inFile = int(info.Size() / int64(ix.width))
	}
	return ix.count(), nil
}

// validPrefix is the number of entries, from the first on, that can be true: both
// fields ascend, and positions lie within size. Preallocated zeros are none.
func (ix *index) validPrefix(size int64) (int, error) {
	var key, value int64
	n := ix.count()
	for i := range n {
		e, err := ix.entry(i)
		if err != nil {
			return 0, err
		}
		k, v := ix.key(e), ix.value(e)
		positions := ix.width == offsetEntrySize
		if k < 0 || v > math.MaxInt32 || (positions && (v >= size || k > math.MaxInt32)) ||
			(i > 0 && (k <= key || v <= value)) {
			return i, nil
		}
		key, value = k, v
	}
	return n, nil
}

// last is the last entry.
func (ix *index) last() (key, value int64, ok bool, err error) {
	n := ix.count()
	if n == 0 {
		return 0, 0, false, nil
	}
	e, err := ix.entry(n - 1)
	if err != nil {
		return 0, 0, false, err
	}
	return ix.key(e), ix.value(e), true, nil
}

// flush writes the entries in memory to the file, without a sync. After an error
// they stay in memory.
func (ix *index) flush() error {
	if len(ix.tail) == 0 {
		return nil
	}
	f, err := ix.file.acquire()
	if err != nil {
		return err
	}
	defer ix.file.release()
	if _, err := f.WriteAt(ix.tail, int64(ix.inFile)*int64(ix.width)); err != nil {
		return err
	}
	ix.inFile += len(ix.tail) / ix.width
	ix.tail = nil
	return nil
}

// truncate keeps the first n entries.
func (ix *index) truncate(n int) error {
	if n >= ix.inFile {
		ix.tail = ix.tail[:(n-ix.inFile)*ix.width]
		return nil
	}
	old := ix.inFile
	ix.tail, ix.inFile = nil, n
	at := int64(n) * int64(ix.width)
	ix.file.seg.l.d.pages.drop(ix, at/pageSize, int64(old)*int64(ix.width)/pageSize)
	f, err := ix.file.acquire()
	if err != nil {
		return err
	}
	defer ix.file.release()
	return f.Truncate(at)
}

// truncateTo drops the entries whose value field is at least x.
func (ix *index) truncateTo(x int64, field func(*index, []byte) int64) error {
	n, err := ix.below(x, field)
	if err != nil || n == ix.count() {
		return err
	}
	return ix.truncate(n)
}

// below is how many entries have a value field below x.
func (ix *index) below(x int64, field func(*index, []byte) int64) (n int, err error) {
	n = sort.Search(ix.count(), func(i int) bool {
		if err != nil {
			return true
		}
		var e []byte
		if e, err = ix.entry(i); err != nil {
			return true
		}
		return field(ix, e) >= x
	})
	return n, err
}
