package env

import (
	"context"
	"net"
)

// Network opens and accepts connections by stream. Addresses are "host:port".
type Network interface {
	// Listen accepts connections; port 0 picks a free one, which Addr tells.
	Listen(ctx context.Context, addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// TCP is the operating system's network.
var TCP Network = tcp{}

type tcp struct{}

func (tcp) Listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", addr)
}

func (tcp) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
