//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/bench/load"
)

func produced(mb float64) measured {
	return measured{Result: load.Result{Records: int64(mb * 1000), Bytes: int64(mb * 1e6), Seconds: 1, P50: 1, P99: 1, P999: 1},
		userPerGB: 1, totalPerGB: 1, brokerBusy: 0.5, clientBusy: 0.97}
}

func reportOf(t *testing.T, r *results) string {
	t.Helper()
	return reportBy(t, plan{rounds: 3}, r)
}

func reportBy(t *testing.T, p plan, r *results) string {
	t.Helper()
	var b strings.Builder
	if err := r.report(&b, p, time.Minute); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestReportOfAPartialRun: what was measured stands there with the number of rounds
// that counted, what failed with its reason, and that the run is not complete.
func TestReportOfAPartialRun(t *testing.T) {
	r := newResults()
	r.done, r.at = 2, "round 3 of 3, kafka"
	for _, mb := range []float64{300, 100} {
		r.add("acks1-1p", leat, produced(mb))
	}
	r.add("acks1-1p", kafka, produced(100))
	r.add("small-durable", leat, produced(10))
	r.fail(2, kafka, "acks1-1p, attempt 1 of 2", errors.New("a | b\nc"))
	got := reportOf(t, r)
	for _, want := range []string{
		"**The run is not complete**: this was written 1m0s after its start, in: round 3 of 3, kafka. 2 of 3 rounds had ended.",
		"| produce acks=1, 1 KiB, 1 partition | MB/s | 200 (100–300) | 100 | 2.00 | at least 1.2 | reached | 2, 1 |",
		"| records/s | 10000 | – | – | at least 1.0 | no figure | 1, 0 |",
		`| 2 | kafka | acks1-1p, attempt 1 of 2 | a \| b c |`,
		"| acks1-1p | 50 % | 97 % | 50 % | 97 % |",
		"**acks1-1p** Not looked into yet.", // CPU a gigabyte is no better than Kafka's
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the report lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "consume from page cache, 1") {
		t.Error("the report has a row for a case that was not run")
	}
}

// TestGoalByTheDisk: a durable rate near the disk's own is enough, whatever Kafka does
// without a sync.
func TestGoalByTheDisk(t *testing.T) {
	for _, c := range []struct {
		ours float64
		want string
	}{{79, "**not reached**"}, {90, "reached"}, {160, "reached"}} {
		r := newResults()
		r.add(rawCase, leat, produced(100))
		r.add("durable-12p", leat, produced(c.ours))
		r.add("durable-12p", kafka, produced(200))
		if got := reportOf(t, r); !strings.Contains(got, "of the disk's synced rate | "+c.want+" | 1, 1 |") {
			t.Errorf("%v MB/s of 100 raw and 200: want %s:\n%s", c.ours, c.want, got)
		}
	}
}

func TestSplitNotes(t *testing.T) {
	got := splitNotes("# Title\n\nHow it is used.\n\nFor all.\n\nAnd more.\n\n## one\nFirst.\n\n## two\n\nSecond.\n\n## beside two\n\nThird.\n\n## without one\nFourth.\n")
	want := caseNotes{"For all.\n\nAnd more.", map[string]string{"one": "First.", "two": "Second."}, map[string]string{"two": "Third."}, map[string]string{"one": "Fourth."}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	real := splitNotes(notes)
	for _, byCase := range []map[string]string{real.limits, real.beside, real.without} {
		for name := range byCase {
			if !slices.Contains(caseNames(), name) {
				t.Errorf("notes.md has a note on %q, which is no case", name)
			}
		}
	}
}

// TestReportOfAWholeRun: a page of a run in which every case gave a figure has every row,
// every section in its order, the commit, and nothing that fell short.
func TestReportOfAWholeRun(t *testing.T) {
	p := plan{rounds: 2, trials: 3}
	r := wholeRun(p)
	got := reportBy(t, p, r)
	at := 0
	for _, want := range []string{
		"- Commit: abc, with changes. Load average of the minute before the run: 0.10.",
		"- The run took 1m0s.",
		"\n## Beside Apache Kafka\n", "\n## What was busy\n", "| e2e-durable | 50 % |",
		"\n## Leat alone\n", "| of single-metadata | 3.00 (3.00–3.00) ms | 3 | under 5 ms | reached |",
		"\n## Three nodes\n", "Replicas that were not in sync at the end of a round of writing, of all nodes together: none in 6 rounds.",
		"| cluster, relaxed | 50 % |", "| cluster | 50 % |", "| of cluster-cut | 3.00 (3.00–3.00) ms | 3 |", "**cluster-rolling** Where other work",
		"\n## Fewer rounds or trials than there were to be\n\nNone.\n", "\n## What limits it\n",
	} {
		i := strings.Index(got[at:], want)
		if i < 0 {
			t.Fatalf("the page lacks %q after its first %d bytes:\n%s", want, at, got)
		}
		at += i
	}
	for _, c := range comparisons {
		if !strings.Contains(got, "| "+c.what+" | ") {
			t.Errorf("the page has no row %q", c.what)
		}
	}
	for _, lacks := range []string{"not complete", "What failed", "Without the whole"} {
		if strings.Contains(got, lacks) {
			t.Errorf("the page of a whole run has %q", lacks)
		}
	}
	one, three, _ := strings.Cut(got, "\n## Three nodes\n")
	if strings.Contains(one, "| cluster") || strings.Contains(three, "| of single-") || strings.Contains(three, "| acks1-1p | ") {
		t.Errorf("figures of one node and of three are mixed:\n%s", got)
	}
}

// wholeRun is what a run gives in which nothing failed.
func wholeRun(p plan) *results {
	r := newResults()
	r.commit, r.load, r.done, r.complete = "abc, with changes", "0.10", p.rounds, true
	for _, v := range variants {
		for _, c := range v.cases {
			for range p.rounds {
				r.add(c.name, v.name, produced(100))
			}
		}
	}
	for _, s := range singleCases {
		r.at = s.name
		r.single("of "+s.name, "ms", 5, p.trials, slices.Repeat([]float64{3}, p.trials)...)
	}
	return r
}

// TestFewer: what gave less than it should is named, and what gave nothing.
func TestFewer(t *testing.T) {
	p := plan{rounds: 2, trials: 3}
	r := wholeRun(p)
	delete(r.rounds, key("consume-1p", kafka))
	r.rounds[key("cluster", kafka3)] = r.rounds[key("cluster", kafka3)][:1]
	r.rounds[key("cluster", leat3)][0].OutOfSync = 4
	r.singles[len(r.singles)-1].values = []float64{3}
	r.singles = slices.DeleteFunc(r.singles, func(s single) bool { return s.name == "cluster-idle" })
	r.fail(0, kafka, "cluster-cut", errors.New("no way"))
	got := reportBy(t, p, r)
	for _, want := range []string{
		"- `consume-1p`, kafka: 0 of 2 rounds\n", "- `cluster`, kafka, three nodes: 1 of 2 rounds\n",
		"- `cluster-cut`, of cluster-cut: 1 of 3 times\n", "- `cluster-idle`: no figure\n",
		"of all nodes together: 4 in 5 rounds.", "| – | kafka | cluster-cut | no way |", "**cluster-cut** Without the whole",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q:\n%s", want, got)
		}
	}
}

// TestEveryRowHasItsFigures: what a comparison compares is run by the variants it names.
func TestEveryRowHasItsFigures(t *testing.T) {
	runs := map[string]bool{}
	for _, v := range variants {
		for _, c := range v.cases {
			runs[key(c.name, v.name)] = true
		}
	}
	for _, c := range comparisons {
		if !runs[key(c.name, c.ours)] || !runs[key(c.name, c.theirs)] {
			t.Errorf("%s of %s: %s and %s are not both run", c.what, c.name, c.ours, c.theirs)
		}
	}
}

// TestCounts: a count has no unit; that there is none is its goal, or a figure.
func TestCounts(t *testing.T) {
	for _, c := range []struct {
		s                single
		text, goal, said string
	}{
		{single{goal: 1, values: []float64{0}}, "none", "none", "reached"},
		{single{goal: 1, values: []float64{2}}, "2", "none", "**not reached**"},
		{single{goal: 1}, "–", "none", "no figure"},
		{single{values: []float64{10008}}, "10008", "", ""},
		{single{unit: "s", goal: 60, values: []float64{5}}, "5.00 s", "under 60 s", "reached"},
	} {
		if c.s.text() != c.text || c.s.goalText() != c.goal || c.s.verdict().String() != c.said {
			t.Errorf("%+v: %q, %q, %q", c.s, c.s.text(), c.s.goalText(), c.s.verdict())
		}
	}
}

// TestWholeRunTakesAnHour: what a whole run of `make bench` takes stays within an hour.
func TestWholeRunTakesAnHour(t *testing.T) {
	p := whole
	p.kafkaTrials = 3 // as the Makefile has it
	if fixed, rest := p.fixed(), p.rest(); fixed > 37*time.Minute || fixed+rest > time.Hour {
		t.Errorf("%v with a fixed time and about %v beside", fixed, rest)
	}
}

// TestPageIsWrittenAllAlong: the page is there after each figure and each failure, not
// only at the end of a run.
func TestPageIsWrittenAllAlong(t *testing.T) {
	p := plan{rounds: 3, out: filepath.Join(t.TempDir(), "page.md")}
	r := newResults()
	r.started = time.Now()
	r.at = "round 1 of 3, leat"
	r.save = func() {
		if err := r.write(p); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		do   func()
		want string
	}{
		{func() { r.add("acks1-1p", leat, produced(300)) }, "| MB/s | 300 |"},
		{func() { r.fail(1, leat, "acks1-12p", errors.New("why")) }, "| 1 | leat | acks1-12p | why |"},
		{func() { r.single("a time", "ms", 0, 1, 17) }, "| a time | 17 ms | 1 |"},
	} {
		c.do()
		got, err := os.ReadFile(p.out)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(got), c.want) || !strings.Contains(string(got), "**The run is not complete**") {
			t.Errorf("the page lacks %q:\n%s", c.want, got)
		}
	}
}

// TestValuesOfBenchmarks: each figure of the metadata is found in what go test writes,
// as often as it runs.
func TestValuesOfBenchmarks(t *testing.T) {
	const line = `    bench_test.go:53: a partition takes 109 bytes
BenchmarkFailover
BenchmarkFailover-2             	      13	 106832052 ns/op	    380252 record-bytes	     10008 records	11897873 B/op	  129645 allocs/op
BenchmarkControllerFailover-2   	       2	 527846363 ns/op	87845488 B/op	 1072857 allocs/op
BenchmarkTakeover-2   	       1	  85556761 ns/op	        27.47 cpu-ms/op	       110.0 fetched-anew	       103.0 led-anew	     10008 records	      9876 replicas
`
	want := []float64{109, 106.832052, 10008, 380.252, 27.47, 9876, 103, 110, 527.846363}
	for i, f := range metadataFigures {
		got, err := valuesOf(f.pattern, []byte(line+line), f.divide)
		if err != nil || !slices.Equal(got, []float64{want[i], want[i]}) {
			t.Errorf("%s: %v (%v), want %v twice", f.what, got, err, want[i])
		}
	}
}
