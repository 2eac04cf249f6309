package transport

import (
	"fmt"
	"net"
)

const (
	// writeStep bounds what one write call takes, so that progress is seen.
	writeStep = 256 << 10
	// batchFrames bounds the frames that one write call takes.
	batchFrames = 64
)

// write sends frames until the connection ends.
func (c *Conn) write() {
	defer c.wg.Done()
	for {
		pieces := c.batch()
		if pieces == nil {
			return
		}
		if err := c.send(pieces); err != nil {
			c.end(fmt.Errorf("%w: %w", ErrEnded, err))
			return
		}
	}
}

// batch waits for frames and takes what fits into one write; nil when the connection ended.
func (c *Conn) batch() net.Buffers {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 && c.err == nil {
		c.work.Wait()
	}
	if c.err != nil {
		return nil
	}
	var pieces net.Buffers
	n, size := 0, 0
	for n < min(len(c.queue), batchFrames) && (n == 0 || size+c.queue[n].size <= writeStep) {
		f := c.queue[n]
		f.written = true
		c.taken(f)
		size += f.size
		pieces = append(pieces, f.pieces...)
		f.pieces = nil
		n++
	}
	rest := copy(c.queue, c.queue[n:])
	clear(c.queue[rest:])
	c.queue = c.queue[:rest]
	return pieces
}

// send writes pieces, no more than writeStep of them at a time, each within Stall.
func (c *Conn) send(pieces net.Buffers) error {
	for len(pieces) > 0 {
		var step net.Buffers
		for size := 0; len(pieces) > 0 && size < writeStep; {
			n := min(len(pieces[0]), writeStep-size)
			step = append(step, pieces[0][:n])
			if pieces[0] = pieces[0][n:]; len(pieces[0]) == 0 {
				pieces = pieces[1:]
			}
			size += n
		}
		if err := c.nc.SetWriteDeadline(c.o.Clock.Now().Add(c.o.Stall)); err != nil {
			return err
		}
		n, err := step.WriteTo(c.nc)
		c.out.Add(uint64(n))
		if err != nil {
			return err
		}
	}
	return nil
}
