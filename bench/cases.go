//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/leat-stream/leat/conformance/harness"
)

// variant is a broker with its settings, and the cases it is measured in.
type variant struct {
	name  string
	kind  harness.Kind
	set   map[string]string
	cases []benchCase
}

// benchCase is one load. Cases of one name are compared with each other.
type benchCase struct {
	name string
	load load
}

// The loads of the figures that the project sets itself.
var (
	acks1p1   = load{Mode: "produce", Topic: "p1", Partitions: 1, Size: 1024, Acks: "1", Linger: 5, Buffer: 20_000}
	acks1p12  = load{Mode: "produce", Topic: "p12", Partitions: 12, Size: 1024, Acks: "1", Linger: 5, Buffer: 20_000}
	allp12    = load{Mode: "produce", Topic: "a12", Partitions: 12, Size: 1024, Acks: "all", Linger: 5, Buffer: 20_000}
	small1    = load{Mode: "produce", Topic: "s1", Partitions: 100, Producers: 50, Size: 100, Keyed: true, Acks: "1", Buffer: 100}
	smallAll  = load{Mode: "produce", Topic: "sa", Partitions: 100, Producers: 50, Size: 100, Keyed: true, Acks: "all", Buffer: 100}
	consume1  = load{Mode: "consume", Topic: "p1"}
	consume12 = load{Mode: "consume", Topic: "p12"}
	steady    = load{Mode: "e2e", Topic: "e2e", Partitions: 6, Size: 1000, Acks: "all", Rate: 10_000, Linger: 0, Buffer: 20_000}
)

var variants = []variant{
	{"leat", harness.Leat, nil, []benchCase{
		{"acks1-1p", acks1p1}, {"acks1-12p", acks1p12}, {"durable-12p", allp12},
		{"small-acks1", small1}, {"small-durable", smallAll},
		{"consume-1p", consume1}, {"consume-12p", consume12}, {"e2e-durable", steady},
	}},
	{"kafka", harness.Kafka, nil, []benchCase{
		{"acks1-1p", acks1p1}, {"acks1-12p", acks1p12}, {"durable-12p", allp12},
		{"small-acks1", small1},
		{"consume-1p", consume1}, {"consume-12p", consume12}, {"e2e-relaxed", steady},
	}},
	{"leat, relaxed", harness.Leat, map[string]string{"leat.durability": "relaxed"}, []benchCase{
		{"e2e-relaxed", steady},
	}},
	{"kafka, flush.messages=1", harness.Kafka, map[string]string{"log.flush.interval.messages": "1"}, []benchCase{
		{"small-durable", smallAll}, {"e2e-durable", steady},
	}},
}

// Cores: the broker has the first to itself, the client the second.
const (
	brokerCore = "0"
	clientCore = "1"
)

func runVariant(ctx context.Context, p plan, v variant, r *results) error {
	wanted := false
	for _, c := range v.cases {
		wanted = wanted || p.cases.MatchString(c.name)
	}
	if !wanted {
		return nil
	}
	dir := filepath.Join(p.scratch, "data")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := harness.Start(ctx, v.kind, harness.Options{Dir: dir, Set: v.set, Wrap: []string{"taskset", "-c", brokerCore}})
	if err != nil {
		return err
	}
	if v.name == "leat" {
		rate, err := rawRate(dir)
		if err != nil {
			return errors.Join(err, b.Kill())
		}
		r.rawSync = append(r.rawSync, rate)
	}
	for _, c := range v.cases {
		// A consumer needs what the producer of its topic wrote.
		if !p.cases.MatchString(c.name) && !(p.cases.MatchString("consume") && c.load.Mode == "produce" && c.load.Acks == "1" && c.load.Size == 1024) {
			continue
		}
		m, err := measure(ctx, p, b, c.load)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", c.name, err), b.Kill())
		}
		r.add(c.name, v, m)
		fmt.Fprintf(os.Stderr, "  %-14s %s\n", c.name, m)
	}
	return b.Stop(30 * time.Second)
}

// measure runs one load against a broker.
func measure(ctx context.Context, p plan, b *harness.Broker, l load) (measured, error) {
	l.Addr, l.Seconds, l.Warm = b.Addr, p.seconds, p.warm
	arg, err := json.Marshal(l)
	if err != nil {
		return measured{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return measured{}, err
	}
	before, err := cpuOf(b.PID())
	if err != nil {
		return measured{}, err
	}
	limit := time.Duration(p.seconds+p.warm+60) * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "taskset", "-c", clientCore, self, "load", string(arg))
	cmd.Env = append(os.Environ(), "GOGC=400")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return measured{}, err
	}
	after, err := cpuOf(b.PID())
	if err != nil {
		return measured{}, err
	}
	var got loaded
	if err := json.Unmarshal(out, &got); err != nil {
		return measured{}, err
	}
	gb := float64(got.TotalBytes) / 1e9
	return measured{
		loaded: got, userPerGB: (after.user - before.user) / gb,
		totalPerGB: (after.user + after.system - before.user - before.system) / gb,
	}, nil
}
