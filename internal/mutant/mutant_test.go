package mutant

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// used are the mutants that the sources ask for.
func used(t *testing.T) (names []string) {
	t.Helper()
	ask := regexp.MustCompile(`mutant\.On\("([^"]+)"\)`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "../mutant/") {
			return err
		}
		src, err := os.ReadFile(path)
		for _, m := range ask.FindAllStringSubmatch(string(src), -1) {
			names = append(names, m[1])
			if folder := filepath.Base(filepath.Dir(path)); !strings.HasPrefix(m[1], folder+"/") && !strings.HasPrefix(m[1], "node/") {
				t.Errorf("%s asks for %s, which names another package", path, m[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestRegistry holds the list and the sources to the same mutants. It reads the list as
// text, since a build without the tag does not have it.
func TestRegistry(t *testing.T) {
	src, err := os.ReadFile("list.go")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^\t\{"([a-z]+/[a-z0-9-]+)", "`).FindAllStringSubmatch(string(src), -1) {
		listed = append(listed, m[1])
	}
	slices.Sort(listed)
	if n := len(slices.Compact(slices.Clone(listed))); n != len(listed) || n < 20 {
		t.Errorf("%d mutants are listed, %d different ones", len(listed), n)
	}
	if got := used(t); !slices.Equal(got, listed) {
		t.Errorf("the sources have %v,\nthe list %v", got, listed)
	}
}
