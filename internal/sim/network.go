package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/nodewire"
)

// Path is how one direction between two hosts behaves.
type Path struct {
	Min, Max time.Duration // of a message
	Blocked  bool          // holds everything back
	Resets   float64       // chance of a message to break its connection instead
	// Stuck is the chance of a request to break its connection in the eyes of the caller
	// alone, and to arrive by it StuckFor later at most, half of that at least.
	Stuck    float64
	StuckFor time.Duration
}

// fast is a path without faults.
var fast = Path{Min: 100 * time.Microsecond, Max: 2 * time.Millisecond}

// What a call may end with.
var (
	errUnreachable = errors.New("sim: connection broken")
	errTimeout     = errors.New("sim: no answer in time")
	errClosed      = errors.New("sim: closed by the caller")
)

func (w *World) path(from, to *Host) Path {
	if p, ok := w.paths[[2]string{from.Name, to.Name}]; ok {
		return p
	}
	return fast
}

// SetPath changes one direction; what was held back goes on if it may.
func (w *World) SetPath(from, to *Host, p Path) {
	w.paths[[2]string{from.Name, to.Name}] = p
	for _, l := range slices.Concat(w.links, w.ended) {
		for _, s := range []*stream{&l.up, &l.down} {
			if s.from == from && s.to == to && !p.Blocked {
				held := s.held
				s.held = nil
				for _, f := range held {
					s.send(f)
				}
			}
		}
	}
}

// Heal makes every path fast again.
func (w *World) Heal() {
	for _, a := range w.hosts {
		for _, b := range w.hosts {
			if _, ok := w.paths[[2]string{a.Name, b.Name}]; ok {
				w.SetPath(a, b, fast)
			}
		}
	}
	clear(w.paths)
}

// stream is one direction of a connection: what is sent arrives in order or not at all.
type stream struct {
	l        *Link
	from, to *Host
	last     time.Time // arrival of the newest
	held     []func()
	flying   int // on their way
}

func (s *stream) send(arrive func()) {
	w := s.l.w
	p := w.path(s.from, s.to)
	switch {
	case s.l.closed && !(s == &s.l.up && s.l.lingers):
	case p.Blocked || len(s.held) > 0:
		s.held = append(s.held, arrive)
	case p.Resets > 0 && !s.l.closed && w.network.Float64() < p.Resets:
		w.Count["connection reset"]++
		s.l.Reset()
	case p.Stuck > 0 && !s.l.closed && s == &s.l.up && w.network.Float64() < p.Stuck:
		w.Count["request stuck"]++
		s.fly(p.StuckFor/2+time.Duration(w.network.Int64N(int64(p.StuckFor/2))), arrive)
		s.l.lingers = true
		w.ended = append(w.ended, s.l)
		s.l.drop(errUnreachable)
	default:
		at := w.Clock.Now().Add(p.Min + time.Duration(w.network.Int64N(int64(p.Max-p.Min)+1)))
		if at.Before(s.last) {
			at = s.last
		}
		s.last = at
		s.fly(at.Sub(w.Clock.Now()), arrive)
	}
}

// fly lets something arrive after a time.
func (s *stream) fly(d time.Duration, arrive func()) {
	s.flying++
	s.l.w.Clock.AfterFunc(d, func() {
		s.flying--
		if !s.l.closed || s == &s.l.up && s.l.lingers {
			arrive()
		}
		if s.l.lingers {
			s.l.lingered()
		}
	})
}

// Link is one connection: requests from one host to a door of another, answers back in
// the order of the requests.
type Link struct {
	w        *World
	id       uint64
	from, to *Host
	life     int // of from
	up, down stream
	server   *serverConn // nil until the first request has arrived
	door     string
	client   string

	closed bool
	// lingers: it is closed, and what was sent before that still arrives.
	lingers bool
	lost    bool // a request met nobody: none that follows it arrives
	silent  bool // nobody tells the server that it is closed
	next    int32
	calls   []*call // in order
	// Broken, if not nil, is told that the connection ended otherwise than by Close.
	Broken func()
}

type call struct {
	id    int32
	req   kmsg.Request
	timer env.Timer
	done  func(kmsg.Response, error)
}

// Dial opens a connection; whether anybody listens shows with the first request.
func (w *World) Dial(from, to *Host, door, client string) *Link {
	w.linkIDs++
	l := &Link{w: w, id: w.linkIDs, from: from, to: to, life: from.life, door: door, client: client}
	l.up, l.down = stream{l: l, from: from, to: to}, stream{l: l, from: to, to: from}
	w.links = append(w.links, l)
	return l
}

// Closed tells whether the connection is of no use any more.
func (l *Link) Closed() bool { return l.closed || l.from.life != l.life }

// Call sends a request. done is called once, in an event of the caller's host, unless
// that dies before. After a timeout the connection is closed.
func (l *Link) Call(req kmsg.Request, timeout time.Duration, done func(kmsg.Response, error)) {
	if l.Closed() {
		l.w.Clock.AfterFunc(0, func() { l.from.do(l.life, "call", func() { done(nil, errUnreachable) }) })
		return
	}
	c := &call{id: l.next, req: req, done: done}
	l.calls = append(l.calls, c)
	c.timer = l.from.Clock.AfterFunc(timeout, func() {
		if slices.Contains(l.calls, c) {
			l.finish(c, nil, errTimeout)
			l.Close()
		}
	})
	l.Send(req)
}

