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
//
// claims counts the runs of the file that may yet be read. They are no users, so that an
// answer of many runs, or one that its client takes slowly, holds no files; but while there
// are any, a file that is gone is kept open for them (fileCache.keep).
type handle struct {
	state  atomic.Int32
	claims atomic.Int32
	sends  atomic.Int32 // users that hold it for as long as a client takes
	used   atomic.Bool  // since the last look of the evictor
	gone   atomic.Bool
	kept   bool // one of the users stands for the claims; guarded by cache.mu
	cache  *fileCache
	file   env.File // valid while state >= 0
	slot   int      // in cache.ring, guarded by cache.mu
	seg    *segment
	kind   fileKind
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

// claim is for who uses the file now and will again, after release: until unclaim the file
// stays what it is, whatever takes its name.
func (h *handle) claim() {
	h.claims.Add(1)
	if h.gone.Load() { // retire may have looked before
		h.cache.mu.Lock()
		h.cache.keep(h)
		h.cache.mu.Unlock()
	}
}

func (h *handle) unclaim() {
	if h.claims.Add(-1) == 0 && h.gone.Load() {
		h.cache.unkeep(h)
	}
}

// acquireToSend is acquire for as long as a client takes, or not at all: false when the
// files that are held so are as many as they may be.
func (h *handle) acquireToSend() (f env.File, ok bool, err error) {
	if h.sends.Load() == 0 && int(h.cache.sending.Load()) >= h.cache.mostSending() {
		return nil, false, nil
	}
	if f, err = h.acquire(); err != nil {
		return nil, false, err
	}
	if h.sends.Add(1) == 1 {
		h.cache.sending.Add(1)
	}
	return f, true, nil
}

func (h *handle) sent() {
	if h.sends.Add(-1) == 0 {
		h.cache.sending.Add(-1)
	}
	h.release()
}

// retire marks the file gone and closes it as soon as nobody uses it or has a claim to it.
// The file must still have its name.
func (h *handle) retire() {
	h.gone.Store(true)
	c := h.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(h)
	c.shut(h)
}

// fileCache keeps at most limit files open, of all logs of a directory. Files that are in
// use do not count as closable: with more users than the limit it is exceeded. Those that
// use a file for longer than a read or a write of their own takes are bounded below the
// limit, so that others find one to close.
type fileCache struct {
	fs      env.FS
	limit   int
	sending atomic.Int32 // files with sends

	mu   sync.Mutex
	ring []*handle // the open ones; evicted by second chance
	hand int
	kept int // files that are gone and kept for claims
}

// mostSending is how many files are held at once while a client takes their bytes; as many
// more as ask for one at the same moment.
func (c *fileCache) mostSending() int { return max(c.limit/2, 1) }

// mostKept is how many files are kept at once that are gone. Beyond it who has a claim
// gets errGone, and asks its log again.
func (c *fileCache) mostKept() int { return max(c.limit/4, 1) }

// keep makes the claims to a file that is gone one user of it; mu is held.
func (c *fileCache) keep(h *handle) {
	if h.kept || h.claims.Load() == 0 || c.kept >= c.mostKept() {
		return
	}
	if h.state.Load() >= 0 {
		h.state.Add(1)
	} else if _, err := c.openNow(h); err != nil {
		return // who has the claim gets errGone
	}
	h.kept = true
	c.kept++
}

// unkeep ends keep when there is no claim any more.
func (c *fileCache) unkeep(h *handle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.kept && h.claims.Load() == 0 {
		h.kept = false
		c.kept--
		h.state.Add(-1)
	}
	if !h.kept {
		c.shut(h)
	}
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
	return c.openNow(h)
}

// openNow opens a file that is closed, with one user; mu is held.
func (c *fileCache) openNow(h *handle) (env.File, error) {
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
