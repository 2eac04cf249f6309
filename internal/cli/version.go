package cli

import (
	"runtime"

	"github.com/spf13/cobra"

	"github.com/leat-stream/leat/internal/cli/conn"
)

func versionCommand(e *conn.Env) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: "  leat version\n  leat version --format json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if e.JSON() {
				return e.WriteJSON(map[string]string{"version": e.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
			}
			e.Line("leat " + e.Version + " (" + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + ")")
			return nil
		},
	}
}
