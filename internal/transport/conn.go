package transport

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/env"
)

// How calls fail, for errors.Is.
var (
	// ErrTimeout: the call's time was over before its response was there.
	ErrTimeout = errors.New("no response in time")
	// ErrEnded: the connection ended; what was sent may have had its effect or not.
	ErrEnded = errors.New("connection ended")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("connection closed")
	// ErrBusy: too many calls wait on the connection.
	ErrBusy = errors.New("too many requests under way")
	// ErrProtocol: what came back is no response.
	ErrProtocol = errors.New("malformed response")
)

// Defaults of Options.
const (
	DefaultStall       = 10 * time.Second
	DefaultUnacked     = 4 * time.Second
	DefaultSilence     = 500 * time.Millisecond
	DefaultMaxResponse = 256 << 20
	DefaultMaxPending  = 4096
	DefaultMaxSends    = 1024
	DefaultSendBytes   = 64 << 20
)

// Options of a connection; zero values of limits are the defaults.
type Options struct {
	Network env.Network
	Clock   env.Clock
	Exec    env.Exec

	Stall       time.Duration // ends a connection that takes no bytes for so long
	Unacked     time.Duration // ends one whose bytes the other kernel does not acknowledge for so long; Linux
	Silence     time.Duration // shorter silence ends no connection, whatever the calls' time
	MaxResponse int32         // bytes of a response's frame
	MaxPending  int           // calls that wait for their response
	MaxSends    int           // one-way frames that wait to be written; older ones are dropped
	SendBytes   int           // bytes of them; the newest may be larger
	// Ended is told once that the connection ended, before the calls that wait are.
	Ended func(c *Conn, err error)
}

func (o Options) withDefaults() Options {
	o.Stall = cmp.Or(o.Stall, DefaultStall)
	o.Unacked = cmp.Or(o.Unacked, DefaultUnacked)
	o.Silence = cmp.Or(o.Silence, DefaultSilence)
	o.MaxResponse = cmp.Or(o.MaxResponse, DefaultMaxResponse)
	o.MaxPending = cmp.Or(o.MaxPending, DefaultMaxPending)
	o.MaxSends = cmp.Or(o.MaxSends, DefaultMaxSends)
	o.SendBytes = cmp.Or(o.SendBytes, DefaultSendBytes)
	return o
}

// Conn is one connection. Its methods are safe for concurrent use.
type Conn struct {
	o  Options
	nc net.Conn
	wg sync.WaitGroup // both goroutines

	reads    atomic.Uint64 // reads that brought bytes
	in, out  atomic.Uint64 // bytes
	dropped  atomic.Uint64 // one-way frames
	timedOut atomic.Uint64

	mu        sync.Mutex
	work      sync.Cond // queue or ended changed
	queue     []*Frame  // to be written
	sends     int       // of them, the one-way ones
	sendBytes int       // of those
	pending   map[int32]*call
	seq       uint64
	err       error // why it ended; nil while it lives
}

// call waits for its response. What it holds is guarded by the connection's lock.
type call struct {
	seq     uint64
	frame   *Frame
	timeout time.Duration
	timer   env.Timer
	made    time.Time
	reads   uint64 // the connection's, then
	settled bool   // done was called, or is about to be
	done    func(kmsg.Response, error)
}

// Dial connects to an address. It waits for the network, until ctx is over.
func Dial(ctx context.Context, o Options, addr string) (*Conn, error) {
	o = o.withDefaults()
	nc, err := o.Network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	if err := tune(nc, o.Unacked); err != nil {
		nc.Close()
		return nil, err
	}
	c := &Conn{o: o, nc: nc, pending: map[int32]*call{}}
	c.work.L = &c.mu
	c.wg.Add(2)
	o.Exec.Go("transport read", c.read)
	o.Exec.Go("transport write", c.write)
	return c, nil
}

// tune makes small frames leave at once and dead connections be noticed.
func tune(nc net.Conn, unacked time.Duration) error {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	if err := tcp.SetNoDelay(true); err != nil {
		return err
	}
	probe := max(unacked/4, time.Second)
	err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: probe, Interval: probe, Count: 3})
	if err != nil {
		return err
	}
	return setUserTimeout(tcp, unacked)
}

// Call sends a request that has a response. done is called once, unless Call answers an
// error; it runs on one of the connection's goroutines or timers, and must not wait.
func (c *Conn) Call(f *Frame, timeout time.Duration, done func(kmsg.Response, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return c.err
	case len(c.pending) >= c.o.MaxPending:
		return ErrBusy
	}
	c.seq++
	x := &call{seq: c.seq, frame: f, timeout: timeout, made: c.o.Clock.Now(), reads: c.reads.Load(), done: done}
	f.call = x
	c.pending[int32(x.seq)] = x
	x.timer = c.o.Clock.AfterFunc(timeout, func() { c.expire(x) })
	c.enqueue(f)
	return nil
}

// Send sends a request that has no response. It may be lost, without a word: when the
// connection ends, or when newer ones press it out.
func (c *Conn) Send(f *Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.seq++
	c.sends++
	c.sendBytes += f.size
	c.enqueue(f)
	for c.sends > 1 && (c.sends > c.o.MaxSends || c.sendBytes > c.o.SendBytes) {
		c.remove(c.queue[slices.IndexFunc(c.queue, func(q *Frame) bool { return q.call == nil })])
		c.dropped.Add(1)
	}
	return nil
}

// enqueue gives a frame its number and hands it to the writer; c.mu is held.
func (c *Conn) enqueue(f *Frame) {
	f.number(int32(c.seq))
	c.queue = append(c.queue, f)
	c.work.Signal()
}

