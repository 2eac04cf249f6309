//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// write puts the page in place of the one before.
func (r *results) write(p plan) error {
	took := time.Since(r.started)
	if !p.device() {
		tmp := filepath.Join(filepath.Dir(p.out), "."+filepath.Base(p.out)+".tmp")
		f, err := os.Create(tmp)
		if err != nil {
			return err
		}
		defer os.Remove(tmp)
		if err := r.report(f, p, took); err != nil {
			f.Close()
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		return os.Rename(tmp, p.out)
	}
	f, err := os.OpenFile(p.out, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return r.report(f, p, took)
}

// report writes the whole page.
func (r *results) report(w io.Writer, p plan, took time.Duration) error {
	out := &errWriter{w: w}
	out.printf("# Benchmarks\n\nWritten by `make bench`; run it to have your own. Ratios are ours over Kafka's in the same run.\n\n")
	if !r.complete {
		out.printf("**The run is not complete**: this was written %s after its start, in: %s. %d of %d rounds had ended.\n\n", took.Round(time.Second), r.at, r.done, p.rounds)
	}
	r.circumstances(out, p, took)
	notes := splitNotes(notes)
	r.comparisons(out, ofOne)
	r.busy(out, ofOne)
	r.alone(out, ofOne)
	r.beside(out, notes, ofOne)
	if r.has(ofThree) {
		out.printf("\n## Three nodes\n")
		r.comparisons(out, ofThree)
		r.together(out)
		r.busy(out, ofThree)
		r.alone(out, ofThree)
		r.beside(out, notes, ofThree)
	}
	r.failed(out)
	r.fewer(out, p)
	r.limits(out, notes)
	return out.err
}

// circumstances say where, of what and how the figures were taken.
func (r *results) circumstances(out *errWriter, p plan, took time.Duration) {
	out.printf("- Commit: %s. Load average of the minute before the run: %s.\n", r.commit, r.load)
	out.printf("- Machine: %s.\n", r.machine)
	out.printf("- The run took %s.\n", took.Round(time.Second))
	if p.cases != nil && p.cases.String() != "." {
		out.printf("- Only cases that match `%s`.\n", p.cases)
	}
	out.printf("- Apache Kafka %s, KRaft, combined nodes, its stock settings and JVM flags; Leat at its defaults (durable) unless it says relaxed.\n", r.kafka)
	out.printf("- %d of %d rounds ran to their end, each other one with the brokers in the opposite order; %d s warm-up and %d s measured for each case. Figures are medians (least–most); the last column says how many rounds gave a figure, ours and Kafka's.\n", r.done, p.rounds, p.warm, p.seconds)
	out.printf("- A single broker is pinned to one core, the client program to the other. Bulk loads (1 KiB records) speak the protocol by hand on one connection: batches of 256 KiB, one for each partition in a request, five requests under way; one fetch at a time of up to 1 MiB a partition; the same bytes to both. Small producers and end to end run on franz-go.\n")
	out.printf("- Each case has a fresh topic and begins with nothing left to write back to the disk. What is consumed is 1 GiB that was just written.\n")
	out.printf("- Before each bulk case a third of the memory is touched and freed: the host of a virtual machine may take free memory back, and what the next user of a page pays for that would else be measured.\n")
	out.printf("- CPU is the broker's, in seconds for a gigabyte of values, within the measured time, from /proc.\n")
	if raw := spreadOf(r.rounds[key(rawCase, leat)], mbs); raw.n > 0 {
		out.printf("- The disk alone, written in 4 MiB pieces with a sync after each, just before the durable case: %s MB/s.\n", raw.text(0))
	}
	if r.has(ofThree) {
		out.printf("- Three nodes: each is voter and broker, all of them and the client share both cores. A topic has three replicas and min.insync.replicas 2; each leader has a connection of its own. Before the first case a cluster is written to for %d s, so that three virtual machines have compiled. CPU is of all three together.\n", clusterWarm*p.warm)
	}
}

// failed are the cases, and whole brokers, that gave no figure.
func (r *results) failed(out *errWriter) {
	if len(r.failures) == 0 {
		return
	}
	out.printf("\n## What failed\n\nEach case of a round has %d attempts, whichever the broker, unless the broker ends in the first.\n\n| round | broker | what | reason |\n| --- | --- | --- | --- |\n", attempts)
	for _, f := range r.failures {
		round := fmt.Sprint(f.round)
		if f.round == 0 {
			round = "–"
		}
		out.printf("| %s | %s | %s | %s |\n", round, f.variant, f.what, strings.ReplaceAll(f.reason, "|", `\|`))
	}
}

// fewer are the cases with fewer rounds than there were to be, and the figures with
// fewer trials.
func (r *results) fewer(out *errWriter, p plan) {
	var all []string
	for _, v := range variants {
		for _, c := range p.chosen(v) {
			if n := len(r.rounds[key(c.name, v.name)]); n < p.rounds {
				all = append(all, fmt.Sprintf("`%s`, %s: %d of %d rounds", c.name, v.name, n, p.rounds))
			}
		}
	}
	gave := map[string]bool{}
	for _, s := range r.singles {
		gave[s.name] = true
		if n := len(s.values); n < s.wanted {
			all = append(all, fmt.Sprintf("`%s`, %s: %d of %d times", s.name, s.what, n, s.wanted))
		}
	}
	for _, s := range singleCases {
		if p.runs(s.name) && !gave[s.name] {
			all = append(all, fmt.Sprintf("`%s`: no figure", s.name))
		}
	}
	out.printf("\n## Fewer rounds or trials than there were to be\n\n")
	if len(all) == 0 {
		out.printf("None.\n")
	}
	for _, line := range all {
		out.printf("- %s\n", line)
	}
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
