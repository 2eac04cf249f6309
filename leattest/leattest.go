// Package leattest gives tests a real node: a broker on a free loopback port, with
// real storage in the test's temporary directory.
//
//	func TestOrders(t *testing.T) {
//		node := leattest.Start(t)
//		client, err := kgo.NewClient(kgo.SeedBrokers(node.Addr()))
//		…
//	}
//
// StartCluster gives them several nodes that are one cluster.
package leattest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/leat-stream/leat"
)

// Node is a running node.
type Node struct {
	// DataDir holds the node's data; it outlives Stop, until the test ends.
	DataDir string

	t      testing.TB
	node   *leat.Node
	opts   leat.Options
	cancel context.CancelFunc
	done   chan error
}

// Option changes how a node starts.
type Option func(*leat.Options)

// Set gives a broker setting by Kafka's name.
func Set(name, value string) Option {
	return func(o *leat.Options) { o.Settings[name] = value }
}

// DataDir keeps the data in a directory of the caller's.
func DataDir(dir string) Option { return func(o *leat.Options) { o.DataDir = dir } }

// Log receives the node's events.
func Log(l *slog.Logger) Option { return func(o *leat.Options) { o.Log = l } }

// Start runs a node until the test ends. A node that does not start fails the test.
func Start(t testing.TB, options ...Option) *Node {
	t.Helper()
	o := leat.Options{Settings: map[string]string{"listeners": "PLAINTEXT://127.0.0.1:0", "http.listen": "127.0.0.1:0"}}
	for _, set := range options {
		set(&o)
	}
	if o.DataDir == "" {
		o.DataDir = t.TempDir()
	}
	n := &Node{DataDir: o.DataDir, t: t, opts: o}
	t.Cleanup(n.Stop)
	n.run()
	return n
}

func (n *Node) run() {
	n.t.Helper()
	n.launch()
	if err := n.await(); err != nil {
		n.t.Fatalf("leattest: the node did not start: %v", err)
	}
}

// launch begins to run the node, and await waits until it serves.
func (n *Node) launch() {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel, n.node, n.done = cancel, leat.New(n.opts), make(chan error, 1)
	node, done := n.node, n.done
	go func() { done <- node.Run(ctx) }()
}

func (n *Node) await() error {
	late := time.NewTimer(startPatience)
	defer late.Stop()
	var err error
	select {
	case <-n.node.Ready():
		return nil
	case err = <-n.done:
		n.cancel()
	case <-late.C:
		err = fmt.Errorf("it does not serve after %s", startPatience)
		n.cancel()
		<-n.done
	}
	n.cancel = nil
	return err
}

// Addr is the node's bootstrap address, host:port.
func (n *Node) Addr() string { return n.node.Addr() }

// HTTPAddr is where metrics and health are, host:port.
func (n *Node) HTTPAddr() string { return n.node.HTTPAddr() }

// Stop stops the node in order; once is enough, more do nothing.
func (n *Node) Stop() {
	n.t.Helper()
	if n.cancel == nil {
		return
	}
	n.cancel()
	n.cancel = nil
	if err := <-n.done; err != nil {
		n.t.Errorf("leattest: the node did not stop cleanly: %v", err)
	}
}

// Restart stops the node and starts it again on the same data. The port may differ, but
// not that of a node of a Cluster.
func (n *Node) Restart() {
	n.t.Helper()
	n.Stop()
	n.run()
}
