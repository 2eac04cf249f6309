// Package tools holds "leat tools": the shell scripts of Apache Kafka, so that the
// commands of a Kafka tutorial work word for word. "link" writes a directory with
// bin/*.sh and config/*.properties; the scripts call the hidden "exec", which
// takes the flags of Kafka's tools and answers in the same textual shape.
package tools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/cli/serve"
)

// Command is "leat tools".
func Command(e *conn.Env, run serve.Runner) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "tools",
		Short:   "Stand in for Apache Kafka's shell scripts",
		Example: "  leat tools link ~/kafka",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(linkCommand(e), execCommand(e, run))
	return cmd
}

func execCommand(e *conn.Env, run serve.Runner) *cobra.Command {
	return &cobra.Command{
		Use:                "exec HOME SCRIPT ARG...",
		Short:              "Do what a script of Apache Kafka does",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return out.Usagef("the directory and the name of a script are missing")
			}
			return Exec(cmd.Context(), e, run, args[0], args[1], args[2:])
		},
	}
}

// script is one run of a script.
type script struct {
	e    *conn.Env
	run  serve.Runner
	home string // the directory that "link" wrote
	name string
	tool tool
	opts *options
}

// tool is what a script does, and its flags.
type tool struct {
	flags []flag
	main  func(context.Context, *script) error
	// raw tools read their arguments themselves.
	raw func(context.Context, *script, []string) error
}

// scripts are the scripts that "link" writes.
var scripts = map[string]tool{
	"kafka-server-start.sh":     {raw: serverStart},
	"kafka-server-stop.sh":      {raw: serverStop},
	"zookeeper-server-start.sh": {raw: zookeeper},
	"zookeeper-server-stop.sh":  {raw: zookeeper},
	"kafka-storage.sh":          {raw: storage},
	"kafka-topics.sh":           {flags: topicsFlags, main: topics},
	"kafka-console-producer.sh": {flags: producerFlags, main: consoleProducer},
	"kafka-console-consumer.sh": {flags: consumerFlags, main: consoleConsumer},
	"kafka-consumer-groups.sh":  {flags: groupsFlags, main: consumerGroups},
}

// Exec does what a script of Kafka does with some arguments.
func Exec(ctx context.Context, e *conn.Env, run serve.Runner, home, name string, args []string) error {
	t, ok := scripts[name]
	if !ok {
		return out.Usagef("%s: there is no such script", name)
	}
	x := &script{e: e, run: run, home: home, name: name, tool: t}
	if t.raw != nil {
		return t.raw(ctx, x, args)
	}
	opts, err := parse(t.flags, args)
	if err != nil {
		return x.usage(err.Error())
	}
	x.opts = opts
	if opts.has("help") {
		x.help()
		return nil
	}
	if opts.has("version") {
		fmt.Fprintln(e.W, e.Version)
		return nil
	}
	if err := x.connectTo(); err != nil {
		return x.usage(err.Error())
	}
	return t.main(ctx, x)
}

// usage reports wrong arguments as Kafka's tools do: the reason, then the flags.
func (x *script) usage(reason string) error {
	fmt.Fprintln(x.e.Err, reason)
	x.help()
	return out.ErrSilent
}

func (x *script) help() {
	fmt.Fprintf(x.e.Err, "%s: Leat's stand-in for Apache Kafka's script. Options:\n", x.name)
	for _, f := range x.tool.flags {
		arg := map[arity]string{none: "", required: " <value>", optional: " [value]"}[f.arg]
		fmt.Fprintf(x.e.Err, "  --%s%s\n", f.name, arg)
	}
}

// connectTo names the cluster: --bootstrap-server, the older --broker-list, or
// for the yet older --zookeeper the usual place of a broker.
func (x *script) connectTo() error {
	props, err := x.opts.file("command-config", "consumer.config", "producer.config")
	if err != nil {
		return err
	}
	if p := props["security.protocol"]; p != "" && p != "PLAINTEXT" {
		return fmt.Errorf("security.protocol=%s is not built yet; use PLAINTEXT", p)
	}
	for _, name := range []string{"bootstrap-server", "broker-list"} {
		if s := x.opts.value(name); s != "" {
			x.e.SetBootstrap(s)
			return nil
		}
	}
	switch {
	case props["bootstrap.servers"] != "":
		x.e.SetBootstrap(props["bootstrap.servers"])
	case x.opts.has("zookeeper"):
		fmt.Fprintf(x.e.Err, "Leat needs no ZooKeeper: --zookeeper is ignored, the broker at %s is asked.\n", strings.Join(x.e.Brokers(), ","))
	case x.e.Getenv(conn.BootstrapVariable) == "":
		return kafkaSays("Missing required argument \"[bootstrap-server]\"")
	}
	return nil
}

// patience is how long a script waits for a broker that is only starting, as
// Kafka's tools do.
const patience = 60 * time.Second

// withPatience tries to connect again until a broker is there.
func (x *script) withPatience(ctx context.Context, connect func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	said := false
	for {
		err := connect(ctx)
		var usage *out.UsageError
		if err == nil || errors.As(err, &usage) || ctx.Err() != nil {
			return err
		}
		if !said {
			said = true
			fmt.Fprintf(x.e.Err, "WARN Connection to node -1 (%s) could not be established. Node may not be available.\n", strings.Join(x.e.Brokers(), ","))
		}
		t := time.NewTimer(retryInterval)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

const retryInterval = 300 * time.Millisecond

// scriptNames are the names of all scripts, sorted.
func scriptNames() []string {
	var names []string
	for n := range scripts {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// kafkaSays is an error in the words of Kafka's tools, which begin in capitals.
func kafkaSays(format string, args ...any) error { return fmt.Errorf(format, args...) }

func write(w io.Writer, s string) error {
	_, err := io.WriteString(w, s)
	return err
}
