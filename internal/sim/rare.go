package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

// rare are events that a batch of runs must have met, or it proves little.
var rare = []string{
	"truncation", "diverging epoch", "election from the eligible replicas", "snapshot fetched whole", "coordinator reload",
	"leader epoch bump", "producer epoch bump", "ISR shrink", "ISR expand", "restart after handing over",
	"disk wiped", "voter with a new disk", "AddRaftVoter: done", "RemoveRaftVoter: done", "read failed",
	"reassignment begun", "reassignment completed", "reassignment cancelled",
	"leader told in a refusal", "node failed", "connection reset", "connection lingers",
	"another leader at a producer's first batches", "late registration",
	"topic made anew", "produce to a topic that is gone", "fetch of a topic that is gone", "reader in a topic made anew", "offsets of a deleted topic gone",
	"records deleted", "deletion timed out", "position below the start", "produce by name", "fetch by name",
	"controllers without a broker", "brokers without a vote", "cluster formed by joining", "grown to three voters", "a voter gives way to another",
	"throttled reassignment completed", "throttled reassignment cancelled", "throttle held back a follower",
	"broker unregistered", "unregistered broker is back",
	"older Produce", "older Fetch", "older Metadata", "older ListOffsets", "older OffsetCommit", "older OffsetFetch",
}

// rarer are asked of long runs only, and rarest of large batches of them.
var rarer = []string{"throttle put off a fetch", "duplicate behind many batches", "eligible broker unregistered", "unregistered broker with a new disk"}

var rarest = []string{"damaged replica cut back"}

// Unmet are the rare events that a batch of runs, long ones or a large batch of them, did
// not meet.
func Unmet(total map[string]int, long, large bool) (names []string) {
	all := slices.Clone(rare)
	if long {
		all = append(all, rarer...)
	}
	if large {
		all = append(all, rarest...)
	}
	for _, name := range all {
		if total[name] == 0 {
			names = append(names, name)
		}
	}
	return names
}

// Least that happens in a long run.
const (
	leastOperations = 2000
	leastFaults     = 20
)

// enough says what was too little in a long run.
func (c *Cluster) enough() error {
	if c.Rec.Operations < leastOperations {
		return fmt.Errorf("only %d operations", c.Rec.Operations)
	}
	if n := c.Count["fault"]; c.Settings.Faults && n < leastFaults {
		return fmt.Errorf("only %d faults", n)
	}
	if c.Now() < faulty {
		return errors.New("less than two minutes")
	}
	return nil
}

// ended counts what the replicas of a process met in its life.
func (c *Cluster) ended(h *Host) {
	p, ok := h.Process.(insides)
	if !ok {
		return
	}
	s := p.Replicas().Stats()
	for name, n := range map[string]int64{
		"truncation": s.Truncations, "truncation below the high watermark": s.TruncatedBelowHW, "diverging epoch": s.Diverging,
		"offset out of range at a leader": s.OutOfRange, "corrupt batch from a leader": s.CorruptBatches,
		"duplicate behind many batches": s.OldDuplicates, "duplicate that is deleted": s.LostDuplicates,
		"throttle held back a follower": s.ThrottledSends, "throttle put off a fetch": s.ThrottledFetches,
	} {
		if n > 0 {
			c.Count[name] += int(n)
		}
	}
}

// reloads counts the coordinators that begin with what others have left.
type reloads struct {
	slog.Handler
	c *Cluster
}

func (r reloads) Enabled(context.Context, slog.Level) bool { return true }

func (r reloads) Handle(ctx context.Context, rec slog.Record) error {
	if rec.Message == "coordinator loaded" {
		rec.Attrs(func(a slog.Attr) bool {
			if a.Key == "records" && a.Value.String() != "0" {
				r.c.Count["coordinator reload"]++
			}
			return true
		})
	}
	if !r.Handler.Enabled(ctx, rec.Level) {
		return nil
	}
	return r.Handler.Handle(ctx, rec)
}

func (r reloads) WithAttrs(as []slog.Attr) slog.Handler { return reloads{r.Handler.WithAttrs(as), r.c} }
func (r reloads) WithGroup(name string) slog.Handler    { return reloads{r.Handler.WithGroup(name), r.c} }
