package dev_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/server"
)

// TestMain is leat itself when it is run as such: the nodes are processes of this
// program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "serve" || os.Args[1] == "dev") {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(leat(ctx, os.Stderr, os.Args[1:]...))
	}
	os.Exit(m.Run())
}

func leat(ctx context.Context, stderr interface{ Write([]byte) (int, error) }, args ...string) int {
	serve := func(ctx context.Context, cfg *config.Config, _ []config.Warning) error {
		return server.Run(ctx, server.Options{Config: cfg, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Version: "test"})
	}
	return cli.Run(ctx, cli.Options{In: os.Stdin, Out: os.Stdout, Err: stderr, Version: "test", Serve: serve}, args)
}

// said is what a command wrote, for who waits for it.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newSaid() *said { return &said{more: make(chan struct{}, 1)} }

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits for a line behind the first skip matches, and gives its groups.
func (s *said) await(t *testing.T, pattern string, skip int) []string {
	t.Helper()
	re := regexp.MustCompile(`(?m)^` + pattern + `$`)
	for ctx := deadline(t); ; {
		if all := re.FindAllStringSubmatch(s.String(), -1); len(all) > skip {
			return all[skip]
		}
		select {
		case <-s.more:
		case <-ctx.Done():
			t.Fatalf("no line %s in\n%s", pattern, s)
		}
	}
}

// deadline bounds a test that waits for something that never comes.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 80*time.Second)
	t.Cleanup(cancel)
	return ctx
}

const upLine = `healthy: 3 nodes .*`

// node finds the process and the addresses of a node, after so many starts of it.
func (s *said) node(t *testing.T, id, starts int) (pid int, kafka, http string) {
	t.Helper()
	m := s.await(t, `\[`+strconv.Itoa(id)+`\] pid (\d+), clients (\S+), http (\S+)`, starts)
	pid, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return pid, m[2], m[3]
}

// gone waits until nobody serves at an address.
func gone(t *testing.T, address string) {
	t.Helper()
	for ctx := deadline(t); ; {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			if ctx.Err() != nil {
				t.Fatalf("%s is still served", address)
			}
			return
		}
		// Whoever serves ends the connection when it ends, and sends nothing before.
		if d, ok := ctx.Deadline(); ok {
			if err := c.SetReadDeadline(d); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = c.Read(make([]byte, 1))
		c.Close()
	}
}

// Three processes are one cluster. One that is killed is told, and comes back with
// --restart; nothing that was acknowledged is lost; at the end all are gone.
func TestClusterOfProcesses(t *testing.T) {
	text := newSaid()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	data := filepath.Join(t.TempDir(), "data")
	code := make(chan int, 1)
	go func() {
		code <- leat(ctx, text, "dev", "cluster", "--nodes", "3", "--port", "0", "--data", data, "--restart",
			"--set", "broker.session.timeout.ms=1000", "--set", "broker.heartbeat.interval.ms=200")
	}()
	defer func() { interrupt(); <-code }()
	text.await(t, upLine, 0)
	_, first, http1 := text.node(t, 1, 0)
	pid, _, http2 := text.node(t, 2, 0)

	client, err := kgo.NewClient(kgo.SeedBrokers(first), kgo.DefaultProduceTopic("t"), kgo.ConsumeTopics("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(deadline(t), 6, 3, nil, "t"); err != nil {
		t.Fatal(err)
	}
	produce := func(key string) {
		t.Helper()
		for i := range 20 {
			if err := client.ProduceSync(deadline(t), kgo.KeyStringRecord(key+strconv.Itoa(i), "v")).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	produce("before-")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	text.await(t, `node 2 ended: signal: killed`, 0)
	produce("after-")
	if again, _, _ := text.node(t, 2, 1); again == pid {
		t.Errorf("node 2 is process %d again", pid)
	}
	seen := map[string]bool{}
	for len(seen) < 40 {
		fetches := client.PollFetches(deadline(t))
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Key)] = true })
	}
	text.await(t, `node 2 ended: signal: killed\n(?s:.*)\n`+upLine, 0) // healthy again

	interrupt()
	got := <-code
	code <- got
	if got != 0 {
		t.Errorf("exit code %d", got)
	}
	text.await(t, `\[1\] .*msg="stopped in .*`, 0)
	if strings.Contains(text.String(), "was killed") {
		t.Error(text)
	}
	gone(t, http1)
	gone(t, http2)
}

// The nodes end with the process that started them, however that ends.
func TestNodesEndWithTheirParent(t *testing.T) {
	text := newSaid()
	cmd := exec.Command(os.Args[0], "dev", "cluster", "--nodes", "2", "--port", "0", "--data", t.TempDir())
	cmd.Stderr = text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd.WaitDelay = time.Minute
	text.await(t, `healthy: 2 nodes .*`, 0)
	var addresses []string
	for id := 1; id <= 2; id++ {
		_, _, http := text.node(t, id, 0)
		addresses = append(addresses, http)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for _, a := range addresses {
		gone(t, a)
	}
}

func TestAStartThatIsRefused(t *testing.T) {
	text := newSaid()
	code := leat(t.Context(), text, "dev", "cluster", "--nodes", "3", "--port", "0", "--data", t.TempDir(), "--set", "num.partitions=many")
	if code != 1 || !regexp.MustCompile(`(?m)^leat: node \d did not start: exit status 2: num.partitions=many`).MatchString(text.String()) {
		t.Errorf("exit code %d\n%s", code, text)
	}
	for _, args := range [][]string{{"--nodes", "0"}, {"--nodes", "99"}, {"--port", "65000"}, {"--port", "-1"}} {
		text := newSaid()
		if code := leat(t.Context(), text, append([]string{"dev", "cluster"}, args...)...); code != 2 || !strings.HasPrefix(text.String(), "leat: "+args[0]+"=") {
			t.Errorf("%v: exit code %d, %s", args, code, text)
		}
	}
}
