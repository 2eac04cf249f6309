// Package serve holds "leat serve": the server itself.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/server"
)

// Runner runs a server until ctx ends or it fails. The program hands one in, so
// that the command line can be tested without a server.
type Runner func(ctx context.Context, cfg *config.Config, warnings []config.Warning) error

// Marked is a runner whose server ends with an exit code of its own when it was removed from its
// cluster: a supervisor that started it again would bring it back.
func Marked(run Runner) Runner {
	if run == nil {
		return nil
	}
	return func(ctx context.Context, cfg *config.Config, warnings []config.Warning) error {
		err := run(ctx, cfg, warnings)
		if errors.Is(err, server.ErrRemoved) {
			return out.Removed(err)
		}
		return err
	}
}

// Command is "leat serve".
func Command(run Runner) *cobra.Command {
	var (
		fl        Flags
		withStdin bool
	)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: "Run the server until it is told to stop (Ctrl-C, SIGTERM). It needs no configuration: data goes to ./leat-data, " +
			"Kafka clients connect to localhost:9092, and metrics are at http://localhost:9644/metrics.\n\n" +
			"Settings have Kafka's names. They come from --config, a server.properties file, then from the environment " +
			"(LEAT_ADVERTISED_LISTENERS for advertised.listeners; LEAT_DATA is the data directory), then from --set. " +
			"'leat config list' shows them all.",
		Example: `  leat serve
  leat serve --config server.properties
  leat serve --set log.dirs=/var/lib/leat --set log.retention.hours=24
  leat serve --set listeners=PLAINTEXT://0.0.0.0:9092 --insecure
  leat serve --join kafka-1:9093 --insecure`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, warnings, err := fl.Load(os.Environ())
			if err != nil {
				return asUsage(err)
			}
			if run == nil {
				return errors.New("this program was built without the server")
			}
			ctx := cmd.Context()
			if withStdin {
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				defer cancel()
				go untilEnd(cmd.InOrStdin(), cancel)
			}
			return run(ctx, cfg, warnings)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&fl.File, "config", "c", "", "a server.properties file")
	f.StringArrayVarP(&fl.Sets, "set", "s", nil, "a setting, NAME=VALUE (repeatable; stronger than file and environment)")
	f.StringVar(&fl.Join, "join", "", "HOST:PORT of any node of the cluster to join; listens on the address of this machine that leads there")
	f.BoolVar(&fl.Insecure, "insecure", false, "allow listeners that other machines can reach without TLS and authentication")
	f.BoolVar(&withStdin, "stop-with-stdin", false, "stop when standard input ends")
	f.Lookup("stop-with-stdin").Hidden = true // for a parent whose end, however it comes, is to end the server
	conn.CompleteBy(cmd, "set", conn.Settings(config.ScopeBroker, "=", nil))
	// The only error is a flag that does not exist.
	_ = cmd.MarkFlagFilename("config", "properties")
	return cmd
}

// setFlag is what stands for --set, and for the flags that are short for it, in errors.
const setFlag = "--set"

// asUsage makes a setting that is wrong in a flag a usage error; in a file or in the
// environment it is none.
func asUsage(err error) error {
	var bad *config.Error
	if errors.As(err, &bad) && (bad.Where == setFlag || bad.Name == setFlag) {
		return out.Usagef("%v", err)
	}
	return err
}

// untilEnd calls end once nothing more can come from a reader.
func untilEnd(r io.Reader, end func()) {
	// However it ends, the parent is gone.
	_, _ = io.Copy(io.Discard, r)
	end()
}

// Flags are where the server's settings come from, besides the environment.
type Flags struct {
	File     string
	Sets     []string
	Join     string
	Insecure bool
}

// Load reads and resolves the settings.
func (f Flags) Load(env []string) (*config.Config, []config.Warning, error) {
	src := config.Sources{Env: env, Sets: f.Sets, Route: server.RouteTo, Recall: server.Recall}
	if f.File != "" {
		file, err := os.Open(f.File)
		if err != nil {
			return nil, nil, fmt.Errorf("--config: %w", err)
		}
		defer file.Close()
		src.File, src.FileName = file, f.File
	}
	src.Sets = slices.Clip(src.Sets)
	if f.Join != "" {
		src.Sets = append(src.Sets, string(config.LeatJoin)+"="+f.Join)
	}
	if f.Insecure {
		src.Sets = append(src.Sets, "insecure=true")
	}
	return config.Load(src)
}
