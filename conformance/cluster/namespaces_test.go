//go:build conformance

package cluster

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/leat-stream/leat/conformance/faults"
	"github.com/leat-stream/leat/conformance/harness"
)

// namespaced is a fabric in which each node has a network namespace of its own, joined
// to the test's by a bridge. A node knows the others by name, and in each namespace the
// names stand for addresses of the bridge of their own, at which proxies listen: one
// for each way from a node to another.
type namespaced struct {
	t       *testing.T
	net     *harness.Net
	between map[[2]int][]*faults.Proxy
}

const (
	innerPort, quorumPort, clientPort, httpPort = "9094", "9093", "9092", "9095"
)

// newNamespaced makes the namespaces, which end with the test.
func newNamespaced(t *testing.T) *namespaced {
	t.Helper()
	harness.Need(t, "nodes in network namespaces", harness.MayNet())
	f := &namespaced{t: t, between: map[[2]int][]*faults.Proxy{}}
	var err error
	f.net, err = harness.NewNet(nodes, func(net *harness.Net, id int) (hosts string) {
		for other := 1; other <= nodes; other++ {
			at := net.Host(id)
			if other != id {
				at = pair(net, id, other)
			}
			hosts += fmt.Sprintf("%s n%d\n", at, other)
		}
		return hosts
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.must(f.net.Close()) })
	for from := 1; from <= nodes; from++ {
		for to := 1; to <= nodes; to++ {
			if from == to {
				continue
			}
			at := f.pair(from, to)
			f.must(f.net.AddAddress(at))
			for _, port := range []string{innerPort, quorumPort} {
				f.between[[2]int{from, to}] = append(f.between[[2]int{from, to}], proxy(t, at+":"+port, f.net.Host(to)+":"+port))
			}
		}
	}
	return f
}

func pair(net *harness.Net, from, to int) string { return net.Addr(100 + 10*from + to) }

func (f *namespaced) pair(from, to int) string { return pair(f.net, from, to) }

func (f *namespaced) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *namespaced) client(id int) string      { return f.net.Host(id) + ":" + clientPort }
func (f *namespaced) controllers(id int) string { return f.net.Host(id) + ":" + quorumPort }
func (f *namespaced) wrap(id int) []string      { return f.net.Wrap(id) }

func (f *namespaced) settings(id int) map[string]string {
	var servers []string
	for other := 1; other <= nodes; other++ {
		servers = append(servers, fmt.Sprintf("n%d:%s", other, quorumPort))
	}
	own := f.net.Host(id)
	return map[string]string{
		"controller.quorum.bootstrap.servers": strings.Join(servers, ","),
		"listeners": fmt.Sprintf("PLAINTEXT://%s:%s,INNER://%s:%s,CONTROLLER://%s:%s",
			own, clientPort, own, innerPort, own, quorumPort),
		"advertised.listeners": fmt.Sprintf("PLAINTEXT://%s:%s,INNER://n%d:%s,CONTROLLER://n%d:%s",
			own, clientPort, id, innerPort, id, quorumPort),
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name":     "INNER",
		"http.listen":                    own + ":" + httpPort,
		"insecure":                       "true",
	}
}

func (f *namespaced) links(from, to int) []*faults.Proxy { return f.between[[2]int{from, to}] }

// heal ends what is done to links, by proxies, iptables and tc.
func (f *namespaced) heal() {
	for id := 1; id <= nodes; id++ {
		f.must(f.net.Restore(id))
		f.unlimit(id)
	}
	for _, ps := range f.between {
		for _, p := range ps {
			p.Heal()
		}
	}
}

// drop makes a node's kernel lose packets: chain is INPUT or OUTPUT; rule says which.
func (f *namespaced) drop(id int, chain string, rule ...string) {
	f.must(f.net.Drop(id, chain, rule...))
}

// limit makes all that a node sends leave at a rate.
func (f *namespaced) limit(id int, rate string) {
	f.must(f.net.Inside(id, "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", rate, "burst", "16kb", "latency", "300ms"))
}

func (f *namespaced) unlimit(id int) {
	argv := append(f.wrap(id), "tc", "qdisc", "show", "dev", "eth0")
	if out, err := exec.Command(argv[0], argv[1:]...).Output(); err == nil && strings.Contains(string(out), "tbf") {
		f.must(f.net.Inside(id, "tc", "qdisc", "delete", "dev", "eth0", "root"))
	}
}

// others are the ids of the other nodes.
func others(id int) []int {
	all := []int{1, 2, 3}
	return slices.DeleteFunc(all, func(o int) bool { return o == id })
}
