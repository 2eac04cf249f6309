// Package harness starts real brokers (Leat's binary, Apache Kafka) on free
// loopback ports and prepares the environments in which real clients run. The
// conformance tests and the benchmarks stand on it; nothing of the product
// imports it.
//
// What is fetched goes through the ordinary package managers (mvn, pip, npm,
// apt-get) into the cache folder and is kept there by the hash of what asked
// for it, so a second run fetches nothing.
package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Root is the project's folder. A binary built with -trimpath does not know where
// its source lies; it is then looked for above the working folder.
func Root() string {
	_, file, _, ok := runtime.Caller(0)
	if ok && filepath.IsAbs(file) {
		return filepath.Dir(filepath.Dir(filepath.Dir(file)))
	}
	dir, err := os.Getwd()
	if err != nil {
		panic("harness: " + err.Error())
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "conformance", "harness")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			panic("harness: built with -trimpath and run outside of the project, in " + dir)
		}
	}
}

// Cache is a folder for fetched or built things: LEAT_CACHE, or .cache in the
// project. It is made if it is missing.
func Cache(elem ...string) (string, error) {
	base := os.Getenv("LEAT_CACHE")
	if base == "" {
		base = filepath.Join(Root(), ".cache")
	}
	dir := filepath.Join(append([]string{base}, elem...)...)
	return dir, os.MkdirAll(dir, 0o755)
}

// FreePorts finds n distinct loopback ports that nothing listens on. Brokers keep theirs
// over restarts, so they are from below those that the system gives to outgoing
// connections.
func FreePorts(n int) ([]int, error) {
	const from, to = 15_000, 32_000
	ports := make([]int, 0, n)
	held := make([]net.Listener, 0, n)
	defer func() {
		for _, l := range held {
			_ = l.Close() // it was only held to keep the numbers distinct
		}
	}()
	for tries := 0; len(ports) < n; tries++ {
		port := from + rand.IntN(to-from)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			if tries > 100+n {
				return nil, err
			}
			continue
		}
		held = append(held, l)
		ports = append(ports, port)
	}
	return ports, nil
}

// ErrUnavailable says that something a client needs cannot be had on this
// machine: the client is skipped, or fails under LEAT_REQUIRE_ALL=1.
var ErrUnavailable = errors.New("cannot be installed here")

// prepare runs build in a fresh folder of the cache named by what it is built
// from, once: a folder that was finished before is taken as it is.
func prepare(kind string, inputs []string, build func(dir string) error) (string, error) {
	h := sha256.New()
	for _, in := range inputs {
		fmt.Fprintf(h, "%d:%s", len(in), in)
	}
	parent, err := Cache(kind)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(parent, hex.EncodeToString(h.Sum(nil))[:12])
	unlock, err := lockFile(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	done := filepath.Join(dir, ".finished")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := build(dir); err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrUnavailable, kind, err)
	}
	return dir, os.WriteFile(done, nil, 0o644)
}

// run runs a command to its end; an error carries the last of its output.
func run(ctx context.Context, dir string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(out, 2000))
	}
	return nil
}

// tail is the last n bytes of b as text.
func tail(b []byte, n int) string {
	if len(b) > n {
		b = b[len(b)-n:]
	}
	return strings.TrimSpace(string(b))
}
