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

// metadataFigures are what benchmarks print for 30 brokers and 100,000 partitions.
var metadataFigures = []struct {
	what, unit string
	test       []string // arguments of go test
	pattern    *regexp.Regexp
	divide     float64
}{
	{"30 brokers, 100,000 partitions: memory of the metadata for a partition", "bytes", ofController, regexp.MustCompile(`a partition takes (\d+) bytes`), 1},
	{"— a broker falls silent: CPU of the decision and the new image", "ms", ofController, regexp.MustCompile(`BenchmarkFailover\S*\s+\d+\s+(\d+) ns/op`), 1e6},
	{"— CPU of each other broker, with 10,000 replicas, until it has taken over its share", "ms", ofBroker, regexp.MustCompile(`([\d.]+) cpu-ms/op`), 1},
	{"— a new controller: CPU until it has its state from a snapshot", "ms", ofController, regexp.MustCompile(`BenchmarkControllerFailover\S*\s+\d+\s+(\d+) ns/op`), 1e6},
}

var (
	ofController = []string{"-run", "^TestMemory$", "-bench", "^(BenchmarkFailover|BenchmarkControllerFailover)$", "./internal/metadata"}
	ofBroker     = []string{"-run", "^$", "-bench", "^BenchmarkTakeover$", "-benchtime", "1x", "./internal/node"}
)

// metadata measures the metadata of a large cluster without one.
func metadata(ctx context.Context, _ plan, r *results) error {
	outputs := map[string][]byte{}
	for _, f := range metadataFigures {
		pkg := f.test[len(f.test)-1]
		out, done := outputs[pkg]
		if !done {
			var err error
			if out, err = exec.CommandContext(ctx, "go", append([]string{"test", "-count", "3", "-v"}, f.test...)...).CombinedOutput(); err != nil {
				return errors.Join(err, errors.New(string(out)))
			}
			outputs[pkg] = out
		}
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
