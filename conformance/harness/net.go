package harness

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// Net is a network of this machine's own: for each node a network namespace with one
// interface, eth0, joined to this process's by a bridge. It needs root.
type Net struct {
	name string // of the bridge, and the beginning of the namespaces'
	net  string // the first three bytes of the addresses
}

// made counts the networks of this process.
var made atomic.Int64

// NewNet makes the namespaces of nodes 1 to n. hosts gives what their files of hosts say
// beside localhost; nil is nothing. A Net has to be closed.
func NewNet(n int, hosts func(t *Net, id int) string) (*Net, error) {
	if err := MayNet(); err != nil {
		return nil, err
	}
	if err := sweep(); err != nil {
		return nil, err
	}
	// The kernel takes its time to remove an interface: no name is used twice.
	t := &Net{name: fmt.Sprintf("lt%dx%d", os.Getpid()%1000000, made.Add(1))}
	t.net = fmt.Sprintf("10.%d.%d", 64+rand.IntN(64), rand.IntN(256))
	err := t.Run("ip", "link", "add", t.name, "type", "bridge")
	if err == nil {
		err = errors.Join(t.AddAddress(t.Addr(1)), t.Run("ip", "link", "set", t.name, "up"))
	}
	for id := 1; id <= n && err == nil; id++ {
		text := "127.0.0.1 localhost\n"
		if hosts != nil {
			text += hosts(t, id)
		}
		err = t.join(id, text)
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// errNoNet: nothing of network namespaces can be had here.
var errNoNet = fmt.Errorf("%w: network namespaces, bridges and iptables need root", ErrUnavailable)

// MayNet tries what a Net needs.
func MayNet() error {
	if os.Geteuid() != 0 {
		return errNoNet
	}
	if _, err := Debian("iptables", "iptables"); err != nil {
		return err
	}
	name := fmt.Sprintf("ltp%d", os.Getpid()%1000000)
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %w: %s", errNoNet, err, out)
	}
	_, err := exec.Command("ip", "netns", "exec", name, "iptables", "-L").CombinedOutput()
	if out, err := exec.Command("ip", "netns", "delete", name).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err != nil {
		return fmt.Errorf("%w: iptables: %w", errNoNet, err)
	}
	return nil
}

// join makes a node's namespace.
func (t *Net) join(id int, hosts string) error {
	ns, veth := t.ns(id), fmt.Sprintf("%s-%d", t.name, id)
	dir := filepath.Join("/etc/netns", ns)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "hosts"), []byte(hosts), 0o644)); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"ip", "netns", "add", ns},
		{"ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", ns},
		{"ip", "link", "set", veth, "master", t.name, "up"},
	} {
		if err := t.Run(argv...); err != nil {
			return err
		}
	}
	return errors.Join(t.Inside(id, "ip", "address", "add", t.Host(id)+"/24", "dev", "eth0"),
		t.Inside(id, "ip", "link", "set", "eth0", "up"), t.Inside(id, "ip", "link", "set", "lo", "up"))
}

func (t *Net) ns(id int) string { return fmt.Sprintf("%sn%d", t.name, id) }

// Host is a node's address.
func (t *Net) Host(id int) string { return t.Addr(10 + id) }

// Addr is an address of the network; nodes have those from 11 on, this process has 1.
func (t *Net) Addr(host int) string { return fmt.Sprintf("%s.%d", t.net, host) }

// AddAddress gives this process one more address.
func (t *Net) AddAddress(addr string) error {
	return t.Run("ip", "address", "add", addr+"/24", "dev", t.name)
}

// Wrap goes before a command that is to run in a node's network.
func (t *Net) Wrap(id int) []string { return []string{"ip", "netns", "exec", t.ns(id)} }

// Run runs a command in this process's own network.
func (t *Net) Run(argv ...string) error {
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}

// Inside runs a command in a node's network.
func (t *Net) Inside(id int, argv ...string) error { return t.Run(append(t.Wrap(id), argv...)...) }

// Drop makes a node's kernel lose packets: chain is INPUT or OUTPUT; rule says which.
func (t *Net) Drop(id int, chain string, rule ...string) error {
	return t.Inside(id, append(append([]string{"iptables", "-A", chain}, rule...), "-j", "DROP")...)
}

// Silence makes a node's kernel lose all packets that come and go, by one change of its
// rules: the others hear nothing any more, not even that a connection ended.
func (t *Net) Silence(id int) error {
	cmd := exec.Command("ip", "netns", "exec", t.ns(id), "iptables-restore", "--noflush")
	cmd.Stdin = strings.NewReader("*filter\n-A INPUT -i eth0 -j DROP\n-A OUTPUT -o eth0 -j DROP\nCOMMIT\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("iptables-restore: %w: %s", err, out)
	}
	return nil
}

// Restore ends what Drop and Silence did to a node.
func (t *Net) Restore(id int) error { return t.Inside(id, "iptables", "-F") }

// Close removes the namespaces and the bridge.
func (t *Net) Close() error { return remove(t.name) }

func remove(name string) error {
	var errs []error
	left, _ := filepath.Glob("/run/netns/" + name + "n*") // the pattern is right
	for _, path := range left {
		ns := filepath.Base(path)
		if out, err := exec.Command("ip", "netns", "delete", ns).CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("%w: %s", err, out))
		}
		errs = append(errs, os.RemoveAll("/etc/netns/"+ns))
	}
	if _, err := os.Stat("/sys/class/net/" + name); err == nil {
		if out, err := exec.Command("ip", "link", "delete", name).CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("%w: %s", err, out))
		}
	}
	return errors.Join(errs...)
}

// sweep removes what runs that were killed have left; one of them may have had this process's id.
func sweep() error {
	var errs []error
	left, _ := filepath.Glob("/run/netns/lt*n1") // the pattern is right
	for _, path := range left {
		var pid, nth int
		if _, err := fmt.Sscanf(filepath.Base(path), "lt%dx%dn1", &pid, &nth); err != nil {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil || pid == os.Getpid() && made.Load() == 0 {
			errs = append(errs, remove(fmt.Sprintf("lt%dx%d", pid, nth)))
		}
	}
	return errors.Join(errs...)
}
