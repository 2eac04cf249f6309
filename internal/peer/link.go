package peer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/transport"
)

// link is a lane to a target: its connection, or what waits for one. All fields are
// guarded by Peers.mu.
type link struct {
	p    *Peers
	to   Target
	lane Lane

	conn     *transport.Conn
	since    time.Time // when conn was made
	dialling bool
	cancel   context.CancelFunc // of the dial
	failures int                // in a row
	next     time.Time          // no dial before
	wake     env.Timer          // for the next dial, while something waits for it

	waiting   []*waiter // in order of arrival
	sends     int       // of them, the one-way ones
	sendBytes int       // of those
	used      time.Time
	idle      env.Timer
	removed   bool
	broke     bool // and is dialled though nothing waits
}

// waiter is a request that waits for a connection.
type waiter struct {
	frame    *transport.Frame
	done     func(kmsg.Response, error) // nil: one way
	deadline time.Time
	timer    env.Timer
}

func (w *waiter) tell(resp kmsg.Response, err error) {
	if w.done != nil {
		w.done(resp, err)
	}
}

// link finds or makes a link; p.mu is held.
func (p *Peers) link(to Target, lane Lane) *link {
	if to.Node >= 0 {
		to.Address = "" // Resolve knows
	}
	l := p.links[address{to, lane}]
	if l == nil {
		l = &link{p: p, to: to, lane: lane}
		l.idle = p.o.Clock.AfterFunc(p.o.Idle, l.checkIdle)
		p.links[address{to, lane}] = l
	}
	return l
}

// offer takes a request: to the connection, or to wait for one. It never calls back;
// after an error it never will.
func (l *link) offer(w *waiter, now time.Time) error {
	l.used = now
	if l.conn != nil {
		err := l.give(w, now)
		if err == nil || errors.Is(err, transport.ErrBusy) {
			return err
		}
		l.lost(l.conn, now) // what it says itself is still under way
	}
	if w.done != nil {
		if len(l.waiting)-l.sends >= l.p.o.MaxWaiting {
			return transport.ErrBusy
		}
		w.timer = l.p.o.Clock.AfterFunc(w.deadline.Sub(now), func() { l.expire(w) })
	} else {
		l.sends++
		l.sendBytes += w.frame.Size()
	}
	l.waiting = append(l.waiting, w)
	for l.sends > 1 && (l.sends > l.p.o.Limits.MaxSends || l.sendBytes > l.p.o.Limits.SendBytes) {
		l.take(slices.IndexFunc(l.waiting, func(w *waiter) bool { return w.done == nil }))
		l.p.totals[l.lane].Dropped++
	}
	l.dial(now)
	return nil
}

// take takes a waiter out of the queue.
func (l *link) take(i int) {
	if w := l.waiting[i]; w.done == nil {
		l.sends--
		l.sendBytes -= w.frame.Size()
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
}

// takeAll empties the queue.
func (l *link) takeAll() []*waiter {
	all := l.waiting
	for _, w := range all {
		if w.timer != nil {
			w.timer.Stop()
		}
	}
	l.waiting, l.sends, l.sendBytes = nil, 0, 0
	return all
}

// expire fails a call that waited in vain for a connection.
func (l *link) expire(w *waiter) {
	l.p.mu.Lock()
	i := slices.Index(l.waiting, w)
	if i >= 0 {
		l.take(i)
		l.p.totals[l.lane].TimedOut++
	}
	l.p.mu.Unlock()
	if i >= 0 {
		w.tell(nil, l.to.failed(ErrTimeout, errors.New("no connection")))
	}
}

// give hands a request to the connection.
func (l *link) give(w *waiter, now time.Time) error {
	if w.done == nil {
		return l.conn.Send(w.frame)
	}
	to := l.to
	return l.conn.Call(w.frame, w.deadline.Sub(now), func(resp kmsg.Response, err error) {
		switch {
		case err == nil:
		case errors.Is(err, transport.ErrTimeout):
			err = to.failed(ErrTimeout, err)
		case errors.Is(err, transport.ErrClosed):
			err = ErrClosed
		default:
			err = to.failed(ErrBroken, err)
		}
		w.done(resp, err)
	})
}

// dial starts a dial, or waits until one is due.
func (l *link) dial(now time.Time) {
	if l.dialling || l.conn != nil || l.wake != nil {
		return
	}
	if pause := l.next.Sub(now); pause > 0 {
		l.wake = l.p.o.Clock.AfterFunc(pause, l.wakeUp)
		return
	}
	l.dialling = true
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.p.totals[l.lane].Dials++
	l.p.spawn("peer dial", func() { l.connect(ctx, cancel) })
}

func (l *link) wakeUp() {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.wake = nil
	if (len(l.waiting) > 0 || l.broke) && !l.removed {
		l.dial(l.p.o.Clock.Now())
	}
}

// errNoAddress: Resolve does not know the node, which may change at any moment.
var errNoAddress = errors.New("no address is known")

// connect dials; it waits for the network.
func (l *link) connect(ctx context.Context, cancel context.CancelFunc) {
	defer cancel()
	addr, ok := l.to.Address, l.to.Address != ""
	if l.to.Node >= 0 {
		addr, ok = l.p.o.Resolve(l.to.Node, l.lane.Door())
	}
	var conn *transport.Conn
	err := errNoAddress
	if ok {
		o := l.p.o.Limits
		o.Network, o.Clock, o.Exec, o.Ended = l.p.o.Network, l.p.o.Clock, counted{l.p}, l.ended
		timer := l.p.o.Clock.AfterFunc(l.p.o.DialTimeout, cancel)
		conn, err = transport.Dial(ctx, o, addr)
		if timer.Stop(); err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%s: no connection within %v", addr, l.p.o.DialTimeout)
		}
	}
	l.p.mu.Lock()
	l.dialling, l.broke = false, false
	if l.removed {
		l.p.mu.Unlock()
		if conn != nil {
			conn.Abort(transport.ErrClosed)
		}
		return
	}
	now := l.p.o.Clock.Now()
	waiting := l.takeAll()
	if err == nil {
		waiting, err = l.connected(conn, waiting, now)
	} else {
		l.failed(addr, err, now)
	}
	l.p.mu.Unlock()
	for _, w := range waiting {
		w.tell(nil, l.to.failed(ErrUnreachable, err))
	}
	if l.p.o.Refused != nil && l.to.Node >= 0 && errors.Is(err, syscall.ECONNREFUSED) {
		l.p.o.Refused(l.to.Node)
	}
}

