package configcmd

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

func setCommand(e *conn.Env) *cobra.Command {
	var unset []string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "set (topic NAME | broker ID | broker default | group NAME) [NAME=VALUE...]",
		Short: "Change settings of a topic, a broker, all brokers or a group",
		Long: "Change settings while the brokers run. NAME+=VALUE adds a word to a list, NAME-=VALUE takes one away, " +
			"--unset NAME returns to the default.",
		Example: `  leat config set topic orders retention.ms=86400000
  leat config set topic orders cleanup.policy+=compact --unset segment.ms
  leat config set broker default log.cleaner.max.compaction.lag.ms=3600000`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeResource(e, "=", false),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := parseResource(args[0], args[1])
			if err != nil {
				return err
			}
			changes, err := parseChanges(args[2:], unset)
			if err != nil {
				return err
			}
			return e.WithClient(cmd, func(ctx context.Context, cl *kgo.Client, adm *kadm.Client) error {
				return set(ctx, e, cl, adm, r, changes, dryRun)
			})
		},
	}
	cmd.Flags().StringArrayVar(&unset, "unset", nil, "a setting that returns to its default (repeatable)")
	unsets := completeResource(e, "", false)
	// The only error is a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc("unset", func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) < 2 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return unsets(cmd, args, word)
	})
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only check whether the change would be accepted")
	return cmd
}

type change = kmsg.IncrementalAlterConfigsRequestResourceConfig

// The operations of IncrementalAlterConfigs (KIP-339).
const (
	opSet kmsg.IncrementalAlterConfigOp = iota
	opDelete
	opAppend
	opSubtract
)

func parseChanges(pairs, unset []string) ([]change, error) {
	var changes []change
	for _, p := range pairs {
		name, text, ok := strings.Cut(p, "=")
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Op = opSet
		if n, more := strings.CutSuffix(name, "+"); more {
			c.Op, name = opAppend, n
		} else if n, less := strings.CutSuffix(name, "-"); less {
			c.Op, name = opSubtract, n
		}
		if !ok || name == "" {
			return nil, out.Usagef("%s: this is no change; use NAME=VALUE, NAME+=VALUE, NAME-=VALUE or --unset NAME", p)
		}
		c.Name, c.Value = name, &text
		changes = append(changes, c)
	}
	for _, name := range unset {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Op, c.Name = opDelete, name
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		return nil, out.Usagef("nothing to change: give NAME=VALUE or --unset NAME")
	}
	return changes, nil
}

func set(ctx context.Context, e *conn.Env, cl *kgo.Client, adm *kadm.Client, r resource, changes []change, dryRun bool) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	q := kmsg.NewIncrementalAlterConfigsRequestResource()
	q.ResourceType, q.ResourceName, q.Configs = r.kind, r.name, changes
	req.Resources = append(req.Resources, q)
	req.ValidateOnly = dryRun
	resp, err := requestAt(ctx, cl, adm, r, req)
	if err != nil {
		return err
	}
	for _, res := range resp.(*kmsg.IncrementalAlterConfigsResponse).Resources {
		if err := conn.KafkaError(res.ErrorCode, res.ErrorMessage); err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
	}
	if e.JSON() {
		return e.WriteJSON(map[string]any{"resource": r.String(), "changed": !dryRun})
	}
	e.Note("%s: %s", r, map[bool]string{true: "the change would be accepted", false: "changed"}[dryRun])
	return nil
}
