package broker

import (
	"math/bits"
	"sync"
)

// frames pools request buffers in classes of a quarter of a power of two, from 512
// bytes to 4 MiB, and bounds what large requests hold together. Larger buffers are
// left to the collector.
type frames struct {
	pools [classes]sync.Pool

	limit int64 // bytes; set before use
	mu    sync.Mutex
	freed sync.Cond // L is &mu; set before use
	held  int64     // by large frames
}

const (
	minClass = 9
	maxClass = 21
	classes  = (maxClass-minClass+1)*4 + 1 // both ends are in
	// largeFrame is the size from which a frame counts towards the limit: below it, a
	// connection's frame is not worth the counting.
	largeFrame = 64 << 10
)

func newFrames(limit int64) *frames {
	f := &frames{limit: limit}
	f.freed.L = &f.mu
	return f
}

// class finds the pool for a size: its index and the capacity of its buffers; -1
// when the size is beyond the largest.
func class(size int) (index, capacity int) {
	size = max(size, 1<<minClass)
	exp := bits.Len(uint(size-1)) - 1 // 2^exp < size <= 2^(exp+1), or size = 2^minClass
	exp = max(exp, minClass)
	step := 1 << (exp - 2)
	quarters := (max(size-(1<<exp), 0) + step - 1) / step // 0 … 4
	capacity = 1<<exp + quarters*step
	index = (exp-minClass)*4 + quarters
	if exp > maxClass || index >= classes {
		return -1, size
	}
	return index, capacity
}

// get gives a buffer of a size. put takes it back.
func (f *frames) get(size int) []byte {
	i, capacity := class(size)
	if i < 0 {
		return make([]byte, size)
	}
	if b, ok := f.pools[i].Get().(*[]byte); ok {
		return (*b)[:size]
	}
	return make([]byte, size, capacity)
}

func (f *frames) put(b []byte) {
	i, capacity := class(cap(b))
	if i < 0 || capacity != cap(b) {
		return
	}
	b = b[:0]
	f.pools[i].Put(&b)
}

// hold waits until a large frame of a size fits under the limit beside the others;
// the largest fits when it is alone. Each hold is ended by drop.
func (f *frames) hold(size int) {
	if size < largeFrame {
		return
	}
	f.mu.Lock()
	for f.held > 0 && f.held+int64(size) > f.limit {
		f.freed.Wait()
	}
	f.held += int64(size)
	f.mu.Unlock()
}

func (f *frames) drop(size int) {
	if size < largeFrame {
		return
	}
	f.mu.Lock()
	f.held -= int64(size)
	f.mu.Unlock()
	f.freed.Broadcast()
}