// connected takes a new connection into use, and returns who could not be handed to it.
func (l *link) connected(conn *transport.Conn, waiting []*waiter, now time.Time) (left []*waiter, err error) {
	l.conn, l.since = conn, now
	if l.p.down[l.to] {
		delete(l.p.down, l.to)
		l.p.o.Logger.Info("node reachable again", "node", l.to.String(), "lane", l.lane.String(), "address", conn.RemoteAddr().String())
	}
	for _, w := range waiting {
		if e := l.give(w, now); e != nil {
			left, err = append(left, w), e
		}
	}
	return left, err
}

// failed counts a failed dial.
func (l *link) failed(addr string, err error, now time.Time) {
	l.p.totals[l.lane].FailedDials++
	if errors.Is(err, errNoAddress) {
		l.next = now.Add(l.p.o.MinPause)
		return
	}
	l.pause(now)
	if !l.p.down[l.to] {
		l.p.down[l.to] = true
		l.p.o.Logger.Warn("node unreachable", "node", l.to.String(), "lane", l.lane.String(), "address", addr, "why", err)
	}
}

// pause puts the next dial off: twice as long as the last time, less up to a half.
func (l *link) pause(now time.Time) {
	d := l.p.o.MaxPause
	if l.failures < 16 {
		d = min(d, l.p.o.MinPause<<l.failures)
	}
	l.failures++
	l.next = now.Add(d/2 + time.Duration(l.p.o.Rand.Int64N(int64(d/2)+1)))
}

// ended takes a connection out of use that ended; see transport.Options.Ended.
func (l *link) ended(c *transport.Conn, err error) {
	l.p.mu.Lock()
	mine, now := !l.removed, l.p.o.Clock.Now()
	l.lost(c, now)
	l.p.mu.Unlock()
	if mine {
		l.p.o.Logger.Debug("connection to node ended", "node", l.to.String(), "lane", l.lane.String(), "why", err)
		if l.p.o.Broken != nil {
			l.p.o.Broken(l.to, l.lane, err)
		}
		l.redial(now)
	}
}

// redial makes a connection to a node anew that broke, without waiting for a request:
// whether anybody listens there still is worth knowing at once.
func (l *link) redial(now time.Time) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	if l.to.Node >= 0 && !l.removed && !l.p.closed {
		l.broke = true
		l.dial(now)
	}
}

// lost takes a connection out of use. One that was of no use is as good as a failed
// dial: a listener that hangs up at once is not dialled in a circle.
func (l *link) lost(c *transport.Conn, now time.Time) {
	if l.conn != c {
		return
	}
	l.conn = nil
	s := c.Stats()
	l.p.totals[l.lane].add(s)
	l.p.totals[l.lane].Broken++
	if s.In > 0 || now.Sub(l.since) >= l.p.o.MaxPause {
		l.failures = 0
	} else {
		l.pause(now)
	}
}

// remove ends the link but for its connection, and returns what waits.
func (l *link) remove() []*waiter {
	l.removed = true
	l.idle.Stop()
	if l.wake != nil {
		l.wake.Stop()
	}
	if l.dialling {
		l.cancel()
	}
	if l.conn != nil {
		l.p.totals[l.lane].add(l.conn.Stats())
		l.conn = nil
	}
	delete(l.p.links, address{l.to, l.lane})
	return l.takeAll()
}

// checkIdle removes a link that nobody uses.
func (l *link) checkIdle() {
	l.p.mu.Lock()
	if l.removed {
		l.p.mu.Unlock()
		return
	}
	idle := l.p.o.Clock.Now().Sub(l.used)
	conn := l.conn
	busy := l.dialling || len(l.waiting) > 0
	if conn != nil {
		s := conn.Stats()
		busy = busy || s.Pending > 0 || s.Waiting > 0
	}
	if busy || idle < l.p.o.Idle {
		l.idle.Reset(max(l.p.o.Idle-idle, l.p.o.Idle/4))
		l.p.mu.Unlock()
		return
	}
	l.remove()
	delete(l.p.down, l.to)
	l.p.mu.Unlock()
	if conn != nil {
		conn.Abort(transport.ErrClosed)
	}
}
