// Package cli is the command line of leat: a noun and a verb each ("leat topic
// create"), a folder per noun, a file per verb. Commands are clients like any
// other (kgo, kadm); only "serve" runs the server, and "log dump" and "config
// list" need none.
//
// Results go to standard output as a table or as JSON, everything else to standard
// error; exit codes are in package out.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-stream/leat/internal/cli/bench"
	"github.com/leat-stream/leat/internal/cli/cluster"
	"github.com/leat-stream/leat/internal/cli/configcmd"
	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/consume"
	"github.com/leat-stream/leat/internal/cli/dev"
	"github.com/leat-stream/leat/internal/cli/group"
	"github.com/leat-stream/leat/internal/cli/health"
	"github.com/leat-stream/leat/internal/cli/inspect"
	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/cli/produce"
	"github.com/leat-stream/leat/internal/cli/serve"
	"github.com/leat-stream/leat/internal/cli/tools"
	"github.com/leat-stream/leat/internal/cli/topic"
)

// Options are the surroundings of one run.
type Options struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	Version  string
	Serve    serve.Runner
}

// Run runs one command line, without the program's name, and gives the exit code.
func Run(ctx context.Context, opts Options, args []string) int {
	if opts.Getenv == nil {
		opts.Getenv = os.Getenv
	}
	o := out.New(opts.Out, opts.Err)
	root := newRoot(&conn.Env{Out: o, In: opts.In, Getenv: opts.Getenv, Version: opts.Version}, serve.Marked(opts.Serve))
	root.SetArgs(args)
	return o.Report(root.ExecuteContext(ctx))
}

func newRoot(e *conn.Env, run serve.Runner) *cobra.Command {
	root := &cobra.Command{
		Use:   "leat",
		Short: "Event streaming that speaks Kafka's protocol, in one program",
		Long: "Leat is event streaming in one program that speaks Kafka's protocol: 'leat serve' runs the server, " +
			"the other commands are its clients, and work with any Kafka cluster.\n\n" + exitCodes,
		Example: `  leat serve
  echo hello | leat produce greetings
  leat consume greetings
  leat topic list --bootstrap-server kafka-1:9092`,
		Version:       e.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return e.CheckFormat()
		},
	}
	e.AddFlags(root)
	root.SetIn(e.In)
	root.SetOut(e.W)
	root.SetErr(e.Out.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return out.Usagef("%v; see '%s --help'", err, cmd.CommandPath())
	})
	root.AddCommand(serve.Command(run), topic.Command(e), produce.Command(e), consume.Command(e), group.Command(e),
		configcmd.Command(e), cluster.Command(e), bench.Command(e), inspect.Command(e), tools.Command(e, run), dev.Command(e), health.Command(e), versionCommand(e))
	root.AddCommand(completionCommand())
	for _, path := range withoutCluster {
		// The only error is a command that does not exist, which a test would find.
		if cmd, _, err := root.Find(path); err == nil {
			hideClusterFlags(cmd)
		}
	}
	eachCommand(root, func(cmd *cobra.Command) {
		cmd.Args = usageArgs(cmd.Args)
		completeNoFiles(cmd)
	})
	return root
}

// withoutCluster are the commands, with those below them, that talk to no cluster.
var withoutCluster = [][]string{{"serve"}, {"log"}, {"version"}, {"completion"}, {"tools"}, {"dev"}, {"health"}, {"config", "list"}}

// hideClusterFlags leaves the flags that say which cluster, and how long to wait for
// it, out of a command's help. They belong to the root, so only while it is written.
func hideClusterFlags(cmd *cobra.Command) {
	help := cmd.HelpFunc()
	cmd.SetHelpFunc(func(c *cobra.Command, args []string) {
		for _, name := range []string{conn.BootstrapFlag, conn.TimeoutFlag} {
			if f := c.InheritedFlags().Lookup(name); f != nil {
				defer func(was bool) { f.Hidden = was }(f.Hidden)
				f.Hidden = true
			}
		}
		help(c, args)
	})
}

const exitCodes = `Exit codes: 0 done; 1 failed, wholly or in part; 2 wrong flag or argument, nothing was done; 3 a server that was removed from its cluster; 130 interrupted.`

func eachCommand(cmd *cobra.Command, fn func(*cobra.Command)) {
	fn(cmd)
	for _, c := range cmd.Commands() {
		eachCommand(c, fn)
	}
}

// usageArgs makes a wrong number of arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		err := check(cmd, args)
		var usage *out.UsageError
		if err == nil || errors.As(err, &usage) {
			return err
		}
		if cmd.HasSubCommands() {
			return unknownCommand(cmd, args)
		}
		return out.Usagef("%s; use %s", strings.ReplaceAll(err.Error(), "arg(s)", "argument(s)"), cmd.UseLine())
	}
}

// unknownCommand refuses a word that is no command, and names the nearest ones.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see '" + cmd.CommandPath() + " --help'"
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean '" + cmd.CommandPath() + " " + near[0] + "'?"
	}
	return out.Usagef("there is no command '%s %s'; %s", cmd.CommandPath(), args[0], hint)
}
