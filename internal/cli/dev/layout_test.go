package dev

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
)

func free(port int) (int, bool) { return port, true }

func ports(all []spec) string {
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, "%d:%d,%d,%d ", s.id, s.kafka, s.controller, s.http)
	}
	return strings.TrimSpace(b.String())
}

func TestLayout(t *testing.T) {
	taken := func(all ...int) func(int) (int, bool) {
		return func(port int) (int, bool) { return port, !slices.Contains(all, port) }
	}
	next := 30000
	any := func(port int) (int, bool) {
		if port != 0 {
			t.Errorf("port %d is asked for", port)
		}
		next++
		return next, true
	}
	for _, c := range []struct {
		name         string
		nodes, first int
		take         func(int) (int, bool)
		want         string
	}{
		{"one", 1, 9092, free, "1:9092,9093,9644"},
		{"two never vote", 2, 9092, free, "1:9092,9093,9644 2:9102,0,9654"},
		{"three", 3, 9092, free, "1:9092,9093,9644 2:9102,9103,9654 3:9112,9113,9664"},
		{"three of five vote", 5, 9092, free, "1:9092,9093,9644 2:9102,9103,9654 3:9112,9113,9664 4:9122,0,9674 5:9132,0,9684"},
		{"taken", 3, 9092, taken(9092, 9102, 9103, 9664), "1:9093,9094,9644 2:9104,9105,9654 3:9112,9113,9665"},
		{"any", 2, 0, any, "1:30001,30002,30003 2:30004,0,30005"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, err := layout(c.nodes, c.first, "data", c.take)
			if err != nil || ports(all) != c.want {
				t.Fatalf("%s, want %s (%v)", ports(all), c.want, err)
			}
		})
	}
	if _, err := layout(1, 65000, "data", func(int) (int, bool) { return 0, false }); err == nil || err.Error() != "no port from 65000 on is free" {
		t.Error(err)
	}
}

func TestArgs(t *testing.T) {
	all, err := layout(5, 9092, "/data", free)
	if err != nil {
		t.Fatal(err)
	}
	const list = " --set controller.quorum.bootstrap.servers=localhost:9093,localhost:9103,localhost:9113"
	for i, want := range map[int]string{
		1: "serve --stop-with-stdin --set node.id=2 --set process.roles=broker,controller --set log.dirs=/data/node-2" +
			" --set listeners=PLAINTEXT://localhost:9102,CONTROLLER://localhost:9103 --set http.listen=localhost:9654" + list + " --set a=b",
		4: "serve --stop-with-stdin --set node.id=5 --set process.roles=broker --set log.dirs=/data/node-5" +
			" --set listeners=PLAINTEXT://localhost:9132 --set http.listen=localhost:9684" + list + " --set a=b",
	} {
		if got := strings.Join(all[i].args(all, []string{"a=b"}), " "); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
}

// A port is taken when a server holds it under any loopback address.
func TestTakePort(t *testing.T) {
	port, ok := takePort(0)
	if !ok || port == 0 {
		t.Fatal(port, ok)
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			if host == "127.0.0.1" {
				t.Fatal(err)
			}
			t.Log("this machine has no IPv6: ", err)
			continue
		}
		defer ln.Close()
		if got, ok := takePort(ln.Addr().(*net.TCPAddr).Port); ok {
			t.Errorf("port %d under %s is free", got, host)
		}
	}
}
