package conn

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// A node that is frozen still takes connections, since its kernel does. The client's first
// question on a connection, which the client asks of its own accord, heeds no context, and waits ten seconds,
// twice. Here that wait has the bound of the request for which the connection is made, and one of its own.

const (
	// dialTimeout bounds one attempt to connect.
	dialTimeout = 5 * time.Second
	// A node that is well answers the first question at once.
	longestFirst, shortestFirst = 3 * time.Second, time.Second
)

// firstAnswer is how long a node may take for the first answer on a connection: a part of
// --timeout, so that there is time to ask another one.
func (e *Env) firstAnswer() time.Duration {
	return max(shortestFirst, min(longestFirst, e.timeout/10))
}

func (e *Env) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if e.silent.lately(address) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded} // as its last question ended
	}
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return newImpatient(ctx, c, e.firstAnswer(), func() { e.silent.note(address) }), nil
}

// silentFor is how long a node that gave no first answer is not asked again: the client would at once.
const silentFor = 3 * time.Second

// silent are the addresses at which connections are taken, and nothing is said.
type silent struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (s *silent) note(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[string]time.Time{}
	}
	s.at[address] = time.Now()
}

func (s *silent) lately(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, noted := s.at[address]
	return noted && time.Since(at) < silentFor
}

// givenUp stands for a first answer that is no longer waited for.
var givenUp = time.Unix(1, 0)

// impatient is a connection whose first answer has to come in time, and while ctx lasts.
type impatient struct {
	net.Conn
	unwatch func() bool
	silent  func() // the first answer did not come in time

	mu     sync.Mutex
	latest time.Time // for the first answer; zero once it has come
}

func newImpatient(ctx context.Context, c net.Conn, patience time.Duration, silent func()) *impatient {
	i := &impatient{Conn: c, silent: silent, latest: time.Now().Add(patience)}
	i.unwatch = context.AfterFunc(ctx, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if !i.latest.IsZero() {
			i.latest = givenUp
			_ = i.Conn.SetReadDeadline(i.latest) // of a connection that is closed it is not needed
		}
	})
	return i
}

func (i *impatient) SetReadDeadline(t time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.latest.IsZero() && (t.IsZero() || t.After(i.latest)) {
		t = i.latest
	}
	return i.Conn.SetReadDeadline(t)
}

func (i *impatient) Read(b []byte) (int, error) {
	n, err := i.Conn.Read(b)
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case n > 0:
		i.latest = time.Time{}
		i.unwatch()
	case i.latest.After(givenUp) && !time.Now().Before(i.latest) && errors.Is(err, os.ErrDeadlineExceeded):
		i.silent() // and not only given up before its time, since another node answered
	}
	return n, err
}

func (i *impatient) Close() error {
	i.unwatch()
	return i.Conn.Close()
}
