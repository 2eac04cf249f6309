package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/config"
)

// world is a cluster in memory and the command line in front of it.
type world struct {
	t       *testing.T
	servers string
	cluster *kfake.Cluster
}

func newWorld(t *testing.T, opts ...kfake.Opt) *world {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.AllowAutoTopicCreation()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &world{t, strings.Join(c.ListenAddrs(), ","), c}
}

// result is what one command did.
type result struct {
	code     int
	out, err string
}

// run runs a command with standard input.
func (w *world) run(stdin string, args ...string) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	env := func(name string) string {
		if name == conn.BootstrapVariable && w != nil {
			return w.servers
		}
		return ""
	}
	code := Run(ctx, Options{In: strings.NewReader(stdin), Out: &stdout, Err: &stderr, Getenv: env, Version: "test"}, args)
	return result{code, stdout.String(), stderr.String()}
}

// ok runs a command that must succeed, and gives its output.
func (w *world) ok(stdin string, args ...string) string {
	w.t.Helper()
	r := w.run(stdin, args...)
	if r.code != 0 {
		w.t.Fatalf("leat %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
}

// fails runs a command that must fail with a code and a one-line message.
func (w *world) fails(code int, message string, args ...string) {
	w.t.Helper()
	r := w.run("", args...)
	if r.code != code || !strings.Contains(r.err, message) || strings.Count(r.err, "\n") != 1 || !strings.HasPrefix(r.err, "leat: ") {
		w.t.Errorf("leat %s: exit %d, want %d\n%swant %s", strings.Join(args, " "), r.code, code, r.err, message)
	}
}

func (w *world) json(into any, args ...string) {
	w.t.Helper()
	text := w.ok("", append(args, "--format", "json")...)
	if err := json.Unmarshal([]byte(text), into); err != nil {
		w.t.Fatalf("leat %s: %v\n%s", strings.Join(args, " "), err, text)
	}
}

// lines are the lines of a table with their columns joined by one space.
func lines(text string) []string {
	var all []string
	for _, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		all = append(all, strings.Join(strings.Fields(l), " "))
	}
	return all
}

func wantLines(t *testing.T, text string, want ...string) {
	t.Helper()
	if got := lines(text); !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

func TestTopics(t *testing.T) {
	w := newWorld(t)
	wantLines(t, w.ok("", "topic", "create", "orders", "-p", "3", "-c", "retention.ms=5000", "-r", "1"),
		"TOPIC PARTITIONS REPLICAS STATUS", "orders 3 1 created")
	w.fails(1, "topic orders: TOPIC_ALREADY_EXISTS", "topic", "create", "orders")
	wantLines(t, w.ok("", "topic", "create", "orders", "bills", "-p", "1", "--if-not-exists"),
		"TOPIC PARTITIONS REPLICAS STATUS", "orders - - exists", "bills 1 1 created")
	wantLines(t, w.ok("", "topic", "list"), "TOPIC PARTITIONS REPLICAS", "bills 1 1", "orders 3 1")
	wantLines(t, w.ok("", "topic", "list", "^o"), "TOPIC PARTITIONS REPLICAS", "orders 3 1")
	var listed []struct {
		Topic      string
		Partitions int
	}
	w.json(&listed, "topic", "list")
	if len(listed) != 2 || listed[1].Topic != "orders" || listed[1].Partitions != 3 {
		t.Errorf("%+v", listed)
	}
	w.ok("a\nb\n", "produce", "orders", "-p", "1")
	text := w.ok("", "topic", "describe", "orders")
	for _, want := range []string{"topic orders", "PARTITION LEADER EPOCH REPLICAS ISR START END RECORDS", "retention.ms 5000 topic"} {
		if !slices.Contains(lines(text), want) {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
	var d []struct {
		Topic      string
		Partitions []struct {
			Partition  int32
			End        int64 `json:"end_offset"`
			StartValue int64 `json:"start_offset"`
		}
		Configs map[string]string
	}
	w.json(&d, "topic", "describe", "orders")
	if len(d) != 1 || len(d[0].Partitions) != 3 || d[0].Partitions[1].End != 2 || d[0].Configs["retention.ms"] != "5000" {
		t.Errorf("%+v", d)
	}
	w.ok("", "topic", "alter", "orders", "-c", "retention.ms=7000", "-p", "4")
	if text := w.ok("", "topic", "describe", "orders"); !strings.Contains(text, "7000") {
		t.Error(text)
	}
	w.ok("", "topic", "alter", "orders", "--unset", "retention.ms")
	if text := w.ok("", "topic", "describe", "orders"); !strings.Contains(text, "every setting has its default") {
		t.Error(text)
	}
	w.ok("", "topic", "trim", "orders", "--before", "end", "-p", "1", "--timeout", "5s")
	w.json(&d, "topic", "describe", "orders")
	if d[0].Partitions[1].StartValue != 2 || len(d[0].Partitions) != 4 {
		t.Errorf("%+v", d)
	}
	w.ok("", "topic", "delete", "orders")
	w.fails(1, "topic orders: UNKNOWN_TOPIC", "topic", "delete", "orders")
	w.ok("", "topic", "delete", "orders", "bills", "--if-exists")
	if r := w.run("", "topic", "list"); r.code != 0 || r.out != "" || !strings.Contains(r.err, "there are no topics") {
		t.Errorf("%+v", r)
	}
}

func TestSeveralFailuresAreAllReported(t *testing.T) {
	w := newWorld(t)
	r := w.run("", "topic", "describe", "a", "b")
	if r.code != 1 || strings.Count(r.err, "leat: topic ") != 2 {
		t.Errorf("%+v", r)
	}
}

func TestUsageErrors(t *testing.T) {
	w := newWorld(t)
	w.fails(2, "there is no command 'leat topc'; did you mean 'leat topic'?", "topc")
	w.fails(2, "there is no command 'leat topic creat'; did you mean 'leat topic create'?", "topic", "creat")
	w.fails(2, "requires at least 1 argument", "topic", "create")
	w.fails(2, "unknown flag: --partitons; see 'leat topic create --help'", "topic", "create", "a", "--partitons", "3")
	w.fails(2, "--format=xml: there is no such format", "topic", "list", "--format", "xml")
	w.fails(2, "--config=x: this is no setting", "topic", "create", "a", "-c", "x")
	w.fails(2, "nothing to change", "topic", "alter", "a")
	w.fails(2, "--before is missing", "topic", "trim", "a")
	w.fails(2, "--before=soon: this is no position", "topic", "trim", "a", "--before", "soon")
	w.fails(2, "--compression=rar", "produce", "a", "-z", "rar")
	w.fails(2, "--acks=some", "produce", "a", "--acks", "some")
	w.fails(2, "--header=x", "produce", "a", "-H", "x")
	w.fails(2, "--tombstone deletes a key", "produce", "a", "--tombstone")
	w.fails(2, "--layout=%q", "produce", "a", "--layout", "%q")
	w.fails(2, "--template=%q", "consume", "a", "-t", "%q")
	w.fails(2, "--group shares partitions out", "consume", "a", "-g", "g", "-p", "1")
	w.fails(2, "say what is moved", "group", "reset-offsets", "g")
	w.fails(2, "settings belong to", "config", "get", "user", "x")
	w.fails(2, "that is neither a broker's id", "config", "get", "broker", "x")
	w.fails(2, "this is no change", "config", "set", "topic", "a", "b")
	w.fails(2, "(: this is no regular expression", "topic", "list", "(")
}

func TestUnreachableBroker(t *testing.T) {
	w := &world{t: t, servers: "127.0.0.1:1"}
	w.fails(1, "cannot reach a broker at 127.0.0.1:1: connection refused; start one with 'leat serve'", "topic", "list")
	w.fails(1, "cannot reach a broker at 127.0.0.1:1", "produce", "t")
	w.fails(1, "cannot reach a broker at 127.0.0.1:1", "consume", "t")
}

// TestHungBrokers: those that take connections and say nothing keep nobody from one that
// answers, and that none answers is told as that.
func TestHungBrokers(t *testing.T) {
	w := newWorld(t)
	var hung []string
	for range 8 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		hung = append(hung, l.Addr().String())
	}
	w.servers = strings.Join(append(hung, w.servers), ",")
	w.ok("", "topic", "list", "--timeout", "9s")
	w.servers = strings.Join(hung, ",")
	w.fails(1, "no answer; one that waits for its cluster answers nobody", "topic", "list", "--timeout", "100ms")
	w.servers = hung[0]
	w.fails(1, "no answer; one that waits for its cluster answers nobody", "topic", "list", "--timeout", "100ms")
}

func TestConfig(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(1, "orders"))
	if text := w.ok("", "config", "list", "log.retention.h"); !slices.Equal(lines(text),
		[]string{"NAME DEFAULT TYPE CHANGES EFFECT SCOPE", "log.retention.hours 168 int read-only built broker"}) {
		t.Error(text)
	}
	var all []struct{ Name, Scope string }
	w.json(&all, "config", "list")
	n := 0
	for _, s := range []config.Scope{config.ScopeBroker, config.ScopeTopic, config.ScopeGroup, config.ScopeClientMetrics} {
		for range config.Defs(s) {
			n++
		}
	}
	if len(all) != n {
		t.Errorf("%d settings, want %d", len(all), n)
	}
	wantLines(t, w.ok("", "config", "list", "retention.ms", "delete", "--scope", "topic"),
		"NAME DEFAULT TYPE CHANGES EFFECT", "delete.retention.ms 86400000 long built")
	if text := w.ok("", "config", "list", "http.listen", "--long"); !strings.Contains(text, "variable: LEAT_HTTP_LISTEN") {
		t.Error(text)
	}
	w.ok("", "config", "set", "topic", "orders", "retention.ms=5000", "max.message.bytes=1000")
	wantLines(t, w.ok("", "config", "get", "topic", "orders"), "SETTING VALUE FROM", "max.message.bytes 1000 topic", "retention.ms 5000 topic")
	w.ok("", "config", "set", "topic", "orders", "--unset", "retention.ms")
	wantLines(t, w.ok("", "config", "get", "topic", "orders"), "SETTING VALUE FROM", "max.message.bytes 1000 topic")
	var values []struct{ Name, Value, From string }
	w.json(&values, "config", "get", "topic", "orders", "retention.ms")
	if len(values) != 1 || values[0].Value != "604800000" || values[0].From != "default" {
		t.Errorf("%+v", values)
	}
	w.ok("", "config", "set", "broker", "default", "log.retention.ms=9000", "--dry-run")
	w.fails(1, "there is no broker 77", "config", "get", "broker", "77")
	w.fails(1, "topic nope: UNKNOWN_TOPIC_OR_PARTITION", "config", "get", "topic", "nope")
}

func TestClusterInfo(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(3, "orders"))
	var info struct {
		Topics, Partitions int
		Brokers            []struct{ Port int32 }
	}
	w.json(&info, "cluster", "info")
	if info.Topics != 1 || info.Partitions != 3 || len(info.Brokers) != 1 {
		t.Errorf("%+v", info)
	}
	if text := w.ok("", "cluster", "info"); !strings.Contains(text, "BROKER") {
		t.Error(text)
	}
}

// Every command has an example, a short text, and complete flags.
func TestEveryCommandIsDocumented(t *testing.T) {
	var b bytes.Buffer
	root := newRoot(&conn.Env{Out: out.New(&b, &b), Getenv: func(string) string { return "" }}, nil)
	eachCommand(root, func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		if cmd.Short == "" || !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s: no text, or no example of it", cmd.CommandPath())
		}
		for _, line := range strings.Split(cmd.Example, "\n") {
			if !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: the example %q is not indented", cmd.CommandPath(), line)
			}
		}
	})
}

