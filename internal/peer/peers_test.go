package peer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/transport"
	"github.com/leat-stream/leat/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// server is another node: it answers pulls with the address it has, and hellos never.
type server struct {
	l  net.Listener
	wg sync.WaitGroup

	mu       sync.Mutex
	accepted int
	conns    []net.Conn
	raft     []uint64 // the To of messages that came
}

func serve(t testing.TB, n env.Network, addr string) *server {
	t.Helper()
	l, err := n.Listen(t.Context(), addr)
	must(t, err)
	s := &server{l: l}
	s.wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.accepted++
			s.conns = append(s.conns, nc)
			s.mu.Unlock()
			s.wg.Go(func() { s.conn(nc) })
		}
	})
	return s
}

func (s *server) conn(nc net.Conn) {
	defer nc.Close()
	for {
		var head [4]byte
		if _, err := io.ReadFull(nc, head[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(nc, b); err != nil {
			return
		}
		h, body, err := wire.ParseHeader(b)
		if err != nil {
			return
		}
		switch h.Key {
		case nodewire.KeyRaft:
			var m nodewire.RaftRequest
			if m.ReadFrom(body) == nil {
				s.mu.Lock()
				s.raft = append(s.raft, m.To)
				s.mu.Unlock()
			}
		case nodewire.KeyPull:
			resp := nodewire.PullResponse{Leader: nodewire.Identity{Address: s.l.Addr().String()}}
			out := resp.AppendTo(wire.AppendResponseHeader(nil, h.Key, h.Version, h.CorrelationID))
			wire.PatchSize(out, 0)
			if _, err := nc.Write(out); err != nil {
				return
			}
		}
	}
}

func (s *server) close() {
	s.l.Close()
	s.mu.Lock()
	conns := s.conns
	s.mu.Unlock()
	for _, nc := range conns {
		nc.Close()
	}
	s.wg.Wait()
}

func (s *server) seen() (accepted int, raft string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted, fmt.Sprint(s.raft)
}

// world is one node, host a, that calls others over a simulated network.
type world struct {
	*Peers
	t    *testing.T
	net  *env.Net
	exec env.Goroutines
	log  bytes.Buffer

	mu     sync.Mutex
	addrs  map[int32]string
	broken []string
}

func newWorld(t *testing.T, change func(*Options)) *world {
	w := &world{t: t, net: env.NewNet(1, env.Real), addrs: map[int32]string{2: "b:9093"}}
	o := Options{
		Network: w.net.Host("a"), Clock: env.Real, Exec: &w.exec, Rand: env.NewRand(1), ClientID: "leat-1",
		Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
		Resolve: func(node int32, d Door) (string, bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			addr, ok := w.addrs[node]
			if d == ToBroker {
				addr = strings.Replace(addr, "9093", "9092", 1)
			}
			return addr, ok
		},
		Broken: func(to Target, lane Lane, _ error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.broken = append(w.broken, fmt.Sprintf("%v %v", to, lane))
		},
	}
	if change != nil {
		change(&o)
	}
	w.Peers = New(o)
	return w
}

func (w *world) at(node int32, addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addrs[node] = addr
}

func (w *world) close() {
	w.Close()
	w.exec.Wait()
}

type result struct {
	from string // address of who answered
	err  error
	took time.Duration
}

// call starts a call; results arrive on the channel, more than one if it is wrong.
func (w *world) call(to Target, lane Lane, req kmsg.Request, timeout time.Duration) chan result {
	answers, began := make(chan result, 10), time.Now()
	w.Call(to, lane, req, timeout, func(r kmsg.Response, err error) {
		a := result{err: err, took: time.Since(began)}
		if r, ok := r.(*nodewire.PullResponse); ok {
			a.from = r.Leader.Address
		}
		answers <- a
	})
	return answers
}

func (w *world) pull(to Target) chan result {
	return w.call(to, Control, &nodewire.PullRequest{}, 10*time.Second)
}

func (w *world) wants(got chan result, from string, after time.Duration, target error) {
	w.t.Helper()
	r := <-got
	if !errors.Is(r.err, target) || (r.err == nil) != (target == nil) || r.from != from || r.took != after {
		w.t.Errorf("answered from %q, %v after %v; want %q, %v after %v", r.from, r.err, r.took, from, target, after)
	}
	synctest.Wait()
	if len(got) > 0 {
		w.t.Errorf("answered twice: %+v", <-got)
	}
}

var two = Target{Node: 2}

// Each lane is a connection of its own, to its door.
func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		controller, broker := serve(t, w.net.Host("b"), ":9093"), serve(t, w.net.Host("b"), ":9092")
		defer controller.close()
		defer broker.close()
		for lane := Control; lane < lanes; lane++ {
			want := "b:9093"
			if lane == Fetch {
				want = "b:9092"
			}
			for range 3 {
				w.wants(w.call(two, lane, &nodewire.PullRequest{}, time.Second), want, 0, nil)
			}
		}
		w.wants(w.pull(Target{Node: -1, Address: "b:9092"}), "b:9092", 0, nil)
		w.wants(w.pull(Target{Node: 2, Address: "nobody:1"}), "b:9093", 0, nil) // the number counts
		if n, _ := controller.seen(); n != int(lanes)-1 {
			t.Errorf("%d connections to the controller's door", n)
		}
		if n, _ := broker.seen(); n != 2 {
			t.Errorf("%d connections to the broker's door", n)
		}
	})
}

func TestUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		w.wants(w.pull(Target{Node: 9}), "", 0, ErrUnreachable) // no address
		w.wants(w.pull(Target{Node: 9}), "", DefaultMinPause, ErrUnreachable)
		w.wants(w.pull(Target{Node: -1}), "", 0, ErrUnreachable)
		first := w.pull(two) // nobody listens
		r := <-first
		if !errors.Is(r.err, ErrUnreachable) || errors.Is(r.err, ErrBroken) || !strings.Contains(r.err.Error(), "node 2") || r.took != 0 {
			t.Errorf("%v after %v", r.err, r.took)
		}
		w.net.Block("a", "c")
		w.at(3, "c:9093")
		w.wants(w.pull(Target{Node: 3}), "", DefaultDialTimeout, ErrUnreachable)
		w.wants(w.call(Target{Node: 3}, Bulk, &nodewire.PullRequest{}, time.Second), "", time.Second, ErrTimeout)
	})
}

// A failed dial is told at once to all who wait; the next call waits for the pause,
// which grows to its limit, and a success ends it.
func TestPauseAfterFailedDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		var tried []time.Duration
		for range 12 {
			a, b := w.pull(two), w.pull(two)
			ra, rb := <-a, <-b
			if !errors.Is(ra.err, ErrUnreachable) || !errors.Is(rb.err, ErrUnreachable) || ra.took != rb.took {
				t.Fatalf("%+v %+v", ra, rb)
			}
			tried = append(tried, ra.took)
		}
		limit := DefaultMinPause
		for i, took := range tried {
			if i == 0 && took == 0 {
				continue
			}
			if took < limit/2 || took > limit {
				t.Errorf("pause %d is %v, not about %v", i, took, limit)
			}
			limit = min(2*limit, DefaultMaxPause)
		}
		if s := w.Stats(); s.Lanes[Control].Dials != 12 || s.Lanes[Control].FailedDials != 12 || s.Links[0].Failures != 12 {
			t.Errorf("%+v", s)
		}
		s := serve(t, w.net.Host("b"), ":9093")
		defer s.close()
		if r := <-w.pull(two); r.err != nil || r.took > DefaultMaxPause {
			t.Errorf("%+v", r)
		}
		w.net.Cut("a", "b")
		synctest.Wait()
		if n := w.Stats().Links[0].Failures; n != 0 {
			t.Errorf("%d failures after a connection that worked", n)
		}
		w.wants(w.pull(two), "b:9093", 0, nil) // what worked is dialled again at once
		if text := w.log.String(); strings.Count(text, "node unreachable") != 1 || strings.Count(text, "reachable again") != 1 {
			t.Error(text)
		}
	})
}

// A call that waits for the pause has its own time.
func TestTimeoutInThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *Options) { o.MinPause, o.MaxPause, o.Idle = time.Hour, time.Hour, 24*time.Hour })
		defer w.close()
		w.wants(w.pull(two), "", 0, ErrUnreachable)
		w.wants(w.call(two, Control, &nodewire.PullRequest{}, time.Second), "", time.Second, ErrTimeout)
		time.Sleep(2 * time.Hour) // the pause ends, and nobody waits for it
		if s := w.Stats(); s.Lanes[Control].TimedOut != 1 || s.Lanes[Control].Dials != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// The address is asked for at each dial.
func TestNodeMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		b, c := serve(t, w.net.Host("b"), ":9093"), serve(t, w.net.Host("c"), ":9093")
		defer c.close()
		w.wants(w.pull(two), "b:9093", 0, nil)
		w.at(2, "c:9093")
		w.wants(w.pull(two), "b:9093", 0, nil) // while the connection lasts
		b.close()
		synctest.Wait()
		w.wants(w.pull(two), "c:9093", 0, nil)
		delete(w.addrs, 2)
		w.net.Cut("a", "c")
		synctest.Wait()
		w.wants(w.pull(two), "", DefaultMinPause, ErrUnreachable) // it was dialled when it broke
		w.at(2, "c:9093")
		time.Sleep(DefaultMinPause)
		w.wants(w.pull(two), "c:9093", 0, nil)
	})
}

