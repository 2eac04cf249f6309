package env

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pair connects two hosts.
func pair(t *testing.T, n *Net, from, to string) (client, server net.Conn) {
	t.Helper()
	l, err := n.Host(to).Listen(t.Context(), ":0")
	must(t, err)
	defer l.Close()
	client, err = n.Host(from).Dial(t.Context(), l.Addr().String())
	must(t, err)
	server, err = l.Accept()
	must(t, err)
	return client, server
}

func readString(t *testing.T, c net.Conn, n int) string {
	t.Helper()
	b := make([]byte, n)
	_, err := io.ReadFull(c, b)
	must(t, err)
	return string(b)
}

func TestNetIsAnOrdinaryNetwork(t *testing.T) {
	for name, hosts := range map[string]Network{"tcp": TCP, "sim": NewNet(1, Real).Host("a")} {
		t.Run(name, func(t *testing.T) {
			l, err := hosts.Listen(t.Context(), "127.0.0.1:0")
			must(t, err)
			addr := l.Addr().String()
			_, err = hosts.Listen(t.Context(), addr)
			if !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("listening twice: %v", err)
			}
			c, err := hosts.Dial(t.Context(), addr)
			must(t, err)
			s, err := l.Accept()
			must(t, err)
			if c.LocalAddr().String() != s.RemoteAddr().String() || c.RemoteAddr().String() != addr {
				t.Errorf("addresses %v %v %v", c.LocalAddr(), c.RemoteAddr(), s.RemoteAddr())
			}
			_, err = c.Write([]byte("hello"))
			must(t, err)
			if got := readString(t, s, 5); got != "hello" {
				t.Errorf("got %q", got)
			}
			must(t, s.SetReadDeadline(time.Now().Add(-time.Second)))
			if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("past deadline: %v", err)
			}
			must(t, s.SetDeadline(time.Time{}))
			_, err = c.Write([]byte("bye"))
			must(t, err)
			must(t, c.Close())
			if rest, err := io.ReadAll(s); err != nil || string(rest) != "bye" {
				t.Errorf("rest %q, %v", rest, err)
			}
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read after close: %v", err)
			}
			must(t, s.Close())
			must(t, l.Close())
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("accept after close: %v", err)
			}
			if _, err := hosts.Dial(t.Context(), addr); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dial after close: %v", err)
			}
			l, err = hosts.Listen(t.Context(), addr)
			must(t, err)
			must(t, l.Close())
		})
	}
}

func TestNetDelaysKeepTheOrderOfAStream(t *testing.T) {
	trace := func(seed uint64) string {
		clock := NewClock(time.Unix(0, 0))
		n := NewNet(seed, clock)
		var ends []net.Conn
		var servers []net.Conn
		for range 3 {
			c, s := pair(t, n, "a", "b")
			ends, servers = append(ends, c), append(servers, s)
		}
		n.SetPath("a", "b", Path{MinDelay: time.Millisecond, MaxDelay: 20 * time.Millisecond})
		for i := range 10 {
			for k, c := range ends {
				_, err := fmt.Fprintf(c, "%c%d ", 'x'+k, i)
				must(t, err)
			}
		}
		var got strings.Builder
		seen := make([]string, 3)
		for clock.Step() {
			for k, s := range servers {
				must(t, s.SetReadDeadline(clock.Now().Add(-1)))
				c := s.(*simConn)
				if len(c.incoming) > 0 {
					must(t, s.SetReadDeadline(time.Time{}))
					part := readString(t, s, len(c.incoming))
					seen[k] += part
					fmt.Fprintf(&got, "%v %s\n", clock.Now().Sub(time.Unix(0, 0)), part)
				}
			}
		}
		for k, s := range seen {
			want := ""
			for i := range 10 {
				want += fmt.Sprintf("%c%d ", 'x'+k, i)
			}
			if s != want {
				t.Errorf("stream %d out of order: %s", k, s)
			}
		}
		return got.String()
	}
	a := trace(1)
	if a != trace(1) {
		t.Error("one seed, two histories")
	}
	if a == trace(2) {
		t.Error("two seeds, one history")
	}
	if !strings.HasPrefix(a, "1") || !strings.Contains(a, "z0") {
		t.Errorf("trace %s", a)
	}
}

func TestNetInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(1, Real)
		n.SetPath("", "", Path{MinDelay: 10 * time.Millisecond, MaxDelay: 10 * time.Millisecond})
		began := time.Now()
		c, s := pair(t, n, "a", "b")
		if took := time.Since(began); took != 20*time.Millisecond {
			t.Errorf("connected after %v", took)
		}
		for i := range 100 {
			fmt.Fprintf(c, "%02d", i)
		}
		got := readString(t, s, 200)
		for i := range 100 {
			if got[2*i:2*i+2] != fmt.Sprintf("%02d", i) {
				t.Fatalf("out of order: %s", got)
			}
		}
		if took := time.Since(began); took != 30*time.Millisecond {
			t.Errorf("arrived after %v", took)
		}
		must(t, s.SetReadDeadline(time.Now().Add(time.Second)))
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		must(t, s.SetReadDeadline(time.Time{}))

		n.Block("a", "b")
		fmt.Fprint(c, "late")
		must(t, c.Close())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := n.Host("a").Dial(ctx, "b:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial over a blocked path: %v", err)
		}
		must(t, s.SetReadDeadline(time.Now().Add(time.Hour)))
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read over a blocked path: %v", err)
		}
		must(t, s.SetReadDeadline(time.Time{}))
		n.Heal("a", "b")
		if rest, err := io.ReadAll(s); err != nil || string(rest) != "late" {
			t.Errorf("healed: %q, %v", rest, err)
		}
	})
}

func TestNetBreaks(t *testing.T) {
	n := NewNet(1, Real)
	broken := func(c net.Conn) {
		t.Helper()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write: %v", err)
		}
	}
	c, s := pair(t, n, "a", "b")
	other, _ := pair(t, n, "a", "c")
	fmt.Fprint(c, "never read")
	n.Cut("a", "b")
	broken(c)
	broken(s)
	if _, err := other.Write([]byte("x")); err != nil {
		t.Errorf("another path was cut too: %v", err)
	}

	c, _ = pair(t, n, "a", "b")
	l, err := n.Host("b").Listen(t.Context(), ":9092")
	must(t, err)
	n.Kill("b")
	broken(c)
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	if _, err := n.Host("a").Dial(t.Context(), "b:9092"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v", err)
	}

	c, s = pair(t, n, "a", "b")
	must(t, s.Close())
	if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write to a closed end: %v", err)
	}

	n.SetPath("a", "b", Path{CutChance: 1})
	l, err = n.Host("b").Listen(t.Context(), ":9092")
	must(t, err)
	c, err = n.Host("a").Dial(t.Context(), "b:9092")
	must(t, err)
	if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("write: %v", err)
	}
	must(t, l.Close())
	if len(n.conns) != 4 { // "a" with "c", and the half-closed one
		t.Errorf("%d ends are kept", len(n.conns))
	}
}

func TestNetWritersWaitForReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, NewNet(1, Real), "a", "b")
		data := bytes.Repeat([]byte("0123456789abcdef"), window/8) // two windows
		wrote := make(chan error, 1)
		go func() {
			_, err := c.Write(data)
			wrote <- err
		}()
		synctest.Wait()
		select {
		case err := <-wrote:
			t.Fatalf("wrote two windows without a reader: %v", err)
		default:
		}
		if got := readString(t, s, len(data)); got != string(data) {
			t.Error("bytes differ")
		}
		must(t, <-wrote)
		go func() {
			_, err := c.Write(data)
			wrote <- err
		}()
		synctest.Wait()
		must(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
		if err := <-wrote; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestNetDialThatGivesUpLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(1, Real)
		n.SetPath("", "", Path{MinDelay: time.Second})
		l, err := n.Host("b").Listen(t.Context(), ":1")
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := n.Host("a").Dial(ctx, "b:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		s, err := l.Accept()
		must(t, err)
		if _, err := s.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %v", err)
		}
	})
}
