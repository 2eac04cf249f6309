//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leat-stream/leat/bench/failover"
	"github.com/leat-stream/leat/conformance/harness"
)

// failovers measures what clients see of a node that dies, and whether nodes that are
// merely busy are taken for dead.
func failovers(ctx context.Context, p plan, r *results) error {
	return fail(ctx, p, r, failover.Plan{Kind: harness.Leat, Do: failover.Kinds})
}

// cuts measures what clients see of a node that falls silent, beside Apache Kafka. Each
// node has a network namespace of its own.
func cuts(ctx context.Context, p plan, r *results) error {
	var errs []error
	for _, kind := range []harness.Kind{harness.Leat, harness.Kafka} {
		if err := fail(ctx, p, r, failover.Plan{Kind: kind, Apart: true, Do: failover.ApartKinds}); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", kind, err))
		}
	}
	return errors.Join(errs...)
}

func fail(ctx context.Context, p plan, r *results, f failover.Plan) error {
	dir, clean, err := folder(p, "failover")
	if err != nil {
		return err
	}
	defer clean()
	whose := map[harness.Kind]string{harness.Leat: leat, harness.Kafka: kafka}[f.Kind]
	f.Rounds, f.Partitions, f.Pace, f.Calm, f.Scratch = p.trialsOf(whose), 12, 5*time.Millisecond, p.calm, dir
	return failover.Run(ctx, f, func(f failover.Figure) {
		r.single(f.What, f.Unit, f.Goal, f.Wanted, f.Values...)
		if f.Err != nil && ctx.Err() == nil {
			r.fail(0, whose, r.at, f.Err)
		}
	})
}
