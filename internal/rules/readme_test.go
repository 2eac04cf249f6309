package rules

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func readme(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	fence   = regexp.MustCompile("(?s)```([a-z]*)\n(.*?)```")
	comment = regexp.MustCompile(`(?m)[ \t]*(#|//) .*$`)
	heading = regexp.MustCompile(`(?m)^#+ `)
	link    = regexp.MustCompile(`\]\(([^)]*)\)`)
)

// outline is what is the same in every language: levels, links, and code without
// its comments.
func outline(text string) []string {
	all := heading.FindAllString(fence.ReplaceAllString(text, ""), -1)
	for _, b := range fence.FindAllStringSubmatch(text, -1) {
		all = append(all, b[1]+"\n"+comment.ReplaceAllString(b[2], ""))
	}
	for _, l := range link.FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(l[1], "README") { // they name each other
			all = append(all, l[1])
		}
	}
	return all
}

func TestReadmesAreInStep(t *testing.T) {
	en, zh := outline(readme(t, "README.md")), outline(readme(t, "README.zh-CN.md"))
	for i := range max(len(en), len(zh)) {
		if i >= len(en) || i >= len(zh) || en[i] != zh[i] {
			t.Fatalf("README.zh-CN.md differs from README.md:\n%q\n%q", en[min(i, len(en)):], zh[min(i, len(zh)):])
		}
	}
}

func TestReadmeLinksLeadSomewhere(t *testing.T) {
	for _, l := range link.FindAllStringSubmatch(readme(t, "README.md"), -1) {
		if _, err := os.Stat(filepath.Join(root, l[1])); err != nil {
			t.Error(err)
		}
	}
}

// The Go program of the README compiles.
func TestReadmeProgramCompiles(t *testing.T) {
	blocks := fence.FindAllStringSubmatch(readme(t, "README.md"), -1)
	i := slices.IndexFunc(blocks, func(b []string) bool { return b[1] == "go" && strings.HasPrefix(b[2], "package main") })
	if i < 0 {
		t.Fatal("there is none")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(blocks[i][2]), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "vet", file)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
