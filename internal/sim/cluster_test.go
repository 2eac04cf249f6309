package sim

import (
	"bufio"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/cryptotest"
	"time"
)

var (
	oneSeed  = flag.Uint64("seed", 0, "run this seed of TestCluster alone; with -v its events go to a file")
	fromSeed = flag.Uint64("from", 1, "first seed of TestCluster")
	seeds    = flag.Uint64("seeds", 20, "how many seeds TestCluster runs")
	long     = flag.Bool("long", false, "each run of TestCluster lasts two virtual minutes of faults")
)

// simulate runs a seed and returns its cluster.
func simulate(t *testing.T, seed uint64, trace io.Writer, log *slog.Logger) (*Cluster, error) {
	cryptotest.SetGlobalRandom(t, seed) // the Raft library draws its election timeouts from it
	c := NewCluster(seed, trace, log, bootNode)
	d := 20 * time.Second
	if *long || *oneSeed != 0 {
		d = faulty
	}
	err := c.Simulate(d)
	c.Flush()
	return c, err
}

// TestCluster runs whole clusters under faults; each failure names the command that
// shows it again.
func TestCluster(t *testing.T) {
	if *oneSeed != 0 {
		verbose(t, *oneSeed)
		return
	}
	total := map[string]int{}
	for seed := *fromSeed; seed < *fromSeed+*seeds; seed++ {
		c, err := simulate(t, seed, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Errorf("%v\n%s\ngo test ./internal/sim -run TestCluster -v -seed=%d", err, c.Report(), seed)
		}
		for name, n := range c.Count {
			total[name] += n
		}
	}
	t.Logf("%v", total)
}

func verbose(t *testing.T, seed uint64) {
	trace, log := io.Writer(nil), io.Discard
	if testing.Verbose() {
		dir, err := os.MkdirTemp("", "sim")
		if err != nil {
			t.Fatal(err)
		}
		for name, w := range map[string]*io.Writer{"trace": &trace, "log": &log} {
			f, err := os.Create(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			b := bufio.NewWriter(f)
			defer b.Flush()
			*w = b
		}
		t.Logf("events and logs are in %s", dir)
	}
	c, err := simulate(t, seed, trace, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})))
	t.Log(c.Report())
	t.Logf("%v", c.Rec.Answered)
	if err != nil {
		t.Error(err)
	}
}

// TestClusterRepeats runs seeds twice: one seed gives one trace.
func TestClusterRepeats(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		a, _ := simulate(t, seed, nil, slog.New(slog.DiscardHandler))
		b, _ := simulate(t, seed, nil, slog.New(slog.DiscardHandler))
		if a.Sum() != b.Sum() || a.Events != b.Events {
			t.Errorf("seed %d: %d events with hash %x, then %d with %x", seed, a.Events, a.Sum(), b.Events, b.Sum())
		}
	}
}