func TestCompletion(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(1, "orders", "bills"))
	w.ok("x\n", "produce", "orders")
	w.ok("", "consume", "orders", "-g", "billing", "-n", "1")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"topic", "describe", ""}, "bills orders"},
		{[]string{"topic", "describe", "orders", ""}, "bills"},
		{[]string{"group", "describe", ""}, "billing"},
		{[]string{"consume", "--group", ""}, "billing"},
		{[]string{"topic", "list", "--format", ""}, "table json"},
		{[]string{"config", "get", ""}, "topic broker group"},
		{[]string{"config", "set", "topic", ""}, "bills orders"},
		{[]string{"produce", "t", "--compression", ""}, "none gzip snappy lz4 zstd"},
		{[]string{"bench", "e2e", "--topic", ""}, "bills orders"},
		{[]string{"bench", "consume", "--topic", ""}, "bills orders"},
		{[]string{"bench", "produce", "--acks", ""}, "all leader none"},
		{[]string{"consume", "orders", "--from", ""}, "start end"},
		{[]string{"topic", "trim", "orders", "--before", ""}, "start end"},
		{[]string{"group", "reset-offsets", "billing", "--to", ""}, "start end"},
		{[]string{"group", "reset-offsets", "billing", "--topic", ""}, "bills orders"},
		{[]string{"completion", ""}, "bash zsh fish powershell"},
	} {
		text := w.ok("", append([]string{"__complete"}, c.args...)...)
		var words []string
		for _, l := range lines(text) {
			if !strings.HasPrefix(l, ":") {
				words = append(words, l)
			}
		}
		if got := strings.Join(words, " "); got != c.want {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
	}
	for _, c := range [][]string{
		{"retention.ms=", "config", "set", "topic", "orders", ""},
		{"retention.ms\n", "config", "set", "topic", "orders", "--unset", ""},
		{"retention.ms=", "topic", "create", "t", "--config", ""},
		{"retention.ms=", "topic", "alter", "orders", "--config", ""},
		{"retention.ms\n", "topic", "alter", "orders", "--unset", ""},
		{"retention.ms=", "bench", "e2e", "--topic-config", ""},
		{"log.retention.ms=", "serve", "--set", ""},
	} {
		if text := w.ok("", append([]string{"__complete"}, c[1:]...)...); !strings.Contains(text, "\n"+c[0]) && !strings.HasPrefix(text, c[0]) {
			t.Errorf("%q: %s", c[1:], text)
		}
	}
	// Files are offered only where files are wanted.
	for _, c := range []struct {
		directive string
		args      []string
	}{
		{":0", []string{"log", "dump", ""}}, {":0", []string{"produce", "t", "--file", ""}}, {":16", []string{"tools", "link", ""}},
		{":8", []string{"serve", "--config", ""}}, {":4", []string{"topic", "create", "x", ""}}, {":4", []string{"serve", ""}},
		{":4", []string{"consume", "orders", "--partition", ""}}, {":4", []string{"version", ""}}, {":4", []string{"topic", ""}},
		{":4", []string{"topic", "list", "--bootstrap-server", ""}}, {":4", []string{"produce", "t", "--key", ""}},
	} {
		if all := lines(w.ok("", append([]string{"__complete"}, c.args...)...)); all[len(all)-1] != c.directive {
			t.Errorf("%q: %q, want %s", c.args, all, c.directive)
		}
	}
	if text := w.ok("", "__complete", "topic", ""); !strings.Contains(text, "describe\t") {
		t.Error(text)
	}
	// A broker that is away gives no names and no noise.
	away := &world{t: t, servers: "127.0.0.1:1"}
	if text := away.ok("", "__complete", "topic", "describe", ""); !strings.HasPrefix(text, ":") {
		t.Error(text)
	}
	for _, shell := range shells {
		if text := w.ok("", "completion", shell); len(text) < 1000 {
			t.Errorf("%s: %q", shell, text)
		}
	}
	w.fails(2, "name a shell", "completion")
	w.fails(2, "name a shell", "completion", "csh")
}

