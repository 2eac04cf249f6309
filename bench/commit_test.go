//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestDescribeCommit: the page says the commit, that files were changed, unless it is the page
// itself, and what the binary calls itself where that is something else.
func TestDescribeCommit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git on this machine")
	}
	root := t.TempDir()
	binary := filepath.Join(t.TempDir(), "leat")
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	for _, e := range []string{"GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"} {
		t.Setenv(e, "a@example.org")
	}
	do := func(args ...string) string {
		t.Helper()
		out, err := git(t.Context(), root, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	says := func(version, want string) {
		t.Helper()
		put(binary, "#!/bin/sh\necho leat "+version+" '(go)'\n")
		got, err := describeCommit(t.Context(), root, binary)
		if err != nil || got != want {
			t.Errorf("%q (%v), want %q", got, err, want)
		}
	}
	do("init", "-q")
	put(filepath.Join(root, "a.go"), "one")
	put(filepath.Join(root, page), "one")
	do("add", ".")
	do("commit", "-q", "-m", "one")
	commit := do("rev-parse", "--short", "HEAD")
	says(commit, commit)
	says("other", commit+"; the binary calls itself other")
	put(filepath.Join(root, page), "two")
	says(commit, commit)
	put(filepath.Join(root, "a.go"), "two")
	says(commit+"-dirty", commit+", with changes")
	says("other", commit+", with changes; the binary calls itself other")
}
