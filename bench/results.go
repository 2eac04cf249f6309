//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/leat-stream/leat/bench/load"
	"github.com/leat-stream/leat/conformance/harness"
)

// measured is one round of one case against one broker, within the measured time.
type measured struct {
	load.Result
	userPerGB, totalPerGB  float64 // CPU seconds of the broker
	brokerBusy, clientBusy float64 // share of their core
	diskRead               float64 // MB that the broker had to fetch
}

func (m measured) megabytes() float64 { return float64(m.Bytes) / 1e6 / m.Seconds }

func (m measured) String() string {
	s := fmt.Sprintf("%9.0f records/s %7.1f MB/s  cpu/GB user %.2f total %.2f  busy broker %.0f%% client %.0f%%",
		float64(m.Records)/m.Seconds, m.megabytes(), m.userPerGB, m.totalPerGB, 100*m.brokerBusy, 100*m.clientBusy)
	if m.P50 > 0 {
		s += fmt.Sprintf("  p50 %.2f p99 %.2f p99.9 %.2f ms", m.P50, m.P99, m.P999)
	}
	if m.OutOfSync > 0 {
		s += fmt.Sprintf("  OUT OF SYNC %d replicas", m.OutOfSync)
	}
	if m.diskRead > 0 {
		s += fmt.Sprintf("  read from disk %.0f MB", m.diskRead)
	}
	return s
}

// results collects the rounds.
type results struct {
	machine, kafka, commit, load string
	rounds                       map[string][]measured // case and variant
	failures                     []failure
	singles                      []single
	started                      time.Time
	done                         int    // rounds that ran to their end
	at                           string // what is under way
	complete                     bool
	save                         func() // writes the page anew
}

// failure is a case, or a whole broker, that gave no figure.
type failure struct {
	round         int
	variant, what string
	reason        string
}

// single is a figure that is not a rate: a time, a size, or a count, which has no unit.
type single struct {
	name   string // of the case that gave it
	what   string
	unit   string
	goal   float64 // to stay below, 0 for none
	wanted int     // how many values it should have
	values []float64
}

// text is the figure with its unit.
func (s single) text() string {
	sp := spreadOfValues(s.values)
	switch {
	case sp.n == 0:
		return "–"
	case s.unit == "" && sp.most == 0:
		return "none"
	case s.unit == "":
		return sp.text(0)
	case sp.median < 10:
		return sp.text(2) + " " + s.unit
	}
	return sp.text(0) + " " + s.unit
}

// goalText says the goal; a count that is to stay below one is to be none.
func (s single) goalText() string {
	switch {
	case s.goal == 0:
		return ""
	case s.unit == "" && s.goal == 1:
		return "none"
	}
	return strings.TrimSpace(fmt.Sprintf("under %.0f %s", s.goal, s.unit))
}

func (s single) verdict() verdict {
	switch {
	case s.goal == 0:
		return noGoal
	case len(s.values) == 0:
		return noFigure
	case spreadOfValues(s.values).median >= s.goal:
		return missed
	}
	return met
}

func newResults() *results { return &results{rounds: map[string][]measured{}, save: func() {}} }

// describe says where, of what and against what the figures are taken; it fetches Kafka.
func (r *results) describe(ctx context.Context, p plan) error {
	machine, err := describeMachine()
	if err != nil {
		return err
	}
	jars, err := harness.KafkaBrokerJars()
	if err != nil {
		return err
	}
	r.machine, r.kafka = machine, harness.KafkaVersion(jars)
	if r.load, err = loadAverage(); err != nil {
		return err
	}
	r.commit, err = describeCommit(ctx, harness.Root(), p.leat)
	return err
}

func key(name, variant string) string { return name + "|" + variant }

func (r *results) add(name, variant string, m measured) {
	r.rounds[key(name, variant)] = append(r.rounds[key(name, variant)], m)
	r.save()
}

func (r *results) fail(round int, variant, what string, err error) {
	f := failure{round, variant, what, firstLines(err.Error())}
	r.failures = append(r.failures, f)
	fmt.Fprintf(os.Stderr, "  FAILED %s: %s: %s\n", variant, what, f.reason)
	r.save()
}

// single notes a figure of the case that is under way.
func (r *results) single(what, unit string, goal float64, wanted int, values ...float64) {
	s := single{r.at, what, unit, goal, wanted, values}
	r.singles = append(r.singles, s)
	fmt.Fprintf(os.Stderr, "  %s: %s\n", what, s.text())
	r.save()
}

// spread is a median with the smallest and the largest value beside it.
type spread struct {
	median, least, most float64
	n                   int
}

func spreadOf(ms []measured, f func(measured) float64) spread {
	var v []float64
	for _, m := range ms {
		v = append(v, f(m))
	}
	return spreadOfValues(v)
}

func spreadOfValues(v []float64) spread {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	if n == 0 {
		return spread{}
	}
	mid := v[n/2]
	if n%2 == 0 {
		mid = (v[n/2-1] + v[n/2]) / 2
	}
	return spread{mid, v[0], v[n-1], n}
}

func (s spread) text(digits int) string {
	switch s.n {
	case 0:
		return "–"
	case 1:
		return fmt.Sprintf("%.*f", digits, s.median)
	}
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, s.median, digits, s.least, digits, s.most)
}
