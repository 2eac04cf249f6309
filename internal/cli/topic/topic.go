// Package topic holds "leat topic": the topics of a cluster.
package topic

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// Command is "leat topic".
func Command(e *conn.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topic",
		Short: "Create, list, describe, alter, delete and trim topics",
		Example: `  leat topic create orders --partitions 12
  leat topic list
  leat topic describe orders`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(createCommand(e), listCommand(e), describeCommand(e), alterCommand(e), deleteCommand(e), trimCommand(e))
	return cmd
}

// settings reads NAME=VALUE pairs.
func settings(pairs []string) (map[string]*string, error) {
	m := map[string]*string{}
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, out.Usagef("--config=%s: this is no setting; use NAME=VALUE", p)
		}
		m[name] = &value
	}
	return m, nil
}

func ids(list []int32) string {
	parts := make([]string, len(list))
	for i, id := range list {
		parts[i] = fmt.Sprint(id)
	}
	return strings.Join(parts, ",")
}
