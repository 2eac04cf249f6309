package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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

// tools are generators and measuring programs: no part of the product imports them.
func tool(path string) bool {
	for _, part := range []string{"/gen", "/cmd/", "conformance", "bench", "internal/rules"} {
		if strings.Contains(path, part) {
			return true
		}
	}
	return false
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

// cliOnly is what the folders of the command line may import beside the rest: the
// formats that "leat log dump" reads offline, and each other.
var cliOnly = []string{
	"internal/log", "internal/log/journal", "internal/record", "internal/schema", "internal/quorum",
	"internal/metadata", "internal/group", "internal/cli/*",
}

func allowed(l layer, target string) bool {
	for _, a := range l.imports {
		if a == target || (strings.HasSuffix(a, "*") && strings.HasPrefix(target, strings.TrimSuffix(a, "*"))) {
			return true
		}
	}
	return false
}

// impure are packages of the standard library through which the outside is touched.
var impure = []string{"os", "net", "time/tzdata", "io/ioutil", "math/rand", "crypto/rand", "syscall"}

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t) {
		path := below(p.ImportPath)
		if tool(path) {
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
