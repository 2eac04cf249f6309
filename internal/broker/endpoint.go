package broker

import (
	"net"
	"strconv"

	"github.com/leat-stream/leat/internal/api"
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

// Listening lists the open listeners, in the order of the settings.
func (b *Broker) Listening() []Listening {
	var all []Listening
	for _, d := range b.doors {
		l := Listening{Name: d.name, Host: d.host, Address: d.ln.Addr().String()}
		if e, set := b.config().Advertised(d.name); set {
			if e.Port == 0 {
				e.Port = int(b.boundPort(d.name))
			}
			l.Advertised = net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
		}
		all = append(all, l)
	}
	return all
}

// Addr is the address of the first listener.
func (b *Broker) Addr() string {
	if len(b.doors) == 0 {
		return ""
	}
	return b.doors[0].ln.Addr().String()
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
		d := node.Door{Name: l.Name, Host: l.Host, Port: uint16(b.boundPort(l.Name))}
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
