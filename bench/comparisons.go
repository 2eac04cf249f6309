//go:build linux

package main

import "fmt"

// The variants' names.
const (
	leat    = "leat"
	relaxed = "leat, relaxed"
	kafka   = "kafka"
	flushed = "kafka, flush.messages=1"

	leat3    = "leat, three nodes"
	relaxed3 = "leat, three nodes, relaxed"
	kafka3   = "kafka, three nodes"
)

// comparison is one row: a measure of one case, ours beside Kafka's, and the goal.
type comparison struct {
	what, name   string
	ours, theirs string // variants
	f            func(measured) float64
	digits       int
	unit         string
	goal         goal
}

// goal is what a ratio of ours to Kafka's shall be; the zero goal is none.
type goal struct {
	ratio  float64
	atMost bool
	ofRaw  float64 // reached, too, with so much of the disk's own synced rate
}

func atLeast(r float64) goal { return goal{ratio: r} }
func atMost(r float64) goal  { return goal{ratio: r, atMost: true} }

func (g goal) String() string {
	switch {
	case g.ratio == 0:
		return ""
	case g.atMost:
		return fmt.Sprintf("at most %.1f", g.ratio)
	case g.ofRaw > 0:
		return fmt.Sprintf("at least %.1f, or %.1f of the disk's synced rate", g.ratio, g.ofRaw)
	}
	return fmt.Sprintf("at least %.1f", g.ratio)
}

func (g goal) reached(ratio, ofRaw float64) bool {
	if g.atMost {
		return ratio <= g.ratio
	}
	return ratio >= g.ratio || g.ofRaw > 0 && ofRaw >= g.ofRaw
}

func rate(m measured) float64    { return float64(m.Records) / m.Seconds }
func mbs(m measured) float64     { return m.megabytes() }
func userCPU(m measured) float64 { return m.userPerGB }
func allCPU(m measured) float64  { return m.totalPerGB }
func p50(m measured) float64     { return m.P50 }
func p99(m measured) float64     { return m.P99 }
func p999(m measured) float64    { return m.P999 }

