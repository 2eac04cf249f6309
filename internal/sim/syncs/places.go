// Package syncs helps tests to take out the syncs of a package one by one.
package syncs

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

const module = "github.com/leat-stream/leat/"

// Places tells the syncs of a package apart by the places in its code that ask for
// them, so that a test can take out each on its own (env.Disk.SkipSync). The test first
// runs its cases with Note as the hook; then again and again without one place.
type Places struct {
	pkg   string
	kind  func(path string) string
	found map[place]int
	names map[place]string // of found; nil: to be made
	lines map[string]bool  // of the package, on the stack of any sync: "file.go:0012"
}

// place is what a sync is called, and the lines of its callers, which set it apart.
type place struct {
	name  string
	lines string // "file.go:line" of the sync itself first
}

// NewPlaces is for the package of that path below the module, not for those below it;
// kind names the sort of file behind a path.
func NewPlaces(pkg string, kind func(path string) string) *Places {
	return &Places{pkg: module + pkg + ".", kind: kind, found: map[place]int{}, lines: map[string]bool{}}
}

// at is the place of an operation, on the stack of who asked for it; ok is false when
// that is not the package itself.
func (p *Places) at(op env.Op) (at place, ok bool) {
	var pcs [40]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	var names, lines []string
	inDisk := false // behind the hook, in the disk's own functions
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if len(names) == 0 && strings.HasPrefix(f.Function, module+"internal/env.") {
			inDisk = true
			continue
		}
		if !inDisk {
			continue
		}
		name, ours := strings.CutPrefix(f.Function, p.pkg)
		if ours = ours && !strings.HasSuffix(f.File, "_test.go"); !ours {
			if len(names) == 0 && strings.HasPrefix(f.Function, module) {
				return place{}, false // another package, or a test, asks
			}
			continue
		}
		line := fmt.Sprintf("%s:%04d", filepath.Base(f.File), f.Line)
		p.lines[line] = true
		name = strings.ReplaceAll(strings.TrimPrefix(name, "(*"), ")", "")
		name, _, _ = strings.Cut(name, ".func")
		name, _, _ = strings.Cut(name, "-range")
		if len(names) == 0 || len(names) == 1 && names[0] != name {
			names = append(names, name)
			lines = append(lines, line)
		}
	}
	if len(names) == 0 {
		return place{}, false
	}
	return place{strings.Join(names, " < ") + ": " + op.Kind + " " + p.kind(op.Path), strings.Join(lines, " ")}, true
}

// Note counts a sync and lets it happen.
func (p *Places) Note(op env.Op) bool {
	if at, ok := p.at(op); ok {
		p.found[at]++
		p.names = nil
	}
	return false
}

// Name is what the place of a sync is called: the two innermost functions of the
// package, and the kind of file: "Log.reach < Dir.syncLogs: sync .log". Where that is
// so of several, a number follows. It is "" for the syncs of other packages.
func (p *Places) Name(op env.Op) string {
	at, ok := p.at(op)
	if !ok {
		return ""
	}
	if p.names == nil {
		p.names = p.name()
	}
	if name, ok := p.names[at]; ok {
		return name
	}
	return at.name + " at " + at.lines
}

func (p *Places) name() map[place]string {
	names := make(map[place]string, len(p.found))
	for at := range p.found {
		var same []string
		for q := range p.found {
			if q.name == at.name {
				same = append(same, q.lines)
			}
		}
		names[at] = at.name
		if len(same) > 1 {
			slices.Sort(same)
			names[at] += fmt.Sprintf(" #%d", 1+slices.Index(same, at.lines))
		}
	}
	return names
}

// Found are the places that were met, by name, and how often.
func (p *Places) Found() map[string]int {
	m := map[string]int{}
	for at, name := range p.name() {
		m[name] += p.found[at]
	}
	return m
}

// RequireAll fails the test unless every sync in the source of the package, which lies
// in dir, was met, and every call of the functions helpers that sync for their callers;
// or stands in elsewhere: by function, why no case comes there.
func (p *Places) RequireAll(t *testing.T, dir string, helpers []string, elsewhere map[string]string) {
	t.Helper()
	syncs := regexp.MustCompile(`\.Sync(Dir)?\(.*\)|\b(` + strings.Join(append(helpers, "a^"), "|") + `)\(`)
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no source in %s: %v", dir, err)
	}
	slices.SortFunc(files, cmp.Compare[string])
	used := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		function, n := "", 0
		for line := range strings.Lines(string(b)) {
			n++
			if strings.HasPrefix(line, "func ") {
				function = funcName(line)
			}
			code, _, _ := strings.Cut(line, "//")
			if strings.HasPrefix(line, "func ") || !syncs.MatchString(code) || p.lines[fmt.Sprintf("%s:%04d", filepath.Base(file), n)] {
				continue
			}
			if elsewhere[function] == "" {
				t.Errorf("%s:%d: no case comes to this sync of %s: %s", file, n, function, strings.TrimSpace(line))
			}
			used[function] = true
		}
	}
	for function := range elsewhere {
		if !used[function] {
			t.Errorf("%s is excused, but its syncs are met or gone", function)
		}
	}
}

var funcHead = regexp.MustCompile(`^func (?:\(\w+ \*?(\w+)\) )?(\w+)`)

func funcName(line string) string {
	m := funcHead.FindStringSubmatch(line)
	if m == nil {
		return ""
	}
	if m[1] == "" {
		return m[2]
	}
	return m[1] + "." + m[2]
}
