//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// measured is one round of one case against one broker.
type measured struct {
	loaded
	userPerGB, totalPerGB float64 // CPU seconds of the broker
}

func (m measured) megabytes() float64 { return float64(m.Bytes) / 1e6 / m.Seconds }

func (m measured) String() string {
	s := fmt.Sprintf("%9.0f records/s %7.1f MB/s  cpu/GB user %.2f total %.2f",
		float64(m.Records)/m.Seconds, m.megabytes(), m.userPerGB, m.totalPerGB)
	if m.P50 > 0 {
		s += fmt.Sprintf("  p50 %.2f p99 %.2f p99.9 %.2f ms", m.P50, m.P99, m.P999)
	}
	return s
}

// results collects the rounds.
type results struct {
	rounds  map[string][]measured // case and variant
	rawSync []float64             // MB/s
	singles []single
}

// single is a figure that is not a rate: a time, a size.
type single struct {
	what  string
	value float64
	unit  string
	goal  string
}

func newResults() *results { return &results{rounds: map[string][]measured{}} }

func key(name, variant string) string { return name + "|" + variant }

func (r *results) add(name string, v variant, m measured) {
	r.rounds[key(name, v.name)] = append(r.rounds[key(name, v.name)], m)
}

// spread is a median with the smallest and the largest value beside it.
type spread struct{ median, least, most float64 }

func spreadOf(ms []measured, f func(measured) float64) spread {
	var v []float64
	for _, m := range ms {
		v = append(v, f(m))
	}
	return spreadOfValues(v)
}

func spreadOfValues(v []float64) spread {
	slices.Sort(v)
	n := len(v)
	mid := v[n/2]
	if n%2 == 0 {
		mid = (v[n/2-1] + v[n/2]) / 2
	}
	return spread{mid, v[0], v[n-1]}
}

func (s spread) text(digits int) string {
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, s.median, digits, s.least, digits, s.most)
}

// comparison is one row: a measure of one case, ours beside Kafka's, and the goal.
type comparison struct {
	what, name   string
	ours, theirs string // variants
	f            func(measured) float64
	digits       int
	unit         string
	goal         float64
	atMost       bool // the ratio shall be at most the goal; else at least
	reported     bool // no goal
}

func rate(m measured) float64    { return float64(m.Records) / m.Seconds }
func mbs(m measured) float64     { return m.megabytes() }
func userCPU(m measured) float64 { return m.userPerGB }
func allCPU(m measured) float64  { return m.totalPerGB }

const (
	leat    = "leat"
	relaxed = "leat, relaxed"
	kafka   = "kafka"
	flushed = "kafka, flush.messages=1"
)

var comparisons = []comparison{
	{"produce acks=1, 1 KiB, 1 partition", "acks1-1p", leat, kafka, mbs, 0, "MB/s", 1.2, false, false},
	{"— broker CPU, user", "acks1-1p", leat, kafka, userCPU, 2, "s/GB", 0.5, true, false},
	{"— broker CPU, total", "acks1-1p", leat, kafka, allCPU, 2, "s/GB", 0.8, true, false},
	{"produce acks=1, 1 KiB, 12 partitions", "acks1-12p", leat, kafka, mbs, 0, "MB/s", 1.2, false, false},
	{"— broker CPU, user", "acks1-12p", leat, kafka, userCPU, 2, "s/GB", 0.5, true, false},
	{"— broker CPU, total", "acks1-12p", leat, kafka, allCPU, 2, "s/GB", 0.8, true, false},
	{"produce acks=all, ours durable, Kafka without sync, 12 partitions", "durable-12p", leat, kafka, mbs, 0, "MB/s", 0.8, false, false},
	{"50 producers, 100-byte keyed records, linger 0, 100 partitions, acks=1", "small-acks1", leat, kafka, rate, 0, "records/s", 1.5, false, false},
	{"the same, acks=all: ours durable, Kafka with flush.messages=1", "small-durable", leat, flushed, rate, 0, "records/s", 1, false, false},
	{"consume from page cache, 1 partition", "consume-1p", leat, kafka, mbs, 0, "MB/s", 1, false, false},
	{"— broker CPU, user", "consume-1p", leat, kafka, userCPU, 3, "s/GB", 0.5, true, false},
	{"— broker CPU, total", "consume-1p", leat, kafka, allCPU, 3, "s/GB", 1, true, false},
	{"consume from page cache, 12 partitions", "consume-12p", leat, kafka, mbs, 0, "MB/s", 1, false, false},
	{"— broker CPU, user", "consume-12p", leat, kafka, userCPU, 3, "s/GB", 0.5, true, false},
	{"— broker CPU, total", "consume-12p", leat, kafka, allCPU, 3, "s/GB", 1, true, false},
	{"end to end at 10 MB/s, acks=all, relaxed, Kafka without sync: p50", "e2e-relaxed", relaxed, kafka, func(m measured) float64 { return m.P50 }, 2, "ms", 0.7, true, false},
	{"— p99", "e2e-relaxed", relaxed, kafka, func(m measured) float64 { return m.P99 }, 2, "ms", 0.7, true, false},
	{"— p99.9", "e2e-relaxed", relaxed, kafka, func(m measured) float64 { return m.P999 }, 2, "ms", 0, true, true},
	{"end to end at 10 MB/s, acks=all, durable, Kafka with flush.messages=1: p50", "e2e-durable", leat, flushed, func(m measured) float64 { return m.P50 }, 2, "ms", 0, true, true},
	{"— p99", "e2e-durable", leat, flushed, func(m measured) float64 { return m.P99 }, 2, "ms", 1, true, false},
	{"— p99.9", "e2e-durable", leat, flushed, func(m measured) float64 { return m.P999 }, 2, "ms", 0, true, true},
}