var comparisons = []comparison{
	{"produce acks=1, 1 KiB, 1 partition", "acks1-1p", leat, kafka, mbs, 0, "MB/s", atLeast(1.2)},
	{"— broker CPU, user", "acks1-1p", leat, kafka, userCPU, 2, "s/GB", atMost(0.5)},
	{"— broker CPU, total", "acks1-1p", leat, kafka, allCPU, 2, "s/GB", atMost(0.8)},
	{"produce acks=1, 1 KiB, 12 partitions", "acks1-12p", leat, kafka, mbs, 0, "MB/s", atLeast(1.2)},
	{"— broker CPU, user", "acks1-12p", leat, kafka, userCPU, 2, "s/GB", atMost(0.5)},
	{"— broker CPU, total", "acks1-12p", leat, kafka, allCPU, 2, "s/GB", atMost(0.8)},
	{"produce acks=all, ours durable, Kafka without sync, 12 partitions", "durable-12p", leat, kafka, mbs, 0, "MB/s", goal{ratio: 0.8, ofRaw: 0.9}},
	{"— broker CPU, user", "durable-12p", leat, kafka, userCPU, 2, "s/GB", goal{}},
	{"— broker CPU, total", "durable-12p", leat, kafka, allCPU, 2, "s/GB", goal{}},
	{"50 producers, 100-byte keyed records, linger 0, 100 partitions, acks=1", "small-acks1", leat, kafka, rate, 0, "records/s", atLeast(1.5)},
	{"the same, acks=all: ours durable, Kafka with flush.messages=1", "small-durable", leat, flushed, rate, 0, "records/s", atLeast(1)},
	{"consume from page cache, 1 partition", "consume-1p", leat, kafka, mbs, 0, "MB/s", atLeast(1)},
	{"— broker CPU, user", "consume-1p", leat, kafka, userCPU, 3, "s/GB", atMost(0.5)},
	{"— broker CPU, total", "consume-1p", leat, kafka, allCPU, 3, "s/GB", atMost(1)},
	{"consume from page cache, 12 partitions", "consume-12p", leat, kafka, mbs, 0, "MB/s", atLeast(1)},
	{"— broker CPU, user", "consume-12p", leat, kafka, userCPU, 3, "s/GB", atMost(0.5)},
	{"— broker CPU, total", "consume-12p", leat, kafka, allCPU, 3, "s/GB", atMost(1)},
	{"end to end at 10 MB/s, acks=all, relaxed, Kafka without sync: p50", "e2e-relaxed", relaxed, kafka, p50, 2, "ms", atMost(0.7)},
	{"— p99", "e2e-relaxed", relaxed, kafka, p99, 2, "ms", atMost(0.7)},
	{"— p99.9", "e2e-relaxed", relaxed, kafka, p999, 2, "ms", goal{}},
	{"end to end at 10 MB/s, acks=all, durable, Kafka with flush.messages=1: p50", "e2e-durable", leat, flushed, p50, 2, "ms", goal{}},
	{"— p99", "e2e-durable", leat, flushed, p99, 2, "ms", atMost(1)},
	{"— p99.9", "e2e-durable", leat, flushed, p999, 2, "ms", goal{}},
	{"three nodes, RF 3, acks=all, min ISR 2, 12 partitions: ours relaxed, Kafka without sync", "cluster", relaxed3, kafka3, mbs, 0, "MB/s", goal{}},
	{"— CPU of the three, user", "cluster", relaxed3, kafka3, userCPU, 2, "s/GB", goal{}},
	{"— CPU of the three, total", "cluster", relaxed3, kafka3, allCPU, 2, "s/GB", atMost(0.8)},
	{"the same, ours durable, Kafka without sync", "cluster", leat3, kafka3, mbs, 0, "MB/s", goal{}},
	{"— CPU of the three, user", "cluster", leat3, kafka3, userCPU, 2, "s/GB", goal{}},
	{"— CPU of the three, total", "cluster", leat3, kafka3, allCPU, 2, "s/GB", goal{}},
	{"consume from three nodes, page cache, 12 partitions", "cluster-consume", leat3, kafka3, mbs, 0, "MB/s", goal{}},
	{"— CPU of the three, total", "cluster-consume", leat3, kafka3, allCPU, 3, "s/GB", goal{}},
	{"three nodes, RF 3, end to end at 5 MB/s, acks=all, ours relaxed, Kafka without sync: p50", "cluster-e2e", relaxed3, kafka3, p50, 2, "ms", goal{}},
	{"— p99", "cluster-e2e", relaxed3, kafka3, p99, 2, "ms", goal{}},
	{"— p99.9", "cluster-e2e", relaxed3, kafka3, p999, 2, "ms", goal{}},
	{"the same, ours durable, Kafka without sync: p50", "cluster-e2e", leat3, kafka3, p50, 2, "ms", goal{}},
	{"— p99", "cluster-e2e", leat3, kafka3, p99, 2, "ms", goal{}},
	{"— p99.9", "cluster-e2e", leat3, kafka3, p999, 2, "ms", goal{}},
}

// verdict is what came of a goal. A side without a figure reaches nothing and misses
// nothing: its failures are listed.
type verdict int

const (
	noGoal verdict = iota
	noFigure
	missed
	met
)

func (v verdict) String() string {
	return [...]string{"", "no figure", "**not reached**", "reached"}[v]
}

func (c comparison) judge(r *results) (ours, theirs spread, ratio float64, v verdict) {
	ours = spreadOf(r.rounds[key(c.name, c.ours)], c.f)
	theirs = spreadOf(r.rounds[key(c.name, c.theirs)], c.f)
	if ours.n == 0 || theirs.n == 0 || theirs.median == 0 {
		return ours, theirs, 0, noFigure
	}
	ratio = ours.median / theirs.median
	raw := spreadOf(r.rounds[key(rawCase, c.ours)], mbs)
	ofRaw := 0.0
	if raw.n > 0 {
		ofRaw = ours.median / raw.median
	}
	switch {
	case c.goal.ratio == 0:
		v = noGoal
	case c.goal.reached(ratio, ofRaw):
		v = met
	default:
		v = missed
	}
	return ours, theirs, ratio, v
}

// row is the comparison's line, empty when neither side has a figure or failed.
func (c comparison) row(r *results) string {
	ours, theirs, ratio, v := c.judge(r)
	if ours.n == 0 && theirs.n == 0 {
		return ""
	}
	quotient := "–"
	if v != noFigure {
		quotient = fmt.Sprintf("%.2f", ratio)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %d, %d |\n",
		c.what, c.unit, ours.text(c.digits), theirs.text(c.digits), quotient, c.goal, v, ours.n, theirs.n)
}
