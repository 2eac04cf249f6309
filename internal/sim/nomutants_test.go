//go:build !mutants

package sim

import (
	"bytes"
	"os"
	"regexp"
	"testing"

	"github.com/leat-stream/leat/internal/mutant"
)

// TestNoMutants: without the build tag nothing is left of the deliberate bugs, not even
// their names. This test's binary holds all the code that has some.
func TestNoMutants(t *testing.T) {
	if mutant.On("") {
		t.Error("a mutant is switched on")
	}
	src, err := os.ReadFile("../mutant/list.go")
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^\t\{"([a-z]+/[a-z0-9-]+)", "`).FindAllSubmatch(src, -1)
	if len(names) < 20 {
		t.Fatalf("%d mutants are listed", len(names))
	}
	for _, m := range names {
		if bytes.Contains(code, m[1]) {
			t.Errorf("%s is in a normal build", m[1])
		}
	}
}
