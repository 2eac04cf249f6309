package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// tolerance is the difference between two nodes that balance leaves alone, as a part of
// what an average node has.
const tolerance = 0.05

func balanceCommand(e *conn.Env) *cobra.Command {
	var (
		dryRun, apply, cancel bool
		o                     moveFlags
		moves                 int
	)
	cmd := &cobra.Command{
		Use:   "balance --dry-run | --apply | --cancel",
		Short: "Spread replicas and leaders evenly over the nodes; a new node gets its share",
		Long: "Spread bytes, replicas and leaders over the nodes that are up: leaders evenly, bytes and replicas by the size of the disks, where " +
			"nodes tell it. Replication factors stay, the replicas of a " +
			"partition never stand in fewer racks than before, and --reserve of every disk stays free. A new node gets its share. Partitions move a few at a time, at a bounded rate; " +
			"--cancel takes back what is under way, whoever began it.",
		Example: `  leat cluster balance --dry-run
  leat cluster balance --apply --rate 50000000
  leat cluster balance --cancel`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			chosen := 0
			for _, on := range []bool{dryRun, apply, cancel} {
				if on {
					chosen++
				}
			}
			if chosen != 1 {
				return out.Usagef("give one of --dry-run, --apply and --cancel")
			}
			if moves < 0 {
				return out.Usagef("--moves=%d: it is no number of partitions", moves)
			}
			if err := o.check(); err != nil {
				return err
			}
			return long(e, cmd, func(ctx context.Context, r *runner) error {
				o.set(r)
				if cancel {
					return r.cancel(ctx)
				}
				s, err := r.look(ctx)
				if err != nil {
					return err
				}
				planned, crowded := plan(s.nodes(), s.partitions(), planLimits{moves: moves, tolerance: tolerance, reserve: o.part()})
				strangers := s.strangers()
				for _, id := range strangers {
					e.Note("node %d is not registered any more, and has replicas of %s: 'leat cluster drain %d' moves them", id, partitions(s.holds(id)), id)
				}
				nothing := balanced(len(s.moving.Sorted()), len(crowded)+len(strangers))
				if err := show(e, planned, crowded, nothing); err != nil || dryRun || len(planned) == 0 {
					return err
				}
				return r.carryOut(ctx, planned, brokerIDs(s.nodes()))
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&dryRun, "dry-run", false, "only show what would move")
	f.BoolVar(&apply, "apply", false, "move it")
	f.BoolVar(&cancel, "cancel", false, "take back every move that is under way")
	f.IntVar(&moves, "moves", 0, "at most so many partitions; 0 is any number")
	o.add(cmd)
	return cmd
}

// balanced is said when there is nothing to move; moving counts partitions that are being moved
// already, unsound the nodes that would get more, or have what they should not.
func balanced(moving, unsound int) string {
	switch {
	case moving == 0 && unsound > 0:
		return "nothing to move"
	case moving == 0:
		return "nothing to move: the nodes are in balance"
	}
	return fmt.Sprintf("nothing else to move: partitions that are being moved already: %d; 'leat cluster balance --cancel' takes that back", moving)
}

// moveFlags are the flags of the commands that move replicas.
type moveFlags struct {
	parallel int
	rate     int64
	giveUp   time.Duration
	reserve  int // percent
}

// part is the reserve as a part.
func (o *moveFlags) part() float64 { return float64(o.reserve) / 100 }

// reserve is how much of a disk moves leave free, in percent, unless --reserve says: records
// come in while a move runs, and a cleaner writes a second copy before it drops the first.
const reserve = 10

func (o *moveFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&o.parallel, "parallel", 10, "partitions that move at once")
	cmd.Flags().DurationVar(&o.giveUp, "give-up", 2*time.Minute, "fail when nothing has moved for so long; what has begun goes on in the cluster; 0 waits for ever")
	cmd.Flags().IntVar(&o.reserve, "reserve", reserve, "percent of each node's disk that stay free; a node that has less gets nothing to copy")
	cmd.Flags().Int64Var(&o.rate, "rate", 100_000_000, "bytes a second that a node sends, and receives, for the moves; 0 is no limit")
}

func (o *moveFlags) check() error {
	if o.parallel < 1 {
		return out.Usagef("--parallel=%d: at least one partition has to move", o.parallel)
	}
	if o.rate < 0 {
		return out.Usagef("--rate=%d: it is no rate", o.rate)
	}
	if o.reserve < 0 || o.reserve > 99 {
		return out.Usagef("--reserve=%d: give 0 to 99 percent", o.reserve)
	}
	if o.giveUp < 0 {
		return out.Usagef("--give-up=%v: it is no time to wait", o.giveUp)
	}
	return nil
}

func (o *moveFlags) set(r *runner) { r.parallel, r.rate, r.patience = o.parallel, o.rate, o.giveUp }

// cancelled is what --cancel did.
type cancelled struct {
	Cancelled int `json:"cancelled"`
}

// cancel takes back every move that is under way and lifts the limits of rate.
func (r *runner) cancel(ctx context.Context) error {
	s, err := r.look(ctx)
	if err != nil {
		return err
	}
	var req kadm.AlterPartitionAssignmentsReq
	n := 0
	for _, p := range s.moving.Sorted() {
		req.CancelAssign(p.Topic, p.Partition)
		n++
	}
	failures := r.e.Failures()
	if n > 0 {
		err := r.once(ctx, func(ctx context.Context) error {
			rs, err := r.adm.AlterPartitionAssignments(ctx, req)
			for _, a := range rs.Sorted() {
				failures.Add("partition "+a.Topic, conn.WithMessage(a.Err, a.ErrMessage))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	var topics []string
	err = r.once(ctx, func(ctx context.Context) error {
		all, err := r.adm.DescribeTopicConfigs(ctx, s.meta.Topics.Names()...)
		for _, rc := range all {
			if slices.ContainsFunc(rc.Configs, func(c kadm.Config) bool {
				return (c.Key == leaderList || c.Key == followerList) && c.Value != nil && *c.Value != ""
			}) {
				topics = append(topics, rc.Name)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	r.rate = 1 // whatever it was
	failures.Add("limits of rate", r.unthrottle(ctx, topics, brokerIDs(s.nodes())))
	if err := failures.Err(); err != nil {
		return err
	}
	if r.e.JSON() {
		return r.e.WriteJSON(cancelled{n})
	}
	r.e.Note("%s", counted(n, "1 move taken back", "%d moves taken back"))
	return nil
}
