//go:build linux

package main

import (
	"errors"
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
	var b strings.Builder
	if err := r.report(&b, plan{rounds: 3}, time.Minute); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestReportOfAPartialRun: what was measured stands there with the number of rounds
// that counted, what failed with its reason, and that the run is not complete.
func TestReportOfAPartialRun(t *testing.T) {
	r := newResults()
	r.done = 2
	for _, mb := range []float64{300, 100} {
		r.add("acks1-1p", leat, produced(mb))
	}
	r.add("acks1-1p", kafka, produced(100))
	r.add("small-durable", leat, produced(10))
	r.fail(2, kafka, "acks1-1p, attempt 1 of 2", errors.New("a | b\nc"))
	got := reportOf(t, r)
	for _, want := range []string{
		"**The run is not complete**: this was written after round 2 of 3.",
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
	general, byCase := splitNotes("# Title\n\nHow it is used.\n\nFor all.\n\nAnd more.\n\n## one\nFirst.\n\n## two\n\nSecond.\n")
	if general != "For all.\n\nAnd more." || byCase["one"] != "First." || byCase["two"] != "Second." || len(byCase) != 2 {
		t.Errorf("%q, %q", general, byCase)
	}
	_, real := splitNotes(notes)
	known := append(caseNames(), "alone")
	for name := range real {
		found := false
		for _, k := range known {
			found = found || k == name
		}
		if !found {
			t.Errorf("notes.md has a note on %q, which is no case", name)
		}
	}
}
