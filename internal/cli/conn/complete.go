package conn

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

// completionTimeout bounds how long a press of the tab key may take.
const completionTimeout = 1500 * time.Millisecond

// Names completes arguments with names from the cluster.
type Names func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

func (e *Env) names(most int, list func(context.Context, *kadm.Client) ([]string, error)) Names {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		e.timeout = completionTimeout
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completionTimeout)
		defer cancel()
		adm, err := e.Admin(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer adm.Close()
		all, err := list(ctx, adm)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all = slices.DeleteFunc(all, func(n string) bool { return slices.Contains(args, n) })
		slices.Sort(all)
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}

// Topics completes up to most topic names; most 0 is any number of them.
func (e *Env) Topics(most int) Names {
	return e.names(most, func(ctx context.Context, adm *kadm.Client) ([]string, error) {
		t, err := adm.ListTopics(ctx)
		return t.Names(), err
	})
}

// Groups completes up to most group names; most 0 is any number of them.
func (e *Env) Groups(most int) Names {
	return e.names(most, func(ctx context.Context, adm *kadm.Client) ([]string, error) {
		g, err := adm.ListGroups(ctx)
		return g.Groups(), err
	})
}