// remove takes a frame that is not yet written back; c.mu is held.
func (c *Conn) remove(f *Frame) {
	i := slices.Index(c.queue, f)
	c.queue = slices.Delete(c.queue, i, i+1)
	c.taken(f)
}

// taken counts a frame that left the queue; c.mu is held.
func (c *Conn) taken(f *Frame) {
	if f.call == nil {
		c.sends--
		c.sendBytes -= f.size
	}
}

// expire fails a call whose time is over, and ends the connection if it is silent.
func (c *Conn) expire(x *call) {
	c.mu.Lock()
	if x.settled {
		c.mu.Unlock()
		return
	}
	x.settled = true
	silent := c.silent(x)
	if !x.frame.written {
		c.remove(x.frame)
		delete(c.pending, int32(x.seq))
	}
	c.mu.Unlock()
	c.timedOut.Add(1)
	if silent > 0 {
		c.end(fmt.Errorf("%w: nothing came back within %v", ErrEnded, silent))
	}
	x.done(nil, fmt.Errorf("%w (%v)", ErrTimeout, x.timeout))
}

// silent tells for how long nothing at all has come though an answer was due, when a
// call's time is over; 0 while that proves nothing: an older call has time left (answers
// come in order, and a call may rightly wait behind the long poll before it), or the
// silence is shorter than Options.Silence. c.mu is held.
func (c *Conn) silent(x *call) time.Duration {
	reads, first := c.reads.Load(), x
	for _, y := range c.pending {
		if !y.settled && y.seq < x.seq {
			return 0
		}
		if y.reads == reads && y.seq < first.seq {
			first = y
		}
	}
	if since := c.o.Clock.Now().Sub(first.made); first.reads == reads && since >= c.o.Silence {
		return since
	}
	return 0
}

// end ends the connection, once.
func (c *Conn) end(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	var waiting []*call
	for _, x := range c.pending {
		if !x.settled {
			x.settled = true
			x.timer.Stop()
			waiting = append(waiting, x)
		}
	}
	c.pending, c.queue, c.sends, c.sendBytes = nil, nil, 0, 0
	c.work.Broadcast()
	c.mu.Unlock()
	c.nc.Close()
	if c.o.Ended != nil {
		c.o.Ended(c, err)
	}
	slices.SortFunc(waiting, func(a, b *call) int { return cmp.Compare(a.seq, b.seq) })
	for _, x := range waiting {
		x.done(nil, err)
	}
}

// Close ends the connection, tells every call that waits ErrClosed, and returns when
// both goroutines have ended. It must not be called from a callback.
func (c *Conn) Close() {
	c.end(ErrClosed)
	c.wg.Wait()
}

// Abort is Close without waiting for the goroutines; any callback may call it.
func (c *Conn) Abort(err error) { c.end(err) }

// read takes responses until the connection ends.
func (c *Conn) read() {
	defer c.wg.Done()
	br := bufio.NewReaderSize(counter{c}, 32<<10)
	for {
		if err := c.response(br); err != nil {
			c.end(fmt.Errorf("%w: %w", ErrEnded, err))
			return
		}
	}
}

// counter counts what is read.
type counter struct{ c *Conn }

func (r counter) Read(p []byte) (int, error) {
	n, err := r.c.nc.Read(p)
	if n > 0 {
		r.c.reads.Add(1)
		r.c.in.Add(uint64(n))
	}
	return n, err
}

// response reads one response and gives it to its call. A response that cannot be
// decoded fails its call alone: the frames are still in step.
func (c *Conn) response(br *bufio.Reader) error {
	var head [8]byte
	if _, err := io.ReadFull(br, head[:]); err != nil {
		return err
	}
	size, id := int32(binary.BigEndian.Uint32(head[:])), int32(binary.BigEndian.Uint32(head[4:]))
	if size < 4 || size > c.o.MaxResponse {
		return fmt.Errorf("%w: a frame of %d bytes; the limit is %d", ErrProtocol, size, c.o.MaxResponse)
	}
	c.mu.Lock()
	x := c.pending[id]
	if x == nil || !x.frame.written {
		defer c.mu.Unlock()
		if c.err != nil {
			return c.err
		}
		return fmt.Errorf("%w: an answer to request %d, which does not wait for one", ErrProtocol, id)
	}
	late := x.settled
	c.mu.Unlock()
	var body []byte
	var err error
	if late {
		_, err = br.Discard(int(size) - 4)
	} else {
		if x.frame.lent {
			body = borrow(int(size) - 4)
			defer giveBack(body)
		} else {
			body = make([]byte, size-4)
		}
		_, err = io.ReadFull(br, body)
	}
	if err != nil {
		return noEOF(err)
	}
	c.mu.Lock()
	late = x.settled
	x.settled = true
	delete(c.pending, id)
	x.timer.Stop()
	c.mu.Unlock()
	if !late {
		x.done(x.frame.Decode(body))
	}
	return nil
}

// noEOF turns the end of input inside a frame into an error that says so.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Stats is what a connection has done so far.
type Stats struct {
	In, Out  uint64 // bytes
	TimedOut uint64 // calls
	Dropped  uint64 // one-way frames
	Pending  int    // calls whose response may still come
	Waiting  int    // frames to be written
}

// Stats tells what the connection has done so far.
func (c *Conn) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{
		In: c.in.Load(), Out: c.out.Load(), TimedOut: c.timedOut.Load(), Dropped: c.dropped.Load(),
		Pending: len(c.pending), Waiting: len(c.queue),
	}
}

// RemoteAddr is the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }
