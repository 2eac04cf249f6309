//go:build linux

// Command failover measures what clients see of failures of a cluster of three nodes on
// this machine.
//
//	go run ./bench/failover -leat bin/leat -do kill,stop,controller -rounds 5
//	go run ./bench/failover -leat bin/leat -do calm -for 10m
//
// A writer for each partition writes with acks=all every few milliseconds. A trial is
// over when each of them has been acknowledged a record that it sent after the failure.
// At the end every acknowledged record is read back. The figures assert nothing, but a
// lost record is an error.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// plan is what one run does.
type plan struct {
	do         []string
	rounds     int
	partitions int
	pace       time.Duration
	calm       time.Duration
	leat       string
	scratch    string
	set        settings
}

type settings []string

func (s *settings) String() string     { return strings.Join(*s, " ") }
func (s *settings) Set(v string) error { *s = append(*s, v); return nil }

func main() {
	var p plan
	do := flag.String("do", "kill,stop,controller", "of kill, stop, controller, pause, calm")
	flag.IntVar(&p.rounds, "rounds", 5, "trials of each failure")
	flag.IntVar(&p.partitions, "partitions", 12, "partitions that are written to")
	flag.DurationVar(&p.pace, "pace", 5*time.Millisecond, "pause of a writer between its records")
	flag.DurationVar(&p.calm, "for", time.Minute, "how long the processors are kept busy in the case calm")
	flag.StringVar(&p.leat, "leat", "bin/leat", "Leat's binary")
	flag.StringVar(&p.scratch, "scratch", "", "folder for data (a temporary one by default)")
	flag.Var(&p.set, "set", "a setting of all nodes; may be given again")
	flag.Parse()
	p.do = strings.Split(*do, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, p)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, p plan) error {
	var err error
	if p.leat, err = filepath.Abs(p.leat); err != nil {
		return err
	}
	if p.scratch == "" {
		if p.scratch, err = os.MkdirTemp("", "leat-failover-"); err != nil {
			return err
		}
		defer os.RemoveAll(p.scratch)
	}
	if err := os.MkdirAll(p.scratch, 0o755); err != nil {
		return err
	}
	return failures(ctx, p, p.do)
}

// times are the measured ones of one kind of failure.
type times []time.Duration

func (t times) String() string {
	if len(t) == 0 {
		return "never"
	}
	s := slices.Sorted(slices.Values(t))
	return fmt.Sprintf("median %d ms, least %d, most %d, %d times",
		s[len(s)/2].Milliseconds(), s[0].Milliseconds(), s[len(s)-1].Milliseconds(), len(s))
}
