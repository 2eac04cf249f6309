package broker

import (
	"math/bits"
	"sync"
)

// frames pools request buffers by powers of two from 512 bytes to 4 MiB; larger
// ones are left to the collector.
type frames struct {
	pools [14]sync.Pool // 1<<9 … 1<<22
}

const (
	minFrame = 9
	maxFrame = 22
)

func (f *frames) get(size int) []byte {
	class := max(bits.Len(uint(max(size, 1)-1)), minFrame)
	if class > maxFrame {
		return make([]byte, size)
	}
	if b, ok := f.pools[class-minFrame].Get().(*[]byte); ok {
		return (*b)[:size]
	}
	return make([]byte, size, 1<<class)
}

func (f *frames) put(b []byte) {
	class := bits.Len(uint(cap(b))) - 1
	if class < minFrame || class > maxFrame || cap(b) != 1<<class {
		return
	}
	b = b[:0]
	f.pools[class-minFrame].Put(&b)
}
