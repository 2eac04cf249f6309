// Package faults puts faults between two processes: a TCP proxy in user space that
// forwards each connection, and while told to delays it, slows it down, holds one or
// both directions back, loses them, or breaks it. It needs no rights.
//
// What it cannot do, since its kernel answers for it: a dial never hangs, and bytes that
// are held back or lost are acknowledged to their sender all the same, until a held
// direction's buffers are full. Dials that hang and unacknowledged bytes are for
// iptables DROP.
package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// Way is a direction of connections, or both.
type Way uint8

// Directions.
const (
	Up   Way = 1 // from who dials to the target
	Down Way = 2 // back
	Both Way = Up | Down
)

// mode is what becomes of the bytes of a direction.
type mode uint8

const (
	pass mode = iota
	hold      // they stay where they are
	drop      // they are lost
)

// path is how a direction behaves.
type path struct {
	mode          mode
	delay, jitter time.Duration
	rate          int // bytes a second; 0: any
	moved         int64
}

// Proxy forwards connections to one target. Its methods are safe for concurrent use.
type Proxy struct {
	network env.Network
	ln      net.Listener
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond // anything below, or a connection's state
	target  string
	refuse  bool
	paths   [2]path
	conns   map[*conn]struct{}
	closed  bool
}

// Listen starts a proxy at an address ("127.0.0.1:0" picks a port).
func Listen(network env.Network, addr, target string) (*Proxy, error) {
	p := &Proxy{network: network, target: target, conns: map[*conn]struct{}{}}
	p.changed.L = &p.mu
	p.ctx, p.cancel = context.WithCancel(context.Background())
	var err error
	if p.ln, err = network.Listen(p.ctx, addr); err != nil {
		return nil, err
	}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// change changes the paths of some directions.
func (p *Proxy) change(w Way, f func(*path)) {
	p.mu.Lock()
	for i := range p.paths {
		if w&(1<<i) != 0 {
			f(&p.paths[i])
		}
	}
	p.changed.Broadcast()
	p.mu.Unlock()
}

// SetTarget sends new connections elsewhere.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	p.target = addr
	p.mu.Unlock()
}

// Delay makes what is sent from now on arrive later, by d and up to jitter more; the
// order stays.
func (p *Proxy) Delay(w Way, d, jitter time.Duration) {
	p.change(w, func(q *path) { q.delay, q.jitter = d, jitter })
}

// Limit bounds the bytes a second of each connection, which arrive in pieces of up to
// 16 KiB; 0 is no bound.
func (p *Proxy) Limit(w Way, rate int) { p.change(w, func(q *path) { q.rate = rate }) }

// Hold stops the bytes of a direction, of new connections too; Pass lets them go on as
// if nothing had been. Hold(Both) is half-open: neither end hears anything.
func (p *Proxy) Hold(w Way) { p.change(w, func(q *path) { q.mode = hold }) }

// Drop loses the bytes of a direction, those that a delay has still kept included. A
// connection that lost some breaks when the direction passes again.
func (p *Proxy) Drop(w Way) { p.change(w, func(q *path) { q.mode = drop }) }

// Pass ends Hold and Drop.
func (p *Proxy) Pass(w Way) {
	p.change(w, func(q *path) { q.mode = pass })
	p.breakAll(func(c *conn) bool {
		for i := range c.lost {
			if w&(1<<i) != 0 && c.lost[i] {
				return true
			}
		}
		return false
	})
}

// Freeze holds the connections that there are for good, and not new ones: a firewall
// that forgot them. They break by Cut or Heal.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	for c := range p.conns {
		c.frozen = true
	}
	p.mu.Unlock()
}

// Cut breaks all connections: both ends get a reset.
func (p *Proxy) Cut() { p.breakAll(func(*conn) bool { return true }) }

// Refuse resets new connections at once, and the others too; false ends it.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	p.refuse = on
	p.mu.Unlock()
	if on {
		p.Cut()
	}
}

// Heal ends every fault.
func (p *Proxy) Heal() {
	p.Refuse(false)
	p.Delay(Both, 0, 0)
	p.Limit(Both, 0)
	p.Pass(Both)
	p.breakAll(func(c *conn) bool { return c.frozen })
}

// Conns is the number of connections.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Moved is the bytes that arrived in a direction so far; lost ones did not.
func (p *Proxy) Moved(w Way) (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.paths {
		if w&(1<<i) != 0 {
			n += p.paths[i].moved
		}
	}
	return n
}

// Close breaks all connections and ends the proxy.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.ln.Close()
	p.Cut()
	p.wg.Wait()
}

// breakAll breaks the connections that which picks; it is called under the lock.
func (p *Proxy) breakAll(which func(*conn) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if which(c) {
			p.end(c, true)
		}
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.wg.Go(func() { p.forward(client) })
		}
	}
}

// forward connects to the target and moves bytes until the connection ends.
func (p *Proxy) forward(client net.Conn) {
	p.mu.Lock()
	target, refuse := p.target, p.refuse || p.closed
	p.mu.Unlock()
	if refuse {
		reset(client)
		return
	}
	server, err := p.network.Dial(p.ctx, target)
	if err != nil {
		reset(client)
		return
	}
	c := &conn{ends: [2]net.Conn{client, server}, over: make(chan struct{})}
	p.mu.Lock()
	p.conns[c] = struct{}{}
	if p.closed || p.refuse {
		p.end(c, true)
	}
	p.mu.Unlock()
	for i := range 2 {
		q := make(chan chunk, queued)
		p.wg.Go(func() { p.take(c, i, q) })
		p.wg.Go(func() { p.give(c, i, q) })
	}
}

// reset closes a connection so that its peer reads ECONNRESET.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0) // fails only if it is closed
	}
	c.Close()
}

func (q *path) late() time.Duration {
	if q.jitter <= 0 {
		return q.delay
	}
	return q.delay + rand.N(q.jitter)
}
