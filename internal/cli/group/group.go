// Package group holds "leat group": consumer groups, their lag and their offsets.
package group

import (
	"github.com/spf13/cobra"

	"github.com/leat-stream/leat/internal/cli/conn"
)

// Command is "leat group".
func Command(e *conn.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "List, describe, delete consumer groups and reset their offsets",
		Example: `  leat group list
  leat group describe billing
  leat group reset-offsets billing --topic orders --to start`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(listCommand(e), describeCommand(e), resetCommand(e), deleteCommand(e))
	return cmd
}
