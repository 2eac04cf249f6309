package peer

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/transport"
)

// Defaults of Options.
const (
	DefaultDialTimeout = 2 * time.Second
	DefaultMinPause    = 25 * time.Millisecond
	DefaultMaxPause    = 500 * time.Millisecond
	DefaultIdle        = 5 * time.Minute
	DefaultMaxWaiting  = 1024
)

// Options of Peers; zero values of limits are the defaults.
type Options struct {
	Network env.Network
	Clock   env.Clock
	Exec    env.Exec
	Logger  *slog.Logger
	Rand    *rand.Rand // for the jitter of pauses; nobody else may use it; nil is the system's
	// Resolve tells where a door of a node is now. It is asked at each dial;
	// it must not wait.
	Resolve func(node int32, d Door) (addr string, ok bool)
	// Broken is told when a connection broke that nobody here ended: a hint, possibly
	// before the calls that waited on it are told. May be nil; must not wait.
	Broken func(to Target, lane Lane, err error)
	// Refused is told when nobody listened at the address of a node: its process has ended
	// or not begun, or the address is wrong. May be nil; must not wait.
	Refused  func(node int32)
	ClientID string // in the header of each request

	DialTimeout        time.Duration
	MinPause, MaxPause time.Duration     // between a failed dial and the next one
	Idle               time.Duration     // closes a connection without requests
	MaxWaiting         int               // calls of a lane that wait for its connection
	Limits             transport.Options // of each connection; only its limits are used
}

func (o Options) withDefaults() Options {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if o.Rand == nil {
		o.Rand = env.SecureRand()
	}
	o.DialTimeout = cmp.Or(o.DialTimeout, DefaultDialTimeout)
	o.MinPause = cmp.Or(o.MinPause, DefaultMinPause)
	o.MaxPause = cmp.Or(o.MaxPause, DefaultMaxPause)
	o.Idle = cmp.Or(o.Idle, DefaultIdle)
	o.MaxWaiting = cmp.Or(o.MaxWaiting, DefaultMaxWaiting)
	o.Limits.MaxSends = cmp.Or(o.Limits.MaxSends, transport.DefaultMaxSends)
	o.Limits.SendBytes = cmp.Or(o.Limits.SendBytes, transport.DefaultSendBytes)
	return o
}

// Peers calls other nodes over the network.
type Peers struct {
	o  Options
	wg sync.WaitGroup // everything that runs on Exec

	mu     sync.Mutex
	closed bool
	links  map[address]*link
	down   map[Target]bool // what the log calls unreachable
	totals [lanes]Counters // what links that are no more have done, and all of Calls and Sends
}

var _ Caller = (*Peers)(nil)

// address names a link.
type address struct {
	to   Target
	lane Lane
}

// New makes a caller; connections come with the first calls.
func New(o Options) *Peers {
	return &Peers{o: o.withDefaults(), links: map[address]*link{}, down: map[Target]bool{}}
}

// Call sends a request and calls done with its response; see Caller. done is called
// before Call returns only after Close.
func (p *Peers) Call(to Target, lane Lane, req kmsg.Request, timeout time.Duration, done func(kmsg.Response, error)) {
	f, err := transport.Encode(p.o.ClientID, req)
	if err == nil && f.OneWay() {
		err = fmt.Errorf("%T has no response", req)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		done(nil, ErrClosed)
		return
	}
	defer p.mu.Unlock()
	if err == nil {
		p.totals[lane].Calls++
		now := p.o.Clock.Now()
		err = p.link(to, lane).offer(&waiter{frame: f, done: done, deadline: now.Add(timeout)}, now)
	}
	if err != nil {
		p.spawn("peer refuse", func() { done(nil, to.failed(ErrUnreachable, err)) })
	}
}

// Send sends a request that has no response; see Caller.
func (p *Peers) Send(to Target, lane Lane, req kmsg.Request) {
	f, err := transport.Encode(p.o.ClientID, req)
	if err != nil {
		p.o.Logger.Error("request not sent", "node", to.Node, "why", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.totals[lane].Sends++
	now := p.o.Clock.Now()
	if p.link(to, lane).offer(&waiter{frame: f}, now) != nil {
		p.totals[lane].Dropped++
	}
}

// Forget ends what leads to a node that is no part of the cluster any more. Calls that
// wait are told; later ones start anew.
func (p *Peers) Forget(node int32) {
	p.finish(func(l *link) bool { return l.to.Node == node }, transport.ErrEnded, func(to Target) error {
		return to.failed(ErrUnreachable, errors.New("the node was forgotten"))
	})
}

// Close ends all connections, tells calls that wait ErrClosed, and returns when nothing
// of this runs any more. It must not be called from a callback.
func (p *Peers) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.finish(func(*link) bool { return true }, transport.ErrClosed, func(Target) error { return ErrClosed })
	p.wg.Wait()
}

// finish removes links and tells what waits for a connection.
func (p *Peers) finish(which func(*link) bool, ended error, why func(Target) error) {
	p.mu.Lock()
	var conns []*transport.Conn
	var told []func()
	for _, l := range p.sorted() {
		if !which(l) {
			continue
		}
		if l.conn != nil {
			conns = append(conns, l.conn)
		}
		for _, w := range l.remove() {
			told = append(told, func() { w.tell(nil, why(l.to)) })
		}
		delete(p.down, l.to)
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.Abort(ended)
	}
	for _, f := range told {
		f()
	}
}

// sorted are the links in a fixed order; p.mu is held.
func (p *Peers) sorted() []*link {
	all := make([]*link, 0, len(p.links))
	for _, l := range p.links {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *link) int {
		return cmp.Or(cmp.Compare(a.to.Node, b.to.Node), cmp.Compare(a.to.Address, b.to.Address), cmp.Compare(a.lane, b.lane))
	})
	return all
}

// spawn runs f on Exec; p.mu is held, and Close has not been called.
func (p *Peers) spawn(name string, f func()) { counted{p}.Go(name, f) }

// counted is Exec, awaited by Close.
type counted struct{ p *Peers }

func (c counted) Loop(name string, turn func()) env.Loop { return c.p.o.Exec.Loop(name, turn) }
func (c counted) Go(name string, f func()) {
	c.p.wg.Add(1)
	c.p.o.Exec.Go(name, func() {
		defer c.p.wg.Done()
		f()
	})
}

// String is how errors and the log name the target.
func (t Target) String() string {
	if t.Node < 0 {
		return t.Address
	}
	return fmt.Sprintf("node %d", t.Node)
}

// failed is the error of a call to the target: its kind, and why.
func (t Target) failed(kind, why error) error { return fmt.Errorf("%v: %w: %w", t, kind, why) }
