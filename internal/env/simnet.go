package env

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Net is a simulated network in memory: hosts by name, streams between them, and
// faults between any two hosts in either direction. Delays run on a Clock: with a
// VirtualClock nothing arrives until it is advanced, and one seed gives one order
// of arrivals; with Real inside a testing/synctest bubble its time is the bubble's.
//
// A stream keeps its order, as TCP does; different streams overtake one another by
// their random delays. What a faulty path loses is lost for the stream's life: it
// stalls until a deadline, a Cut or a Close, or, after Heal, is delivered late.
type Net struct {
	clock Clock

	mu        sync.Mutex
	rng       *rand.Rand
	listeners map[string]*simListener // by "host:port"
	conns     map[*simConn]struct{}
	paths     map[[2]string]Path // from, to; "" is any host
	port      int
}

// Path is how one direction between two hosts behaves.
type Path struct {
	// Each write takes between MinDelay and MaxDelay to arrive.
	MinDelay, MaxDelay time.Duration
	// Blocked holds everything back: writes do not arrive, dials time out. Healing
	// delivers what streams that still live have held back.
	Blocked bool
	// CutChance is that of a write, 0 to 1, to break its connection instead of arriving.
	CutChance float64
}

// NewNet is a network without delay or faults.
func NewNet(seed uint64, clock Clock) *Net {
	return &Net{
		clock: clock, rng: NewRand(seed), listeners: map[string]*simListener{},
		conns: map[*simConn]struct{}{}, paths: map[[2]string]Path{}, port: 32768,
	}
}

// Host is the network as seen from a host; "localhost", "127.0.0.1" and no host at
// all in its addresses are itself.
func (n *Net) Host(name string) Network { return &simHost{n, name} }

// SetPath sets how what from sends to to travels; "" stands for every host that has
// no path of its own.
func (n *Net) SetPath(from, to string, p Path) {
	n.mu.Lock()
	n.paths[[2]string{from, to}] = p
	var held []*simConn
	for c := range n.conns {
		if len(c.held) > 0 && !n.path(c.peer.local.host, c.local.host).Blocked {
			held = append(held, c)
		}
	}
	sortConns(held)
	for _, c := range held {
		chunks := c.held
		c.held = nil
		for _, b := range chunks {
			n.send(c.peer, b)
		}
	}
	n.mu.Unlock()
}

// Block holds back everything between two hosts, in both directions.
func (n *Net) Block(a, b string) {
	n.SetPath(a, b, Path{Blocked: true})
	n.SetPath(b, a, Path{Blocked: true})
}

// Heal takes the faults between two hosts back, in both directions.
func (n *Net) Heal(a, b string) {
	n.SetPath(a, b, Path{})
	n.SetPath(b, a, Path{})
}

// Cut breaks every connection between two hosts: both ends read and write ECONNRESET.
func (n *Net) Cut(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if c.local.host == a && c.remote.host == b {
			n.reset(c)
		}
	}
}

// Kill ends a host as kill -9 does: its listeners close and its connections break.
func (n *Net) Kill(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.listeners {
		if l.addr.host == host {
			n.closeListener(l)
		}
	}
	for c := range n.conns {
		if c.local.host == host {
			n.reset(c)
		}
	}
}

// path is how from reaches to; n.mu is held.
func (n *Net) path(from, to string) Path {
	for _, key := range [...][2]string{{from, to}, {from, ""}, {"", to}, {"", ""}} {
		if p, ok := n.paths[key]; ok {
			return p
		}
	}
	return Path{}
}

func (n *Net) delay(p Path) time.Duration {
	d := p.MinDelay
	if p.MaxDelay > p.MinDelay {
		d += time.Duration(n.rng.Int64N(int64(p.MaxDelay-p.MinDelay) + 1))
	}
	return d
}

// after runs f, which takes n.mu itself, after d; without delay at once. n.mu is held.
func (n *Net) after(d time.Duration, f func()) {
	if d > 0 {
		n.clock.AfterFunc(d, f)
		return
	}
	n.mu.Unlock()
	defer n.mu.Lock()
	f()
}

