package transport

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leat-stream/leat/internal/env"
)

// The kernel ends a connection whose bytes nobody acknowledges, sends small frames at
// once and probes idle connections.
func TestSocketOptions(t *testing.T) {
	exec := new(env.Goroutines)
	c, err := Dial(t.Context(), Options{Network: env.TCP, Clock: env.Real, Exec: exec}, echo(t))
	must(t, err)
	defer exec.Wait()
	defer c.Close()
	raw, err := c.nc.(*net.TCPConn).SyscallConn()
	must(t, err)
	for _, o := range []struct{ level, name, want int }{
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(DefaultUnacked.Milliseconds())},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
	} {
		must(t, raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), o.level, o.name); err != nil || got != o.want {
				t.Errorf("option %d/%d is %d, %v; want %d", o.level, o.name, got, err, o.want)
			}
		}))
	}
}
