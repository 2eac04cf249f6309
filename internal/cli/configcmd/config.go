// Package configcmd holds "leat config": the settings of server, brokers, topics
// and groups.
package configcmd

import (
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/config"
)

// Command is "leat config".
func Command(e *conn.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and change settings",
		Example: `  leat config list retention
  leat config get topic orders
  leat config set broker default log.retention.ms=86400000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(listCommand(e), getCommand(e), setCommand(e))
	return cmd
}

// resource is what settings belong to.
type resource struct {
	kind  kmsg.ConfigResourceType
	scope config.Scope
	name  string // a broker's is its id, or "" for all brokers
}

const kindGroup = kmsg.ConfigResourceTypeGroupConfig

// parseResource reads "topic NAME", "broker ID", "broker default" and "group NAME".
func parseResource(kind, name string) (resource, error) {
	switch kind {
	case "topic":
		return resource{kmsg.ConfigResourceTypeTopic, config.ScopeTopic, name}, nil
	case "group":
		return resource{kindGroup, config.ScopeGroup, name}, nil
	case "broker":
		if name == "default" {
			return resource{kmsg.ConfigResourceTypeBroker, config.ScopeBroker, ""}, nil
		}
		if _, err := strconv.ParseInt(name, 10, 32); err != nil {
			return resource{}, out.Usagef("broker %s: that is neither a broker's id nor 'default' (all brokers)", name)
		}
		return resource{kmsg.ConfigResourceTypeBroker, config.ScopeBroker, name}, nil
	}
	return resource{}, out.Usagef("%s: settings belong to a topic, a broker or a group", kind)
}

// completeResource completes "topic|broker|group NAME SETTING...", with the settings
// that can be changed while the brokers run, or all.
func completeResource(e *conn.Env, suffix string, all bool) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		switch len(args) {
		case 0:
			return []string{"topic", "broker", "group"}, cobra.ShellCompDirectiveNoFileComp
		case 1:
			switch args[0] {
			case "topic":
				return e.Topics(0)(cmd, nil, word)
			case "group":
				return e.Groups(0)(cmd, nil, word)
			}
			return []string{"default"}, cobra.ShellCompDirectiveNoFileComp
		}
		r, err := parseResource(args[0], args[1])
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return conn.Settings(r.scope, suffix, func(d *config.Def) bool {
			return r.scope != config.ScopeBroker || d.Update != config.ReadOnly || all
		})(cmd, nil, word)
	}
}
