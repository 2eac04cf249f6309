package server

import (
	"net"
	"testing"
)

func TestRouteTo(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "localhost"} {
		if got, err := RouteTo(host); err != nil || !net.ParseIP(got).IsLoopback() {
			t.Errorf("%s: %s, %v", host, got, err)
		}
	}
	if got, err := RouteTo("no such host"); err == nil {
		t.Error(got)
	}
	// An address of this machine leads there from itself.
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() == nil {
			continue
		}
		if got, err := RouteTo(n.IP.String()); err != nil || got != n.IP.String() && !net.ParseIP(got).IsLoopback() {
			t.Errorf("%s: %s, %v", n.IP, got, err)
		}
	}
}
