package topic

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/cli/conn"
)

func deleteCommand(e *conn.Env) *cobra.Command {
	var ifExists bool
	cmd := &cobra.Command{
		Use:   "delete TOPIC...",
		Short: "Delete topics with all their records",
		Example: `  leat topic delete orders
  leat topic delete orders payments --if-exists`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: e.Topics(0),
		RunE: func(cmd *cobra.Command, topics []string) error {
			return e.WithAdmin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				rs, err := adm.DeleteTopics(ctx, topics...)
				if err != nil {
					return err
				}
				failures := e.Failures()
				done := []string{}
				for _, r := range rs.Sorted() {
					switch {
					case r.Err == nil:
						done = append(done, r.Topic)
					case ifExists && errors.Is(r.Err, kerr.UnknownTopicOrPartition):
					default:
						failures.Add("topic "+r.Topic, conn.WithMessage(r.Err, r.ErrMessage))
					}
				}
				if e.JSON() {
					if err := e.WriteJSON(map[string][]string{"deleted": done}); err != nil {
						return err
					}
				} else {
					for _, name := range done {
						e.Note("topic %s: deleted", name)
					}
				}
				return failures.Err()
			})
		},
	}
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "do not fail for topics that do not exist")
	return cmd
}
