//go:build conformance

package cluster

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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leat-stream/leat/conformance/harness"
	"github.com/leat-stream/leat/conformance/raw"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// nodes is how many a cluster has.
const nodes = 3

// healthLimit bounds what a cluster needs to be whole again once nothing is broken.
const healthLimit = time.Minute

// settings are those of every node, beyond addresses.
var settings = map[string]string{
	"offsets.topic.num.partitions":     "6",
	"offsets.topic.replication.factor": "3",
	"log.segment.bytes":                "4194304",
	"replica.lag.time.max.ms":          "5000",
	"group.initial.rebalance.delay.ms": "0",
	"leat.log.level":                   "debug",
	// What happens seldom happens here.
	"leader.imbalance.check.interval.seconds":         "5",
	"log.cleaner.backoff.ms":                          "1000",
	"log.cleaner.min.cleanable.ratio":                 "0.1",
	"metadata.log.max.record.bytes.between.snapshots": "8192",
	"offsets.topic.segment.bytes":                     "1048576",
}

// node is one process of a cluster.
type node struct {
	harness.Process
	id     int
	client string // the address of the listener for clients
	data   string
	small  string // the small disk that data lies on; "" where it has none
	// quorumAt is the address of the listener for controllers, where no fabric has it.
	quorumAt string
}

// cluster is three nodes on a fabric.
type cluster struct {
	t      *testing.T
	dir    string
	fabric fabric
	nodes  []*node
}

// start starts a cluster and waits until it is whole. Node 1 gets a disk of its own of
// so many MiB; 0: none.
func start(t *testing.T, f fabric, disk int) *cluster {
	t.Helper()
	bin, err := harness.LeatBinary()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "leat-cluster-")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: dir, fabric: f}
	t.Cleanup(c.end)
	for id := 1; id <= nodes; id++ {
		n := &node{id: id, client: f.client(id), data: filepath.Join(dir, strconv.Itoa(id))}
		if id == 1 && disk > 0 {
			n.small = n.data
			n.data = filepath.Join(n.small, "data")
			c.mount(n.small, disk)
		}
		set := map[string]string{"node.id": strconv.Itoa(id), "log.dirs": n.data}
		for _, from := range []map[string]string{settings, f.settings(id)} {
			for k, v := range from {
				set[k] = v
			}
		}
		argv := append(f.wrap(id), bin, "serve")
		for k, v := range set {
			argv = append(argv, "--set", k+"="+v)
		}
		n.Process = harness.Process{Name: fmt.Sprintf("node %d", id), Argv: argv, Dir: dir, Output: filepath.Join(dir, fmt.Sprintf("node-%d.log", id))}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	c.awaitHealthy("after the first start")
	return c
}

// end kills what runs; when the test failed, what the nodes wrote is kept.
func (c *cluster) end() {
	for _, n := range c.nodes {
		if err := n.Kill(); err != nil {
			c.t.Error(err)
		}
	}
	defer func() {
		for _, n := range c.nodes {
			if n.small != "" {
				if out, err := exec.Command("umount", n.small).CombinedOutput(); err != nil {
					c.t.Errorf("umount %s: %v: %s", n.small, err, out)
				}
			}
		}
		if !c.t.Failed() && os.Getenv("LEAT_KEEP") != "1" {
			if err := os.RemoveAll(c.dir); err != nil {
				c.t.Error(err)
			}
		}
	}()
	if c.t.Failed() || os.Getenv("LEAT_KEEP") == "1" {
		for _, n := range c.nodes {
			c.t.Logf("the end of the output of node %d:\n%s\nwhole: %s", n.id, last(n.Tail(), 1500), n.Output)
		}
	}
}

// mount makes a disk in memory.
func (c *cluster) mount(at string, mib int) {
	c.t.Helper()
	if err := os.MkdirAll(at, 0o755); err != nil {
		c.t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", mib), "leat", at).CombinedOutput(); err != nil {
		c.t.Fatalf("mount: %v: %s", err, out)
	}
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }

// seeds are the addresses for clients.
func (c *cluster) seeds() []string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.client)
	}
	return all
}

// ask sends one request to a node on a new connection.
func (n *node) ask(req kmsg.Request) (kmsg.Response, error) { return n.askWithin(req, askLimit) }

const askLimit = 5 * time.Second

func (n *node) askWithin(req kmsg.Request, limit time.Duration) (kmsg.Response, error) {
	conn, err := raw.Dial(n.client, "watch")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Exchange(req, limit)
}

// awaitHealthy waits until every node knows the others and every partition has all
// its replicas in sync.
func (c *cluster) awaitHealthy(when string) {
	c.t.Helper()
	if err := c.healthy(c.t.Context(), healthLimit); err != nil {
		for _, n := range c.nodes {
			if n.check() != nil && n.Alive() {
				_ = n.End(syscall.SIGQUIT, 10*time.Second) // its goroutines go to its output
			}
		}
		c.t.Fatalf("%s: the cluster is not whole within %v: %v", when, healthLimit, err)
	}
}

