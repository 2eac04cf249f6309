//go:build linux

// Command bench measures Leat beside Apache Kafka, in the same run, on the same
// machine, with the same client program, and writes docs/benchmarks.md.
//
// The broker is pinned to the first core and the client to the second. Brokers run in
// turn, in several rounds, every other one in the opposite order; every case has a
// fresh topic and a disk without unwritten data, and warms up before it counts. A case
// that fails is noted, and the run goes on; the page is written anew after every figure
// and every failure, so that a run that is cut short leaves what it has.
// Figures are medians over the rounds. Nothing here is a test: it asserts nothing.
//
//	go run ./bench -leat bin/leat -out docs/benchmarks.md
//	go run ./bench -leat bin/leat -rounds 1 -seconds 3 -cases 'consume' -out /dev/stdout
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/leat-stream/leat/bench/load"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "load" {
		load.Command(os.Args[2:])
		return
	}
	p, pattern := whole, "."
	short := flag.Bool("short", false, "one round of three seconds, 1 GB, 20 s busy: to see that it works")
	flag.IntVar(&p.rounds, "rounds", p.rounds, "rounds of each broker")
	flag.IntVar(&p.seconds, "seconds", p.seconds, "measured seconds of a case")
	flag.IntVar(&p.warm, "warm", p.warm, "warm-up seconds of a case")
	flag.IntVar(&p.gigas, "gigabytes", p.gigas, "data on disk when the broker is killed and started again")
	flag.IntVar(&p.trials, "trials", p.trials, "trials of each failure of a node")
	flag.IntVar(&p.kafkaTrials, "kafka-trials", p.kafkaTrials, "trials of each failure of a node of Kafka, where there are to be fewer; 0: as many")
	flag.DurationVar(&p.calm, "calm", p.calm, "how long all processors are kept busy, to see that no node is taken for dead")
	flag.StringVar(&pattern, "cases", pattern, "regular expression of the cases to run")
	flag.StringVar(&p.leat, "leat", "bin/leat", "Leat's binary")
	flag.StringVar(&p.scratch, "scratch", "", "folder for data (a temporary one by default)")
	flag.StringVar(&p.out, "out", "docs/benchmarks.md", "where the page goes, anew after each figure; to a device only at the end")
	flag.Parse()
	if *short {
		p.rounds, p.seconds, p.warm, p.gigas, p.trials, p.kafkaTrials, p.calm = 1, 3, 2, 1, 2, 0, 20*time.Second
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
	if err := r.describe(ctx, p); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "commit %s; what has a fixed time takes %v, the rest about %v\n", r.commit, p.fixed(), p.rest())
	r.started = time.Now()
	r.save = func() {
		if p.device() {
			return
		}
		if err := r.write(p); err != nil {
			log.Print("the page could not be written, the run goes on: ", err)
		}
	}
	err = everything(ctx, p, r)
	r.complete = err == nil
	return errors.Join(err, r.write(p))
}

// everything runs all rounds, and what has none. An error is that of a run that was
// cut short; what fails is noted.
func everything(ctx context.Context, p plan, r *results) error {
	for round := 1; round <= p.rounds; round++ {
		if err := runRound(ctx, p, round, r); err != nil {
			return err
		}
		r.done = round
	}
	return singles(ctx, p, r)
}
