package faults

import (
	"errors"
	"io"
	"net"
	"time"
)

const (
	// piece is the most that is moved at once, and queued how many of them a direction
	// keeps while they are late.
	piece  = 16 << 10
	queued = 64
)

// conn is a forwarded connection. Direction 0 (Up) goes from end 0 to end 1.
type conn struct {
	ends [2]net.Conn
	over chan struct{} // closed when the connection ends

	// guarded by Proxy.mu
	frozen bool
	ended  bool
	shut   [2]bool // the end of a direction's stream has been passed on
	lost   [2]bool // bytes of a direction were lost
}

// chunk is bytes on their way, or the end of the stream.
type chunk struct {
	b   []byte
	end bool
	due time.Time
}

// end closes both ends; p.mu is held.
func (p *Proxy) end(c *conn, broken bool) {
	if c.ended {
		return
	}
	c.ended = true
	close(c.over)
	delete(p.conns, c)
	for _, nc := range c.ends {
		if broken {
			reset(nc)
		} else {
			nc.Close()
		}
	}
	p.changed.Broadcast()
}

// may waits until a direction of a connection is not held, and returns how it is then;
// false when the connection ended.
func (p *Proxy) may(c *conn, way int) (path, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !c.ended && (c.frozen || p.paths[way].mode == hold) {
		p.changed.Wait()
	}
	return p.paths[way], !c.ended
}

// take reads a direction's bytes and queues them.
func (p *Proxy) take(c *conn, way int, q chan<- chunk) {
	last := time.Time{}
	for {
		if _, ok := p.may(c, way); !ok {
			return
		}
		b := make([]byte, piece)
		n, err := c.ends[way].Read(b)
		if err != nil && !errors.Is(err, io.EOF) {
			p.mu.Lock()
			p.end(c, true)
			p.mu.Unlock()
			return
		}
		p.mu.Lock()
		due := time.Now().Add(p.paths[way].late())
		p.mu.Unlock()
		if due.Before(last) {
			due = last
		}
		last = due
		select {
		case q <- chunk{b[:n], err != nil, due}:
		case <-c.over:
			return
		}
		if err != nil {
			return
		}
	}
}

// give writes a direction's bytes when they are due.
func (p *Proxy) give(c *conn, way int, q <-chan chunk) {
	for {
		var k chunk
		select {
		case k = <-q:
		case <-c.over:
			return
		}
		if !c.sleep(time.Until(k.due)) {
			return
		}
		how, ok := p.may(c, way)
		switch {
		case !ok:
			return
		case how.mode == drop:
			p.mu.Lock()
			c.lost[way] = true
			p.mu.Unlock()
		case !p.write(c, way, k.b, how.rate):
			return
		case k.end:
			p.finish(c, way)
		}
		if k.end {
			return
		}
	}
}

// write writes bytes, no faster than a rate; false when the connection ended.
func (p *Proxy) write(c *conn, way int, b []byte, rate int) bool {
	if rate > 0 && !c.sleep(time.Duration(len(b))*time.Second/time.Duration(rate)) {
		return false
	}
	if len(b) == 0 {
		return true
	}
	n, err := c.ends[1-way].Write(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paths[way].moved += int64(n)
	if err != nil {
		p.end(c, true)
	}
	return err == nil
}

// finish passes the end of a stream on; with both ends the connection is over.
func (p *Proxy) finish(c *conn, way int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.shut[way] = true
	if c.shut[1-way] {
		p.end(c, false)
		return
	}
	if half, ok := c.ends[1-way].(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		return
	}
	p.end(c, false)
}

// sleep waits; false when the connection ended meanwhile.
func (c *conn) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.over:
		return false
	}
}
