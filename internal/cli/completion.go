package cli

import (
	_ "embed"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// bashPrelude stands in for the bash-completion package, on which cobra's script
// for bash relies and which many machines do not have.
//
//go:embed completion.bash
var bashPrelude string

// shells are those that completion is made for.
var shells = []string{"bash", "zsh", "fish", "powershell"}

func completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Write the script by which a shell completes commands, flags, and names of topics and groups",
		Long: "Write the script by which a shell (bash, zsh, fish, powershell) completes commands, flags, settings, and the names " +
			"of the cluster's topics and groups. Load it where the shell starts.",
		Example: `  echo 'source <(leat completion bash)' >> ~/.bashrc
  echo 'source <(leat completion zsh)' >> ~/.zshrc    # below compinit
  leat completion fish > ~/.config/fish/completions/leat.fish
  leat completion powershell | Out-String | Invoke-Expression`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(shells, args[0]) {
				return out.Usagef("name a shell: bash, zsh, fish or powershell")
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return shells, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root, w := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(w)
			}
			if _, err := io.WriteString(w, bashPrelude); err != nil {
				return err
			}
			return root.GenBashCompletionV2(w, true)
		},
	}
}

// completeNoFiles keeps shells from offering files where none are wanted: for flags
// without completion of their own, and for commands without arguments.
func completeNoFiles(cmd *cobra.Command) {
	if cmd.ValidArgsFunction == nil && cmd.Args(cmd, []string{"x"}) != nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		_, file := f.Annotations[cobra.BashCompFilenameExt]
		if _, own := cmd.GetFlagCompletionFunc(f.Name); !own && !file && f.NoOptDefVal == "" {
			conn.Complete(cmd, f.Name)
		}
	})
}
