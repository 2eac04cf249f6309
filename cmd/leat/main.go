// Command leat is the whole of Leat: the server and its command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/leat-stream/leat/internal/cli"
)

// version is set by the build (-ldflags "-X main.version=v1.2.3").
var version = ""

// insist is for how long after the first signal a second one is taken for the same.
const insist = 2 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-ctx.Done()
		// Supervisors often signal twice, the child and its group: only a later signal
		// ends the process at once.
		time.Sleep(insist)
		stop()
	}()
	code := cli.Run(ctx, cli.Options{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Version: buildVersion(), Serve: runServer}, os.Args[1:])
	stop()
	os.Exit(code)
}

// buildVersion is the version of the build, or else the commit it was built from.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
