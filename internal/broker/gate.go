package broker

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/leat-stream/leat/internal/config"
)

// gate counts connections over all listeners, and says who may come in.
type gate struct {
	files  int // the most connections, by the limit of open files, where max.connections is not given
	mu     sync.Mutex
	total  int
	byAddr map[netip.Addr]int
}

// enter admits a connection from an address, or names the setting that forbids it.
// Each admitted one ends by leave.
func (g *gate) enter(cfg *config.Config, from netip.Addr) (refused string) {
	limit := cfg.Int(config.MaxConnectionsPerIp)
	if text := cfg.String(config.MaxConnectionsPerIpOverrides); text != "" {
		// What does not parse was refused at the start; a dynamic value is ignored.
		if other, err := addressLimits(text); err == nil {
			if n, own := other[from]; own {
				limit = n
			}
		}
	}
	all, by := g.files, string(config.MaxConnections)+" (unset: by the limit of open files)"
	if cfg.IsSet(string(config.MaxConnections)) {
		all, by = cfg.Int(config.MaxConnections), string(config.MaxConnections)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.total >= all:
		return by
	case g.byAddr[from] >= limit:
		return string(config.MaxConnectionsPerIp)
	}
	g.total++
	g.byAddr[from]++
	return ""
}

func (g *gate) leave(from netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.byAddr[from]--; g.byAddr[from] == 0 {
		delete(g.byAddr, from)
	}
}

// addressOf is the remote address without port and zone; the zero one when it is no
// IP address.
func addressOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// addressLimits reads max.connections.per.ip.overrides: ADDRESS:COUNT, comma separated.
func addressLimits(text string) (map[netip.Addr]int, error) {
	all := map[netip.Addr]int{}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		i := strings.LastIndexByte(item, ':')
		addr, err := netip.ParseAddr(strings.Trim(item[:max(i, 0)], "[]"))
		n, cerr := strconv.ParseUint(item[i+1:], 10, 31)
		if err != nil || cerr != nil {
			return nil, fmt.Errorf("%s: %q is no ADDRESS:COUNT", config.MaxConnectionsPerIpOverrides, item)
		}
		all[addr.Unmap()] = int(n)
	}
	return all, nil
}

// sizeBuffers applies the socket buffer sizes that are given; otherwise the operating
// system sizes them by itself.
func sizeBuffers(cfg *config.Config, nc net.Conn) error {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	if n := cfg.Int(config.SocketReceiveBufferBytes); n > 0 && cfg.IsSet(string(config.SocketReceiveBufferBytes)) {
		if err := tcp.SetReadBuffer(n); err != nil {
			return err
		}
	}
	if n := cfg.Int(config.SocketSendBufferBytes); n > 0 && cfg.IsSet(string(config.SocketSendBufferBytes)) {
		return tcp.SetWriteBuffer(n)
	}
	return nil
}
