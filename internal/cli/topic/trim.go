package topic

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

type trimmed struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Before    int64  `json:"start_offset_before"`
	Start     int64  `json:"start_offset"`
	Error     string `json:"error,omitempty"`
}

func trimCommand(e *conn.Env) *cobra.Command {
	var (
		before     string
		partitions []int32
		dryRun     bool
	)
	cmd := &cobra.Command{
		Use:   "trim TOPIC --before POSITION",
		Short: "Delete the oldest records of a topic",
		Long:  "Delete all records of a topic before a position: " + conn.PositionHelp + ".",
		Example: `  leat topic trim orders --before end
  leat topic trim orders --before @24h
  leat topic trim orders --before 1000 --partition 3 --dry-run`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.Topics(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if before == "" {
				return out.Usagef("--before is missing: say up to where records are deleted (%s)", conn.PositionHelp)
			}
			pos, err := conn.ParsePosition("before", before, time.Now())
			if err != nil {
				return err
			}
			if pos.Committed() {
				return out.Usagef("--before=%s: that is a position of a group; use %s", before, conn.PositionHelp)
			}
			return e.WithAdmin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				return trim(ctx, e, adm, args[0], pos, partitions, dryRun)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&before, "before", "", "where the records that stay begin: "+conn.PositionHelp)
	f.Int32SliceVarP(&partitions, "partition", "p", nil, "only these partitions (default all)")
	f.BoolVar(&dryRun, "dry-run", false, "only show what would be deleted")
	conn.CompletePosition(cmd, "before")
	return cmd
}

func trim(ctx context.Context, e *conn.Env, adm *kadm.Client, topic string, pos conn.Position, only []int32, dryRun bool) error {
	bounds, err := conn.ListBounds(ctx, adm, topic)
	if err != nil {
		return err
	}
	offsets, err := pos.Resolve(ctx, adm, bounds, topic)
	if err != nil {
		return err
	}
	offsets.KeepFunc(func(o kadm.Offset) bool { return len(only) == 0 || slices.Contains(only, o.Partition) })
	for _, p := range only {
		if _, ok := offsets.Lookup(topic, p); !ok {
			return fmt.Errorf("topic %s has no partition %d: %w", topic, p, kerr.UnknownTopicOrPartition)
		}
	}
	var done kadm.DeleteRecordsResponses
	if !dryRun {
		if done, err = adm.DeleteRecords(ctx, offsets); err != nil {
			return err
		}
	}
	results := []trimmed{}
	t := out.Table{Header: []string{"partition", "start before", "start now", "deleted"}, Right: []int{0, 1, 2, 3}}
	failures := e.Failures()
	for _, o := range offsets.Sorted() {
		start, _ := bounds.Start.Lookup(topic, o.Partition)
		r := trimmed{Topic: topic, Partition: o.Partition, Before: start.Offset, Start: o.At}
		if d, ok := done.Lookup(topic, o.Partition); ok {
			r.Start = d.LowWatermark
			if d.Err != nil {
				r.Start, r.Error = start.Offset, d.Err.Error()
				failures.Add(fmt.Sprintf("topic %s partition %d", topic, o.Partition), d.Err)
			}
		}
		results = append(results, r)
		t.Rows = append(t.Rows, []string{fmt.Sprint(r.Partition), fmt.Sprint(r.Before), fmt.Sprint(r.Start), fmt.Sprint(r.Start - r.Before)})
	}
	if dryRun {
		t.Header[2], t.Header[3] = "start then", "would be deleted"
	}
	if err := e.Emit(results, t); err != nil {
		return err
	}
	return failures.Err()
}
