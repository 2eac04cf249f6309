//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/leat-stream/leat/conformance/harness"
)

// metadataRuns is how often each of the benchmarks runs.
const metadataRuns = 3

// metadataFigures are what Go benchmarks print for 30 brokers and 100,000 partitions.
var metadataFigures = []struct {
	what, unit string
	test       []string // arguments of go test
	pattern    *regexp.Regexp
	divide     float64
}{
	{"30 brokers, 100,000 partitions: memory of the metadata for a partition", "bytes", ofController, regexp.MustCompile(`a partition takes (\d+) bytes`), 1},
	{"— a broker falls silent: CPU of the decision and the new image", "ms", ofController, regexp.MustCompile(`BenchmarkFailover\S*\s+\d+\s+([\d.]+) ns/op`), 1e6},
	{"— records of that decision", "", ofController, regexp.MustCompile(`BenchmarkFailover.*\s([\d.]+) records\b`), 1},
	{"— its size in the log", "kB", ofController, regexp.MustCompile(`BenchmarkFailover.*\s([\d.]+) record-bytes`), 1e3},
	{"— CPU of each other broker, from the records to the fetches that name the new leaders", "ms", ofBroker, regexp.MustCompile(`([\d.]+) cpu-ms/op`), 1},
	{"— replicas that it has", "", ofBroker, regexp.MustCompile(`([\d.]+) replicas\b`), 1},
	{"— of these, partitions that it leads anew", "", ofBroker, regexp.MustCompile(`([\d.]+) led-anew`), 1},
	{"— of these, partitions that it fetches from new leaders", "", ofBroker, regexp.MustCompile(`([\d.]+) fetched-anew`), 1},
	{"— a new controller: CPU until it has its state from a snapshot", "ms", ofController, regexp.MustCompile(`BenchmarkControllerFailover\S*\s+\d+\s+([\d.]+) ns/op`), 1e6},
}

var (
	ofController = []string{"-run", "^TestMemory$", "-bench", "^(BenchmarkFailover|BenchmarkControllerFailover)$", "./internal/metadata"}
	ofBroker     = []string{"-run", "^$", "-bench", "^BenchmarkTakeover$", "-benchtime", "1x", "./internal/node"}
)

// metadata measures the metadata of a large cluster without one.
func metadata(ctx context.Context, _ plan, r *results) error {
	var errs []error
	outputs := map[string][]byte{}
	for _, f := range metadataFigures {
		pkg := f.test[len(f.test)-1]
		out, done := outputs[pkg]
		if !done {
			cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-count", strconv.Itoa(metadataRuns), "-v"}, f.test...)...)
			cmd.Dir = harness.Root()
			var err error
			if out, err = cmd.CombinedOutput(); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w: %s", pkg, err, out))
			}
			outputs[pkg] = out
		}
		values, err := valuesOf(f.pattern, out, f.divide)
		if err != nil {
			errs = append(errs, err)
		}
		r.single(f.what, f.unit, 0, metadataRuns, values...)
	}
	return errors.Join(errs...)
}

// valuesOf are the numbers that a pattern finds in what go test wrote.
func valuesOf(pattern *regexp.Regexp, out []byte, divide float64) (values []float64, err error) {
	for _, m := range pattern.FindAllSubmatch(out, -1) {
		v, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			return values, err
		}
		values = append(values, v/divide)
	}
	return values, nil
}
