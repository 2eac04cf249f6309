//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// page is what a run writes by default; that it has changed changes no figure.
const page = "docs/benchmarks.md"

// describeCommit says of what a run's figures are: the commit of the work tree in a folder, whether
// files of it have changes, and what the binary calls itself where that is something else.
func describeCommit(ctx context.Context, root, leat string) (string, error) {
	version, err := exec.CommandContext(ctx, leat, "version").Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", leat, err)
	}
	own := "of no name"
	if f := strings.Fields(string(version)); len(f) > 1 {
		own = f[1]
	}
	commit, err := git(ctx, root, "describe", "--tags", "--always")
	if err != nil {
		return "unknown, for git does not say; the binary calls itself " + own, nil
	}
	changed, err := git(ctx, root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)"+page)
	switch {
	case err != nil:
		return "", err
	case changed != "" && strings.TrimSuffix(own, "-dirty") == commit:
		return commit + ", with changes", nil
	case changed != "":
		return fmt.Sprintf("%s, with changes; the binary calls itself %s", commit, own), nil
	case own != commit:
		return fmt.Sprintf("%s; the binary calls itself %s", commit, own), nil
	}
	return commit, nil
}

func git(ctx context.Context, root string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// loadAverage is how many processes wanted a core within the last minute.
func loadAverage() (string, error) {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first, nil
}
