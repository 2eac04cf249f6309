package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Cluster is some brokers of one kind, each a process, each a voter too.
type Cluster struct{ Brokers []*Broker }

// StartCluster starts n nodes on free ports, in folders below Options.Dir, and returns
// once each of them knows all of them. Voters are configured beforehand on both kinds.
// With Options.Net each node runs in its own network, at its own address.
func StartCluster(ctx context.Context, kind Kind, n int, opts Options) (*Cluster, error) {
	ports, err := FreePorts(3 * n)
	if err != nil {
		return nil, err
	}
	peers := make([]string, n)
	for i := range n {
		peers[i] = fmt.Sprintf("%s:%d", opts.host(i+1), ports[3*i+1])
	}
	c := &Cluster{}
	for i := range n {
		own := opts
		own.Dir = filepath.Join(opts.Dir, strconv.Itoa(i+1))
		if own.Net != nil {
			own.Wrap = append(own.Net.Wrap(i+1), own.Wrap...)
		}
		if err := os.MkdirAll(own.Dir, 0o755); err != nil {
			return nil, err
		}
		b, err := prepared(&Broker{Kind: kind, opts: own, ports: ports[3*i : 3*i+3], id: i + 1, peers: peers})
		if err != nil {
			return nil, err
		}
		c.Brokers = append(c.Brokers, b)
	}
	for _, b := range c.Brokers {
		if err = b.Launch(); err != nil {
			return nil, errors.Join(err, c.Kill())
		}
	}
	for _, b := range c.Brokers {
		if err = b.AwaitReady(ctx); err != nil {
			return nil, errors.Join(err, c.Kill())
		}
	}
	return c, nil
}

// Kill ends all nodes by SIGKILL.
func (c *Cluster) Kill() error {
	var errs []error
	for _, b := range c.Brokers {
		errs = append(errs, b.Kill())
	}
	return errors.Join(errs...)
}

// Quit ends all nodes by SIGQUIT, so that Leat's tell their goroutines, and keeps what
// they wrote in a folder of its own, for who looks for the cause of a failure.
func (c *Cluster) Quit() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "leat-quit-"); err != nil {
		return "", err
	}
	var errs []error
	for _, b := range c.Brokers {
		errs = append(errs, b.process.End(syscall.SIGQUIT, 10*time.Second))
		text, err := os.ReadFile(b.Output())
		errs = append(errs, err, os.WriteFile(filepath.Join(dir, fmt.Sprintf("node-%d.log", b.id)), text, 0o644))
	}
	return dir, errors.Join(errs...)
}

// Addrs are the nodes' Kafka listeners.
func (c *Cluster) Addrs() []string {
	var all []string
	for _, b := range c.Brokers {
		all = append(all, b.Addr)
	}
	return all
}

// clusterProperties are what Kafka needs as one of several combined nodes. The internal
// topics have a replica on each of three, as they have by Kafka's defaults.
func (b *Broker) clusterProperties() map[string]string {
	var voters []string
	for i, addr := range b.peers {
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, addr))
	}
	replicas := strconv.Itoa(min(len(b.peers), 3))
	insync := strconv.Itoa(min(len(b.peers), 2))
	return map[string]string{
		"node.id":                          strconv.Itoa(b.id),
		"controller.quorum.voters":         strings.Join(voters, ","),
		"offsets.topic.replication.factor": replicas,
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            insync,
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    insync,
	}
}
