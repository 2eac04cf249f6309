package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

type reset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Before    int64  `json:"before"` // -1: nothing was committed
	After     int64  `json:"after"`
	Error     string `json:"error,omitempty"`
}

func resetCommand(e *conn.Env) *cobra.Command {
	var (
		topics []string
		all    bool
		to     string
		dryRun bool
	)
	cmd := &cobra.Command{
		Use:   "reset-offsets GROUP --to POSITION (--topic TOPIC | --all-topics)",
		Short: "Move the committed offsets of a group that has no running consumers",
		Long:  "Move the committed offsets of a group that has no running consumers to a position: " + conn.PositionHelp + ".",
		Example: `  leat group reset-offsets billing --topic orders --to start
  leat group reset-offsets billing --topic orders:0,3 --to 1500
  leat group reset-offsets billing --all-topics --to @2026-01-31T12:00:00Z --dry-run`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.Groups(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" || len(topics) == 0 == !all {
				return out.Usagef("say what is moved, and to where: --topic TOPIC or --all-topics, and --to POSITION")
			}
			pos, err := conn.ParsePosition("to", to, time.Now())
			if err != nil {
				return err
			}
			want, err := selection(topics)
			if err != nil {
				return err
			}
			return e.WithAdmin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				return resetOffsets(ctx, e, adm, args[0], want, pos, dryRun)
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&topics, "topic", "t", nil, "a topic, or TOPIC:PARTITION,PARTITION (repeatable)")
	f.BoolVar(&all, "all-topics", false, "every topic that the group has committed for")
	f.StringVar(&to, "to", "", "the new position: "+conn.PositionHelp)
	f.BoolVar(&dryRun, "dry-run", false, "only show what would change")
	conn.CompleteBy(cmd, "topic", e.Topics(0))
	conn.CompletePosition(cmd, "to")
	return cmd
}

// selection reads --topic; a topic without partitions means all of them.
func selection(topics []string) (map[string][]int32, error) {
	want := map[string][]int32{}
	for _, t := range topics {
		name, list, some := strings.Cut(t, ":")
		if !some {
			want[name] = nil
			continue
		}
		for _, s := range strings.Split(list, ",") {
			p, err := strconv.ParseInt(s, 10, 32)
			if err != nil || p < 0 {
				return nil, out.Usagef("--topic=%s: %q is no partition; use TOPIC or TOPIC:0,1,2", t, s)
			}
			want[name] = append(want[name], int32(p))
		}
	}
	return want, nil
}

func resetOffsets(ctx context.Context, e *conn.Env, adm *kadm.Client, group string, want map[string][]int32, pos conn.Position, dryRun bool) error {
	if err := mustBeIdle(ctx, adm, group); err != nil {
		return err
	}
	committed, err := adm.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return err
	}
	if len(want) == 0 {
		for t := range committed {
			want[t] = nil
		}
		if len(want) == 0 {
			return fmt.Errorf("group %s has committed nothing; name the topics with --topic", group)
		}
	}
	offsets, err := target(ctx, adm, committed, want, pos)
	if err != nil {
		return err
	}
	var done kadm.OffsetResponses
	if !dryRun {
		if done, err = adm.CommitOffsets(ctx, group, offsets); err != nil {
			return err
		}
	}
	return showReset(e, committed, offsets, done)
}

// mustBeIdle refuses a group that has running consumers: they would go on where
// they are and commit over the new offsets.
func mustBeIdle(ctx context.Context, adm *kadm.Client, group string) error {
	groups, err := adm.DescribeGroups(ctx, group)
	if err != nil {
		return err
	}
	if g := groups[group]; g.Err == nil && len(g.Members) > 0 {
		return out.Hint(fmt.Errorf("group %s has %d running consumers (%s)", group, len(g.Members), g.State), "stop them first")
	} else if g.Err != nil && !errors.Is(g.Err, kerr.GroupIDNotFound) {
		return conn.WithMessage(g.Err, g.ErrMessage)
	}
	return nil
}

func target(ctx context.Context, adm *kadm.Client, committed kadm.OffsetResponses, want map[string][]int32, pos conn.Position) (kadm.Offsets, error) {
	var topics []string
	for t := range want {
		topics = append(topics, t)
	}
	slices.Sort(topics)
	bounds, err := conn.ListBounds(ctx, adm, topics...)
	if err != nil {
		return nil, err
	}
	offsets, err := pos.Resolve(ctx, adm, bounds, topics...)
	if err != nil {
		return nil, err
	}
	for t, partitions := range want {
		for _, p := range partitions {
			if _, ok := offsets.Lookup(t, p); !ok {
				return nil, fmt.Errorf("topic %s has no partition %d: %w", t, p, kerr.UnknownTopicOrPartition)
			}
		}
	}
	offsets.KeepFunc(func(o kadm.Offset) bool { return want[o.Topic] == nil || slices.Contains(want[o.Topic], o.Partition) })
	if pos.Committed() {
		kept := kadm.Offsets{}
		offsets.Each(func(o kadm.Offset) {
			if c, ok := committed.Lookup(o.Topic, o.Partition); ok {
				kept.AddOffset(o.Topic, o.Partition, c.At, -1)
			}
		})
		offsets = kept
	}
	return offsets, nil
}

func showReset(e *conn.Env, committed kadm.OffsetResponses, offsets kadm.Offsets, done kadm.OffsetResponses) error {
	results := []reset{}
	t := out.Table{Header: []string{"topic", "partition", "before", "after"}, Right: []int{1, 2, 3}}
	failures := e.Failures()
	for _, o := range offsets.Sorted() {
		r := reset{Topic: o.Topic, Partition: o.Partition, Before: -1, After: o.At}
		before := "-"
		if c, ok := committed.Lookup(o.Topic, o.Partition); ok {
			r.Before, before = c.At, fmt.Sprint(c.At)
		}
		if d, ok := done.Lookup(o.Topic, o.Partition); ok && d.Err != nil {
			r.Error, r.After = d.Err.Error(), r.Before
			failures.Add(fmt.Sprintf("topic %s partition %d", o.Topic, o.Partition), d.Err)
		}
		results = append(results, r)
		t.Rows = append(t.Rows, []string{r.Topic, fmt.Sprint(r.Partition), before, fmt.Sprint(r.After)})
	}
	if err := e.Emit(results, t); err != nil {
		return err
	}
	return failures.Err()
}
