package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/config"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

func options(t *testing.T, sets ...string) Options {
	t.Helper()
	opt, err := optionsIn(t.TempDir(), sets...)
	if err != nil {
		t.Fatal(err)
	}
	return opt
}

func optionsIn(dir string, sets ...string) (Options, error) {
	cfg, _, err := config.Load(config.Sources{Sets: append([]string{
		"log.dirs=" + dir, "listeners=PLAINTEXT://127.0.0.1:0", "http.listen=127.0.0.1:0",
	}, sets...)})
	return Options{Config: cfg, Log: slog.New(slog.DiscardHandler), Version: "v0-test", Embedded: true}, err
}

func startServer(t *testing.T, sets ...string) *Server {
	t.Helper()
	s, err := Start(t.Context(), options(t, sets...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestMetricsPage holds docs/metrics.md and what a node in use serves to the same
// families; -update writes the page.
func TestMetricsPage(t *testing.T) {
	s := startServer(t, "offsets.topic.num.partitions=2")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(s.Addr()), kgo.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 5 {
		if err := c.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: "t", Partition: 0, At: 2})
	if err := kadm.NewClient(c).CommitAllOffsets(ctx, "g", offsets); err != nil {
		t.Fatal(err)
	}
	_, text := get(t, "http://"+s.HTTPAddr()+"/metrics")
	for _, want := range []string{
		`leat_group_lag{group="g",topic="t"} 3`, "leat_group_lag_omitted 0", `leat_topic_high_watermark{topic="t"} 5`,
		`leat_build_info{go="`, `leat_requests_total{api="Produce"} 5`, "leat_log_directory_online 1", "go_goroutines", "process_open_fds",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	page := metricsPage(text)
	const file = "../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != page {
		t.Errorf("docs/metrics.md is not what a node serves; write it anew: go test ./internal/server -run TestMetricsPage -update\n%s", page)
	}
}

// metricsPage describes the families of a scrape.
func metricsPage(scrape string) string {
	help := map[string]string{}
	kind := map[string]string{}
	labels := map[string]string{}
	sample := regexp.MustCompile(`(?m)^(leat_\w+?)(?:_bucket|_sum|_count)?(?:\{([^}]*)\})? `)
	for line := range strings.Lines(scrape) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 4)
		switch {
		case len(f) == 4 && f[1] == "HELP" && strings.HasPrefix(f[2], "leat_"):
			help[f[2]] = f[3]
		case len(f) == 4 && f[1] == "TYPE" && strings.HasPrefix(f[2], "leat_"):
			kind[f[2]] = f[3]
		}
	}
	for _, m := range sample.FindAllStringSubmatch(scrape, -1) {
		var names []string
		for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[2], -1) {
			if l[1] != "le" {
				names = append(names, "`"+l[1]+"`")
			}
		}
		labels[m[1]] = strings.Join(names, " ")
	}
	var b strings.Builder
	b.WriteString("# Metrics\n\n<!-- Written by \"go test ./internal/server -run TestMetricsPage -update\"; do not edit. -->\n\n" +
		"`http.listen` (localhost:9644) serves Prometheus metrics at `/metrics`, liveness at `/healthz` and readiness at `/readyz`. Beside\n" +
		"the families below stand those of Go's runtime (`go_`) and of the process (`process_`). Names of topics and groups are labels;\n" +
		"partitions are summed, so that the number of series follows that of topics, and groups have at most 10,000 series.\n\n" +
		"| family | type | labels | meaning |\n| --- | --- | --- | --- |\n")
	names := make([]string, 0, len(help))
	for name := range help {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, kind[name], labels[name], help[name])
	}
	return b.String()
}

