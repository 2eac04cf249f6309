//go:build linux

package main

import (
	"fmt"
	"strings"
)

// part is a part of the page: the cases of one node, or those of three.
type part bool

const (
	ofOne   part = false
	ofThree part = true
)

func (of part) holds(name string) bool { return strings.HasPrefix(name, "cluster") == bool(of) }

// has says whether a part has any figure or failure.
func (r *results) has(of part) bool {
	for _, name := range caseNames() {
		if of.holds(name) && (r.gave(name) || r.broke(name)) {
			return true
		}
	}
	return false
}

// gave says whether a case gave a figure.
func (r *results) gave(name string) bool {
	for _, s := range r.singles {
		if s.name == name && len(s.values) > 0 {
			return true
		}
	}
	for _, v := range variants {
		if len(r.rounds[key(name, v.name)]) > 0 {
			return true
		}
	}
	return false
}

// broke says whether a case failed.
func (r *results) broke(name string) bool {
	for _, f := range r.failures {
		if what, _, _ := strings.Cut(f.what, ","); what == name {
			return true
		}
	}
	return false
}

func (r *results) comparisons(out *errWriter, of part) {
	const head = "| case | unit | Leat | Kafka | ratio | goal | | rounds |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n"
	begun := false
	for _, c := range comparisons {
		row := c.row(r)
		if !of.holds(c.name) || row == "" {
			continue
		}
		if !begun && of == ofOne {
			out.printf("\n## Beside Apache Kafka\n")
		}
		if !begun {
			out.printf("\n%s", head)
			begun = true
		}
		out.printf("%s", row)
	}
}

// together is what three nodes have besides rates: whether all followed, and beside which figure
// of Kafka's a goal would be reached just so.
func (r *results) together(out *errWriter) {
	var lost, rounds int
	for _, v := range variants {
		if v.nodes == 0 {
			continue
		}
		for _, c := range v.cases {
			for _, m := range r.rounds[key(c.name, v.name)] {
				if c.load.Mode == "produce" {
					rounds++
					lost += m.OutOfSync
				}
			}
		}
	}
	if rounds > 0 {
		out.printf("\nReplicas that were not in sync at the end of a round of writing, of all nodes together: %s in %d rounds.\n",
			single{values: []float64{float64(lost)}}.text(), rounds)
	}
	for _, c := range comparisons {
		if ours, _, _, v := c.judge(r); ofThree.holds(c.name) && c.goal.atMost && v == met {
			out.printf("\nLeat would reach its goal for CPU, %s of Kafka's, beside %.1f %s, too.\n", c.goal, ours.median/c.goal.ratio, c.unit)
		}
	}
}

// busy says for each case which core was the limit.
func (r *results) busy(out *errWriter, of part) {
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
	seen := map[string]bool{}
	for _, c := range comparisons {
		ours, theirs := r.rounds[key(c.name, c.ours)], r.rounds[key(c.name, c.theirs)]
		label := c.name
		if c.ours == relaxed3 {
			label += ", relaxed"
		}
		if !of.holds(c.name) || seen[label] || len(ours)+len(theirs) == 0 {
			continue
		}
		if len(seen) == 0 && of == ofOne {
			out.printf("\n## What was busy\n\nShare of its core that each process used, medians. Where the client's is near 100 %%, the ratio above is one of the client, and the broker could do more.\n")
		}
		if len(seen) == 0 && of == ofThree {
			out.printf("\nShare of one core, of which there are two, that the three nodes together and the client used, medians:\n")
		}
		if len(seen) == 0 {
			out.printf("\n| case | Leat | its client | Kafka | its client | read from disk, MB, Leat and Kafka |\n| --- | --- | --- | --- | --- | --- |\n")
		}
		seen[label] = true
		out.printf("| %s | %s | %s | %s | %s | %s, %s |\n", label, percent(c.name, c.ours, broker), percent(c.name, c.ours, client),
			percent(c.name, c.theirs, broker), percent(c.name, c.theirs, client),
			spreadOf(ours, read).text(0), spreadOf(theirs, read).text(0))
	}
}

// alone are the figures that have no rounds.
func (r *results) alone(out *errWriter, of part) {
	begun := false
	for _, s := range r.singles {
		if !of.holds(s.name) {
			continue
		}
		if !begun && of == ofOne {
			out.printf("\n## Leat alone\n")
		}
		if !begun {
			out.printf("\n| what | median (least–most) | times | goal | |\n| --- | --- | --- | --- | --- |\n")
		}
		begun = true
		out.printf("| %s | %s | %d | %s | %s |\n", s.what, s.text(), len(s.values), s.goalText(), s.verdict())
	}
}

// beside are the notes that explain a part's figures, or stand in for those that failed.
func (r *results) beside(out *errWriter, notes caseNotes, of part) {
	for _, name := range caseNames() {
		if !of.holds(name) {
			continue
		}
		if text := notes.beside[name]; text != "" && r.gave(name) {
			out.printf("\n**%s** %s\n", name, text)
		}
		if text := notes.without[name]; text != "" && r.broke(name) {
			out.printf("\n**%s** %s\n", name, text)
		}
	}
}

// limits are the notes on the cases that have missed a goal, and those on all.
func (r *results) limits(out *errWriter, notes caseNotes) {
	missing := map[string]bool{}
	for _, c := range comparisons {
		if _, _, _, v := c.judge(r); v == missed {
			missing[c.name] = true
		}
	}
	for _, s := range r.singles {
		if s.verdict() == missed {
			missing[s.name] = true
		}
	}
	out.printf("\n## What limits it\n\n")
	if notes.general != "" {
		out.printf("%s\n", notes.general)
	}
	for _, name := range caseNames() {
		if !missing[name] {
			continue
		}
		text := notes.limits[name]
		if text == "" {
			text = "Not looked into yet."
		}
		out.printf("\n**%s** %s\n", name, text)
	}
	if len(missing) == 0 {
		out.printf("\nNo goal that has a figure was missed.\n")
	}
}

// caseNames are all cases in the page's order.
func caseNames() []string {
	var names []string
	for _, c := range comparisons {
		if len(names) == 0 || names[len(names)-1] != c.name {
			names = append(names, c.name)
		}
	}
	for _, s := range singleCases {
		names = append(names, s.name)
	}
	return names
}
