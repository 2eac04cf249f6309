package tools

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/cli/serve"
)

// serverStart is kafka-server-start.sh [-daemon] FILE [--override NAME=VALUE]...
func serverStart(ctx context.Context, x *script, args []string) error {
	daemon, fl, err := serverArgs(args)
	if err != nil {
		fmt.Fprintln(x.e.Err, err)
		fmt.Fprintf(x.e.Err, "USAGE: %s [-daemon] server.properties [--override property=value]*\n", x.name)
		return out.ErrSilent
	}
	if daemon {
		return x.startDaemon(fl)
	}
	cfg, warnings, err := fl.Load(os.Environ())
	if err != nil {
		return err
	}
	if x.run == nil {
		return errors.New("this program was built without the server")
	}
	forget, err := x.remember(os.Getpid())
	if err != nil {
		return err
	}
	defer forget()
	return x.run(ctx, cfg, warnings)
}

func serverArgs(args []string) (daemon bool, fl serve.Flags, err error) {
	for i := 0; i < len(args); i++ {
		next := func() (string, error) {
			if i++; i >= len(args) {
				return "", kafkaSays("Option %s requires an argument", args[i-1])
			}
			return args[i], nil
		}
		name, value, hasValue := strings.Cut(args[i], "=")
		switch {
		case name == "-daemon":
			daemon = true
		case name == "-loggc" || name == "-nogc":
		case name == "-name":
			_, err = next()
		case name == "--override" && hasValue:
			fl.Sets = append(fl.Sets, value)
		case name == "--override":
			value, err = next()
			fl.Sets = append(fl.Sets, value)
		case strings.HasPrefix(args[i], "-"):
			err = fmt.Errorf("%s is not a recognized option", args[i])
		case fl.File != "":
			err = kafkaSays("Found non argument parameters: %s", args[i])
		default:
			fl.File = args[i]
		}
		if err != nil {
			return false, fl, err
		}
	}
	if fl.File == "" {
		return false, fl, errors.New("the server.properties file is missing")
	}
	return daemon, fl, nil
}

// startDaemon starts a server that goes on when this command and its terminal are
// gone. Settings are checked first, so that mistakes are seen here.
func (x *script) startDaemon(fl serve.Flags) error {
	if _, _, err := fl.Load(os.Environ()); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	logs := x.e.Getenv("LOG_DIR")
	if logs == "" {
		logs = filepath.Join(x.home, "logs")
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(logs, "kafkaServer.out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"tools", "exec", x.home, x.name, fl.File}
	for _, s := range fl.Sets {
		args = append(args, "--override", s)
	}
	cmd := exec.Command(exe, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

func (x *script) pidDir() string { return filepath.Join(x.home, "run") }

// remember notes a running server for kafka-server-stop.sh.
func (x *script) remember(pid int) (forget func(), err error) {
	if err := os.MkdirAll(x.pidDir(), 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(x.pidDir(), "server-"+strconv.Itoa(pid)+".pid")
	if err := os.WriteFile(path, []byte(strconv.Itoa(pid)+"\n"), 0o644); err != nil {
		return nil, err
	}
	return func() { _ = os.Remove(path) }, nil // a file left behind is seen to be stale
}

// serverStop is kafka-server-stop.sh: it asks the servers that were started from
// this directory to stop.
func serverStop(_ context.Context, x *script, _ []string) error {
	files, err := filepath.Glob(filepath.Join(x.pidDir(), "server-*.pid"))
	if err != nil {
		return err
	}
	stopped := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it ended by itself
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || !isServer(pid, x.home) {
			_ = os.Remove(path) // stale: the process is gone, or its number is another's
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			return fmt.Errorf("process %d: %w", pid, err)
		}
		stopped++
	}
	if stopped == 0 {
		fmt.Fprintln(x.e.W, "No kafka server to stop")
		return out.ErrSilent
	}
	return nil
}

// isServer tells whether a process is a server that was started from home. Where
// the system does not tell command lines, that it lives is enough.
func isServer(pid int, home string) bool {
	if pid <= 1 || syscall.Kill(pid, 0) != nil {
		return false
	}
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		_, noProc := os.Stat("/proc/self")
		return noProc != nil
	}
	return strings.Contains(string(line), "kafka-server-start.sh") && strings.Contains(string(line), home)
}

// zookeeper is zookeeper-server-start.sh and -stop.sh: there is nothing to do, and
// a tutorial that backgrounds it or looks at its exit code goes on.
func zookeeper(_ context.Context, x *script, _ []string) error {
	if strings.Contains(x.name, "start") {
		fmt.Fprintln(x.e.W, "Leat needs no ZooKeeper: nothing was started. Go on with bin/kafka-server-start.sh config/server.properties")
	} else {
		fmt.Fprintln(x.e.W, "Leat needs no ZooKeeper: there is nothing to stop.")
	}
	return nil
}

var storageFlags = append(append(flags(none, "help", "standalone", "ignore-formatted", "no-initial-controllers"),
	flags(required, "cluster-id", "config", "release-version", "feature", "add-scram", "initial-controllers")...), flag{"g", none})

// storage is kafka-storage.sh: a random id, and a format step that is not needed.
func storage(_ context.Context, x *script, args []string) error {
	if len(args) == 0 {
		return x.storageUsage("the command is missing")
	}
	// The short flags are the same as long ones.
	long := map[string]string{"-t": "--cluster-id", "-c": "--config", "-g": "--ignore-formatted", "-s": "--standalone",
		"-f": "--feature", "-r": "--release-version", "-S": "--add-scram", "-I": "--initial-controllers", "-N": "--no-initial-controllers", "-h": "--help"}
	rest := make([]string, 0, len(args))
	for _, a := range args[1:] {
		if l, ok := long[a]; ok {
			a = l
		}
		rest = append(rest, a)
	}
	opts, err := parse(storageFlags, rest)
	if err != nil {
		return x.storageUsage(err.Error())
	}
	switch args[0] {
	case "random-uuid":
		fmt.Fprintln(x.e.W, randomID())
		return nil
	case "format", "info":
		if opts.value("config") == "" {
			return x.storageUsage("the following arguments are required: --config/-c")
		}
		cfg, _, err := serve.Flags{File: opts.value("config")}.Load(os.Environ())
		if err != nil {
			return err
		}
		if args[0] == "info" {
			fmt.Fprintf(x.e.W, "Found log directory:\n  %s\n\n", cfg.DataDir())
			return nil
		}
		fmt.Fprintf(x.e.W, "Leat needs no format step: %s is made ready at the first start.\n", cfg.DataDir())
		return nil
	}
	return x.storageUsage("invalid choice: '" + args[0] + "' (choose from 'info', 'format', 'random-uuid')")
}

func (x *script) storageUsage(reason string) error {
	fmt.Fprintf(x.e.Err, "usage: kafka-storage.sh {info,format,random-uuid} ...\nkafka-storage: error: %s\n", reason)
	return out.ErrSilent
}

// randomID is an id as Kafka writes them: 16 random bytes in the URL form of
// base64, never beginning with a hyphen, which would look like a flag.
func randomID() string {
	var id [16]byte
	for {
		_, _ = rand.Read(id[:]) // it never fails
		if s := base64.RawURLEncoding.EncodeToString(id[:]); s[0] != '-' {
			return s
		}
	}
}
