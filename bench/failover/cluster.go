//go:build linux

package failover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cluster is three nodes on this machine, each a process of its own.
type cluster struct {
	leat  string
	dir   string
	nodes []*process
	peers string
}

// process is one node.
type process struct {
	id          int32
	addr, peers string // of the doors for clients and for nodes
	cmd         *exec.Cmd
	dead        chan struct{}
}

const nodes = 3

func newCluster(leat, dir string) (*cluster, error) {
	c := &cluster{leat: leat, dir: dir}
	var peers []string
	for id := int32(1); id <= nodes; id++ {
		ports, err := freePorts(2)
		if err != nil {
			return nil, err
		}
		p := &process{id: id, addr: ports[0], peers: ports[1]}
		c.nodes = append(c.nodes, p)
		peers = append(peers, p.peers)
	}
	c.peers = strings.Join(peers, ",")
	return c, nil
}

// freePorts are addresses that nobody listens on now.
func freePorts(n int) (all []string, err error) {
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		all = append(all, ln.Addr().String())
	}
	return all, nil
}

// start starts a node; what it says goes to a file of its own.
func (c *cluster) start(p *process) error {
	out, err := os.OpenFile(filepath.Join(c.dir, fmt.Sprintf("%d.log", p.id)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	args := []string{"serve"}
	for _, s := range []string{
		"node.id=" + strconv.Itoa(int(p.id)), "log.dirs=" + filepath.Join(c.dir, strconv.Itoa(int(p.id))),
		"controller.quorum.bootstrap.servers=" + c.peers,
		"listeners=PLAINTEXT://" + p.addr + ",CONTROLLER://" + p.peers, "http.listen=127.0.0.1:0",
	} {
		args = append(args, "--set", s)
	}
	p.cmd = exec.Command(c.leat, args...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	dead, cmd := make(chan struct{}), p.cmd
	p.dead = dead
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(dead)
	}()
	return nil
}

func (c *cluster) startAll() error {
	for _, p := range c.nodes {
		if err := c.start(p); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) stopAll() {
	for _, p := range c.nodes {
		if p.cmd != nil {
			_ = p.cmd.Process.Kill()
			<-p.dead
		}
	}
}

func (c *cluster) node(id int32) *process {
	if id < 1 || int(id) > len(c.nodes) {
		return nil
	}
	return c.nodes[id-1]
}

func (c *cluster) addrs() (all []string) {
	for _, p := range c.nodes {
		all = append(all, p.addr)
	}
	return all
}

// await asks again until f is content.
func await(ctx context.Context, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, errors.Join(context.Cause(ctx), err))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
