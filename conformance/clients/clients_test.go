//go:build conformance

package clients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/conformance/harness"
)

// programLimit bounds one program's run.
const programLimit = 4 * time.Minute

// client is one version of a client and its programs.
type client struct {
	name, version string
	programs      []string
	// prepare installs the client and says how a program is run.
	prepare func() (command func(program string) *exec.Cmd, err error)
}

func here(elem ...string) string {
	return filepath.Join(append([]string{harness.Root(), "conformance", "clients"}, elem...)...)
}

func python(name, which string) func() (func(string) *exec.Cmd, error) {
	return func() (func(string) *exec.Cmd, error) {
		interpreter, err := harness.Python(here(name, "requirements-"+which+".txt"))
		return func(program string) *exec.Cmd {
			return exec.Command(interpreter, here(name, program+".py"))
		}, err
	}
}

func node(which string) func() (func(string) *exec.Cmd, error) {
	return func() (func(string) *exec.Cmd, error) {
		dir, err := harness.Node(here("kafkajs", which))
		return func(program string) *exec.Cmd {
			cmd := exec.Command("node", here("kafkajs", program+".js"))
			cmd.Env = []string{"NODE_PATH=" + filepath.Join(dir, "node_modules"), "KAFKAJS_NO_PARTITIONER_WARNING=1"}
			return cmd
		}, err
	}
}

// javaClient compiles the programs against a version of the client; folders
// hold those that only some versions can compile.
func javaClient(which string, folders ...string) func() (func(string) *exec.Cmd, error) {
	return func() (func(string) *exec.Cmd, error) {
		jars, err := harness.Jars(here("java", which, "pom.xml"))
		if err != nil {
			return nil, err
		}
		var sources []string
		for _, f := range append([]string{"."}, folders...) {
			found, err := filepath.Glob(here("java", f, "*.java"))
			if err != nil {
				return nil, err
			}
			sources = append(sources, found...)
		}
		path, err := harness.JavaClasses(jars, nil, sources...)
		return func(program string) *exec.Cmd {
			return exec.Command("java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", path, program)
		}, err
	}
}

func kcat() (func(string) *exec.Cmd, error) {
	_, err := harness.Debian("kcat", "kcat")
	return func(program string) *exec.Cmd { return exec.Command("bash", here("kcat", program+".sh")) }, err
}

func clients() []client {
	return []client{
		{"kafka-python", "3.0.12", []string{"produce", "groups", "admin"}, python("kafka-python", "new")},
		{"kafka-python", "2.0.2", []string{"produce", "groups", "admin"}, python("kafka-python", "old")},
		{"confluent-kafka (librdkafka)", "2.16.1", []string{"produce", "groups", "admin"}, python("confluent-kafka", "new")},
		{"confluent-kafka (librdkafka)", "2.0.2", []string{"produce", "groups", "admin"}, python("confluent-kafka", "old")},
		{"aiokafka", "0.14.0", []string{"produce", "groups"}, python("aiokafka", "new")},
		{"aiokafka", "0.8.1", []string{"produce", "groups"}, python("aiokafka", "old")},
		{"Java client", "4.4.0", []string{"Produce", "Groups", "Administer", "AdministerNew"}, javaClient("new", "only-new")},
		{"Java client", "2.8.2", []string{"Produce", "Groups", "Administer"}, javaClient("old")},
		{"kafkajs", "2.2.4", []string{"produce", "groups"}, node("new")},
		{"kafkajs", "1.16.0", []string{"produce", "groups"}, node("old")},
		{"kcat", "1.7.1", []string{"kcat"}, kcat},
	}
}

// TestClients runs every program of every client against one broker.
func TestClients(t *testing.T) {
	kind, err := harness.Chosen()
	if err != nil {
		t.Fatal(err)
	}
	broker := harness.StartFor(t, kind, harness.Options{})
	for _, c := range clients() {
		t.Run(c.name+" "+c.version, func(t *testing.T) {
			command, err := c.prepare()
			for _, program := range c.programs {
				t.Run(program, func(t *testing.T) {
					harness.Report(t, c.name, c.version, program, kind)
					harness.Need(t, c.name+" "+c.version, err)
					runProgram(t, command(program), c.version, broker.Addr)
				})
			}
		})
	}
}

// runProgram runs one program to its end; what it wrote is shown when it fails.
func runProgram(t *testing.T, cmd *exec.Cmd, version, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), programLimit)
	defer cancel()
	bounded := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	bounded.WaitDelay = 5 * time.Second
	bounded.Dir = filepath.Dir(cmd.Args[len(cmd.Args)-1])
	if !filepath.IsAbs(bounded.Dir) {
		bounded.Dir = t.TempDir()
	}
	bounded.Env = append(append(os.Environ(), cmd.Env...), "BOOTSTRAP="+addr, "PREFIX="+prefix(t),
		"CLIENT_VERSION="+version, "SCRATCH="+t.TempDir(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := bounded.CombinedOutput()
	if err != nil {
		if len(out) > 6000 {
			out = append([]byte("…"), out[len(out)-6000:]...)
		}
		t.Errorf("%v\n%s", err, out)
	}
}

// prefix makes a topic name's beginning of a test's name.
func prefix(t *testing.T) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, strings.TrimPrefix(t.Name(), "TestClients/")) + fmt.Sprintf("-%d", time.Now().Unix()%100000)
}
