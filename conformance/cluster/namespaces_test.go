//go:build conformance

package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
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
	name    string // of the bridge, and the beginning of the namespaces'
	net     string // the first three bytes of the addresses
	between map[[2]int][]*faults.Proxy
}

const (
	innerPort, quorumPort, clientPort, httpPort = "9094", "9093", "9092", "9095"
)

// errNoNamespaces: nothing of network namespaces can be had here.
var errNoNamespaces = fmt.Errorf("%w: network namespaces, bridges and iptables need root", harness.ErrUnavailable)

// newNamespaced makes the namespaces, which end with the test.
func newNamespaced(t *testing.T) *namespaced {
	t.Helper()
	harness.Need(t, "nodes in network namespaces", mayNamespaces())
	f := &namespaced{t: t, name: fmt.Sprintf("lt%d", os.Getpid()%1000000), between: map[[2]int][]*faults.Proxy{}}
	f.net = fmt.Sprintf("10.%d.%d", 64+rand.IntN(64), rand.IntN(256))
	f.sweep()
	t.Cleanup(f.end)
	f.must("ip", "link", "add", f.name, "type", "bridge")
	f.must("ip", "address", "add", f.addr(1)+"/24", "dev", f.name)
	f.must("ip", "link", "set", f.name, "up")
	for id := 1; id <= nodes; id++ {
		f.join(id)
	}
	for from := 1; from <= nodes; from++ {
		for to := 1; to <= nodes; to++ {
			if from == to {
				continue
			}
			at := f.pair(from, to)
			f.must("ip", "address", "add", at+"/24", "dev", f.name)
			for _, port := range []string{innerPort, quorumPort} {
				f.between[[2]int{from, to}] = append(f.between[[2]int{from, to}], proxy(t, at+":"+port, f.addr(10+to)+":"+port))
			}
		}
	}
	return f
}

// mayNamespaces tries what is needed.
func mayNamespaces() error {
	if os.Geteuid() != 0 {
		return errNoNamespaces
	}
	if _, err := harness.Debian("iptables", "iptables"); err != nil {
		return err
	}
	name := fmt.Sprintf("ltp%d", os.Getpid()%1000000)
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %w: %s", errNoNamespaces, err, out)
	}
	_, err := exec.Command("ip", "netns", "exec", name, "iptables", "-L").CombinedOutput()
	if out, err := exec.Command("ip", "netns", "delete", name).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err != nil {
		return fmt.Errorf("%w: iptables: %w", errNoNamespaces, err)
	}
	return nil
}

// join makes a node's namespace.
func (f *namespaced) join(id int) {
	ns, veth := f.ns(id), fmt.Sprintf("%s-%d", f.name, id)
	hosts := ""
	for other := 1; other <= nodes; other++ {
		at := f.addr(10 + id)
		if other != id {
			at = f.pair(id, other)
		}
		hosts += fmt.Sprintf("%s n%d\n", at, other)
	}
	dir := filepath.Join("/etc/netns", ns)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "hosts"), []byte("127.0.0.1 localhost\n"+hosts), 0o644)); err != nil {
		f.t.Fatal(err)
	}
	f.must("ip", "netns", "add", ns)
	f.must("ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", ns)
	f.must("ip", "link", "set", veth, "master", f.name, "up")
	f.inside(id, "ip", "address", "add", f.addr(10+id)+"/24", "dev", "eth0")
	f.inside(id, "ip", "link", "set", "eth0", "up")
	f.inside(id, "ip", "link", "set", "lo", "up")
}

func (f *namespaced) ns(id int) string         { return fmt.Sprintf("%sn%d", f.name, id) }
func (f *namespaced) addr(host int) string     { return fmt.Sprintf("%s.%d", f.net, host) }
func (f *namespaced) pair(from, to int) string { return f.addr(100 + 10*from + to) }

// must runs a command in the test's own network.
func (f *namespaced) must(argv ...string) {
	f.t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		f.t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
}

// inside runs a command in a node's network.
func (f *namespaced) inside(id int, argv ...string) {
	f.t.Helper()
	f.must(append(f.wrap(id), argv...)...)
}

func (f *namespaced) client(id int) string { return f.addr(10+id) + ":" + clientPort }
func (f *namespaced) wrap(id int) []string { return []string{"ip", "netns", "exec", f.ns(id)} }

func (f *namespaced) settings(id int) map[string]string {
	var servers []string
	for other := 1; other <= nodes; other++ {
		servers = append(servers, fmt.Sprintf("n%d:%s", other, quorumPort))
	}
	own := f.addr(10 + id)
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
		f.inside(id, "iptables", "-F")
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
	f.inside(id, append(append([]string{"iptables", "-A", chain}, rule...), "-j", "DROP")...)
}

// limit makes all that a node sends leave at a rate.
func (f *namespaced) limit(id int, rate string) {
	f.inside(id, "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", rate, "burst", "16kb", "latency", "300ms")
}

func (f *namespaced) unlimit(id int) {
	argv := append(f.wrap(id), "tc", "qdisc", "show", "dev", "eth0")
	if out, err := exec.Command(argv[0], argv[1:]...).Output(); err == nil && strings.Contains(string(out), "tbf") {
		f.inside(id, "tc", "qdisc", "delete", "dev", "eth0", "root")
	}
}

// end removes the namespaces and the bridge.
func (f *namespaced) end() { f.remove(f.name) }

func (f *namespaced) remove(name string) {
	for id := 1; id <= nodes; id++ {
		ns := fmt.Sprintf("%sn%d", name, id)
		if _, err := os.Stat("/run/netns/" + ns); err == nil {
			f.must("ip", "netns", "delete", ns)
		}
		if err := os.RemoveAll("/etc/netns/" + ns); err != nil {
			f.t.Error(err)
		}
	}
	if _, err := os.Stat("/sys/class/net/" + name); err == nil {
		f.must("ip", "link", "delete", name)
	}
}

// sweep removes what a run that was killed has left.
func (f *namespaced) sweep() {
	left, _ := filepath.Glob("/run/netns/lt*n1") // the pattern is right
	for _, path := range left {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(path), "lt%dn1", &pid); err != nil {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil || pid == os.Getpid() {
			f.remove(fmt.Sprintf("lt%d", pid))
		}
	}
}

// others are the ids of the other nodes.
func others(id int) []int {
	all := []int{1, 2, 3}
	return slices.DeleteFunc(all, func(o int) bool { return o == id })
}