func TestHealth(t *testing.T) {
	s := startServer(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body := get(t, "http://"+s.HTTPAddr()+path); code != http.StatusOK || body != "ok\n" {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	if code, _ := get(t, "http://"+s.HTTPAddr()+"/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("profiles are served without being asked for: %d", code)
	}
	p := startServer(t, "pprof.enable=true")
	for addr, profiles := range map[string]bool{s.HTTPAddr(): false, p.HTTPAddr(): true} {
		code, page := get(t, "http://"+addr+"/")
		if code != http.StatusOK || !strings.Contains(page, `href="/readyz"`) || strings.Contains(page, "/debug/pprof/") != profiles {
			t.Errorf("/ answers %d, %q", code, page)
		}
	}
	if code, _ := get(t, "http://"+s.HTTPAddr()+"/nothing"); code != http.StatusNotFound {
		t.Errorf("/nothing answers %d", code)
	}
	if code, _ := get(t, "http://"+p.HTTPAddr()+"/debug/pprof/"); code != http.StatusOK {
		t.Errorf("profiles are not served: %d", code)
	}
}

// failing is a node in trouble.
type failing struct{}

func (failing) Healthy() error { return errors.New("log directory offline") }
func (failing) Ready() error   { return errors.New("not serving") }

func TestHealthOfANodeInTrouble(t *testing.T) {
	d, err := bindHTTP(t.Context(), "127.0.0.1", "0", 4)
	if err != nil {
		t.Fatal(err)
	}
	d.serve(prometheus.NewRegistry(), failing{}, false, func(err error) { t.Error(err) })
	defer d.close()
	for path, why := range map[string]string{"/healthz": "log directory offline\n", "/readyz": "not serving\n"} {
		if code, body := get(t, "http://"+d.ln.Addr().String()+path); code != http.StatusServiceUnavailable || body != why {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
}

func TestHTTPPortTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dir := filepath.Join(t.TempDir(), "data")
	var text strings.Builder
	opt := options(t, "http.listen="+ln.Addr().String(), "log.dirs="+dir)
	opt.Embedded, opt.Log = false, slog.New(slog.NewTextHandler(&text, nil))
	s, err := Start(t.Context(), opt)
	if err == nil {
		s.Stop()
		t.Fatal("the server came up")
	}
	if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "http.listen") {
		t.Fatalf("the start says %q", err)
	}
	if port := ln.Addr().(*net.TCPAddr).Port; !strings.HasSuffix(err.Error(), "; another port: --set http.listen=127.0.0.1:"+strconv.Itoa(beside(port))) {
		t.Errorf("no way out: %q", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the start left a data directory behind: %v", err)
	}
	if text.Len() > 0 {
		t.Fatalf("the start says more than why it is refused:\n%s", &text)
	}
}

// beside is the port that is named instead of one that is taken.
func beside(port int) int {
	if port > 55_535 {
		return port - 10_000
	}
	return port + 10_000
}

func TestWithoutHTTP(t *testing.T) {
	if s := startServer(t, "http.listen="); s.HTTPAddr() != "" {
		t.Fatalf("HTTP is served at %s", s.HTTPAddr())
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	opt := options(t)
	opt.Banner = w
	done := make(chan error, 1)
	go func() { done <- Run(ctx, opt) }()
	banner := make([]byte, 4096)
	n, err := r.Read(banner)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"leat v0-test", "data   /", "kafka  127.0.0.1:", "http   http://127.0.0.1:", "ready:"} {
		if !strings.Contains(string(banner[:n]), want) {
			t.Errorf("the banner does not say %q:\n%s", want, banner[:n])
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// waits is a log that calls a function once it says that the node waits for its cluster.
type waits struct{ call func() }

func (w waits) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "waiting for") {
		w.call()
	}
	return len(p), nil
}

// TestRunEndsInOrderWhileItWaits: a node that is told to stop before it has found its
// cluster stops as one that serves does, without an error; supervisors start again what fails.
func TestRunEndsInOrderWhileItWaits(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := nobody.Addr().String()
	nobody.Close()
	for name, sets := range map[string][]string{
		"for the others of its list": {"node.id=1", "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
			"controller.listener.names=CONTROLLER", "controller.quorum.bootstrap.servers=" + other},
		"for an id": {"listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0", "controller.listener.names=CONTROLLER", "leat.join=" + other},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			opt := options(t, sets...)
			opt.Log = slog.New(slog.NewTextHandler(waits{stop}, nil))
			if err := Run(ctx, opt); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestAStopHidesNothing: what else went wrong while a node stopped is told.
func TestAStopHidesNothing(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	broken := errors.New("the disk failed")
	both := errors.Join(errors.Join(context.Canceled, nil), broken)
	if err := besideStop(ctx, both); err != both {
		t.Errorf("not told to stop: %v", err)
	}
	stop()
	if err := besideStop(ctx, both); !errors.Is(err, broken) || errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := besideStop(ctx, errors.Join(context.Canceled, nil)); err != nil {
		t.Errorf("nothing else: %v", err)
	}
}

func TestRunEndsWithAFailure(t *testing.T) {
	s := startServer(t)
	broken := errors.New("the metadata log failed")
	s.fail(broken)
	if err := <-s.Failed(); err != broken {
		t.Fatal(err)
	}
}
