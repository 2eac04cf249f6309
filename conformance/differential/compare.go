package differential

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// absent is what stands for a path that one of the answers does not have.
const absent = "<absent>"

// Difference is one field in which the two brokers' answers to a step differ.
type Difference struct {
	Scenario, Step, Path string
	Kafka, Leat          string
}

// Where names the place, as allow.json's patterns match it.
func (d Difference) Where() string { return d.Scenario + ": " + d.Step + ": " + d.Path }

// Compare lays two recordings of a scenario side by side.
func Compare(scenario string, kafka, leat []Step) []Difference {
	var out []Difference
	for i := range max(len(kafka), len(leat)) {
		switch {
		case i >= len(leat):
			out = append(out, Difference{scenario, kafka[i].Name, "", "answered", absent})
		case i >= len(kafka):
			out = append(out, Difference{scenario, leat[i].Name, "", absent, "answered"})
		case kafka[i].Name != leat[i].Name:
			// The scenario took another way: what follows cannot be compared.
			return append(out, Difference{scenario, kafka[i].Name, "", "this step", "the step " + leat[i].Name})
		default:
			for _, d := range compareAnswers(kafka[i].Outcome, leat[i].Outcome) {
				d.Scenario, d.Step = scenario, kafka[i].Name
				out = append(out, d)
			}
		}
	}
	return out
}

// compareAnswers lists the paths at which two answers differ. An element of a
// list that only one has is one difference, not one for each of its fields.
func compareAnswers(kafka, leat Answer) []Difference {
	paths := map[string]bool{}
	for p := range kafka {
		paths[p] = true
	}
	for p := range leat {
		paths[p] = true
	}
	inKafka, inLeat := elements(kafka), elements(leat)
	reported := map[string]bool{}
	var out []Difference
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		k, inK := kafka[p]
		l, inL := leat[p]
		if inK && inL {
			if k != l {
				out = append(out, Difference{Path: p, Kafka: k, Leat: l})
			}
			continue
		}
		if e := missingElement(p, inKafka, inLeat); e != "" {
			if !reported[e] {
				reported[e] = true
				d := Difference{Path: e, Kafka: "present", Leat: absent}
				if !inK {
					d.Kafka, d.Leat = absent, "present"
				}
				out = append(out, d)
			}
			continue
		}
		if !inK {
			k = absent
		}
		if !inL {
			l = absent
		}
		out = append(out, Difference{Path: p, Kafka: k, Leat: l})
	}
	return out
}

// elements are the list elements that an answer's paths go through.
func elements(a Answer) map[string]bool {
	out := map[string]bool{}
	for p := range a {
		for _, e := range prefixes(p) {
			out[e] = true
		}
	}
	return out
}

// prefixes are the beginnings of a path that end at a list element: "T[a]" and
// "T[a].P[0]" of "T[a].P[0].Leader". Identities hold no bracket followed by a dot.
func prefixes(p string) []string {
	var out []string
	for i := range p {
		if p[i] == ']' && (i+1 == len(p) || p[i+1] == '.') {
			out = append(out, p[:i+1])
		}
	}
	return out
}

// missingElement is the outermost list element on a path that one side lacks.
func missingElement(p string, a, b map[string]bool) string {
	for _, e := range prefixes(p) {
		if a[e] != b[e] {
			return e
		}
	}
	return ""
}

// Report writes differences for a reader, those that differ only in the version together.
func Report(diffs []Difference) string {
	type key struct{ scenario, api, label, path, kafka, leat string }
	versions := map[key][]string{}
	var order []key
	for _, d := range diffs {
		api, rest, _ := strings.Cut(d.Step, " ")
		version, label, _ := strings.Cut(rest, " ")
		k := key{d.Scenario, api, label, d.Path, d.Kafka, d.Leat}
		if versions[k] == nil {
			order = append(order, k)
		}
		versions[k] = append(versions[k], version)
	}
	var b strings.Builder
	for _, k := range order {
		fmt.Fprintf(&b, "%s: %s %s %s: %s\n    kafka %s\n    leat  %s\n",
			k.scenario, k.api, strings.Join(versions[k], ","), k.label, k.path, k.kafka, k.leat)
	}
	return b.String()
}
