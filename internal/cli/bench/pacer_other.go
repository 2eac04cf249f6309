//go:build !linux

package bench

import (
	"context"
	"time"
)

// pacer waits for points in time by the runtime's timers.
type pacer struct{}

func newPacer() *pacer { return &pacer{} }

func (*pacer) close() {}

// until waits until t, or until ctx ends.
func (*pacer) until(ctx context.Context, t time.Time) error {
	if wait := time.Until(t); wait > 0 {
		return sleep(ctx, wait)
	}
	return ctx.Err()
}
