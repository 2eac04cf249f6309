package log

import (
	"sort"
)

// epochEntry says at which offset a leader epoch starts.
type epochEntry struct {
	epoch int32
	start int64
}

// epochs is the list of a log's leader epochs, ascending in both fields (KIP-101).
// Log.mu guards it; dirty says that the file lacks something.
type epochs struct {
	list  []epochEntry
	dirty bool
}

// latest is the last epoch, -1 when there is none.
func (e *epochs) latest() int32 {
	if len(e.list) == 0 {
		return -1
	}
	return e.list[len(e.list)-1].epoch
}

// assign enters an epoch that starts at offset start. Entries that contradict it
// are dropped: those that start there or later, or have no smaller epoch.
func (e *epochs) assign(epoch int32, start int64) {
	if epoch < 0 {
		return
	}
	n := len(e.list)
	if n > 0 && e.list[n-1].epoch == epoch && start >= e.list[n-1].start {
		return
	}
	for n > 0 && (e.list[n-1].epoch >= epoch || e.list[n-1].start >= start) {
		n--
	}
	e.list = append(e.list[:n], epochEntry{epoch, start})
	e.dirty = true
}

// endOf answers where the largest epoch not above the asked one ends, as
// OffsetForLeaderEpoch wants it (KIP-101, KIP-279); -1, -1 when unknown.
func (e *epochs) endOf(epoch int32, end int64) (int32, int64) {
	switch {
	case epoch < 0 || len(e.list) == 0:
		return -1, -1
	case epoch == e.latest():
		return epoch, end
	case epoch > e.latest():
		return -1, -1
	}
	i := sort.Search(len(e.list), func(i int) bool { return e.list[i].epoch > epoch })
	if i == 0 { // older than everything here
		return epoch, e.list[0].start
	}
	return e.list[i-1].epoch, e.list[i].start
}

// at is the epoch in which the record at offset was written, -1 when unknown.
func (e *epochs) at(offset int64) int32 {
	i := sort.Search(len(e.list), func(i int) bool { return e.list[i].start > offset })
	if i == 0 {
		return -1
	}
	return e.list[i-1].epoch
}

// truncateEnd drops the epochs that start at end or later.
func (e *epochs) truncateEnd(end int64) {
	n := len(e.list)
	for n > 0 && e.list[n-1].start >= end {
		n--
	}
	if n < len(e.list) {
		e.list, e.dirty = e.list[:n], true
	}
}

// truncateStart drops the epochs that end at start or before; the one that holds
// start then begins there.
func (e *epochs) truncateStart(start int64) {
	i := sort.Search(len(e.list), func(i int) bool { return e.list[i].start > start })
	if i == 0 || (i == 1 && e.list[0].start == start) {
		return
	}
	e.list = append([]epochEntry(nil), e.list[i-1:]...)
	e.list[0].start = start
	e.dirty = true
}