// A hint stands once, although several layers explain an error.
func TestHintStandsOnce(t *testing.T) {
	w := newWorld(t)
	if r := w.run("", "topic", "delete", "nope"); strings.Count(r.err, "'leat topic list'") != 1 {
		t.Errorf("%q", r.err)
	}
}

func TestVersion(t *testing.T) {
	w := &world{t: t, servers: "127.0.0.1:1"}
	if got := w.ok("", "version"); !strings.HasPrefix(got, "leat test (go1.") {
		t.Errorf("%q", got)
	}
	var v struct{ Version, Platform string }
	w.json(&v, "version")
	if v.Version != "test" || v.Platform == "" {
		t.Errorf("%+v", v)
	}
}

// TestHelpOfCommandsWithoutACluster does not list flags that do nothing there.
func TestHelpOfCommandsWithoutACluster(t *testing.T) {
	w := &world{t: t}
	for _, c := range []struct {
		cluster bool
		args    string
	}{
		{false, "serve"}, {false, "log"}, {false, "log dump"}, {false, "version"}, {false, "completion"}, {false, "tools"}, {false, "tools link"},
		{false, "config list"}, {true, ""}, {true, "config set"}, {true, "topic list"}, {true, "bench produce"},
	} {
		for _, args := range [][]string{append(strings.Fields(c.args), "--help"), append([]string{"help"}, strings.Fields(c.args)...)} {
			text := w.ok("", args...)
			for _, flag := range []string{"--bootstrap-server", "--timeout"} {
				if strings.Contains(text, flag+" ") != c.cluster {
					t.Errorf("%q: %s is listed: %v", args, flag, !c.cluster)
				}
			}
			if !strings.Contains(text, "--format") {
				t.Errorf("%q: --format is not listed", args)
			}
		}
	}
}