type simAddr struct {
	host string
	port int
}

func (a simAddr) Network() string { return "sim" }
func (a simAddr) String() string  { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

type simHost struct {
	net  *Net
	name string
}

func (h *simHost) parse(addr string) (simAddr, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return simAddr{}, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return simAddr{}, fmt.Errorf("address %s: %w", addr, err)
	}
	switch host {
	case "", "localhost", "127.0.0.1", "0.0.0.0", "::", "::1":
		host = h.name
	}
	return simAddr{host, int(number)}, nil
}

func (h *simHost) Listen(_ context.Context, addr string) (net.Listener, error) {
	a, err := h.parse(addr)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "sim", Err: err}
	}
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if a.host != h.name {
		return nil, &net.OpError{Op: "listen", Net: "sim", Addr: a, Err: syscall.EADDRNOTAVAIL}
	}
	if a.port == 0 {
		a.port = n.freePort()
	}
	if n.listeners[a.String()] != nil {
		return nil, &net.OpError{Op: "listen", Net: "sim", Addr: a, Err: syscall.EADDRINUSE}
	}
	l := &simListener{net: n, addr: a}
	l.cond.L = &n.mu
	n.listeners[a.String()] = l
	return l, nil
}

func (n *Net) freePort() int {
	n.port++
	if n.port > 65535 {
		n.port = 32769
	}
	return n.port
}

func (h *simHost) Dial(ctx context.Context, addr string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "sim", Err: fmt.Errorf("%s: %w", addr, err)}
	}
	a, err := h.parse(addr)
	if err != nil {
		return fail(err)
	}
	n := h.net
	answer := make(chan *simConn, 1)
	n.mu.Lock()
	there, back := n.path(h.name, a.host), n.path(a.host, h.name)
	var local simAddr
	if !there.Blocked && !back.Blocked {
		local = simAddr{h.name, n.freePort()}
		wait := n.delay(there) + n.delay(back)
		n.after(wait, func() { answer <- n.connect(local, a) })
	}
	n.mu.Unlock()
	select {
	case c := <-answer:
		if c == nil {
			return fail(syscall.ECONNREFUSED)
		}
		return c, nil
	case <-ctx.Done():
		if !there.Blocked && !back.Blocked {
			go func() { // whoever gave up does not leave a connection behind
				if c := <-answer; c != nil {
					c.Close()
				}
			}()
		}
		return fail(ctx.Err())
	}
}

// connect makes both ends, or nil if nobody listens (or too many wait).
func (n *Net) connect(from, to simAddr) *simConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listeners[to.String()]
	if l == nil || len(l.waiting) >= 128 {
		return nil
	}
	c, s := newSimConn(n, from, to), newSimConn(n, to, from)
	c.peer, s.peer = s, c
	n.conns[c], n.conns[s] = struct{}{}, struct{}{}
	l.waiting = append(l.waiting, s)
	l.cond.Broadcast()
	return c
}

type simListener struct {
	net     *Net
	addr    simAddr
	cond    sync.Cond // on net.mu
	waiting []*simConn
	closed  bool
}

func (l *simListener) Accept() (net.Conn, error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	for len(l.waiting) == 0 && !l.closed {
		l.cond.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "sim", Addr: l.addr, Err: net.ErrClosed}
	}
	c := l.waiting[0]
	l.waiting = l.waiting[1:]
	return c, nil
}

func (l *simListener) Close() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "sim", Addr: l.addr, Err: net.ErrClosed}
	}
	l.net.closeListener(l)
	return nil
}

func (n *Net) closeListener(l *simListener) {
	l.closed = true
	delete(n.listeners, l.addr.String())
	for _, c := range l.waiting {
		n.reset(c)
	}
	l.waiting = nil
	l.cond.Broadcast()
}

func (l *simListener) Addr() net.Addr { return l.addr }
