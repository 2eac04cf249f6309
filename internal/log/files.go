package log

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"github.com/leat-stream/leat/internal/env"
)

// errGone answers the use of a file whose segment was removed from its log. Whoever
// gets it looks the offset up again in the log's new list of segments.
var errGone = errors.New("segment is gone")

// handle is one file that is open or can be opened on demand. Using it costs one
// compare-and-swap while it is open; nobody closes it while it is used.
//
// state counts the users; -1 is closed. Only the holder of cache.mu moves it from or
// to -1. gone is set once, when the segment leaves the log: from then on the file is
// no longer opened by name, and the last user closes it.
type handle struct {
	state atomic.Int32
	used  atomic.Bool // since the last look of the evictor
	gone  atomic.Bool
	cache *fileCache
	file  env.File // valid while state >= 0
	slot  int      // in cache.ring, guarded by cache.mu
	seg   *segment
	kind  fileKind
}

type fileKind uint8

const (
	logKind fileKind = iota
	indexKind
	timeIndexKind
)

func (k fileKind) suffix() string { return [...]string{logSuffix, indexSuffix, timeIndexSuffix}[k] }

// acquire opens the file if it is not open, and keeps it so until release.
func (h *handle) acquire() (env.File, error) {
	for {
		n := h.state.Load()
		if n < 0 {
			return h.cache.open(h)
		}
		if h.state.CompareAndSwap(n, n+1) {
			if !h.used.Load() {
				h.used.Store(true)
			}
			return h.file, nil
		}
	}
}

func (h *handle) release() {
	if h.state.Add(-1) == 0 && h.gone.Load() {
		h.cache.close(h)
	}
}

// retire marks the file gone and closes it as soon as nobody uses it.
func (h *handle) retire() {
	h.gone.Store(true)
	h.cache.close(h)
}

// fileCache keeps at most limit files open, of all logs of a directory. Files that
// are in use do not count as closable: with more users than the limit it is exceeded.
type fileCache struct {
	fs    env.FS
	limit int

	mu   sync.Mutex
	ring []*handle // the open ones; evicted by second chance
	hand int
}

func (c *fileCache) open(h *handle) (env.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.state.Load() >= 0 { // somebody was faster
		h.state.Add(1)
		return h.file, nil
	}
	if h.gone.Load() {
		return nil, errGone
	}
	c.evict(c.limit - 1)
	flag := os.O_RDWR
	if h.kind != logKind {
		flag |= os.O_CREATE // an index that is missing is built again from the log
	}
	f, err := c.fs.OpenFile(h.seg.path(h.kind.suffix()), flag, 0o644)
	if err != nil {
		return nil, err
	}
	c.add(h, f)
	return f, nil
}

// create makes the file, which must not hold anything yet, and opens it.
func (c *fileCache) create(h *handle) (env.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.evict(c.limit - 1)
	f, err := c.fs.OpenFile(h.seg.path(h.kind.suffix()), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	c.add(h, f)
	return f, nil
}

// add enters an open file with one user; mu is held.
func (c *fileCache) add(h *handle, f env.File) {
	h.file = f
	h.slot = len(c.ring)
	c.ring = append(c.ring, h)
	h.used.Store(true)
	h.state.Store(1)
}

// evict closes idle files until at most keep are open; mu is held.
func (c *fileCache) evict(keep int) {
	for looks := 2 * len(c.ring); len(c.ring) > keep && looks > 0; looks-- {
		if c.hand >= len(c.ring) {
			c.hand = 0
		}
		h := c.ring[c.hand]
		if h.used.Swap(false) || !c.shut(h) {
			c.hand++
		}
	}
}

// shut closes the file if nobody uses it; mu is held.
func (c *fileCache) shut(h *handle) bool {
	if !h.state.CompareAndSwap(0, -1) {
		return false
	}
	last := len(c.ring) - 1
	c.ring[h.slot] = c.ring[last]
	c.ring[h.slot].slot = h.slot
	c.ring[last] = nil
	c.ring = c.ring[:last]
	_ = h.file.Close() // nothing unsynced is lost by a close; syncs report what writing back could not do
	h.file = nil
	return true
}

func (c *fileCache) close(h *handle) {
	c.mu.Lock()
	c.shut(h)
	c.mu.Unlock()
}
