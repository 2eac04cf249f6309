package topic

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

type listed struct {
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	Replicas   int    `json:"replicas"`
	Internal   bool   `json:"internal,omitempty"`
}

func listCommand(e *conn.Env) *cobra.Command {
	var internal bool
	cmd := &cobra.Command{
		Use:   "list [PATTERN]",
		Short: "List topics, all or those whose name matches a regular expression",
		Example: `  leat topic list
  leat topic list '^orders'
  leat topic list --internal --format json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pattern, err := regexp.Compile(strings.Join(args, ""))
			if err != nil {
				return out.Usagef("%s: this is no regular expression: %v", args[0], err)
			}
			return e.WithAdmin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				topics, err := adm.ListTopicsWithInternal(ctx)
				if err != nil {
					return err
				}
				all := []listed{}
				t := out.Table{Header: []string{"topic", "partitions", "replicas"}, Right: []int{1, 2},
					Empty: "there are no topics; 'leat topic create' makes one"}
				for _, d := range topics.Sorted() {
					if d.IsInternal && !internal || !pattern.MatchString(d.Topic) {
						continue
					}
					l := listed{d.Topic, len(d.Partitions), d.Partitions.NumReplicas(), d.IsInternal}
					all = append(all, l)
					t.Rows = append(t.Rows, []string{l.Topic, fmt.Sprint(l.Partitions), fmt.Sprint(l.Replicas)})
				}
				return e.Emit(all, t)
			})
		},
	}
	cmd.Flags().BoolVarP(&internal, "internal", "i", false, "list internal topics too")
	return cmd
}