// A broken connection is told at once to who waits on it, and as a hint.
func TestBrokenConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		s := serve(t, w.net.Host("b"), ":9093")
		defer s.close()
		got := w.call(two, Pull, &nodewire.HelloRequest{}, time.Minute)
		synctest.Wait()
		w.net.Cut("a", "b")
		r := <-got
		if !errors.Is(r.err, ErrBroken) || !errors.Is(r.err, ErrUnreachable) || r.took != 0 {
			t.Errorf("%v after %v", r.err, r.took)
		}
		synctest.Wait()
		if fmt.Sprint(w.broken) != "[node 2 pull]" {
			t.Errorf("hints %v", w.broken)
		}
		if s := w.Stats(); s.Lanes[Pull].Broken != 1 || s.Links[0].Connected {
			t.Errorf("%+v", s)
		}
	})
}

// What broke is dialled again by itself; where nobody listens any more, that is told.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refused []int32
		var mu sync.Mutex
		w := newWorld(t, func(o *Options) {
			o.Refused = func(node int32) {
				mu.Lock()
				defer mu.Unlock()
				refused = append(refused, node)
			}
		})
		defer w.close()
		s := serve(t, w.net.Host("b"), ":9093")
		w.wants(w.pull(two), "b:9093", 0, nil)
		w.net.Cut("a", "b")
		synctest.Wait()
		mu.Lock()
		if st := w.Stats(); st.Lanes[Control].Dials != 2 || !st.Links[0].Connected || len(refused) > 0 {
			t.Errorf("%+v, refused %v", st, refused)
		}
		mu.Unlock()
		s.close()
		synctest.Wait()
		time.Sleep(DefaultMaxPause) // a new connection that broke at once is not dialled in a circle
		mu.Lock()
		defer mu.Unlock()
		if fmt.Sprint(refused) != "[2]" {
			t.Errorf("refused %v", refused)
		}
	})
}

// Faults of the path: what is held back, in either direction, is found out by the time
// of the first call, and all works again after it has healed.
func TestHalfOpenAndHealed(t *testing.T) {
	for name, path := range map[string][2]string{"there": {"a", "b"}, "back": {"b", "a"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				defer w.close()
				s := serve(t, w.net.Host("b"), ":9093")
				defer s.close()
				w.net.SetPath("", "", env.Path{MinDelay: time.Millisecond, MaxDelay: time.Millisecond})
				w.wants(w.pull(two), "b:9093", 4*time.Millisecond, nil)
				w.net.SetPath(path[0], path[1], env.Path{Blocked: true})
				short, long := w.call(two, Control, &nodewire.PullRequest{}, time.Second), w.call(two, Control, &nodewire.PullRequest{}, time.Minute)
				w.wants(short, "", time.Second, ErrTimeout)
				w.wants(long, "", time.Second, ErrBroken)
				w.wants(w.call(two, Control, &nodewire.PullRequest{}, time.Second), "", time.Second, ErrTimeout) // within the dial
				w.net.SetPath(path[0], path[1], env.Path{MinDelay: time.Millisecond, MaxDelay: time.Millisecond})
				for {
					r := <-w.pull(two)
					if r.err == nil {
						break
					}
					if !errors.Is(r.err, ErrUnreachable) || r.took > DefaultDialTimeout+DefaultMaxPause {
						t.Fatalf("%+v", r)
					}
				}
			})
		})
	}
}

// A listener that hangs up at once is not dialled in a circle.
func TestHangsUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		l, err := w.net.Host("b").Listen(t.Context(), ":9093")
		must(t, err)
		var accepted sync.WaitGroup
		n := 0
		accepted.Go(func() {
			for {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				n++
				nc.Close()
			}
		})
		began := time.Now()
		for range 10 {
			if r := <-w.pull(two); !errors.Is(r.err, ErrUnreachable) {
				t.Error(r.err)
			}
			synctest.Wait()
		}
		if time.Since(began) < time.Second {
			t.Errorf("ten dials within %v", time.Since(began))
		}
		l.Close()
		accepted.Wait()
	})
}

