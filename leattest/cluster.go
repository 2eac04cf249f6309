package leattest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat"
)

// Cluster is several nodes in this process that are one cluster. Their ids are 1, 2, 3
// and so on; three of them vote on the metadata, or one where there are fewer.
//
// A node can be stopped and restarted, at the same address. A node that is killed, or
// paused, has to be a process of its own: 'leat dev cluster' runs such ones.
type Cluster struct {
	t     testing.TB
	nodes []*Node
}

// StartCluster runs a cluster until the test ends; when it returns, every node serves.
// Options go for every node: DataDir is the folder of the nodes' folders, and a
// setting is that of each. A cluster that does not start fails the test.
func StartCluster(t testing.TB, nodes int, options ...Option) *Cluster {
	t.Helper()
	if nodes < 1 {
		t.Fatalf("leattest: a cluster of %d nodes", nodes)
	}
	c := &Cluster{t: t}
	base := leat.Options{Settings: map[string]string{}}
	for _, set := range options {
		set(&base)
	}
	if base.DataDir == "" {
		base.DataDir = t.TempDir() // which goes after the nodes
	}
	t.Cleanup(c.stop)
	for attempt := 1; ; attempt++ {
		err := c.start(nodes, base)
		if err == nil {
			return c
		}
		c.abandon()
		// Ports are found by looking for free ones; another process may be quicker.
		if !errors.Is(err, syscall.EADDRINUSE) || attempt == maxAttempts {
			t.Fatalf("leattest: the cluster did not start: %v", err)
		}
	}
}

const (
	maxAttempts = 5
	// startPatience is how long a cluster may take to serve.
	startPatience = time.Minute
	pollEvery     = 20 * time.Millisecond
)

func (c *Cluster) start(nodes int, base leat.Options) error {
	voters := 1
	if nodes >= 3 {
		voters = 3
	}
	ports, err := freePorts(nodes + voters)
	if err != nil {
		return err
	}
	var list []string
	for _, port := range ports[nodes:] {
		list = append(list, "127.0.0.1:"+port)
	}
	c.nodes = nil
	for i := range nodes {
		o := leat.Options{DataDir: filepath.Join(base.DataDir, fmt.Sprintf("node-%d", i+1)), Settings: map[string]string{
			"node.id": strconv.Itoa(i + 1), "listeners": "PLAINTEXT://127.0.0.1:" + ports[i], "process.roles": "broker",
			"controller.quorum.bootstrap.servers": strings.Join(list, ","), "http.listen": "127.0.0.1:0",
		}}
		if i < voters {
			o.Settings["process.roles"] = "broker,controller"
			o.Settings["listeners"] += ",CONTROLLER://" + list[i]
		}
		maps.Copy(o.Settings, base.Settings)
		if base.Log != nil {
			o.Log = slog.New(base.Log.Handler()).With("node", i+1)
		}
		n := &Node{DataDir: o.DataDir, t: c.t, opts: o}
		n.launch()
		c.nodes = append(c.nodes, n)
	}
	var errs []error
	for i, n := range c.nodes {
		if err := n.await(); err != nil {
			errs = append(errs, fmt.Errorf("node %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

// freePorts finds ports that nobody uses. They stay the nodes' own over a restart, so
// they are from below those that systems give to outgoing connections.
func freePorts(n int) ([]string, error) {
	const from, to = 15_000, 32_000
	var held []net.Listener
	defer func() {
		for _, ln := range held {
			ln.Close()
		}
	}()
	var ports []string
	for tries := 0; len(ports) < n; tries++ {
		port := strconv.Itoa(from + rand.IntN(to-from))
		ln, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			if tries > 100 {
				return nil, err
			}
			continue
		}
		held, ports = append(held, ln), append(ports, port)
	}
	return ports, nil
}

// Addrs are the bootstrap addresses of all nodes, host:port each.
func (c *Cluster) Addrs() []string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.Addr())
	}
	return all
}

// Node is the node with an id, from 1 on. It can be stopped and restarted alone.
func (c *Cluster) Node(id int) *Node {
	c.t.Helper()
	if id < 1 || id > len(c.nodes) {
		c.t.Fatalf("leattest: there is no node %d of %d", id, len(c.nodes))
	}
	return c.nodes[id-1]
}

// Stop stops a node in order: it hands over what it leads to the others first.
func (c *Cluster) Stop(id int) {
	c.t.Helper()
	c.Node(id).Stop()
}

// Restart stops a node, unless it is stopped, and starts it on the same data, at the
// same address. When it returns, the node serves; WaitHealthy waits until it has caught up.
func (c *Cluster) Restart(id int) {
	c.t.Helper()
	c.Node(id).Restart()
}

// WaitHealthy waits until every node that is not stopped is in the cluster, and every
// partition has a leader and, as far as their nodes run, all its replicas in sync.
func (c *Cluster) WaitHealthy() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	var addrs []string
	var running []int32
	for i, n := range c.nodes {
		if n.cancel != nil {
			addrs, running = append(addrs, n.Addr()), append(running, int32(i+1))
		}
	}
	if len(addrs) == 0 {
		c.t.Fatal("leattest: no node runs")
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.MetadataMinAge(pollEvery))
	if err != nil {
		c.t.Fatalf("leattest: %v", err)
	}
	defer client.Close()
	for every := time.NewTicker(pollEvery); ; {
		missing := lacks(ctx, kadm.NewClient(client), running)
		if missing == "" {
			every.Stop()
			return
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			c.t.Fatalf("leattest: the cluster is not healthy after %s: %s", startPatience, missing)
		}
	}
}

// lacks names something that a healthy cluster with these nodes would have; "" when it
// has everything.
func lacks(ctx context.Context, adm *kadm.Client, running []int32) (missing string) {
	meta, err := adm.Metadata(ctx)
	if err != nil {
		return err.Error()
	}
	for _, id := range running {
		if !slices.Contains(meta.Brokers.NodeIDs(), id) {
			return fmt.Sprintf("node %d is not in the cluster", id)
		}
	}
	if got := len(meta.Brokers); got != len(running) {
		return fmt.Sprintf("%d nodes are in the cluster, %d run", got, len(running))
	}
	meta.Topics.EachPartition(func(p kadm.PartitionDetail) {
		if !slices.Contains(running, p.Leader) {
			missing = fmt.Sprintf("partition %s-%d has no leader", p.Topic, p.Partition)
		}
		for _, id := range p.Replicas {
			if slices.Contains(running, id) && !slices.Contains(p.ISR, id) {
				missing = fmt.Sprintf("partition %s-%d is not in sync on node %d", p.Topic, p.Partition, id)
			}
		}
	})
	return missing
}

// stop ends all nodes, one after the other, as each hands over to those that are left;
// those that vote last, since the rest needs them for that.
func (c *Cluster) stop() {
	c.t.Helper()
	for _, n := range slices.Backward(c.nodes) {
		n.Stop()
	}
}

// abandon ends nodes that did not become a cluster.
func (c *Cluster) abandon() {
	for _, n := range c.nodes {
		if n.cancel != nil {
			n.cancel()
			n.cancel = nil
			<-n.done
		}
	}
	c.nodes = nil
}
