// Package dev holds "leat dev": what people who build on Leat run on their own machine.
package dev

import (
	"github.com/spf13/cobra"

	"github.com/leat-stream/leat/internal/cli/conn"
)

// Command is "leat dev".
func Command(e *conn.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dev",
		Short:   "Run a cluster on this machine, to try things out",
		Example: "  leat dev cluster --nodes 3",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(clusterCommand(e))
	return cmd
}
