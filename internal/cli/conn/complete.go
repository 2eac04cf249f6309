package conn

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leat-stream/leat/internal/config"
)

// completionTimeout bounds how long a press of the tab key may take.
const completionTimeout = 1500 * time.Millisecond

// Names completes arguments with names.
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

// Settings completes names of settings. A suffix of "=" says that a value follows;
// a nil keep offers all of the scope.
func Settings(scope config.Scope, suffix string, keep func(*config.Def) bool) Names {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for d := range config.Defs(scope) {
			if keep == nil || keep(d) {
				names = append(names, d.Name+suffix)
			}
		}
		if suffix == "" {
			return names, cobra.ShellCompDirectiveNoFileComp
		}
		return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// CompleteBy offers names for a flag.
func CompleteBy(cmd *cobra.Command, flag string, names Names) {
	// The only error is a flag that does not exist, which a test would show.
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return names(cmd, nil, word)
	})
}

// Complete offers words for a flag; without words, nothing, files neither.
func Complete(cmd *cobra.Command, flag string, words ...string) {
	CompleteBy(cmd, flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	})
}

// CompletePosition offers the positions that have a name.
func CompletePosition(cmd *cobra.Command, flag string) { Complete(cmd, flag, "start", "end") }
