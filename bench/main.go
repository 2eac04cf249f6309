//go:build linux

// Command bench measures Leat beside Apache Kafka, in the same run, on the same
// machine, with the same client program, and writes docs/benchmarks.md.
//
// The broker is pinned to the first core and the client to the second. Brokers run in
// turn, in several rounds, every other one in the opposite order; every case has a
// fresh topic and a disk without unwritten data, and warms up before it counts. A case
// that fails is noted, and the run goes on; the report is written after every round.
// Figures are medians over the rounds. Nothing here is a test: it asserts nothing.
//
//	go run ./bench -leat bin/leat -out docs/benchmarks.md
//	go run ./bench -leat bin/leat -rounds 1 -seconds 3 -cases 'consume' -out /dev/stdout
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/leat-stream/leat/bench/load"
)

// plan is what one run does.
type plan struct {
	rounds  int
	seconds int // measured, per case
	warm    int // seconds before that
	cases   *regexp.Regexp
	scratch string
	gigas   int // of data on disk for the restart case
	trials  int // of each kind of failure of a node
	calm    time.Duration
	leat    string
	out     string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "load" {
		load.Command(os.Args[2:])
		return
	}
	var p plan
	var pattern string
	short := flag.Bool("short", false, "one round of three seconds, 1 GB, 20 s busy: to see that it works")
	flag.IntVar(&p.rounds, "rounds", 3, "rounds of each broker")
	flag.IntVar(&p.seconds, "seconds", 8, "measured seconds of a case")
	flag.IntVar(&p.warm, "warm", 4, "warm-up seconds of a case")
	flag.IntVar(&p.gigas, "gigabytes", 20, "data on disk when the broker is killed and started again")
	flag.IntVar(&p.trials, "trials", 5, "trials of each failure of a node")
	flag.DurationVar(&p.calm, "calm", 10*time.Minute, "how long all processors are kept busy, to see that no node is taken for dead")
	flag.StringVar(&pattern, "cases", ".", "regular expression of the cases to run")
	flag.StringVar(&p.leat, "leat", "bin/leat", "Leat's binary")
	flag.StringVar(&p.scratch, "scratch", "", "folder for data (a temporary one by default)")
	flag.StringVar(&p.out, "out", "docs/benchmarks.md", "where the report goes, anew after each round")
	flag.Parse()
	if *short {
		p.rounds, p.seconds, p.warm, p.gigas, p.trials, p.calm = 1, 3, 2, 1, 2, 20*time.Second
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, p, pattern)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, p plan, pattern string) error {
	var err error
	if p.cases, err = regexp.Compile(pattern); err != nil {
		return err
	}
	if p.leat, err = filepath.Abs(p.leat); err != nil {
		return err
	}
	if err := os.Setenv("LEAT_BIN", p.leat); err != nil {
		return err
	}
	if p.scratch == "" {
		if p.scratch, err = os.MkdirTemp("", "leat-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(p.scratch)
	}
	r := newResults()
	if err := r.describe(); err != nil {
		return err
	}
	start := time.Now()
	for round := 1; round <= p.rounds; round++ {
		if err := runRound(ctx, p, round, r); err != nil {
			return err
		}
		r.done = round
		if err := r.write(p, time.Since(start)); err != nil {
			return err
		}
	}
	if err := singles(ctx, p, r); err != nil {
		return err
	}
	r.complete = true
	return r.write(p, time.Since(start))
}
