package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

func drainCommand(e *conn.Env) *cobra.Command {
	var (
		dryRun bool
		o      moveFlags
	)
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Move everything off a node, so that it can be taken away",
		Long: "Move all replicas, and what it leads, off a node, to the other nodes that are up, of whose disks --reserve stays free; a few " +
			"partitions at a time, at a bounded rate. " +
			"What no other node can take stays, and is said with the reason; the exit code is 1 then, with --dry-run, too. " +
			"Where the other voters of the metadata quorum would be no majority without the node, as the second of two, its vote is taken in the end; where " +
			"that cannot be either, that is said, and the exit code is 1: do not stop it then. " +
			"New topics may still be placed on it until it stops. What moves is waited for, and every few seconds it is said what that is, and who of " +
			"the nodes that take part is down. 'leat cluster remove' is next.",
		Example: `  leat cluster drain 3 --dry-run
  leat cluster drain 3`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := nodeID(args[0])
			if err != nil {
				return err
			}
			if err := o.check(); err != nil {
				return err
			}
			return long(e, cmd, func(ctx context.Context, r *runner) error {
				o.set(r)
				s, err := r.look(ctx)
				if err != nil {
					return err
				}
				if !s.knows(id) && s.holds(id) == 0 {
					return r.drainNoBroker(ctx, id, dryRun)
				}
				nodes, parts := s.nodes(id), s.partitions()
				moves, _ := plan(nodes, parts, planLimits{evacuate: true, reserve: o.part()}) // what has no room is in left
				left := stays(nodes, parts, moves, id)
				nothing := fmt.Sprintf("node %d holds nothing", id)
				if len(left) > 0 {
					nothing = fmt.Sprintf("nothing of node %d can move", id)
				}
				if err := show(e, moves, nil, nothing, left...); err != nil {
					return err
				}
				if len(left) > 0 && (dryRun || len(moves) == 0) {
					return keeps(id, left)
				}
				if dryRun {
					return r.resign(ctx, id, true)
				}
				if len(moves) > 0 {
					if err := r.carryOut(ctx, moves, brokerIDs(s.nodes())); err != nil {
						return err
					}
				}
				return r.drained(ctx, id)
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would move")
	o.add(cmd)
	return cmd
}

// keeps is the error of a node that cannot be drained, with the reasons.
func keeps(id int32, left []stay) error {
	count := map[string]int{}
	for _, s := range left {
		count[s.why]++
	}
	var why []string
	for _, reason := range slices.Sorted(maps.Keys(count)) {
		why = append(why, fmt.Sprintf("%d: %s", count[reason], reason))
	}
	return out.Hint(fmt.Errorf("node %d keeps replicas of %s (%s)", id, partitions(len(left)), strings.Join(why, "; ")),
		"it is empty once other nodes can take them; topics with fewer replicas, or another node, make room")
}

// drained looks whether a node holds nothing any more, and sees to it that it can stop.
func (r *runner) drained(ctx context.Context, id int32) error {
	s, err := r.look(ctx)
	if err != nil {
		return err
	}
	if n := s.holds(id); n > 0 {
		return fmt.Errorf("node %d still has replicas of %s: there is no other node up that may take them, or others move them, or took moves back", id, partitions(n))
	}
	if err := r.resign(ctx, id, false); err != nil {
		return err
	}
	r.e.Note("node %d is empty", id)
	return nil
}

// drainNoBroker is the drain of a node that is not among the brokers, and holds nothing: a
// controller may be needed all the same.
func (r *runner) drainNoBroker(ctx context.Context, id int32, dryRun bool) error {
	_, quorum, err := describeQuorum(ctx, r.cl)
	if err != nil {
		return r.e.Explain(fmt.Errorf("node %d is no broker; whether it is a controller is not told: %w", id, err))
	}
	for _, q := range slices.Concat(quorum.CurrentVoters, quorum.Observers) {
		if q.ReplicaID == id {
			if err := show(r.e, nil, nil, fmt.Sprintf("node %d is no broker, a controller only, and holds no replicas", id)); err != nil {
				return err
			}
			return r.resign(ctx, id, dryRun)
		}
	}
	return fmt.Errorf("node %d: the cluster does not know it", id)
}

// partitions is a number of them, in words.
func partitions(n int) string { return counted(n, "1 partition", "%d partitions") }

// counted says something of one thing, or of as many; many has their number as %d.
func counted(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return fmt.Sprintf(many, n)
}

func nodeID(arg string) (int32, error) {
	id, err := strconv.ParseInt(arg, 10, 32)
	if err != nil || id < 0 {
		return 0, out.Usagef("%q is no node id", arg)
	}
	return int32(id), nil
}
