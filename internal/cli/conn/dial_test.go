package conn

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// TestWhoIsSilent: a node that takes a connection and says nothing for its time; not one that
// was given up before, by a request that ended or since the client was closed.
func TestWhoIsSilent(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	address := ln.Addr().String()
	dial := func(ctx context.Context) (*Env, net.Conn) {
		t.Helper()
		e := &Env{timeout: time.Second}
		c, err := e.dial(ctx, "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return e, c
	}
	read := func(c net.Conn) {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read: %v", err)
		}
	}
	again := func(e *Env) error {
		c, err := e.dial(t.Context(), "tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	}

	ctx, cancel := context.WithCancel(t.Context())
	e, c := dial(ctx)
	cancel()
	read(c)
	if err := again(e); err != nil {
		t.Errorf("a request that ended: %v", err)
	}

	e, c = dial(t.Context())
	c.(*impatient).Conn.SetDeadline(time.Unix(2, 0)) // as a client that is closed
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if err := again(e); err != nil {
		t.Errorf("a client that was closed: %v", err)
	}

	e, c = dial(t.Context())
	read(c) // within a second: the bound is the node's, and no deadline of the client's
	var link net.Error
	if err := again(e); !errors.As(err, &link) || !link.Timeout() {
		t.Errorf("a silent node is dialled again: %v", err)
	}
}
