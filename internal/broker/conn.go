package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/config"
)

const (
	// maxOwed bounds the answers that wait for a client that does not read, or behind
	// a long poll; beyond it the connection is not read.
	maxOwed = 16
	// readBuffer holds a small request whole; larger ones are read past it.
	readBuffer = 4 << 10
	// frameStep bounds what is allocated for a large frame at once, when its first part
	// is there and it counts towards the limit; beyond it memory doubles as bytes arrive.
	frameStep = 4 << 20
	// stalled ends a connection that does not take its answers.
	stalled = 60 * time.Second
	// progress ends a connection that sends nothing for so long inside a frame, and
	// slowest is what a frame has to average after that, in bytes a second.
	progress = 10 * time.Second
	slowest  = 64 << 10
)

// conn is one client connection. Its reading goroutine reads frames and runs
// handlers; its writing goroutine writes the answers in the order of the requests.
type conn struct {
	b    *Broker
	nc   net.Conn
	out  *sender
	info api.Conn

	mu     sync.Mutex
	moved  sync.Cond // the head became done, a place became free, or the end came
	queue  []*slot   // in order of arrival
	owed   int       // of them, those whose answer is there and not yet taken by the writer
	closed bool      // no more slots come

	active activity
	// authenticated is set from the start where the listener asks for nothing.
	authenticated atomic.Bool
	draining      atomic.Bool // the broker stops: no request is read any more
}

// slot is the place of one request in the order of answers.
type slot struct {
	req    api.Request
	answer api.Answer
	done   bool
	in     int // bytes of the request, size prefix included
}

func newConn(b *Broker, nc net.Conn, info api.Conn) *conn {
	c := &conn{b: b, nc: nc, info: info, out: newSender(nc)}
	c.moved.L = &c.mu
	return c
}

// serve runs the connection until it ends; it tells when it has done with the last
// request.
func (c *conn) serve(lastRead func()) {
	var writer sync.WaitGroup
	writer.Go(c.write)
	err := c.read()
	lastRead()
	if c.info.Beats && !c.draining.Load() {
		c.b.node.Broke(c.info.Broker)
	}
	var waiting []*slot
	c.mu.Lock()
	c.closed = true
	for _, s := range c.queue {
		if !s.done && !c.draining.Load() { // a broker that stops ends every wait itself
			waiting = append(waiting, s)
		}
	}
	c.mu.Unlock()
	for _, s := range waiting {
		s.req.Cancel()
	}
	c.moved.Broadcast()
	if !ended(err) {
		c.b.metrics.refused.Inc()
		c.warn("connection closed", err)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		c.nc.Close() // else the broker is stopping: what is owed is still written
	}
	writer.Wait()
	c.nc.Close()
}

// warn tells what is wrong with the connection; its kind is that of the error.
func (c *conn) warn(msg string, err error) {
	c.b.node.Complaints().Warn(fmt.Sprintf("%s: %T", msg, err), msg, "remote", c.nc.RemoteAddr().String(), "listener", c.info.Listener, "why", err)
}

// ended says whether an error is just the end of a connection.
func ended(err error) bool {
	var timeout net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || isReset(err) ||
		(errors.As(err, &timeout) && timeout.Timeout())
}

// read takes frames until the connection ends or sends something that has no answer.
func (c *conn) read() error {
	br := bufio.NewReaderSize(c.nc, readBuffer)
	var head [4]byte
	for {
		c.active.idle(c.b.clock.Now())
		if _, err := io.ReadFull(br, head[:]); err != nil {
			return err
		}
		c.active.busy()
		size := int32(binary.BigEndian.Uint32(head[:]))
		if size < 0 {
			return fmt.Errorf("a frame of %d bytes", size)
		}
		if limit, setting := c.frameLimit(); size > limit {
			return frameTooLarge{size, limit, setting}
		}
		if err := c.request(br, int(size)); err != nil {
			return err
		}
	}
}

// frameTooLarge is a frame that a setting forbids.
type frameTooLarge struct {
	size, limit int32
	setting     config.IntName
}

func (e frameTooLarge) Error() string {
	return fmt.Sprintf("a frame of %d bytes; %s allows %d", e.size, e.setting, e.limit)
}

// frameLimit is the largest frame that the client may send now, and the setting that
// says so: who has still to authenticate may send little.
func (c *conn) frameLimit() (limit int32, setting config.IntName) {
	l := &c.b.limits
	if !c.authenticated.Load() && l.maxUnauthenticated < l.maxRequest {
		return l.maxUnauthenticated, config.LeatUnauthenticatedRequestMaxBytes
	}
	return l.maxRequest, config.SocketRequestMaxBytes
}

// request reads one frame and runs its handler.
func (c *conn) request(br *bufio.Reader, size int) error {
	frame, held, err := c.frame(br, size)
	defer c.b.frames.drop(held)
	if err != nil {
		c.b.frames.put(frame)
		return err
	}
	s := &slot{in: size + 4}
	if !c.enqueue(s) {
		c.b.frames.put(frame)
		return net.ErrClosed
	}
	v := c.b.node.API().Serve(&c.info, frame, &s.req, func(a api.Answer) { c.complete(s, a) })
	c.b.frames.put(frame)
	if v.Err != nil {
		c.complete(s, hangup)
		return v.Err
	}
	if !v.Handler.Early {
		c.await(s)
	}
	return nil
}

