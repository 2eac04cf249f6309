package log

import (
	"io"
	"sync"
)

// pageSize is the unit in which index files are read and kept: a multiple of both
// entry widths (8 and 12 bytes), so that no entry lies across two pages.
const pageSize = 4080

// pageCache keeps recently used pages of index files, of all logs of a directory:
// at most limit pages. Pages are immutable; one that grew is replaced.
type pageCache struct {
	limit int

	mu    sync.Mutex
	pages map[pageKey]*page
	ring  []*page
	hand  int
}

type pageKey struct {
	ix *index
	n  int64
}

type page struct {
	key  pageKey
	data []byte
	used bool
}

// get is the page's content, at least need bytes of it, read by r if it is not kept.
func (c *pageCache) get(k pageKey, need int, r io.ReaderAt) ([]byte, error) {
	c.mu.Lock()
	if p := c.pages[k]; p != nil && len(p.data) >= need {
		p.used = true
		c.mu.Unlock()
		return p.data, nil
	}
	c.mu.Unlock()
	data := make([]byte, pageSize)
	n, err := r.ReadAt(data, k.n*pageSize)
	if n < need {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	c.put(&page{key: k, data: data[:n:n]})
	return data[:n], nil
}

func (c *pageCache) put(p *page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.pages[p.key]; old != nil {
		old.data = p.data
		return
	}
	if len(c.ring) < c.limit {
		c.ring = append(c.ring, p)
	} else {
		for {
			c.hand = (c.hand + 1) % len(c.ring)
			if !c.ring[c.hand].used {
				break
			}
			c.ring[c.hand].used = false
		}
		delete(c.pages, c.ring[c.hand].key)
		c.ring[c.hand] = p
	}
	c.pages[p.key] = p
}

// drop forgets the pages from up to and including to.
func (c *pageCache) drop(ix *index, from, to int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := from; n <= to; n++ {
		if p := c.pages[pageKey{ix, n}]; p != nil {
			p.data = nil
		}
	}
}
