package sim

import (
	"bufio"
	"flag"
	"fmt"
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
	budget   = flag.Duration("budget", 0, "TestCluster runs seeds for that long instead")
	shortRun = flag.Bool("short-run", false, "the run of -seed lasts 20 virtual seconds of faults, as without -long")
	long     = flag.Bool("long", false, "each run of TestCluster lasts two virtual minutes of faults")
)

// simulate runs a seed and returns its cluster.
func simulate(t *testing.T, seed uint64, trace io.Writer, log *slog.Logger) (*Cluster, error) {
	cryptotest.SetGlobalRandom(t, seed) // the Raft library draws its election timeouts from it
	c := NewCluster(seed, trace, log, bootNode)
	d := 20 * time.Second
	if *long || *oneSeed != 0 && !*shortRun {
		d = faulty
	}
	err := c.Simulate(d)
	if err == nil && d == faulty {
		err = c.enough()
	}
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
	if raced { // one goroutine has no races to be found: a few runs see that
		*seeds = min(*seeds, 3)
	}
	var total map[string]int
	ran := int(*seeds)
	if *procs > 1 {
		total = sharded(t)
	} else {
		total, ran = inTurn(t)
	}
	if *countsTo != "" {
		writeCounts(t, total)
		return
	}
	t.Logf("%d seeds from %d on, long runs: %v, events: %v", ran, *fromSeed, *long, total)
	if missing := Unmet(total, *long, *long && ran >= largeBatch); len(missing) > 0 && ran >= enoughSeeds {
		t.Errorf("no run met %q", missing)
	}
}

// inTurn runs the seeds one after the other, and returns what happened, and in how many.
func inTurn(t *testing.T) (total map[string]int, ran int) {
	total = map[string]int{}
	began := time.Now()
	for seed := *fromSeed; *budget > 0 && time.Since(began) < *budget || *budget <= 0 && seed < *fromSeed+*seeds; seed++ {
		ran++
		c, err := simulate(t, seed, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Errorf("%v\n%s\n%s", err, c.Report(), again(seed))
		}
		for name, n := range c.Count {
			total[name] += n
		}
	}
	return total, ran
}

// enoughSeeds meet every rare event, and largeBatch of long runs the rarest.
const (
	enoughSeeds = 100
	largeBatch  = 1000
)

// again is the command that shows a failure again.
func again(seed uint64) string {
	command := fmt.Sprintf("go test ./internal/sim -run 'TestCluster$' -v -seed=%d", seed)
	if !*long {
		command += " -short-run"
	}
	return command
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

// regressions are seeds that found something, which is fixed. What a seed does changes
// with the simulation: the cause of each has a test of its own, too.
var regressions = []uint64{104, 1022, 1060, 1108, 507, 776, 8000501, 8010332, 20000141, 20001006, 120000365}

func TestRegressions(t *testing.T) {
	list := regressions
	if raced {
		list = nil
	}
	defer func(was bool) { *long = was }(*long)
	*long = true
	for _, seed := range list {
		if c, err := simulate(t, seed, nil, slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("%v\n%s\n%s", err, c.Report(), again(seed))
		}
	}
}

// TestClusterRepeats runs seeds twice: one seed gives one trace.
func TestClusterRepeats(t *testing.T) {
	defer func(was bool) { *long = was }(*long)
	for seed := uint64(1); seed <= 3; seed++ {
		*long = seed == 3
		a, _ := simulate(t, seed, io.Discard, slog.New(slog.DiscardHandler))
		b, _ := simulate(t, seed, io.Discard, slog.New(slog.DiscardHandler))
		if a.Sum() != b.Sum() || a.Events != b.Events {
			t.Errorf("seed %d: %d events with hash %x, then %d with %x", seed, a.Events, a.Sum(), b.Events, b.Sum())
		}
		if seed == 1 {
			if c, _ := simulate(t, seed, nil, slog.New(slog.DiscardHandler)); c.Events != a.Events {
				t.Errorf("seed %d: %d events where they are traced, and %d where not", seed, a.Events, c.Events)
			}
		}
	}
}
