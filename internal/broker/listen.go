package broker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/config"
)

// idleScan is how often connections are checked against connections.max.idle.ms.
const idleScan = 10 * time.Second

// door is one open listener and its connections.
type door struct {
	b    *Broker
	name string // listener name
	host string // as configured
	// controller says that other nodes, and the tools that speak with controllers, come
	// in here.
	controller bool
	// authenticates says that clients have to say who they are before anything else.
	authenticates bool
	ln            net.Listener

	mu    sync.Mutex
	conns map[*conn]struct{}
	shut  bool
	wg    sync.WaitGroup
}

// openDoor binds an address; accepting starts with run.
func (b *Broker) openDoor(ctx context.Context, of config.Listener, host, port string) (*door, error) {
	name := of.Name
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, PortTaken(fmt.Errorf("listener %s: %w", name, err), "listeners", func(other int) string {
			var all []string
			for _, l := range b.config().Listeners() {
				if l.Name == name {
					l.Port = other
				}
				all = append(all, l.String())
			}
			return strings.Join(all, ",")
		}, port)
	}
	return &door{b: b, name: name, host: host, controller: of.Controller, ln: ln, conns: map[*conn]struct{}{}}, nil
}

// PortTaken adds to the error of a port that is in use which setting moves it, with an
// example: the setting's value for another port.
func PortTaken(err error, setting string, value func(port int) string, port string) error {
	n, bad := strconv.Atoi(port)
	if bad != nil || !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	other := n + 10_000
	if other > math.MaxUint16 {
		other = n - 10_000
	}
	return fmt.Errorf("%w; another port: --set %s=%s", err, setting, value(other))
}

// run accepts connections until the door closes.
func (d *door) run() {
	pause := 5 * time.Millisecond
	for {
		nc, err := d.ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, most likely: the next accept may succeed.
			d.b.log.Error("accept failed", "listener", d.name, "why", err)
			if !d.b.pause(pause) {
				return
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		d.admit(nc)
	}
}

// admit starts a connection, unless there are too many or the door is shut.
func (d *door) admit(nc net.Conn) {
	c := newConn(d.b, nc, api.Conn{
		ID: d.b.connIDs.Add(1), Listener: d.name, Controller: d.controller, Local: nc.LocalAddr(), Remote: nc.RemoteAddr(),
		Principal: "User:ANONYMOUS",
	})
	c.authenticated.Store(!d.authenticates)
	from, cfg := addressOf(nc.RemoteAddr()), d.b.config()
	if setting := d.b.gate.enter(cfg, from); setting != "" {
		d.b.metrics.refused.Inc()
		d.b.node.Complaints().Warn("connection refused by "+setting, "connection refused", "listener", d.name, "remote", nc.RemoteAddr().String(), "by", setting)
		nc.Close()
		return
	}
	if err := sizeBuffers(cfg, nc); err != nil {
		c.warn("socket buffers not sized", err)
	}
	d.mu.Lock()
	if d.shut {
		d.mu.Unlock()
		nc.Close()
		d.b.gate.leave(from)
		return
	}
	d.conns[c] = struct{}{}
	d.wg.Add(1)
	d.b.readers.Add(1)
	d.mu.Unlock()
	d.b.metrics.accepted.Inc()
	d.b.metrics.connections.Inc()
	go func() {
		defer d.wg.Done()
		c.serve(d.b.readers.Done)
		d.b.metrics.connections.Dec()
		d.b.gate.leave(from)
		d.mu.Lock()
		delete(d.conns, c)
		d.mu.Unlock()
	}()
}

// closeIdle ends connections that asked nothing for longer than limit and wait for no
// answer.
func (d *door) closeIdle(now time.Time, limit time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		if c.active.idleFor(now) > limit && !c.owes() {
			c.nc.Close()
		}
	}
}

// close stops accepting.
func (d *door) close() error {
	d.mu.Lock()
	d.shut = true
	d.mu.Unlock()
	return d.ln.Close()
}

// each calls f for every connection, under the door's lock.
func (d *door) each(f func(*conn)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		f(c)
	}
}
