package env

import (
	"cmp"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// window is how many bytes one direction of a stream holds that nobody has read:
// what was delivered and what is on its way. Writers wait beyond it, as in TCP.
const window = 256 << 10

// simConn is one end of a stream. All its fields are guarded by net.mu.
type simConn struct {
	net           *Net
	local, remote simAddr
	peer          *simConn
	cond          sync.Cond // on net.mu: anything changed

	incoming []byte    // delivered, not read
	sent     [][]byte  // on their way to this end, in order; nil is the end of the stream
	held     [][]byte  // the same, held back by a blocked path
	onTheWay int       // bytes of both
	arrives  time.Time // when the last of sent does
	eof      bool      // the peer closed, and all it sent was delivered
	closed   bool
	err      error // the stream is broken

	readBy, writeBy deadline
}

// deadline is a point in time after which a call fails.
type deadline struct {
	timer Timer
	over  bool
	set   int // counts the settings, so that an old timer does nothing
}

func newSimConn(n *Net, local, remote simAddr) *simConn {
	c := &simConn{net: n, local: local, remote: remote}
	c.cond.L = &n.mu
	return c
}

func sortConns(list []*simConn) {
	slices.SortFunc(list, func(a, b *simConn) int { return cmp.Compare(a.key(), b.key()) })
}

func (c *simConn) key() string { return c.local.String() + " " + c.remote.String() }

func (c *simConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "sim", Source: c.local, Addr: c.remote, Err: err}
}

func (c *simConn) Read(p []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.opError("read", net.ErrClosed)
		case c.readBy.over:
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		case c.err != nil:
			return 0, c.opError("read", c.err)
		case len(p) == 0:
			return 0, nil
		case len(c.incoming) > 0:
			n := copy(p, c.incoming)
			c.incoming = c.incoming[n:]
			c.peer.cond.Broadcast() // there is room again
			return n, nil
		case c.eof:
			return 0, io.EOF
		}
		c.cond.Wait()
	}
}

func (c *simConn) Write(p []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	written := 0
	for {
		var room int
		switch {
		case c.closed:
			return written, c.opError("write", net.ErrClosed)
		case c.writeBy.over:
			return written, c.opError("write", os.ErrDeadlineExceeded)
		case c.err != nil:
			return written, c.opError("write", c.err)
		case c.peer.closed:
			return written, c.opError("write", syscall.EPIPE)
		case written == len(p):
			return written, nil
		default:
			room = window - len(c.peer.incoming) - c.peer.onTheWay
		}
		if room <= 0 {
			c.cond.Wait()
			continue
		}
		part := slices.Clone(p[written:min(len(p), written+room)])
		written += len(part)
		c.peer.onTheWay += len(part)
		c.net.send(c, part)
	}
}

// send brings bytes (nil: the end of the stream) from c to its peer, as their path
// has it; n.mu is held.
func (n *Net) send(c *simConn, b []byte) {
	to := c.peer
	p := n.path(c.local.host, to.local.host)
	if p.Blocked || len(to.held) > 0 {
		to.held = append(to.held, b)
		return
	}
	if p.CutChance > 0 && n.rng.Float64() < p.CutChance {
		n.reset(c)
		return
	}
	now := n.clock.Now()
	at := now.Add(n.delay(p))
	if at.Before(to.arrives) {
		at = to.arrives
	}
	to.arrives = at
	to.sent = append(to.sent, b)
	n.after(at.Sub(now), func() { n.deliver(to) })
}

// deliver lets the next bytes on their way to an end arrive: not those of a certain
// timer, as a real clock's timers of one moment run in any order.
func (n *Net) deliver(to *simConn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(to.sent) == 0 {
		return // broken meanwhile
	}
	b := to.sent[0]
	to.sent = to.sent[1:]
	to.onTheWay -= len(b)
	if b == nil {
		to.eof = true
	} else if to.closed {
		n.reset(to) // as TCP answers data for a closed socket
	} else {
		to.incoming = append(to.incoming, b...)
	}
	to.cond.Broadcast()
}

// reset breaks both ends of a stream; n.mu is held.
func (n *Net) reset(c *simConn) {
	for _, end := range [...]*simConn{c, c.peer} {
		if end.err == nil {
			end.err = syscall.ECONNRESET
		}
		end.incoming, end.sent, end.held, end.onTheWay = nil, nil, nil, 0
		delete(n.conns, end)
		end.cond.Broadcast()
	}
}

// Close sends what was written before, then the end of the stream.
func (c *simConn) Close() error {
	n := c.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.closed = true
	c.readBy.clear()
	c.writeBy.clear()
	c.cond.Broadcast()
	c.peer.cond.Broadcast()
	if c.err != nil {
		return nil
	}
	n.send(c, nil)
	if c.peer.closed {
		delete(n.conns, c)
		delete(n.conns, c.peer)
	}
	return nil
}

func (c *simConn) LocalAddr() net.Addr  { return c.local }
func (c *simConn) RemoteAddr() net.Addr { return c.remote }

func (c *simConn) SetDeadline(t time.Time) error {
	if err := c.setDeadline(&c.readBy, t); err != nil {
		return err
	}
	return c.setDeadline(&c.writeBy, t)
}

func (c *simConn) SetReadDeadline(t time.Time) error  { return c.setDeadline(&c.readBy, t) }
func (c *simConn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writeBy, t) }

func (c *simConn) setDeadline(d *deadline, t time.Time) error {
	n := c.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return c.opError("set deadline", net.ErrClosed)
	}
	d.clear()
	if t.IsZero() {
		return nil
	}
	left := t.Sub(n.clock.Now())
	if left <= 0 {
		d.over = true
		c.cond.Broadcast()
		return nil
	}
	set := d.set
	d.timer = n.clock.AfterFunc(left, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if d.set == set {
			d.over = true
			c.cond.Broadcast()
		}
	})
	return nil
}

func (d *deadline) clear() {
	d.set++
	d.over = false
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
