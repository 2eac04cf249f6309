package group

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

type listed struct {
	Group       string `json:"group"`
	State       string `json:"state"`
	Type        string `json:"protocol_type"`
	Coordinator int32  `json:"coordinator"`
}

func listCommand(e *conn.Env) *cobra.Command {
	var states []string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List consumer groups",
		Example: `  leat group list
  leat group list --state Stable,Empty --format json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.WithAdmin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				groups, err := adm.ListGroups(ctx, states...)
				if err != nil {
					return err
				}
				all := []listed{}
				t := out.Table{Header: []string{"group", "state", "type", "coordinator"}, Right: []int{3}, Empty: "there are no groups"}
				for _, g := range groups.Sorted() {
					if len(states) > 0 && !contains(states, g.State) {
						continue
					}
					all = append(all, listed{g.Group, g.State, g.ProtocolType, g.Coordinator})
					t.Rows = append(t.Rows, []string{g.Group, g.State, g.ProtocolType, fmt.Sprint(g.Coordinator)})
				}
				return e.Emit(all, t)
			})
		},
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only groups in these states: Empty, PreparingRebalance, CompletingRebalance, Stable, Dead")
	conn.Complete(cmd, "state", "Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead")
	return cmd
}

func contains(words []string, s string) bool {
	for _, w := range words {
		if strings.EqualFold(w, s) {
			return true
		}
	}
	return false
}
