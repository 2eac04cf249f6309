//go:build linux

package main

import (
	"context"
	"time"

	"github.com/leat-stream/leat/bench/failover"
)

// failovers measures what clients see of a node that dies, and whether nodes that are
// merely busy are taken for dead.
func failovers(ctx context.Context, p plan, r *results) error {
	dir, clean, err := folder(p, "failover")
	if err != nil {
		return err
	}
	defer clean()
	return failover.Run(ctx, failover.Plan{
		Do: failover.Kinds, Rounds: p.trials, Partitions: 12, Pace: 5 * time.Millisecond, Calm: p.calm, Leat: p.leat, Scratch: dir,
	}, func(f failover.Figure) { r.single(f.What, f.Unit, f.Goal, f.Values...) })
}
