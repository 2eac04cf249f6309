package group

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leat-stream/leat/internal/cli/conn"
)

func deleteCommand(e *conn.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "delete GROUP...",
		Short: "Delete groups that have no running consumers, with their offsets",
		Example: `  leat group delete billing
  leat group delete billing audit`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: e.Groups(0),
		RunE: func(cmd *cobra.Command, names []string) error {
			return e.WithAdmin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				rs, err := adm.DeleteGroups(ctx, names...)
				if err != nil {
					return err
				}
				failures := e.Failures()
				done := []string{}
				for _, r := range rs.Sorted() {
					if r.Err != nil {
						failures.Add("group "+r.Group, r.Err)
						continue
					}
					done = append(done, r.Group)
				}
				if e.JSON() {
					if err := e.WriteJSON(map[string][]string{"deleted": done}); err != nil {
						return err
					}
				} else {
					for _, g := range done {
						e.Note("group %s: deleted", g)
					}
				}
				return failures.Err()
			})
		},
	}
}
