//go:build conformance

package cluster

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leat-stream/leat/conformance/faults"
	"github.com/leat-stream/leat/conformance/harness"
	"github.com/leat-stream/leat/internal/env"
)

// fabric is how nodes and clients reach each other.
type fabric interface {
	client(id int) string              // the address of a node's listener for clients
	controllers(id int) string         // that of its listener for controllers, past the proxies
	settings(id int) map[string]string // what tells a node where it and the others are
	wrap(id int) []string              // goes before a node's command
	// links are the proxies on the way from a node to another; a fabric that cannot
	// tell who dials gives those of all who dial the other.
	links(from, to int) []*faults.Proxy
	heal()
}

// plain is a fabric of one network: each node has two proxies that the others use.
type plain struct {
	clients       []string
	inner, quorum []string // where nodes listen
	proxies       [][2]*faults.Proxy
	http          []string
}

func newPlain(t *testing.T) *plain {
	t.Helper()
	ports, err := harness.FreePorts(4 * nodes)
	if err != nil {
		t.Fatal(err)
	}
	f := &plain{}
	for i := range nodes {
		f.clients = append(f.clients, loopback(ports, 4*i))
		f.inner = append(f.inner, loopback(ports, 4*i+1))
		f.quorum = append(f.quorum, loopback(ports, 4*i+2))
		f.http = append(f.http, loopback(ports, 4*i+3))
		f.proxies = append(f.proxies, [2]*faults.Proxy{proxy(t, "127.0.0.1:0", f.inner[i]), proxy(t, "127.0.0.1:0", f.quorum[i])})
	}
	return f
}

func proxy(t *testing.T, addr, target string) *faults.Proxy {
	t.Helper()
	p, err := faults.Listen(env.TCP, addr, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func (f *plain) client(id int) string      { return f.clients[id-1] }
func (f *plain) controllers(id int) string { return f.quorum[id-1] }
func (f *plain) wrap(int) []string         { return nil }

func (f *plain) settings(id int) map[string]string {
	i := id - 1
	var servers []string
	for _, p := range f.proxies {
		servers = append(servers, p[1].Addr())
	}
	return map[string]string{
		"controller.quorum.bootstrap.servers": strings.Join(servers, ","),
		"listeners":                           fmt.Sprintf("PLAINTEXT://%s,INNER://%s,CONTROLLER://%s", f.clients[i], f.inner[i], f.quorum[i]),
		"advertised.listeners":                fmt.Sprintf("PLAINTEXT://%s,INNER://%s,CONTROLLER://%s", f.clients[i], f.proxies[i][0].Addr(), f.proxies[i][1].Addr()),
		"listener.security.protocol.map":      "PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name":          "INNER",
		"http.listen":                         f.http[i],
	}
}

func (f *plain) links(_, to int) []*faults.Proxy { return f.proxies[to-1][:] }

func (f *plain) heal() {
	for _, p := range f.proxies {
		p[0].Heal()
		p[1].Heal()
	}
}
