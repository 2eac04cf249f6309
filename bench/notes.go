//go:build linux

package main

import (
	_ "embed"
	"strings"
)

// notes are what is said of the figures by hand. How the file is used stands at its top.
//
//go:embed notes.md
var notes string

// caseNotes are the notes, taken apart; each map is by the name of a case.
type caseNotes struct {
	general string
	limits  map[string]string // where the case has missed a goal
	beside  map[string]string // where it gave a figure
	without map[string]string // where it failed
}

// splitNotes takes the file of notes apart: what is above its first heading of a case,
// less the title and the paragraph below it, is for all.
func splitNotes(s string) caseNotes {
	n := caseNotes{limits: map[string]string{}, beside: map[string]string{}, without: map[string]string{}}
	parts := strings.Split("\n"+s, "\n## ")
	_, general, _ := strings.Cut(strings.TrimSpace(parts[0]), "\n\n")
	_, general, _ = strings.Cut(general, "\n\n") // how the file is used
	n.general = strings.TrimSpace(general)
	for _, p := range parts[1:] {
		name, text, _ := strings.Cut(p, "\n")
		name, text = strings.TrimSpace(name), strings.TrimSpace(text)
		if of, ok := strings.CutPrefix(name, "beside "); ok {
			n.beside[of] = text
		} else if of, ok := strings.CutPrefix(name, "without "); ok {
			n.without[of] = text
		} else {
			n.limits[name] = text
		}
	}
	return n
}
