//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// metadataFigures are what the benchmarks of the metadata print for 30 brokers and
// 100,000 partitions.
var metadataFigures = []struct {
	what, unit string
	pattern    *regexp.Regexp
	divide     float64
}{
	{"30 brokers, 100,000 partitions: memory of the metadata for a partition", "bytes", regexp.MustCompile(`a partition takes (\d+) bytes`), 1},
	{"— a broker falls silent: CPU of the decision and the new image", "ms", regexp.MustCompile(`BenchmarkFailover\S*\s+\d+\s+(\d+) ns/op`), 1e6},
	{"— a new controller: CPU until it has its state from a snapshot", "ms", regexp.MustCompile(`BenchmarkControllerFailover\S*\s+\d+\s+(\d+) ns/op`), 1e6},
}

// metadata measures the metadata of a large cluster without one.
func metadata(ctx context.Context, _ plan, r *results) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-count", "3", "-v", "-run", "^TestMemory$",
		"-bench", "^(BenchmarkFailover|BenchmarkControllerFailover)$", "./internal/metadata")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	for _, f := range metadataFigures {
		var values []float64
		for _, m := range f.pattern.FindAllSubmatch(out, -1) {
			v, err := strconv.ParseFloat(string(m[1]), 64)
			if err != nil {
				return err
			}
			values = append(values, v/f.divide)
		}
		if len(values) == 0 {
			return fmt.Errorf("no figure for %q in %s", f.what, out)
		}
		r.single(f.what, f.unit, 0, values...)
	}
	return nil
}
