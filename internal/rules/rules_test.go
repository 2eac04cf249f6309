package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/leat-stream/leat"

type pkg struct {
	ImportPath, Dir string
	Imports         []string
	GoFiles         []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", module+"/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 { // packages of tests only may import anything
			all = append(all, p)
		}
	}
}

// below is a package's path below the module.
func below(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

// lookup finds a package's layer; the command line's folders share one.
func lookup(path string) (layer, bool) {
	if strings.HasPrefix(path, "internal/cli/") {
		l := layers["internal/cli"]
		l.imports = append(slices.Clone(l.imports), cliOnly...)
		return l, true
	}
	l, ok := layers[path]
	return l, ok
}

func allowed(l layer, target string) bool {
	return matches(l.imports, target) || matches(everywhere, target)
}

// matches says whether a path is in a list, in which "x/*" stands for all below x.
func matches(list []string, path string) bool {
	return slices.ContainsFunc(list, func(a string) bool {
		return a == path || (strings.HasSuffix(a, "*") && strings.HasPrefix(path, strings.TrimSuffix(a, "*")))
	})
}

// impure are packages of the standard library through which the outside is touched.
var impure = []string{"os", "net", "time/tzdata", "io/ioutil", "math/rand", "crypto/rand", "syscall"}

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t) {
		path := below(p.ImportPath)
		if matches(apart, path) {
			continue
		}
		l, ok := lookup(path)
		if !ok {
			t.Errorf("%s is not in the table of layers: say in internal/rules/imports.go what it may import, and in docs/architecture.md what it is for", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, module) {
				target := below(imp)
				if path == "internal/cli" && strings.HasPrefix(target, "internal/cli/") {
					continue
				}
				if !allowed(l, target) {
					t.Errorf("%s imports %s, which the layering forbids: imports point down (docs/architecture.md); move the code, or argue for the arrow in internal/rules/imports.go", path, target)
				}
				continue
			}
			if l.pure && slices.Contains(impure, imp) {
				t.Errorf("%s is pure and imports %q: hand the clock, the randomness or the file in as an argument", path, imp)
			}
		}
	}
}

// TestArchitecturePageNamesEveryPackage holds the table of docs/architecture.md and the
// table of layers to the same packages, and to the same ones as pure.
func TestArchitecturePageNamesEveryPackage(t *testing.T) {
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([^`]+)`")
	inDocs := map[string]bool{} // pure or not
	for line := range strings.Lines(string(text)) {
		cell, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		if !ok || !strings.HasPrefix(line, "| ") || !strings.Contains(line, "`") {
			if len(inDocs) > 0 {
				break // the table's end
			}
			continue
		}
		pure := strings.HasSuffix(cell, " P")
		for _, m := range named.FindAllStringSubmatch(cell, -1) {
			if m[1] == "leat" {
				m[1] = ""
			}
			inDocs[m[1]] = pure
		}
	}
	for path, l := range layers {
		pure, ok := inDocs[path]
		switch {
		case !ok:
			t.Errorf("docs/architecture.md does not say what %q is for", path)
		case pure != l.pure:
			t.Errorf("%q is pure in one of internal/rules/imports.go and docs/architecture.md and not in the other", path)
		}
	}
	for path := range inDocs {
		if _, ok := layers[path]; !ok {
			t.Errorf("docs/architecture.md names the package %q, which internal/rules/imports.go does not know", path)
		}
	}
}

// maxLines is where a file stops being readable; generated files are exempt.
const maxLines = 1000

func TestFilesStaySmall(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			b, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b[:min(len(b), 500)], []byte("DO NOT EDIT")) {
				continue
			}
			if n := bytes.Count(b, []byte("\n")); n > maxLines {
				t.Errorf("%s/%s has %d lines: split it by request or by role", below(p.ImportPath), name, n)
			}
		}
	}
}
