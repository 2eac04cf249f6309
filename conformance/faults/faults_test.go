package faults

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/leat-stream/leat/internal/env"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair is a client and the server's end of one connection through a proxy.
type pair struct {
	t              *testing.T
	p              *Proxy
	ln             net.Listener
	client, server net.Conn
}

// through makes a proxy before a listener, and a connection through it. Over TCP the
// hosts are loopback.
func through(t *testing.T, of func(host string) env.Network) *pair {
	var err error
	x := &pair{t: t}
	x.ln, err = of("server").Listen(t.Context(), "127.0.0.1:0")
	must(t, err)
	x.p, err = Listen(of("proxy"), "127.0.0.1:0", x.ln.Addr().String())
	must(t, err)
	x.client, x.server = x.dial(of)
	return x
}

func (x *pair) dial(of func(string) env.Network) (client, server net.Conn) {
	client, err := of("client").Dial(x.t.Context(), x.p.Addr())
	must(x.t, err)
	server, err = x.ln.Accept()
	must(x.t, err)
	return client, server
}

func (x *pair) close() {
	x.p.Close()
	x.ln.Close()
	x.client.Close()
	x.server.Close()
}

func tcp(string) env.Network { return env.TCP }

// sim is a network of hosts in virtual time.
func sim() func(string) env.Network { return env.NewNet(1, env.Real).Host }

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	_, err := c.Write([]byte(s))
	must(t, err)
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	_, err := io.ReadFull(c, b)
	must(t, err)
	if string(b) != want {
		t.Errorf("read %q, want %q", b, want)
	}
}

// silent checks that nothing comes in a second of virtual time.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(time.Second)))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	must(t, c.SetReadDeadline(time.Time{}))
}

func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, c)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
}

// wantRefused dials in vain: the reset comes within the dial, or right after.
func (x *pair) wantRefused() {
	x.t.Helper()
	c, err := net.Dial("tcp", x.p.Addr())
	if errors.Is(err, syscall.ECONNRESET) {
		return
	}
	must(x.t, err)
	defer c.Close()
	wantReset(x.t, c)
}

func TestForwards(t *testing.T) {
	x := through(t, tcp)
	defer x.close()
	send(t, x.client, "there")
	read(t, x.server, "there")
	send(t, x.server, "back")
	read(t, x.client, "back")
	must(t, x.client.(*net.TCPConn).CloseWrite())
	if b, err := io.ReadAll(x.server); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
	send(t, x.server, "after the end")
	read(t, x.client, "after the end")
	must(t, x.server.Close())
	if b, err := io.ReadAll(x.client); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
	if up, down := x.p.Moved(Up), x.p.Moved(Down); up != 5 || down != 17 {
		t.Errorf("%d bytes up, %d down", up, down)
	}
}

func TestCutResetsBothEnds(t *testing.T) {
	x := through(t, tcp)
	defer x.close()
	send(t, x.client, "there")
	read(t, x.server, "there")
	x.p.Cut()
	wantReset(t, x.client)
	wantReset(t, x.server)
	if n := x.p.Conns(); n != 0 {
		t.Errorf("%d connections", n)
	}
	client, server := x.dial(tcp) // new ones work
	defer client.Close()
	defer server.Close()
	send(t, client, "again")
	read(t, server, "again")
}

// An end that breaks breaks the other one.
func TestResetIsPassedOn(t *testing.T) {
	x := through(t, tcp)
	defer x.close()
	send(t, x.client, "there")
	read(t, x.server, "there")
	reset(x.server)
	wantReset(t, x.client)
}

func TestRefuse(t *testing.T) {
	x := through(t, tcp)
	defer x.close()
	x.p.Refuse(true)
	wantReset(t, x.client)
	x.wantRefused()
	x.p.Heal()
	client, server := x.dial(tcp)
	defer client.Close()
	defer server.Close()
	send(t, client, "again")
	read(t, server, "again")
}

func TestTargetIsNotThere(t *testing.T) {
	x := through(t, tcp)
	defer x.close()
	must(t, x.ln.Close())
	x.wantRefused()
}

// A held direction is silent, the other one is not, and nothing is lost.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := sim()
		x := through(t, of)
		defer x.close()
		x.p.Hold(Up)
		send(t, x.client, "held")
		silent(t, x.server)
		send(t, x.server, "back")
		read(t, x.client, "back")
		x.p.Hold(Both)
		send(t, x.server, "held too")
		silent(t, x.client)
		client, server := x.dial(of) // new connections are half-open as well
		defer client.Close()
		defer server.Close()
		send(t, client, "new")
		silent(t, server)
		x.p.Pass(Both)
		read(t, x.server, "held")
		read(t, x.client, "held too")
		read(t, server, "new")
	})
}

// A lost direction is silent; who lost bytes does not go on as if nothing had been.
func TestDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := sim()
		x := through(t, of)
		defer x.close()
		client, server := x.dial(of)
		defer client.Close()
		defer server.Close()
		x.p.Drop(Up)
		send(t, x.client, "lost")
		silent(t, x.server)
		send(t, x.server, "back")
		read(t, x.client, "back")
		x.p.Pass(Up)
		for _, end := range []net.Conn{x.client, x.server} {
			if b, _ := io.ReadAll(end); len(b) > 0 {
				t.Errorf("read %q", b)
			}
		}
		send(t, client, "nothing lost")
		read(t, server, "nothing lost")
		if n := x.p.Conns(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

func TestFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := sim()
		x := through(t, of)
		defer x.close()
		x.p.Freeze()
		send(t, x.client, "never")
		silent(t, x.server)
		client, server := x.dial(of)
		defer client.Close()
		defer server.Close()
		send(t, client, "new")
		read(t, server, "new")
		x.p.Heal()
		if b, _ := io.ReadAll(x.server); len(b) > 0 {
			t.Errorf("read %q", b)
		}
		send(t, server, "back")
		read(t, client, "back")
	})
}

// Delays and rates are exact in virtual time, and delay does not limit the rate.
func TestDelayAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := through(t, sim())
		defer x.close()
		x.p.Delay(Up, time.Second, 0)
		began := time.Now()
		for range 10 {
			send(t, x.client, "late")
			time.Sleep(100 * time.Millisecond)
		}
		for i := range 10 {
			read(t, x.server, "late")
			if want := time.Second + time.Duration(i)*100*time.Millisecond; time.Since(began) != want {
				t.Errorf("message %d after %v, want %v", i, time.Since(began), want)
			}
		}
		send(t, x.server, "at once")
		began = time.Now()
		read(t, x.client, "at once")
		if d := time.Since(began); d != 0 {
			t.Errorf("the other way took %v", d)
		}
		x.p.Delay(Up, 0, 0)
		x.p.Limit(Up, 10_000)
		began = time.Now()
		send(t, x.client, string(make([]byte, 50_000)))
		read(t, x.server, string(make([]byte, 50_000)))
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("50,000 bytes took %v", d)
		}
		x.p.Heal()
		x.p.Delay(Up, time.Second, time.Second)
		for range 20 { // jitter keeps the order
			send(t, x.client, "a")
			send(t, x.client, "b")
		}
		for range 20 {
			read(t, x.server, "a")
			read(t, x.server, "b")
		}
	})
}

func TestSetTarget(t *testing.T) {
	x := through(t, tcp)
	defer x.close()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer other.Close()
	x.p.SetTarget(other.Addr().String())
	c, err := net.Dial("tcp", x.p.Addr())
	must(t, err)
	defer c.Close()
	s, err := other.Accept()
	must(t, err)
	defer s.Close()
	send(t, c, "elsewhere")
	read(t, s, "elsewhere")
}
