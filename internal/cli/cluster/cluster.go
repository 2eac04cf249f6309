// Package cluster holds "leat cluster": the cluster as a whole.
package cluster

import (
	"github.com/spf13/cobra"

	"github.com/leat-stream/leat/internal/cli/conn"
)

// Command is "leat cluster".
func Command(e *conn.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cluster",
		Short:   "Show the cluster, and change which nodes hold what",
		Example: "  leat cluster info",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(infoCommand(e), statusCommand(e), balanceCommand(e), drainCommand(e), removeCommand(e))
	return cmd
}