func hangup() api.Output { return api.Output{Close: true} }

// frame reads size bytes, of which held count towards the limit of large frames
// until they are dropped. What a client merely claims costs nobody anything: its
// large frame counts, and gets its memory, from when the first part of it is there,
// memory beyond frameStep is taken as bytes arrive, and a client that stops inside a
// frame, or drips, is cut off.
func (c *conn) frame(br *bufio.Reader, size int) (f []byte, held int, err error) {
	if br.Buffered() >= size {
		f = c.b.frames.get(size)
		_, err = io.ReadFull(br, f)
		return f, 0, err
	}
	f = c.b.frames.get(min(size, largeFrame))
	last := time.Now().Add(progress + time.Duration(size/slowest)*time.Second)
	for have := 0; have < size; {
		// What nodes send each other waits for no client.
		if have == largeFrame && held == 0 && !c.info.Controller {
			c.b.frames.hold(size)
			held = size
			last = time.Now().Add(progress + time.Duration(size/slowest)*time.Second)
		}
		if have == len(f) {
			g := c.b.frames.get(min(size, max(frameStep, 2*len(f))))
			copy(g, f)
			c.b.frames.put(f)
			f = g
		}
		by := time.Now().Add(progress)
		if by.After(last) {
			by = last
		}
		if err := c.readBy(by); err != nil {
			return f, held, err
		}
		n, err := br.Read(f[have:])
		have += n
		if errors.Is(err, os.ErrDeadlineExceeded) && !c.draining.Load() {
			return f, held, fmt.Errorf("only %d bytes of a frame of %d came in time", have, size)
		}
		if err != nil {
			return f, held, noEOF(err)
		}
	}
	return f, held, c.readBy(time.Time{})
}

// readBy sets the time by which the next bytes must come; a broker that stops waits
// for none.
func (c *conn) readBy(t time.Time) error {
	err := c.nc.SetReadDeadline(t)
	if c.draining.Load() {
		return c.nc.SetReadDeadline(past)
	}
	return err
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// noEOF turns the end of input inside a frame into an error that says so.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// enqueue takes a place in the order of answers, waiting while too many are taken.
func (c *conn) enqueue(s *slot) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for (len(c.queue) >= c.b.limits.maxInFlight || c.owed >= maxOwed) && !c.closed {
		c.moved.Wait()
	}
	if c.closed {
		return false
	}
	c.queue = append(c.queue, s)
	return true
}

// complete gives a slot its answer; any goroutine may call it.
func (c *conn) complete(s *slot, a api.Answer) {
	c.mu.Lock()
	s.answer, s.done = a, true
	c.owed++
	c.mu.Unlock()
	c.moved.Broadcast()
}

// await waits until a slot has its answer.
func (c *conn) await(s *slot) {
	c.mu.Lock()
	for !s.done && !c.closed {
		c.moved.Wait()
	}
	c.mu.Unlock()
}

// owes says whether the client waits for an answer.
func (c *conn) owes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) > 0
}

// write sends answers in order until the connection ends. After that it still takes
// every outstanding answer, to give back what it holds.
func (c *conn) write() {
	broken := false
	for {
		s := c.next()
		if s == nil {
			return
		}
		if s.answer == nil {
			c.b.metrics.observe(s, 0, c.b.clock.Now())
			continue
		}
		out := s.answer()
		n := int64(0)
		if !broken && len(out.Pieces) > 0 {
			var err error
			if n, err = c.out.send(out.Pieces); err != nil {
				broken = true
				c.hang(err)
			}
		}
		if out.Release != nil {
			out.Release()
		}
		c.b.metrics.observe(s, n, c.b.clock.Now())
		if out.Close && !broken {
			broken = true
			c.hang(nil)
		}
	}
}

// next waits for the oldest request's answer; nil when no more can come.
func (c *conn) next() *slot {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if len(c.queue) > 0 && c.queue[0].done {
			s := c.queue[0]
			n := copy(c.queue, c.queue[1:])
			c.queue[n] = nil
			c.queue = c.queue[:n]
			c.owed--
			c.moved.Broadcast()
			return s
		}
		if c.closed && len(c.queue) == 0 {
			return nil
		}
		c.moved.Wait()
	}
}

// drain makes the reading side end now; answers that are owed are still written.
func (c *conn) drain() {
	c.draining.Store(true)
	if c.nc.SetReadDeadline(past) != nil {
		c.nc.Close()
	}
}

// cut ends a connection whose client takes no answers, or whose answers do not come.
func (c *conn) cut() { c.hang(nil) }

// hang closes the connection from the writing side.
func (c *conn) hang(err error) {
	if err != nil && !ended(err) {
		c.warn("answer not sent", err)
	}
	c.nc.Close()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.moved.Broadcast()
}

// activity knows since when a connection is idle, for connections.max.idle.ms.
type activity struct {
	mu    sync.Mutex
	since time.Time // zero while a request is being read or handled
}

func (a *activity) idle(now time.Time) { a.mu.Lock(); a.since = now; a.mu.Unlock() }
func (a *activity) busy()              { a.mu.Lock(); a.since = time.Time{}; a.mu.Unlock() }

// idleFor tells for how long nothing was asked; 0 while something is.
func (a *activity) idleFor(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.since.IsZero() {
		return 0
	}
	return now.Sub(a.since)
}
