// Package load is the client program of the benchmarks: it puts one load on a broker
// and says what came of it. The same program loads every broker.
//
// Bulk loads (produce, fill, consume) speak the protocol by hand, so that the broker
// is what is measured and not a client library: requests are encoded before the clock
// runs, and answers are counted by their batches' headers. Loads whose subject is what
// a client sees (many small producers, end to end) run on franz-go.
package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Load is one task.
type Load struct {
	Mode       string // produce, fill, consume, small, e2e
	Addr       string // of one broker or, with commas between, of several
	Topic      string
	Partitions int
	Replicas   int   // of the topic; 0 is 1
	MinISR     int   // min.insync.replicas of the topic, 0 the broker's
	Producers  int   // small: how many clients
	Size       int   // bytes of a value
	Acks       int16 // 1, or -1 for all
	Rate       int   // e2e: records per second
	Bytes      int64 // fill: values to write
	Seconds    int   // measured
	Warm       int   // seconds before that, once everything is connected
}

// Result is what came of it.
type Result struct {
	Records int64   // measured
	Bytes   int64   // measured, values and keys
	Seconds float64 // measured
	// Latencies in ms, of e2e: from the intended send to the poll that gave the record.
	P50, P99, P999, Max float64
	OutOfSync           int // produce: replicas that were not in sync at the end
}

// The lines that a load writes: Began and Ended around the measured time, so that
// whoever started it can read the processors' clocks, then the Result as JSON.
const (
	Began = "began"
	Ended = "ended"
)

// Limits, the same for every broker. A slow answer is a result, not a failure; these
// say when there is no answer.
const (
	setupLimit = 120 * time.Second // connecting, topics, the first record of each client
	dialLimit  = 60 * time.Second
	dialTry    = 3 * time.Second
	drainLimit = 60 * time.Second // what is under way when the window ends
)

// Limit is how long a load may take as a whole.
func (l Load) Limit() time.Duration {
	return setupLimit + time.Duration(l.Warm+l.Seconds)*time.Second + drainLimit
}

// Main runs the load that is the argument, as JSON, and writes to out.
func Main(arg string, out io.Writer) error {
	var l Load
	if err := json.Unmarshal([]byte(arg), &l); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.Limit())
	defer cancel()
	got, err := Run(ctx, l, out)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(got)
}

// Run runs a load and writes Began and Ended to out.
func Run(ctx context.Context, l Load, out io.Writer) (Result, error) {
	w := &window{l: l, out: out}
	modes := map[string]func(context.Context, Load, *window) error{
		"produce": produce, "fill": produce, "consume": consume, "small": small, "e2e": endToEnd,
	}
	f, ok := modes[l.Mode]
	if !ok {
		return Result{}, fmt.Errorf("mode %q", l.Mode)
	}
	if err := f(ctx, l, w); err != nil {
		return Result{}, err
	}
	w.marks.Wait()
	return w.result(), nil
}

// window counts what falls into the measured time.
type window struct {
	l              Load
	out            io.Writer
	from, to       time.Time
	records, bytes atomic.Int64
	// Latencies in ms.
	p50, p99, p999, max float64
	marks               sync.WaitGroup
	outOfSync           int
}

// open starts the clock: everything is connected and warms up from here on. The marks
// are written on time even when the load is stuck.
func (w *window) open() {
	w.from = time.Now().Add(time.Duration(w.l.Warm) * time.Second)
	w.to = w.from.Add(time.Duration(w.l.Seconds) * time.Second)
	if w.l.Seconds == 0 {
		return // a fill has no window
	}
	w.marks.Go(func() {
		time.Sleep(time.Until(w.from))
		fmt.Fprintln(w.out, Began)
		time.Sleep(time.Until(w.to))
		fmt.Fprintln(w.out, Ended)
	})
}

func (w *window) over() bool { return !time.Now().Before(w.to) }

func (w *window) count(now time.Time, records, bytes int64) {
	if !now.Before(w.from) && now.Before(w.to) {
		w.records.Add(records)
		w.bytes.Add(bytes)
	}
}

func (w *window) result() Result {
	return Result{
		Records: w.records.Load(), Bytes: w.bytes.Load(), Seconds: w.to.Sub(w.from).Seconds(),
		P50: w.p50, P99: w.p99, P999: w.p999, Max: w.max, OutOfSync: w.outOfSync,
	}
}

// Command is the whole of a program that is started as one load.
func Command(args []string) {
	err := fmt.Errorf("want one JSON argument")
	if len(args) == 1 {
		err = Main(args[0], os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}
