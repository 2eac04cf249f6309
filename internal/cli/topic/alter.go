package topic

import (
	"context"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/config"
)

type altered struct {
	Topic string `json:"topic"`
}

func alterCommand(e *conn.Env) *cobra.Command {
	var (
		partitions   int
		pairs, unset []string
		dryRun       bool
	)
	cmd := &cobra.Command{
		Use:   "alter TOPIC...",
		Short: "Change settings of topics, or add partitions",
		Long: "Change settings of topics, or add partitions. Adding partitions moves keys: records of one key " +
			"that are already written stay where they are, new ones may go to another partition.",
		Example: `  leat topic alter orders --config retention.ms=604800000 --unset segment.ms
  leat topic alter orders --partitions 24`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: e.Topics(0),
		RunE: func(cmd *cobra.Command, topics []string) error {
			ops, err := alterations(pairs, unset)
			if err != nil {
				return err
			}
			if len(ops) == 0 && partitions == 0 {
				return out.Usagef("nothing to change: give --config, --unset or --partitions")
			}
			return e.WithAdmin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				return alter(ctx, e, adm, topics, ops, partitions, dryRun)
			})
		},
	}
	f := cmd.Flags()
	f.IntVarP(&partitions, "partitions", "p", 0, "the new number of partitions, which can only grow")
	f.StringArrayVarP(&pairs, "config", "c", nil, "a setting, NAME=VALUE (repeatable)")
	f.StringArrayVar(&unset, "unset", nil, "a setting that returns to its default (repeatable)")
	f.BoolVar(&dryRun, "dry-run", false, "only check whether the change would be accepted")
	conn.CompleteBy(cmd, "config", conn.Settings(config.ScopeTopic, "=", nil))
	conn.CompleteBy(cmd, "unset", conn.Settings(config.ScopeTopic, "", nil))
	return cmd
}

func alterations(pairs, unset []string) ([]kadm.AlterConfig, error) {
	set, err := settings(pairs)
	if err != nil {
		return nil, err
	}
	var ops []kadm.AlterConfig
	for _, name := range slices.Sorted(maps.Keys(set)) {
		ops = append(ops, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: set[name]})
	}
	for _, name := range unset {
		ops = append(ops, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name})
	}
	return ops, nil
}

func alter(ctx context.Context, e *conn.Env, adm *kadm.Client, topics []string, ops []kadm.AlterConfig, partitions int, dryRun bool) error {
	failures := e.Failures()
	bad := map[string]bool{}
	if len(ops) > 0 {
		change := adm.AlterTopicConfigs
		if dryRun {
			change = adm.ValidateAlterTopicConfigs
		}
		rs, err := change(ctx, ops, topics...)
		if err != nil {
			return err
		}
		failures.Altered("topic", rs)
		for _, r := range rs {
			bad[r.Name] = bad[r.Name] || r.Err != nil
		}
	}
	if partitions > 0 {
		grow := adm.UpdatePartitions
		if dryRun {
			grow = adm.ValidateUpdatePartitions
		}
		rs, err := grow(ctx, partitions, topics...)
		if err != nil {
			return err
		}
		for _, r := range rs.Sorted() {
			failures.Add("topic "+r.Topic, conn.WithMessage(r.Err, r.ErrMessage))
			bad[r.Topic] = bad[r.Topic] || r.Err != nil
		}
	}
	done := []altered{}
	for _, t := range topics {
		if !bad[t] {
			done = append(done, altered{t})
		}
	}
	if e.JSON() {
		if err := e.WriteJSON(done); err != nil {
			return err
		}
	} else {
		for _, d := range done {
			e.Note("topic %s: %s", d.Topic, map[bool]string{true: "the change would be accepted", false: "changed"}[dryRun])
		}
	}
	return failures.Err()
}
