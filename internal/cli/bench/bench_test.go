package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// run runs "leat bench ARGS" against a cluster in memory and reads its JSON.
func run(t *testing.T, servers string, args ...string) (r struct {
	result
	Settings map[string]any `json:"settings"`
}, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	e := &conn.Env{Out: out.New(&stdout, &stderr), Getenv: func(string) string { return servers }, Version: "test"}
	root := &cobra.Command{Use: "leat", SilenceErrors: true, SilenceUsage: true}
	e.AddFlags(root)
	root.AddCommand(Command(e))
	root.SetArgs(append([]string{"bench", "--format", "json"}, args...))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err = root.ExecuteContext(ctx); err != nil {
		return r, err
	}
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("%v\n%s", err, stdout.String())
	}
	return r, nil
}

func cluster(t *testing.T) string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return strings.Join(c.ListenAddrs(), ",")
}

func TestBenchProduceThenConsume(t *testing.T) {
	servers := cluster(t)
	r, err := run(t, servers, "produce", "-p", "3", "-r", "5000", "-n", "200", "--warmup", "20ms", "--producers", "2", "--keys", "10", "-s", "50", "--linger", "0")
	if err != nil {
		t.Fatal(err)
	}
	s := r.Summary
	if s.Records != 200 || s.Errors != 0 || !r.Open || s.Latency == nil || s.Latency.P100 <= 0 || s.MBPerS <= 0 || r.Settings["partitions"] != 3.0 {
		t.Errorf("%+v %+v", r, s.Latency)
	}
	// The keys count: 50 bytes of value and 8 of key.
	if got := s.MBPerS * s.Seconds * 1e6 / float64(s.Records); got < 57.9 || got > 58.1 {
		t.Errorf("%v bytes a record", got)
	}
	r, err = run(t, servers, "consume", "--warmup", "0", "-n", "1000", "--consumers", "2")
	if err != nil || r.Summary.Records < 1000 || r.Summary.Latency != nil {
		t.Errorf("%+v %v", r, err)
	}
	r, err = run(t, servers, "consume", "--warmup", "0", "--once")
	if err != nil || r.Summary.Records < 200 || r.Summary.Records > 5000 {
		t.Errorf("%+v %v", r, err)
	}
	r, err = run(t, servers, "e2e", "-n", "50", "-r", "1000", "--warmup", "10ms", "--linger", "0", "--recreate", "--payload", "text", "-z", "lz4")
	if err != nil || r.Summary.Records != 50 || r.Summary.Latency == nil || r.Ack == nil || r.Summary.Latency.P50 <= 0 {
		t.Errorf("%+v %v", r, err)
	}
}

func TestBenchRefuses(t *testing.T) {
	servers := cluster(t)
	for _, c := range []struct{ args, want string }{
		{"consume --topic nope", "UNKNOWN_TOPIC_OR_PARTITION"},
		{"produce --producers 0", "must be above 0"},
		{"produce --payload x", "use random, text or zeros"},
		{"produce --acks x", "use all, leader or none"},
		{"produce -z x", "use none, gzip"},
		{"produce -d 0s", "--duration must be above 0"},
		{"produce --topic-config x", "this is no setting"},
		{"e2e -r 0", "--rate must be above 0"},
		{"e2e -s 3", "--record-size at least 16"},
		{"consume --consumers 0", "must be above 0"},
	} {
		if _, err := run(t, servers, strings.Fields(c.args)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.args, err)
		}
	}
	if _, err := run(t, servers, "produce", "-t", "empty", "-n", "1", "-r", "100", "--warmup", "0"); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, servers, "consume", "-t", "empty", "--warmup", "0", "-n", "1"); err != nil {
		t.Fatal(err)
	}
}

// A record that is late because its turn was late counts from its turn: that is
// what keeps a slow moment from hiding in a closed loop.
func TestLatencyCountsFromTheIntendedTime(t *testing.T) {
	start := time.Now()
	w := newWindow(start, bounds{duration: time.Hour})
	for i := range 100 {
		due := start.Add(time.Duration(i) * time.Millisecond)
		w.count(due, start.Add(100*time.Millisecond), 10) // the system stood still until then
	}
	l := w.summary().Latency
	if l.P50 < 49 || l.P50 > 52 || l.P100 < 99 {
		t.Errorf("%+v", l)
	}
}

func TestWindowCountsOnlyWhatIsInside(t *testing.T) {
	start := time.Now()
	w := newWindow(start, bounds{warmup: time.Second, duration: time.Second, records: 3})
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for _, ms := range []int{999, 1000, 1500, 2000, 1999, 1999} {
		w.count(at(ms-1), at(ms), 10)
	}
	s := w.summary()
	if s.Records != 3 {
		t.Errorf("%+v", s)
	}
	select {
	case <-w.full:
	default:
		t.Error("not full")
	}
	if s.Seconds < 0.99 || s.Seconds > 1 {
		t.Errorf("%v seconds", s.Seconds)
	}
}

// TestBarInSeconds: the bar of a measurement counts what people do.
func TestBarInSeconds(t *testing.T) {
	var text bytes.Buffer
	bar := measuring(&out.Out{Err: &text, Bars: true}, 4999*time.Millisecond)
	bar.reach(999 * time.Millisecond)
	bar.reach(2100 * time.Millisecond)
	if !strings.Contains(text.String(), "seconds") || !strings.Contains(text.String(), "(2/5") {
		t.Errorf("%q", text.String())
	}
}
