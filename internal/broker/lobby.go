package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/node"
)

// A node that waits to be given an id is no node yet: nothing answers at its doors. So that
// those who would join a cluster by it learn that it is in none itself, a lobby answers
// hellos at the controllers' doors, and nothing else.

const (
	lobbyConns = 64       // connections at a time; more are closed
	lobbyFrame = 64 << 10 // bytes of a hello
	// lobbyIdle ends a connection that is silent.
	lobbyIdle = 30 * time.Second
)

type lobby struct {
	b         *Broker
	directory [16]byte
	address   string
	doors     []*net.TCPListener
	loops     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	shut  bool
}

// receive opens the lobby; leave closes it, and the doors are as before.
func (b *Broker) receive(directory [16]byte) (leave func()) {
	l := &lobby{b: b, directory: directory, address: b.controllers(), conns: map[net.Conn]struct{}{}}
	for _, d := range b.doors {
		if ln, ok := d.ln.(*net.TCPListener); ok && d.controller {
			l.doors = append(l.doors, ln)
			l.loops.Go(func() { l.accept(ln) })
		}
	}
	return l.close
}

func (l *lobby) close() {
	l.mu.Lock()
	l.shut = true
	for nc := range l.conns {
		nc.Close()
	}
	l.mu.Unlock()
	for _, ln := range l.doors {
		l.wake(ln, time.Unix(1, 0))
	}
	l.loops.Wait()
	for _, ln := range l.doors {
		l.wake(ln, time.Time{})
	}
}

// wake sets until when connections are waited for.
func (l *lobby) wake(ln *net.TCPListener, t time.Time) {
	if err := ln.SetDeadline(t); err != nil && !errors.Is(err, net.ErrClosed) {
		l.b.log.Error("listener without a deadline", "address", ln.Addr().String(), "why", err)
	}
}

func (l *lobby) accept(ln *net.TCPListener) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
				l.b.log.Warn("nobody is told that this node waits for an id", "address", ln.Addr().String(), "why", err)
			}
			return
		}
		if !l.enter(nc) {
			nc.Close()
			continue
		}
		l.loops.Go(func() {
			if err := l.serve(nc); !ended(err) {
				l.b.log.Debug("connection closed", "remote", nc.RemoteAddr().String(), "why", err)
			}
			l.mu.Lock()
			delete(l.conns, nc)
			l.mu.Unlock()
			nc.Close()
		})
	}
}

func (l *lobby) enter(nc net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut || len(l.conns) >= lobbyConns {
		return false
	}
	l.conns[nc] = struct{}{}
	return true
}

// serve answers hellos until the connection ends or asks for anything else.
func (l *lobby) serve(nc net.Conn) error {
	for {
		if err := nc.SetDeadline(time.Now().Add(lobbyIdle)); err != nil {
			return err
		}
		var head [4]byte
		if _, err := io.ReadFull(nc, head[:]); err != nil {
			return err
		}
		size := binary.BigEndian.Uint32(head[:])
		if size > lobbyFrame {
			return fmt.Errorf("a frame of %d bytes", size)
		}
		frame := make([]byte, size)
		if _, err := io.ReadFull(nc, frame); err != nil {
			return err
		}
		out, err := node.AnswerWaiting(l.directory, l.address, l.b.opt.Version, frame)
		if err != nil {
			return err
		}
		if _, err := nc.Write(out); err != nil {
			return err
		}
	}
}
