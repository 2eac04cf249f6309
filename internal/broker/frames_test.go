package broker

import (
	"bufio"
	"net"
	"testing"
)

func TestFrameClasses(t *testing.T) {
	for _, size := range []int{0, 1, 511, 512, 513, 640, 641, 1024, 1025, 65536, 1 << 20, 1<<20 + 100, 1<<20 + 1<<18, 3 << 20, 1<<22 - 1, 1 << 22} {
		i, capacity := class(size)
		if i < 0 && size <= 4<<20 {
			t.Errorf("size %d has no class", size)
		}
		if capacity < size {
			t.Errorf("size %d gets %d bytes", size, capacity)
		}
		if size >= 512 && capacity > size+size/4+1 {
			t.Errorf("size %d gets %d bytes, more than a quarter too many", size, capacity)
		}
		if j, same := class(capacity); i >= 0 && (j != i || same != capacity) {
			t.Errorf("a buffer of %d bytes from class %d goes back into class %d of %d bytes", capacity, i, j, same)
		}
	}
}

func TestFramesAreReused(t *testing.T) {
	f := newFrames(1 << 20)
	if n := testing.AllocsPerRun(100, func() { f.put(f.get(100_000)) }); n > 2 {
		t.Errorf("%v allocations for a pooled frame", n)
	}
}

func TestLargeFramesWaitForEachOther(t *testing.T) {
	f := newFrames(1 << 20)
	f.hold(1 << 20)
	second := make(chan struct{})
	go func() {
		f.hold(largeFrame)
		close(second)
	}()
	f.hold(largeFrame - 1) // small ones never wait
	select {
	case <-second:
		t.Fatal("the limit was passed")
	default:
	}
	f.drop(1 << 20)
	<-second
	f.drop(largeFrame)
	f.hold(64 << 20) // alone, even one above the limit is let in
	f.drop(64 << 20)
	if f.held != 0 {
		t.Fatalf("%d bytes are still held", f.held)
	}
}

// A frame that is only claimed must not keep others out: it counts once its first
// part is there.
func TestClaimedFramesHoldNothing(t *testing.T) {
	b := &Broker{frames: newFrames(1 << 20)}
	claims := func(send int) (*conn, net.Conn) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close(); theirs.Close() })
		c := &conn{b: b, nc: ours}
		go c.frame(bufio.NewReaderSize(ours, readBuffer), 1<<20)
		if _, err := theirs.Write(make([]byte, send)); err != nil {
			t.Fatal(err)
		}
		return c, theirs
	}
	for range 20 {
		claims(largeFrame - readBuffer)
	}
	done := make(chan struct{})
	go func() {
		b.frames.hold(1 << 20) // waits for nobody
		b.frames.drop(1 << 20)
		close(done)
	}()
	<-done
}

// A claim gets memory for its first part, then for the whole at once, up to frameStep,
// so that a frame's bytes are not copied over and over; what is larger doubles.
func TestFramesGetMemoryAsTheyArrive(t *testing.T) {
	for _, c := range []struct{ size, sent, want int }{
		{3 << 20, 10, largeFrame},
		{3 << 20, largeFrame, 3 << 20},
		{64 << 20, largeFrame, frameStep},
		{64 << 20, frameStep, 2 * frameStep},
		{1000, 10, 1000},
	} {
		ours, theirs := net.Pipe()
		b := &Broker{frames: newFrames(64 << 20)}
		go func() {
			theirs.Write(make([]byte, c.sent))
			theirs.Close()
		}()
		f, held, err := (&conn{b: b, nc: ours}).frame(bufio.NewReaderSize(ours, readBuffer), c.size)
		if err == nil || len(f) != c.want {
			t.Errorf("%d bytes of a frame of %d got memory for %d, want %d: %v", c.sent, c.size, len(f), c.want, err)
		}
		b.frames.drop(held)
		ours.Close()
	}
}
