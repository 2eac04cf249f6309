package broker

import (
	"net"
	"net/netip"
	"strconv"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/node"
)

// Listening is one open listener.
type Listening struct {
	Name    string
	Host    string // as configured
	Address string // as bound
	// Advertised is what clients are told, "" when that is the address by which they came.
	Advertised string
}

// Listening lists the open listeners for clients, in the order of the settings.
func (b *Broker) Listening() []Listening {
	var all []Listening
	for _, d := range b.doors {
		if !d.controller {
			all = append(all, b.listening(d))
		}
	}
	return all
}

func (b *Broker) listening(d *door) Listening {
	l := Listening{Name: d.name, Host: d.host, Address: d.ln.Addr().String()}
	if e, set := b.config().Advertised(d.name); set {
		if e.Port == 0 {
			e.Port = int(b.boundPort(d.name))
		}
		l.Advertised = net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
	}
	return l
}

// Addr is the address of the first listener for clients.
func (b *Broker) Addr() string { return b.addr(false) }

// ControllerAddr is the address of the first controllers' listener, "" without one.
func (b *Broker) ControllerAddr() string { return b.addr(true) }

func (b *Broker) addr(controller bool) string {
	for _, d := range b.doors {
		if d.controller == controller {
			return d.ln.Addr().String()
		}
	}
	return ""
}

// endpoint tells where a client reaches this broker: the advertised listener of the
// name that the client came in by; when nothing is configured, the very address that
// the client connected to, so that it is right through NAT-free containers, machines
// and networks alike. A wildcard is never told.
func (b *Broker) endpoint(c *api.Conn) (host string, port int32, ok bool) {
	if e, set := b.config().Advertised(c.Listener); set {
		if e.Port == 0 {
			return e.Host, b.boundPort(c.Listener), true
		}
		return e.Host, int32(e.Port), true
	}
	host, p, err := net.SplitHostPort(c.Local.String())
	if err != nil {
		return "", 0, false
	}
	n, err := strconv.ParseInt(p, 10, 32)
	return host, int32(n), err == nil
}

// registered are the listeners for clients as the cluster is told.
func (b *Broker) registered() []node.Door {
	var all []node.Door
	for _, l := range b.config().Listeners() {
		if l.Controller {
			continue
		}
		d := node.Door{Name: l.Name, Host: b.outward(l.Host), Port: uint16(b.boundPort(l.Name))}
		if e, set := b.config().Advertised(l.Name); set {
			d.Host = e.Host
			if e.Port != 0 {
				d.Port = uint16(e.Port)
			}
		}
		all = append(all, d)
	}
	return all
}

// boundPort is the port that a listener got.
func (b *Broker) boundPort(listener string) int32 {
	for _, d := range b.doors {
		if d.name != listener {
			continue
		}
		if _, p, err := net.SplitHostPort(d.ln.Addr().String()); err == nil {
			if n, err := strconv.ParseInt(p, 10, 32); err == nil {
				return int32(n)
			}
		}
	}
	return 0
}

// controllers is the address at which other nodes reach the CONTROLLER listener, ""
// without one.
func (b *Broker) controllers() string {
	for _, l := range b.config().Listeners() {
		port := b.boundPort(l.Name)
		if !l.Controller || port == 0 {
			continue
		}
		host := b.outward(l.Host)
		if e, set := b.config().Advertised(l.Name); set {
			host = e.Host
			if e.Port != 0 {
				port = int32(e.Port)
			}
		}
		return net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	return ""
}

// outward is a host under which others reach this machine: the configured one, unless
// that is a wildcard. Then it is the local address that routes to the other nodes.
func (b *Broker) outward(host string) string {
	a, err := netip.ParseAddr(host)
	if err != nil || !a.IsUnspecified() {
		return host
	}
	var others []string
	if join := b.config().String(config.LeatJoin); join != "" {
		others = append(others, join)
	}
	voters, _ := b.config().Voters()
	for _, v := range voters {
		others = append(others, v.Endpoint.String())
	}
	for _, other := range append(others, anywhere) {
		// Of a datagram socket this only looks at the routes.
		c, err := net.Dial("udp", other)
		if err != nil {
			continue
		}
		local, _, err := net.SplitHostPort(c.LocalAddr().String())
		c.Close()
		if ip, perr := netip.ParseAddr(local); err == nil && perr == nil && !ip.IsLoopback() {
			return local
		}
	}
	return "localhost"
}

// anywhere is an address of the documentation's range, to ask for the default route.
const anywhere = "192.0.2.1:9"
