//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// idle measures what many partitions cost that nobody uses.
func idle(ctx context.Context, p plan) error {
	c, err := newCluster(p.leat, filepath.Join(p.scratch, "idle"), p.set)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	defer c.stopAll()
	if err := c.startAll(); err != nil {
		return err
	}
	for n, left := 0, p.replicas/nodes; left > 0; n++ {
		take := min(left, 1000)
		if err := create(ctx, c, fmt.Sprintf("idle%d", n), take); err != nil {
			return err
		}
		left -= take
	}
	select { // files are opened and synced, sessions grow
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(10 * time.Second):
	}
	var before [nodes]int64
	for i, n := range c.nodes {
		if before[i], _, err = n.ticks(); err != nil {
			return err
		}
	}
	start := time.Now()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(p.idle):
	}
	took := time.Since(start)
	for i, n := range c.nodes {
		cpu, rss, err := n.ticks()
		if err != nil {
			return err
		}
		fmt.Printf("idle         node %d, %d replicas in all: %.2f %% of a core, %d MiB resident\n",
			n.id, p.replicas/nodes*nodes, float64(cpu-before[i])/took.Seconds(), rss>>20)
	}
	return nil
}
