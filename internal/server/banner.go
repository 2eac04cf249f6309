package server

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
)

// banner says what listens where.
func (s *Server) banner(dir string) {
	w := s.opt.Banner
	if w == nil {
		return
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		s.opt.Log.Debug("addresses of this machine not read", "why", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "leat %s (%s)\n", s.opt.Version, runtime.Version())
	fmt.Fprintf(&b, "  data   %s\n", dir)
	for _, l := range s.broker.Listening() {
		hint := elsewhere(l.Address, addrs)
		if l.Advertised != "" {
			hint = "clients are told " + l.Advertised
		}
		fmt.Fprintf(&b, "  kafka  %s  %s%s\n", asConfigured(l.Host, l.Address), l.Name, inBrackets(hint))
	}
	if addr := s.broker.ControllerAddr(); addr != "" && s.broker.Addr() == "" {
		fmt.Fprintf(&b, "  quorum %s\n", addr)
	}
	for _, d := range s.http {
		bound := d.ln.Addr().String()
		fmt.Fprintf(&b, "  http   http://%s  /metrics /healthz /readyz%s\n", asConfigured(d.host, bound), inBrackets(elsewhere(bound, addrs)))
	}
	if addr := s.broker.Addr(); addr != "" {
		fmt.Fprintf(&b, "  ready: leat topic create hello --bootstrap-server %s\n", reachable(addr))
	} else {
		fmt.Fprintf(&b, "  ready: brokers join at %s\n", s.broker.ControllerAddr())
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		s.opt.Log.Debug("banner not shown", "why", err)
	}
}

func inBrackets(hint string) string {
	if hint == "" {
		return ""
	}
	return "  (" + hint + ")"
}

// wildcard is the port of an address that stands for every interface.
func wildcard(address string) (port string, ok bool) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", false
	}
	a, err := netip.ParseAddr(host)
	return port, err == nil && a.Unmap().IsUnspecified()
}

// asConfigured is a bound address, but a wildcard as the settings write it: 0.0.0.0 is
// bound for IPv6, too, and the system then calls it [::].
func asConfigured(host, bound string) string {
	if port, ok := wildcard(bound); ok {
		return net.JoinHostPort(host, port)
	}
	return bound
}

// reachable is an address at which this machine reaches what is bound.
func reachable(bound string) string {
	if port, ok := wildcard(bound); ok {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return bound
}

// elsewhere tells where other machines reach what is bound to a wildcard: at an address
// of this machine, IPv4 by preference; "" when it has none but loopback.
func elsewhere(bound string, addrs []net.Addr) string {
	port, ok := wildcard(bound)
	if !ok {
		return ""
	}
	best := ""
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || !n.IP.IsGlobalUnicast() {
			continue
		}
		if best == "" || n.IP.To4() != nil {
			best = "other machines: " + net.JoinHostPort(n.IP.String(), port)
		}
		if n.IP.To4() != nil {
			break
		}
	}
	return best
}
