//go:build mutants

package sim

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/mutant"
)

// named is a test of another package.
type named struct {
	folder string // beside this one
	test   string
}

func (n named) String() string { return n.folder + ": " + n.test }

// TestNamedTestsAreThere: what TestMutants runs for a mutant that no seed notices has not
// been renamed.
func TestNamedTestsAreThere(t *testing.T) {
	for name, in := range noticedIn {
		files, err := filepath.Glob(filepath.Join("..", in.folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		there := false
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			there = there || strings.Contains(string(src), "\nfunc "+in.test+"(t *testing.T)")
		}
		if !there {
			t.Errorf("%s is noticed by %v, which is not there", name, in)
		}
	}
}

// lookIn runs the test that notices a mutant, without it and with it, and gives the first
// line of its failure; "" when it passes.
func lookIn(t *testing.T, name string, in named) (by string) {
	if out, err := in.run(""); err != nil || strings.Contains(out, "no tests to run") {
		t.Fatalf("%v without a mutant: %v\n%s", in, err, out)
	}
	out, err := in.run(name)
	if err == nil {
		return ""
	}
	if !regexp.MustCompile(`(?m)^(\s*--- FAIL: ` + in.test + `\b|panic: )`).MatchString(out) {
		t.Fatalf("%v: %v\n%s", in, err, out) // it did not run
	}
	said := regexp.MustCompile(`(?m)^\s+\w+_test\.go:\d+: (.+)$|^(panic: .+)$`).FindStringSubmatch(out)
	if said == nil {
		return "it fails"
	}
	return cmp.Or(said[1:]...)
}

// run runs the test with a mutant switched on from the start; "" is none.
func (n named) run(name string) (out string, err error) {
	args := []string{"test", "-tags", "mutants", "-count=1", "-timeout", "5m", "-run", "^" + n.test + "$"}
	if name != "" {
		args = append(args, "-ldflags", "-X "+reflect.TypeFor[mutant.Mutant]().PkgPath()+".active="+name)
	}
	b, err := exec.Command("go", append(args, filepath.ToSlash(filepath.Join("..", n.folder)))...).CombinedOutput()
	return string(b), err
}
