//go:build linux

package main

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// notes say what limits a figure, by hand, under a heading for each case.
//
//go:embed notes.md
var notes string

// write puts the report in place of the one before.
func (r *results) write(p plan, took time.Duration) error {
	if !strings.HasPrefix(p.out, "/dev/") {
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

func (r *results) report(w io.Writer, p plan, took time.Duration) error {
	out := &errWriter{w: w}
	out.printf("# Benchmarks\n\nWritten by `make bench`; run it to have your own. Ratios are ours over Kafka's in the same run.\n\n")
	if !r.complete {
		out.printf("**The run is not complete**: this was written after round %d of %d.\n\n", r.done, p.rounds)
	}
	out.printf("- Machine: %s.\n", r.machine)
	out.printf("- Apache Kafka %s, KRaft, combined nodes, its stock settings and JVM flags; Leat at its defaults (durable) unless it says relaxed.\n", r.kafka)
	out.printf("- %d of %d rounds ran to their end, each other one with the brokers in the opposite order; %d s warm-up and %d s measured for each case. Figures are medians (least–most); the last column says how many rounds gave a figure, ours and Kafka's.\n", r.done, p.rounds, p.warm, p.seconds)
	out.printf("- A single broker is pinned to one core, the client program to the other. Bulk loads (1 KiB records) speak the protocol by hand on one connection: batches of 256 KiB, one for each partition in a request, five requests under way; one fetch at a time of up to 1 MiB a partition; the same bytes to both. Small producers and end to end run on franz-go.\n")
	out.printf("- Three nodes: each is voter and broker, all of them and the client share both cores. A topic has three replicas and min.insync.replicas 2; each leader has a connection of its own. Before the first case a cluster is written to for %d s. CPU is of all three together.\n", clusterWarm*p.warm)
	out.printf("- Each case has a fresh topic and begins with nothing left to write back to the disk. What is consumed is 1 GiB that was just written.\n")
	out.printf("- Before each bulk case a third of the memory is touched and freed: the host of a virtual machine may take free memory back, and what the next user of a page pays for that would else be measured.\n")
	out.printf("- CPU is the broker's, in seconds for a gigabyte of values, within the measured time, from /proc.\n")
	if raw := spreadOf(r.rounds[key(rawCase, leat)], mbs); raw.n > 0 {
		out.printf("- The disk alone, written in 4 MiB pieces with a sync after each, just before the durable case: %s MB/s.\n", raw.text(0))
	}
	out.printf("- The whole run took %s.\n", took.Round(time.Second))
	r.comparisons(out)
	r.busy(out)
	r.alone(out)
	r.failed(out)
	r.limits(out)
	return out.err
}

func (r *results) comparisons(out *errWriter) {
	out.printf("\n## Beside Apache Kafka\n\n| case | unit | Leat | Kafka | ratio | goal | | rounds |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, c := range comparisons {
		out.printf("%s", c.row(r))
	}
}

// busy says for each case which core was the limit.
func (r *results) busy(out *errWriter) {
	out.printf("\n## What was busy\n\nShare of one core that the broker (the three nodes of a cluster together) and the client used, medians. Where the client's is near 100 %%, the ratio above is one of the client, and the broker could do more.\n\n")
	out.printf("| case | Leat | its client | Kafka | its client | read from disk, MB, Leat and Kafka |\n| --- | --- | --- | --- | --- | --- |\n")
	seen := map[string]bool{}
	percent := func(name, variant string, f func(measured) float64) string {
		s := spreadOf(r.rounds[key(name, variant)], f)
		if s.n == 0 {
			return "–"
		}
		return fmt.Sprintf("%.0f %%", 100*s.median)
	}
	broker := func(m measured) float64 { return m.brokerBusy }
	client := func(m measured) float64 { return m.clientBusy }
	read := func(m measured) float64 { return m.diskRead }
	for _, c := range comparisons {
		ours, theirs := r.rounds[key(c.name, c.ours)], r.rounds[key(c.name, c.theirs)]
		if seen[c.name] || len(ours)+len(theirs) == 0 {
			continue
		}
		seen[c.name] = true
		out.printf("| %s | %s | %s | %s | %s | %s, %s |\n", c.name, percent(c.name, c.ours, broker), percent(c.name, c.ours, client),
			percent(c.name, c.theirs, broker), percent(c.name, c.theirs, client),
			spreadOf(ours, read).text(0), spreadOf(theirs, read).text(0))
	}
}

func (r *results) alone(out *errWriter) {
	if len(r.singles) == 0 {
		return
	}
	out.printf("\n## Leat alone\n\n| what | median (least–most) | times | goal | |\n| --- | --- | --- | --- | --- |\n")
	for _, s := range r.singles {
		goal := ""
		if s.goal > 0 {
			goal = fmt.Sprintf("under %.0f %s", s.goal, s.unit)
		}
		out.printf("| %s | %s %s | %d | %s | %s |\n", s.what, s.text(), s.unit, len(s.values), goal, s.verdict())
	}
}

func (r *results) failed(out *errWriter) {
	if len(r.failures) == 0 {
		return
	}
	out.printf("\n## What failed\n\nEach case has %d attempts in a round, whichever the broker.\n\n| round | broker | what | reason |\n| --- | --- | --- | --- |\n", attempts)
	for _, f := range r.failures {
		round := fmt.Sprint(f.round)
		if f.round == 0 {
			round = "–"
		}
		out.printf("| %s | %s | %s | %s |\n", round, f.variant, f.what, strings.ReplaceAll(f.reason, "|", `\|`))
	}
}

// limits are the notes on the cases that have missed a goal, and those on all.
func (r *results) limits(out *errWriter) {
	missing := map[string]bool{}
	for _, c := range comparisons {
		if _, _, _, v := c.judge(r); v == missed {
			missing[c.name] = true
		}
	}
	for _, s := range r.singles {
		if s.verdict() == missed {
			missing["alone"] = true
		}
	}
	out.printf("\n## What limits it\n\n")
	general, byCase := splitNotes(notes)
	if general != "" {
		out.printf("%s\n", general)
	}
	for _, name := range append(caseNames(), "alone") {
		if !missing[name] {
			continue
		}
		text := byCase[name]
		if text == "" {
			text = "Not looked into yet."
		}
		out.printf("\n**%s** %s\n", name, text)
	}
	if len(missing) == 0 {
		out.printf("\nNo goal that has a figure was missed.\n")
	}
}

func caseNames() []string {
	var names []string
	for _, c := range comparisons {
		if len(names) == 0 || names[len(names)-1] != c.name {
			names = append(names, c.name)
		}
	}
	return names
}

// splitNotes takes the file of notes apart: what is above its first heading of a case
// (and below the title) is for all.
func splitNotes(s string) (general string, byCase map[string]string) {
	byCase = map[string]string{}
	parts := strings.Split("\n"+s, "\n## ")
	_, general, _ = strings.Cut(strings.TrimSpace(parts[0]), "\n\n")
	_, general, _ = strings.Cut(general, "\n\n") // how the file is used
	for _, p := range parts[1:] {
		name, text, _ := strings.Cut(p, "\n")
		byCase[strings.TrimSpace(name)] = strings.TrimSpace(text)
	}
	return strings.TrimSpace(general), byCase
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
