package broker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// refused opens a node that must not come up, and returns the one line that says why.
func (n *testNode) refused() string {
	n.t.Helper()
	b, err := Open(n.t.Context(), n.options())
	if err == nil {
		err = b.Start(n.t.Context())
		err = errors.Join(err, b.Close(0))
	}
	if err == nil {
		n.t.Fatal("the broker came up")
	}
	if strings.Contains(err.Error(), "\n") {
		n.t.Fatalf("more than one line: %v", err)
	}
	return err.Error()
}

func wants(t *testing.T, line string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(line, w) {
			t.Errorf("%q does not say %q", line, w)
		}
	}
}

func TestPortTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().(*net.TCPAddr).Port
	beside := taken + 10_000
	if beside > 65_535 {
		beside = taken - 10_000
	}
	n := prepare(t, fmt.Sprintf("listeners=A://127.0.0.1:0,B://localhost:%d", taken), "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT")
	wants(t, n.refused(), "listener B", ln.Addr().String(), "address already in use",
		fmt.Sprintf("; another port: --set listeners=A://127.0.0.1:0,B://localhost:%d", beside))
}

func TestDataDirectoryInUse(t *testing.T) {
	n := start(t)
	other := prepare(t)
	other.fs = n.fs
	wants(t, other.refused(), "data directory data is in use by another process")
	n.dial().createTopic("t") // the first one goes on
}

func TestDataDirectoryThatIsAFile(t *testing.T) {
	n := prepare(t)
	n.fs, n.dir = env.OS, filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(n.dir, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	wants(t, n.refused(), "data directory "+n.dir)
}

func TestDataDirectoryWithoutPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	n := prepare(t)
	parent := t.TempDir()
	if err := os.Chmod(parent, 0o500); err != nil {
		t.Fatal(err)
	}
	n.fs, n.dir = env.OS, filepath.Join(parent, "data")
	wants(t, n.refused(), "data directory "+n.dir, "no permission")
}

func TestDataDirectoryOfAnotherNode(t *testing.T) {
	n := start(t)
	n.stop()
	other := prepare(t, "node.id=2")
	other.fs = n.fs
	if why := other.refused(); why != "data directory data belongs to node 1, not to 2" {
		t.Error(why)
	}
}

func TestFullDiskAtTheStart(t *testing.T) {
	for _, free := range []int64{0, 100, 10_000, 1 << 20, 4 << 20} {
		n := prepare(t)
		n.disk().SetFree(free)
		wants(t, n.refused(), "no space left on device")
		if n.log.String() != "" {
			t.Fatalf("%d bytes free: more than one line is said:\n%s", free, n.log)
		}
	}
}

// TestFullDiskAtARestart: a broker with data refuses to start as clearly, however it
// ended, and starts when there is space again.
func TestFullDiskAtARestart(t *testing.T) {
	for name, end := range map[string]func(*testNode){
		"after a clean stop": (*testNode).stop,
		"after a kill":       func(n *testNode) { n.fs = n.disk().KillClone() },
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t)
			c := n.dial()
			c.createTopic("t")
			c.produce("t", []byte("v"))
			end(n)
			for _, free := range []int64{0, 10_000} {
				n.disk().SetFree(free)
				wants(t, n.refused(), "data directory data: ", "no space left on device")
			}
			n.disk().SetFree(-1)
			n.start()
			if got := n.dial().fetch("t", 0); len(got) != 1 {
				t.Fatalf("fetched %q", got)
			}
		})
	}
}

// TestStartFailsAtAnyOperation: whatever call on the disk fails, the start says so in
// one line, and the next one succeeds.
func TestStartFailsAtAnyOperation(t *testing.T) {
	n := start(t)
	ops := n.disk().Ops()
	n.stop()
	for at := 1; at <= ops; at += 1 + at/8 {
		n := prepare(t)
		n.disk().FailAt(at, os.ErrPermission)
		b, err := Open(t.Context(), n.options())
		if err == nil {
			n.dead.Store(true)
			err = b.Start(t.Context())
			if cerr := b.Close(0); err == nil {
				err = cerr
			}
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Fatalf("operation %d: more than one line: %v", at, err)
		}
		n.disk().FailAt(at, nil)
		n.start()
		n.stop()
	}
}

func TestAdvertisedListeners(t *testing.T) {
	for _, c := range []struct {
		name string
		sets []string
		host string // "" is the address that the client connected to
		port int    // 0 is the port that the listener got
	}{
		{name: "unset"},
		{name: "unset, all interfaces", sets: []string{"listeners=PLAINTEXT://0.0.0.0:0", "insecure=true"}},
		{name: "set", sets: []string{"advertised.listeners=PLAINTEXT://broker.example:1234"}, host: "broker.example", port: 1234},
		{name: "port 0 is the one that was got", sets: []string{"advertised.listeners=PLAINTEXT://broker.example:0"}, host: "broker.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := start(t, c.sets...)
			host, port, err := net.SplitHostPort(n.b.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if c.host == "" {
				c.host = "127.0.0.1"
			} else if host != "127.0.0.1" {
				t.Fatal("bound elsewhere: ", host)
			}
			cl := n.dialTo(net.JoinHostPort("127.0.0.1", port))
			if got := cl.brokers(); len(got) != 1 || got[0].host != c.host || (c.port != 0 && got[0].port != c.port) ||
				(c.port == 0 && got[0].portText() != port) {
				t.Fatalf("told %+v", got)
			}
		})
	}
}

// TestFreshDirectoryIsNoUncleanStop: the first start of all has nothing to recover.
func TestFreshDirectoryIsNoUncleanStop(t *testing.T) {
	n := start(t)
	if !n.log.has("log directory created") || n.log.has("unclean") {
		t.Fatalf("the log:\n%s", n.log)
	}
	n.kill()
	if !n.log.has("after an unclean stop") {
		t.Fatalf("the log after a kill:\n%s", n.log)
	}
	n.stop()
	n.restartOn(n.disk().KillClone())
	if !n.log.has("after a clean stop") {
		t.Fatalf("the log after a clean stop:\n%s", n.log)
	}
}
