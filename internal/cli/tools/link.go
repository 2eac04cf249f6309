package tools

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

func linkCommand(e *conn.Env) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "link DIR",
		Short: "Write DIR/bin and DIR/config so that DIR looks like a Kafka installation",
		Long: "Write DIR/bin and DIR/config such that with KAFKA_HOME=DIR the commands of a Kafka tutorial work word for word: " +
			strings.Join(scriptNames(), ", ") + ". Apache's own scripts work with Leat too; these need no Java.",
		Example: `  leat tools link ~/kafka
  cd ~/kafka && bin/kafka-server-start.sh config/server.properties`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(_ *cobra.Command, args []string) error {
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			n, err := link(dir, exe, force)
			if err != nil {
				return err
			}
			if e.JSON() {
				return e.WriteJSON(map[string]any{"dir": dir, "files": n})
			}
			e.Note("%d files in %s; export KAFKA_HOME=%s", n, dir, quote(dir))
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace scripts that are not Leat's, and edited settings")
	return cmd
}

// mark tells a script of ours from one of Kafka's.
const mark = "# written by: leat tools link"

// link writes scripts and settings and gives the number of files written.
func link(dir, exe string, force bool) (int, error) {
	for _, sub := range []string{"bin", "config", filepath.Join("config", "kraft")} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return 0, err
		}
	}
	written := 0
	for _, name := range scriptNames() {
		path := filepath.Join(dir, "bin", name)
		if old, err := os.ReadFile(path); err == nil && !bytes.Contains(old, []byte(mark)) && !force {
			return written, out.Hint(fmt.Errorf("%s is there already, and is not Leat's", path), "use another directory, or --force to replace it")
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return written, err
		}
		if err := os.WriteFile(path, []byte(shim(exe, name)), 0o755); err != nil {
			return written, err
		}
		written++
	}
	for name, text := range settings(dir) {
		path := filepath.Join(dir, "config", filepath.FromSlash(name))
		if _, err := os.Stat(path); err == nil && !force {
			continue // it may have been edited
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return written, err
		}
		written++
	}
	return written, nil
}

// shim is the script that calls leat.
func shim(exe, name string) string {
	return "#!/bin/sh\n" + mark + "\n" +
		`home=$(cd "$(dirname "$0")/.." && pwd) || exit 1` + "\n" +
		"leat=${LEAT:-" + quote(exe) + "}\n" +
		`[ -x "$leat" ] || leat=leat` + "\n" +
		`exec "$leat" tools exec "$home" ` + name + ` "$@"` + "\n"
}

// quote makes one word of the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// settings are the files below config, by name.
func settings(dir string) map[string]string {
	server := `# Settings of one Leat server, which is broker and controller in one.
# "leat config list" shows every setting there is.
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=` + strings.ReplaceAll(filepath.Join(dir, "data"), `\`, `\\`) + `
num.partitions=1
offsets.topic.replication.factor=1
`
	return map[string]string{
		"server.properties":       server,
		"kraft/server.properties": server,
		"producer.properties":     "bootstrap.servers=localhost:9092\ncompression.type=none\n",
		"consumer.properties":     "bootstrap.servers=localhost:9092\ngroup.id=test-consumer-group\n",
		"zookeeper.properties":    "# Leat needs no ZooKeeper; this file is only here to be named in commands.\nclientPort=2181\n",
	}
}