func (c comparison) row(r *results) string {
	ours, theirs := r.rounds[key(c.name, c.ours)], r.rounds[key(c.name, c.theirs)]
	if len(ours) == 0 || len(theirs) == 0 {
		return ""
	}
	a, b := spreadOf(ours, c.f), spreadOf(theirs, c.f)
	ratio := a.median / b.median
	goal, verdict := "", ""
	if !c.reported {
		word, reached := "at least", ratio >= c.goal
		if c.atMost {
			word, reached = "at most", ratio <= c.goal
		}
		goal = fmt.Sprintf("%s %.1f", word, c.goal)
		verdict = "reached"
		if !reached {
			verdict = "**not reached**"
		}
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %.2f | %s | %s |\n", c.what, c.unit, a.text(c.digits), b.text(c.digits), ratio, goal, verdict)
}

func report(w io.Writer, p plan, r *results, machine, kafkaVersion string, took time.Duration) error {
	out := &errWriter{w: w}
	out.printf("# Benchmarks\n\nWritten by `make bench`; run it to have your own. Ratios are ours over Kafka's in the same run.\n\n")
	out.printf("- Machine: %s. It is shared with others, so figures move from run to run; the spread is in parentheses.\n", machine)
	out.printf("- Apache Kafka %s, one KRaft node, its stock settings and JVM flags; Leat at its defaults (durable) unless it says relaxed.\n", kafkaVersion)
	out.printf("- Broker pinned to one core, the client program (franz-go) to the other. %d rounds in turn, %d s warm-up and %d s measured for each case; medians (least–most).\n", p.rounds, p.warm, p.seconds)
	out.printf("- CPU is the broker's, in seconds for a gigabyte of values, from /proc, warm-up included.\n")
	if len(r.rawSync) > 0 {
		out.printf("- The disk alone, written in 4 MiB pieces with a sync after each: %s MB/s.\n", spreadOfValues(r.rawSync).text(0))
	}
	out.printf("- The whole run took %s.\n\n## Beside Apache Kafka\n\n", took.Round(time.Second))
	out.printf("| case | unit | Leat | Kafka | ratio | goal | |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, c := range comparisons {
		out.printf("%s", c.row(r))
	}
	if len(r.singles) > 0 {
		out.printf("\n## Leat alone\n\n| what | value | goal |\n| --- | --- | --- |\n")
		for _, s := range r.singles {
			out.printf("| %s | %.0f %s | %s |\n", s.what, s.value, s.unit, s.goal)
		}
	}
	return out.err
}

// errWriter keeps the first error.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) printf(format string, args ...any) {
	if e.err == nil {
		_, e.err = fmt.Fprintf(e.w, format, args...)
	}
}