// One-way messages arrive in order, wait for the connection within their bound, and
// are lost when there is none.
func TestSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *Options) { o.Limits.MaxSends = 3 })
		defer w.close()
		send := func(from, to uint64) {
			for i := from; i <= to; i++ {
				w.Send(two, Raft, &nodewire.RaftRequest{To: i})
			}
		}
		send(2, 2)      // one: a second might come before or after the dial has failed
		synctest.Wait() // no connection: lost
		s := serve(t, w.net.Host("b"), ":9093")
		defer s.close()
		send(3, 7) // wait for the pause; the oldest go
		if n := w.Stats().Links[0].Waiting; n != 3 {
			t.Errorf("%d wait", n)
		}
		time.Sleep(DefaultMaxPause)
		synctest.Wait()
		for i := uint64(8); i <= 20; i++ {
			send(i, i)
			synctest.Wait()
		}
		if n, raft := s.seen(); n != 1 || raft != "[5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20]" {
			t.Errorf("%d connections, %s", n, raft)
		}
		if c := w.Stats().Lanes[Raft]; c.Sends != 19 || c.Dropped != 2 || c.Calls != 0 || c.Out == 0 {
			t.Errorf("%+v", c)
		}
	})
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *Options) { o.MinPause, o.MaxPause = time.Hour, time.Hour })
		defer w.close()
		s := serve(t, w.net.Host("b"), ":9093")
		defer s.close()
		under := w.call(two, Control, &nodewire.HelloRequest{}, time.Minute)
		w.wants(w.call(two, Fetch, &nodewire.PullRequest{}, time.Minute), "", 0, ErrUnreachable) // no such listener
		waits := w.call(two, Fetch, &nodewire.PullRequest{}, time.Minute)
		other := w.call(Target{Node: -1, Address: "b:9093"}, Control, &nodewire.HelloRequest{}, time.Minute)
		w.net.Block("a", "c")
		w.at(3, "c:9093")
		dials := w.call(Target{Node: 3}, Control, &nodewire.HelloRequest{}, time.Minute)
		synctest.Wait()
		w.Forget(2)
		w.Forget(3)
		w.wants(under, "", 0, ErrBroken)
		w.wants(waits, "", 0, ErrUnreachable)
		w.wants(dials, "", 0, ErrUnreachable)
		if len(other) > 0 || len(w.Stats().Links) != 1 || len(w.broken) > 0 {
			t.Errorf("%+v, hints %v", w.Stats().Links, w.broken)
		}
		w.wants(w.pull(two), "b:9093", 0, nil)
		w.Close()
		w.wants(other, "", 0, ErrClosed)
	})
}

// hooked is a network whose dials and closes a test holds in its hands.
type hooked struct {
	env.Network
	dialled func(ctx context.Context)
	closing func()
}

func (h hooked) Dial(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := h.Network.Dial(context.WithoutCancel(ctx), addr)
	if h.dialled != nil {
		h.dialled(ctx)
	}
	return hookedConn{nc, h.closing}, err
}

type hookedConn struct {
	net.Conn
	closing func()
}

func (c hookedConn) Close() error {
	if c.closing != nil {
		c.closing()
	}
	return c.Conn.Close()
}

// A dial is given up when its node is forgotten; one that succeeds all the same leaves
// no connection behind.
func TestForgetDuringADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *Options) {
			o.Network = hooked{Network: o.Network, dialled: func(ctx context.Context) { <-ctx.Done() }}
		})
		s := serve(t, w.net.Host("b"), ":9093")
		defer s.close()
		got := w.pull(two)
		synctest.Wait()
		w.Forget(2)
		w.wants(got, "", 0, ErrUnreachable)
		began := time.Now()
		w.close()
		if d := time.Since(began); d != 0 {
			t.Errorf("what the dial left lasted %v", d)
		}
	})
}

