package group

import (
	"context"
	"fmt"
	"slices"
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
			for i, s := range states {
				k := slices.IndexFunc(allStates, func(known string) bool { return strings.EqualFold(known, s) })
				if k < 0 {
					return out.Usagef("--state=%s: use %s", s, strings.Join(allStates, ", "))
				}
				states[i] = allStates[k]
			}
			return e.WithAdmin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				groups, err := adm.ListGroups(ctx, states...)
				if err != nil {
					return err
				}
				all := []listed{}
				t := out.Table{Header: []string{"group", "state", "type", "coordinator"}, Right: []int{3}, Empty: "there are no groups"}
				for _, g := range groups.Sorted() {
					if len(states) > 0 && !slices.Contains(states, g.State) {
						continue
					}
					all = append(all, listed{g.Group, g.State, g.ProtocolType, g.Coordinator})
					t.Rows = append(t.Rows, []string{g.Group, g.State, g.ProtocolType, fmt.Sprint(g.Coordinator)})
				}
				return e.Emit(all, t)
			})
		},
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only groups in these states: "+strings.Join(allStates, ", "))
	conn.Complete(cmd, "state", allStates...)
	return cmd
}

// allStates are the states of classic and of consumer protocol groups.
var allStates = []string{"Empty", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "Stable", "Dead"}