// Send sends a request that has no answer, or whose answer nobody waits for.
func (l *Link) Send(req kmsg.Request) {
	if l.Closed() {
		return
	}
	frame := encode(req, l.next, l.client)
	l.next++
	key := req.Key()
	if _, ok := req.(*nodewire.SnapshotRequest); ok {
		l.w.Count["snapshot part asked for"]++
	}
	l.up.send(func() {
		if l.w.traced {
			l.w.Tracef("deliver %d %s>%s %s %d", l.id, l.from.Name, l.to.Name, keyName(key), len(frame))
		}
		l.arrived(frame)
	})
}

// arrived is the arrival of a request.
func (l *Link) arrived(frame []byte) {
	switch {
	case l.to.dark:
		l.lost = true
	case l.lost || l.server != nil && l.server.life != l.to.life || !l.to.Up():
		l.lost = true
		l.down.send(l.Reset) // nobody listens, or not to this connection
	default:
		if l.server == nil {
			l.server = newServerConn(l)
		}
		l.server.receive(frame)
	}
}

// answered is the arrival of an answer.
func (l *Link) answered(frame []byte) {
	l.from.do(l.life, "answer", func() {
		id := correlation(frame)
		i := slices.IndexFunc(l.calls, func(c *call) bool { return c.id == id })
		if i < 0 {
			return
		}
		resp, err := decode(l.calls[i].req, frame)
		if err != nil {
			l.w.Failf("%s from %s: %w", keyName(l.calls[i].req.Key()), l.to.Name, err)
			return
		}
		if ask, ok := l.calls[i].req.(*nodewire.SnapshotRequest); ok {
			if part := resp.(*nodewire.SnapshotResponse); part.ErrorCode == 0 && ask.Position+int64(len(part.Data)) == part.Size {
				l.w.Count["snapshot fetched whole"]++ // and taken over, if it is newer than what the node has by now
			}
		}
		l.finish(l.calls[i], resp, nil)
	})
}

func (l *Link) finish(c *call, resp kmsg.Response, err error) {
	l.calls = slices.DeleteFunc(l.calls, func(o *call) bool { return o == c })
	c.timer.Stop()
	c.done(resp, err)
}

// Close ends the connection from the caller's side. The server sees it if it can.
func (l *Link) Close() {
	if l.closed {
		return
	}
	l.up.send(func() {})
	if l.linger(true); !l.lingers && l.server != nil && !l.w.path(l.from, l.to).Blocked {
		l.server.end()
	}
	l.drop(errClosed)
}

// linger may let what the caller has sent arrive, though the connection ends now on its
// side: a kernel sends what it was given, also for a process that is dead, and the network
// delivers what is under way, also of a machine that is off; then what is held back is
// lost.
func (l *Link) linger(held bool) {
	if l.silent = !held; l.silent {
		l.up.held = nil
	}
	if l.lingers = l.up.flying+len(l.up.held) > 0 && l.w.network.IntN(2) == 0; l.lingers {
		l.w.Count["connection lingers"]++
		l.w.ended = append(l.w.ended, l)
	}
}

// lingered ends the server's side when the last has arrived.
func (l *Link) lingered() {
	if l.up.flying+len(l.up.held) > 0 {
		return
	}
	l.lingers = false
	l.w.ended = slices.DeleteFunc(l.w.ended, func(o *Link) bool { return o == l })
	if l.server != nil && !l.silent {
		l.server.last()
	}
}

// die ends the connections of a host that dies; off says that its machine is without power.
func (w *World) die(h *Host, off bool) {
	for _, l := range slices.Clone(w.links) {
		switch {
		case l.from == h:
			if l.linger(!off); l.lingers {
				l.drop(errUnreachable)
			} else if off {
				l.drop(errUnreachable)
			} else {
				l.Reset()
			}
		case l.to == h && !off:
			l.Reset()
		}
	}
}

// orphaned tells whether somebody waits for an answer of a process that is no more: its
// machine went without a word, and no probe tells (as TCP's would within seconds).
func (l *Link) orphaned() bool {
	return len(l.calls) > 0 && l.server != nil && l.server.life != l.to.life
}

// Reset breaks the connection; both sides see it.
func (l *Link) Reset() {
	if l.closed {
		return
	}
	if l.server != nil {
		l.server.end()
	}
	l.drop(errUnreachable)
}

// drop ends the caller's side.
func (l *Link) drop(err error) {
	l.closed = true
	l.w.links = slices.DeleteFunc(l.w.links, func(o *Link) bool { return o == l })
	l.down.held = nil
	if !l.lingers {
		l.up.held = nil
	}
	l.w.Tracef("closed %d %s>%s %v", l.id, l.from.Name, l.to.Name, err)
	l.w.Clock.AfterFunc(0, func() { // not within the caller's own call
		l.from.do(l.life, "broken", func() {
			for _, c := range slices.Clone(l.calls) {
				l.finish(c, nil, err)
			}
			if l.Broken != nil {
				l.Broken()
			}
		})
	})
}