// A call that finds its connection ended, before the news of it, gets a new one.
func TestCallWhileAConnectionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *world
		again := make(chan chan result, 1)
		var once sync.Once
		w = newWorld(t, func(o *Options) {
			o.Network = hooked{Network: o.Network, closing: func() { once.Do(func() { again <- w.pull(two) }) }}
		})
		defer w.close()
		s := serve(t, w.net.Host("b"), ":9093")
		defer s.close()
		w.wants(w.pull(two), "b:9093", 0, nil)
		w.net.Cut("a", "b")
		w.wants(<-again, "b:9093", 0, nil)
		if st := w.Stats(); st.Lanes[Control].Broken != 1 || st.Lanes[Control].Dials != 2 || !st.Links[0].Connected {
			t.Errorf("%+v", st)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		s := serve(t, w.net.Host("b"), ":9093")
		defer s.close()
		w.net.Block("a", "c")
		w.at(3, "c:9093")
		under, dials := w.call(two, Control, &nodewire.HelloRequest{}, time.Minute), w.pull(Target{Node: 3})
		synctest.Wait()
		w.close()
		w.wants(under, "", 0, ErrClosed)
		w.wants(dials, "", 0, ErrClosed)
		w.wants(w.pull(two), "", 0, ErrClosed)
		w.Send(two, Raft, &nodewire.RaftRequest{})
		w.close()
	})
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *Options) { o.Idle = time.Minute })
		defer w.close()
		s := serve(t, w.net.Host("b"), ":9093")
		defer s.close()
		busy := w.call(two, Pull, &nodewire.HelloRequest{}, time.Hour) // waits all the time
		for range 10 {
			w.wants(w.pull(two), "b:9093", 0, nil)
			time.Sleep(30 * time.Second)
		}
		if n, _ := s.seen(); n != 2 || len(w.Stats().Links) != 2 {
			t.Errorf("%d connections", n)
		}
		time.Sleep(2 * time.Minute)
		if links := w.Stats().Links; len(links) != 1 || links[0].Lane != Pull || len(busy) > 0 {
			t.Errorf("%+v", links)
		}
		w.wants(w.pull(two), "b:9093", 0, nil)
		if n, _ := s.seen(); n != 3 || len(w.broken) > 0 {
			t.Errorf("%d connections, hints %v", n, w.broken)
		}
	})
}

// done may call again, and Call may be called with any lock held: it never calls back itself.
func TestCallsFromCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *Options) { o.MaxWaiting = 1 })
		defer w.close()
		var mu sync.Mutex
		n, failed, busy := 0, 0, 0
		finished := make(chan struct{})
		var again func(kmsg.Response, error)
		again = func(_ kmsg.Response, err error) {
			mu.Lock()
			defer mu.Unlock()
			if n++; err != nil {
				failed++
			}
			if errors.Is(err, transport.ErrBusy) {
				busy++
			}
			if n == 20 {
				close(finished)
			} else if n < 20 {
				w.Call(two, Control, &nodewire.PullRequest{}, time.Second, again)
			}
		}
		mu.Lock()
		w.Call(two, Control, &nodewire.PullRequest{}, time.Second, again)
		w.Call(two, Control, &nodewire.PullRequest{}, time.Second, again) // one too many
		w.Call(two, Control, &nodewire.RaftRequest{}, time.Second, again) // has no response
		mu.Unlock()
		<-finished
		w.Close()
		mu.Lock()
		defer mu.Unlock()
		if failed != n || busy == 0 {
			t.Errorf("%d of %d failed, %d of them busy", failed, n, busy)
		}
	})
}

// The same over real sockets, with a node that comes, goes and comes back.
func TestOverTCP(t *testing.T) {
	var exec env.Goroutines
	s := serve(t, env.TCP, "127.0.0.1:0")
	addr := s.l.Addr().String()
	p := New(Options{
		Network: env.TCP, Clock: env.Real, Exec: &exec,
		Resolve: func(int32, Door) (string, bool) { return addr, true },
	})
	defer exec.Wait()
	defer p.Close()
	call := func() error {
		got := make(chan error, 1)
		p.Call(two, Control, &nodewire.PullRequest{}, time.Minute, func(_ kmsg.Response, err error) { got <- err })
		return <-got
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if err := call(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n, _ := s.seen(); n != 1 {
		t.Errorf("%d connections", n)
	}
	s.close()
	if err := call(); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	s = serve(t, env.TCP, addr)
	defer s.close()
	for {
		err := call()
		if err == nil {
			return
		}
		if !errors.Is(err, ErrUnreachable) {
			t.Fatal(err)
		}
	}
}

// BenchmarkCall is the rate of calls with 32 under way, over loopback.
func BenchmarkCall(b *testing.B) {
	var exec env.Goroutines
	s := serve(b, env.TCP, "127.0.0.1:0")
	defer s.close()
	p := New(Options{
		Network: env.TCP, Clock: env.Real, Exec: &exec, Limits: transport.Options{},
		Resolve: func(int32, Door) (string, bool) { return s.l.Addr().String(), true },
	})
	defer exec.Wait()
	defer p.Close()
	places := make(chan struct{}, 32)
	b.ReportAllocs()
	for b.Loop() {
		places <- struct{}{}
		p.Call(two, Control, &nodewire.PullRequest{}, time.Minute, func(_ kmsg.Response, err error) {
			if err != nil {
				b.Error(err)
			}
			<-places
		})
	}
	for range cap(places) {
		places <- struct{}{}
	}
}
