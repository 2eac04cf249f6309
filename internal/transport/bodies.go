package transport

import (
	"math/bits"
	"sync"
)

// bodies lend memory to large responses whose bytes are used up when done returns
// (Frame.lent). A pool's memory goes back to the collector when it is not used.
var bodies sync.Pool

const (
	minBody = 64 << 10 // what is smaller is not worth it
	maxBody = 16 << 20 // what is larger comes rarely
)

func borrow(size int) []byte {
	if size < minBody || size > maxBody {
		return make([]byte, size)
	}
	if b, ok := bodies.Get().(*[]byte); ok && cap(*b) >= size {
		return (*b)[:size]
	}
	return make([]byte, size, 1<<bits.Len(uint(size-1)))
}

func giveBack(b []byte) {
	if cap(b) >= minBody && cap(b) <= maxBody {
		bodies.Put(&b)
	}
}
