package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Outcome is what came of one program of one client, as docs/compatibility.md
// shows it.
type Outcome struct {
	Client  string  `json:"client"`
	Version string  `json:"version"`
	Program string  `json:"program"`
	Broker  Kind    `json:"broker"`
	Result  string  `json:"result"` // passed, failed or skipped
	Seconds float64 `json:"seconds"`
}

// ResultsFile is where outcomes are kept, one JSON object a line; `make
// conformance` starts it anew.
func ResultsFile() (string, error) {
	dir, err := Cache("conformance")
	return filepath.Join(dir, "results.jsonl"), err
}

// Report keeps the outcome of the running test when it ends.
func Report(t *testing.T, client, version, program string, broker Kind) {
	t.Helper()
	began := time.Now()
	t.Cleanup(func() {
		o := Outcome{Client: client, Version: version, Program: program, Broker: broker, Result: "passed", Seconds: time.Since(began).Seconds()}
		switch {
		case t.Failed():
			o.Result = "failed"
		case t.Skipped():
			o.Result = "skipped"
		}
		if err := keep(o); err != nil {
			t.Errorf("keeping the outcome: %v", err)
		}
	})
}

func keep(o Outcome) error {
	name, err := ResultsFile()
	if err != nil {
		return err
	}
	line, err := json.Marshal(o)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// Need ends a test whose preparation failed: skipped when something cannot be
// had on this machine, failed under LEAT_REQUIRE_ALL=1 or for any other reason.
func Need(t *testing.T, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, ErrUnavailable) && os.Getenv("LEAT_REQUIRE_ALL") != "1":
		t.Skipf("%s: %v", what, err)
	default:
		t.Fatalf("%s: %v", what, err)
	}
}

// keepOutput keeps what a broker wrote in the cache, by the test's name.
func keepOutput(t *testing.T, which string, text []byte) string {
	dir, err := Cache("conformance", "output")
	if err != nil {
		return err.Error()
	}
	name := filepath.Join(dir, strings.NewReplacer("/", "_", " ", "_").Replace(t.Name())+which+".log")
	if err := os.WriteFile(name, text, 0o644); err != nil {
		return err.Error()
	}
	return name
}

// StartFor starts a broker for a test and ends it with the test. When the test
// fails, the end of the broker's output is logged.
func StartFor(t *testing.T, kind Kind, opts Options) *Broker {
	t.Helper()
	folder(t, &opts)
	b, err := Start(t.Context(), kind, opts)
	Need(t, string(kind), err)
	t.Cleanup(func() { endFor(t, b, "") })
	return b
}

// StartClusterFor starts n nodes for a test and ends them with the test. When the test
// fails, the end of each one's output is logged.
func StartClusterFor(t *testing.T, kind Kind, n int, opts Options) *Cluster {
	t.Helper()
	folder(t, &opts)
	c, err := StartCluster(t.Context(), kind, n, opts)
	Need(t, string(kind), err)
	t.Cleanup(func() {
		for i, b := range c.Brokers {
			endFor(t, b, fmt.Sprintf("-%d", i+1))
		}
	})
	return c
}

// folder sees that there is one, which goes with the test.
func folder(t *testing.T, opts *Options) {
	t.Helper()
	if opts.Dir != "" {
		return
	}
	// Not t.TempDir: a test's name may hold a comma, and log.dirs is a list.
	dir, err := os.MkdirTemp("", "leat-conformance-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	opts.Dir = dir
}

// endFor ends a test's broker; which tells it from the test's others.
func endFor(t *testing.T, b *Broker, which string) {
	if t.Failed() {
		text, _ := os.ReadFile(b.Output())
		t.Logf("the end of %s%s's output:\n%s\nwhole: %s", b.Kind, which, tail(text, 2000), keepOutput(t, which, text))
	}
	if err := b.Kill(); err != nil {
		t.Error(err)
	}
}
