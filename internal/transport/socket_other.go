//go:build !linux

package transport

import (
	"net"
	"time"
)

// setUserTimeout is there on Linux only; elsewhere write stalls and keep-alive have to do.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }
