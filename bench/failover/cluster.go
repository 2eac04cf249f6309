//go:build linux

package failover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leat-stream/leat/conformance/harness"
)

// cluster is three nodes on this machine, each a process of its own.
type cluster struct {
	*harness.Cluster
	net *harness.Net // nil: they share the loopback
}

const nodes = 3

// start starts a cluster; a silent cut needs nodes with a network of their own.
func start(ctx context.Context, p Plan) (*cluster, error) {
	c := &cluster{}
	var err error
	if p.Apart {
		if c.net, err = harness.NewNet(nodes, nil); err != nil {
			return nil, err
		}
	}
	if c.Cluster, err = harness.StartCluster(ctx, p.Kind, nodes, harness.Options{Dir: p.Scratch, Net: c.net}); err != nil {
		return nil, errors.Join(err, c.closeNet())
	}
	return c, nil
}

func (c *cluster) stop() error { return errors.Join(c.Kill(), c.closeNet()) }

func (c *cluster) closeNet() error {
	if c.net == nil {
		return nil
	}
	return c.net.Close()
}

// node is one node; nil where there is none of that id.
func (c *cluster) node(id int32) *harness.Broker {
	if id < 1 || int(id) > len(c.Brokers) {
		return nil
	}
	return c.Brokers[id-1]
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
