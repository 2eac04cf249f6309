package faults

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
	"github.com/leat-stream/leat/internal/wire"
)

// answerPulls answers every request of a connection as if it were a pull.
func answerPulls(nc net.Conn) {
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
		h, _, err := wire.ParseHeader(b)
		if err != nil {
			return
		}
		out := wire.AppendResponseHeader(nil, h.Key, h.Version, h.CorrelationID)
		out = new(nodewire.PullResponse).AppendTo(out)
		wire.PatchSize(out, 0)
		if _, err := nc.Write(out); err != nil {
			return
		}
	}
}

// Calls to another node through every fault: each call ends, in the way that fits, and
// after each fault has gone calls are answered again.
func TestPeersThroughFaults(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var servers sync.WaitGroup
	servers.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			servers.Go(func() { answerPulls(nc) })
		}
	})
	p, err := Listen(env.TCP, "127.0.0.1:0", ln.Addr().String())
	must(t, err)
	var exec env.Goroutines
	peers := peer.New(peer.Options{
		Network: env.TCP, Clock: env.Real, Exec: &exec,
		Resolve: func(int32, peer.Door) (string, bool) { return p.Addr(), true },
	})
	defer func() {
		peers.Close()
		exec.Wait()
		p.Close()
		ln.Close()
		servers.Wait()
	}()
	call := func(timeout time.Duration) error {
		got := make(chan error, 1)
		peers.Call(peer.Target{Node: 2}, peer.Control, &nodewire.PullRequest{}, timeout, func(_ kmsg.Response, err error) { got <- err })
		return <-got
	}
	const short = 600 * time.Millisecond // over what counts as silence
	for _, f := range []struct {
		name  string
		fault func()
		wants error
	}{
		{"half-open", func() { p.Hold(Both) }, peer.ErrTimeout},
		{"one way, there", func() { p.Drop(Up) }, peer.ErrTimeout},
		{"one way, back", func() { p.Drop(Down) }, peer.ErrTimeout},
		{"forgotten by a firewall", p.Freeze, peer.ErrTimeout},
		{"refused", func() { p.Refuse(true) }, peer.ErrUnreachable},
		{"slow", func() { p.Delay(Both, 20*time.Millisecond, 20*time.Millisecond); p.Limit(Both, 10_000) }, nil},
	} {
		if err := call(time.Minute); err != nil {
			t.Fatalf("before %s: %v", f.name, err)
		}
		f.fault()
		timeout := short
		if f.wants == nil {
			timeout = time.Minute
		}
		if err := call(timeout); !errors.Is(err, f.wants) {
			t.Errorf("%s: %v, want %v", f.name, err, f.wants)
		}
		p.Heal()
		for { // what is left of the fault is told, and is not for long
			err := call(time.Minute)
			if err == nil {
				break
			}
			if !errors.Is(err, peer.ErrUnreachable) {
				t.Fatalf("after %s: %v", f.name, err)
			}
		}
	}
}