func (c *cluster) healthy(ctx context.Context, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		err := c.check()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// check tells what is not whole.
func (c *cluster) check() error {
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() { errs[i] = n.check() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (n *node) check() error {
	if !n.Alive() {
		return fmt.Errorf("node %d ended: %v\n%s", n.id, n.State(), last(n.Tail(), 1500))
	}
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.Topics = 12, nil
	resp, err := n.ask(req)
	if err != nil {
		return fmt.Errorf("node %d: %w", n.id, err)
	}
	m := resp.(*kmsg.MetadataResponse)
	var wrong []string
	if len(m.Brokers) != nodes || m.ControllerID < 0 {
		wrong = append(wrong, fmt.Sprintf("%d brokers, controller %d", len(m.Brokers), m.ControllerID))
	}
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 || p.Leader < 0 || len(p.ISR) != len(p.Replicas) || len(p.OfflineReplicas) > 0 {
				wrong = append(wrong, fmt.Sprintf("%s-%d: leader %d epoch %d isr %v offline %v (%v)", *t.Topic, p.Partition, p.Leader, p.LeaderEpoch,
					p.ISR, p.OfflineReplicas, kerr.ErrorForCode(p.ErrorCode)))
			}
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("node %d sees %s", n.id, strings.Join(wrong[:min(len(wrong), 4)], "; "))
	}
	return n.checkQuorum()
}

func (n *node) checkQuorum() error {
	q, err := n.quorum()
	if err != nil {
		return fmt.Errorf("node %d: quorum: %w", n.id, err)
	}
	if len(q.CurrentVoters) != nodes || q.LeaderID < 0 {
		return fmt.Errorf("node %d: quorum: leader %d, %d voters", n.id, q.LeaderID, len(q.CurrentVoters))
	}
	return nil
}

// quorum is the quorum of the metadata, as a node tells.
func (n *node) quorum() (*kmsg.DescribeQuorumResponseTopicPartition, error) {
	return n.quorumWithin(askLimit)
}

func (n *node) quorumWithin(limit time.Duration) (*kmsg.DescribeQuorumResponseTopicPartition, error) {
	resp, err := n.askWithin(quorumRequest(), limit)
	if err != nil {
		return nil, err
	}
	return quorumOf(resp)
}

func quorumRequest() *kmsg.DescribeQuorumRequest {
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Version = 1
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, kmsg.DescribeQuorumRequestTopicPartition{})
	req.Topics = append(req.Topics, topic)
	return req
}

func quorumOf(resp kmsg.Response) (*kmsg.DescribeQuorumResponseTopicPartition, error) {
	q := resp.(*kmsg.DescribeQuorumResponse)
	if len(q.Topics) != 1 || len(q.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("not described: %w", kerr.ErrorForCode(q.ErrorCode))
	}
	p := &q.Topics[0].Partitions[0]
	return p, kerr.ErrorForCode(p.ErrorCode)
}

// controller is the node whose controller is the active one; nil: none.
func (c *cluster) controller() *node {
	for _, n := range c.nodes {
		if q, err := n.quorum(); err == nil && q.LeaderID >= 1 && int(q.LeaderID) <= nodes {
			return c.nodes[q.LeaderID-1]
		}
	}
	return nil
}

// leader is the node that leads a partition; nil: none.
func (c *cluster) leader(topic string, partition int32) *node {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.Topics = 12, []kmsg.MetadataRequestTopic{{Topic: &topic}}
	for _, n := range c.nodes {
		resp, err := n.ask(req)
		if err != nil {
			continue
		}
		for _, t := range resp.(*kmsg.MetadataResponse).Topics {
			for _, p := range t.Partitions {
				if p.Partition == partition && p.Leader >= 1 && int(p.Leader) <= nodes {
					return c.nodes[p.Leader-1]
				}
			}
		}
	}
	return nil
}

// createTopic creates a topic of three replicas through any node.
func (c *cluster) createTopic(name string, partitions int32, configs map[string]string) {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 10_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, nodes
	for k, v := range configs {
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: k, Value: &v})
	}
	req.Topics = append(req.Topics, topic)
	resp, err := c.nodes[0].ask(req)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := kerr.ErrorForCode(resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode); err != nil {
		c.t.Fatalf("creating %s: %v", name, err)
	}
}

// restart starts a node that ended.
func (c *cluster) restart(n *node) {
	c.t.Helper()
	if err := n.Start(); err != nil {
		c.t.Fatal(err)
	}
}

// term ends a node as an operator does.
func (c *cluster) term(n *node) {
	c.t.Helper()
	if err := n.End(syscall.SIGTERM, time.Minute); err != nil {
		c.t.Fatal(err)
	}
	if code := n.State().ExitCode(); code != 0 {
		c.t.Fatalf("node %d ended with %d after SIGTERM:\n%s", n.id, code, last(n.Tail(), 1500))
	}
}

// loopback is an address of this machine that nobody listens on.
func loopback(ports []int, i int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i]))
}
