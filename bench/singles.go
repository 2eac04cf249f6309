//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/conformance/harness"
)

// singles measures what is a time or a size rather than a rate.
func singles(ctx context.Context, p plan, r *results) error {
	info, err := os.Stat(p.leat)
	if err != nil {
		return err
	}
	r.single("size of the binary", float64(info.Size())/1e6, "MB", "under 40 MB")
	for _, f := range []func(context.Context, plan, *results) error{firstRecord, manyPartitions, restart} {
		if err := f(ctx, p, r); err != nil {
			return err
		}
	}
	return nil
}

func (r *results) single(what string, value float64, unit, goal string) {
	r.singles = append(r.singles, single{what, value, unit, goal})
	fmt.Fprintf(os.Stderr, "  %s: %.0f %s\n", what, value, unit)
}

// folder makes an empty folder for one broker; clean removes it.
func folder(p plan, name string) (dir string, clean func(), err error) {
	dir = filepath.Join(p.scratch, name)
	return dir, func() { os.RemoveAll(dir) }, os.MkdirAll(dir, 0o755)
}

// firstRecord measures from exec to the first acknowledged record in an empty
// folder, and what an idle broker holds.
func firstRecord(ctx context.Context, p plan, r *results) error {
	var times []float64
	var rss float64
	for range 5 {
		dir, clean, err := folder(p, "first")
		if err != nil {
			return err
		}
		b, err := harness.Prepare(harness.Leat, harness.Options{Dir: dir})
		if err != nil {
			return err
		}
		start := time.Now()
		if err := b.Launch(); err != nil {
			return err
		}
		if err := awaitDial(ctx, b.Addr); err != nil {
			return errors.Join(err, b.Kill())
		}
		if err := sendOne(ctx, b.Addr); err != nil {
			return errors.Join(err, b.Kill())
		}
		times = append(times, float64(time.Since(start).Milliseconds()))
		if rss, err = rssOf(b.PID()); err != nil {
			return err
		}
		if err := b.Stop(10 * time.Second); err != nil {
			return err
		}
		clean()
	}
	r.single("exec to first acknowledged record, empty folder, median of 5", spreadOfValues(times).median, "ms", "under 300 ms")
	r.single("resident memory, idle", rss, "MiB", "under 60 MiB")
	return nil
}

// awaitDial tries until the broker accepts connections.
func awaitDial(ctx context.Context, addr string) error {
	for ctx.Err() == nil {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}

func sendOne(ctx context.Context, addr string) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("first"), kgo.AllowAutoTopicCreation(), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return err
	}
	defer c.Close()
	return c.ProduceSync(ctx, kgo.StringRecord("first")).FirstErr()
}

// manyPartitions measures a start with 10,000 partitions that each hold a record.
func manyPartitions(ctx context.Context, p plan, r *results) error {
	const partitions = 10_000
	dir, clean, err := folder(p, "many")
	if err != nil {
		return err
	}
	defer clean()
	b, err := harness.Start(ctx, harness.Leat, harness.Options{Dir: dir})
	if err != nil {
		return err
	}
	if err := fillPartitions(ctx, b.Addr, partitions); err != nil {
		return errors.Join(err, b.Kill())
	}
	for _, c := range []struct {
		how string
		end func() error
	}{
		{"a clean stop", func() error { return b.Stop(30 * time.Second) }},
		{"kill -9", b.Kill},
	} {
		if err := c.end(); err != nil {
			return err
		}
		took, err := startTime(ctx, b)
		if err != nil {
			return err
		}
		r.single("start with 10,000 partitions after "+c.how, took, "ms", "under 3,000 ms")
	}
	rss, err := rssOf(b.PID())
	if err != nil {
		return err
	}
	r.single("resident memory with 10,000 partitions", rss, "MiB", "under 400 MiB")
	return b.Stop(30 * time.Second)
}

// startTime starts a broker that was stopped and measures until it answers.
func startTime(ctx context.Context, b *harness.Broker) (ms float64, err error) {
	start := time.Now()
	if err := b.Launch(); err != nil {
		return 0, err
	}
	if err := awaitDial(ctx, b.Addr); err != nil {
		return 0, err
	}
	if err := b.AwaitReady(ctx); err != nil {
		return 0, err
	}
	return float64(time.Since(start).Milliseconds()), nil
}

func fillPartitions(ctx context.Context, addr string, n int) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("many"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(ctx, int32(n), 1, nil, "many"); err != nil {
		return err
	}
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Partition: int32(i), Value: []byte("one")}
	}
	return c.ProduceSync(ctx, records...).FirstErr()
}

// restart measures a start after kill -9 under load, with much data on disk.
func restart(ctx context.Context, p plan, r *results) error {
	dir, clean, err := folder(p, "restart")
	if err != nil {
		return err
	}
	defer clean()
	b, err := harness.Start(ctx, harness.Leat, harness.Options{Dir: dir})
	if err != nil {
		return err
	}
	written, err := fill(ctx, b.Addr, int64(p.gigas)*1e9, b.Kill)
	if err != nil {
		return err
	}
	took, err := startTime(ctx, b)
	if err != nil {
		return err
	}
	r.single(fmt.Sprintf("serving again after kill -9 under load, %.1f GB on disk", float64(written)/1e9), took, "ms", "under 2,000 ms")
	return b.Stop(30 * time.Second)
}

// fill writes about so many bytes and ends the broker while more are under way.
func fill(ctx context.Context, addr string, bytes int64, end func() error) (written int64, err error) {
	l := load{Addr: addr, Topic: "fill", Partitions: 12, Acks: "1", Linger: 5, Buffer: 2_000}
	if err := createTopic(ctx, l); err != nil {
		return 0, err
	}
	c, err := producer(l)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	value := make([]byte, 16<<10)
	for written < bytes && ctx.Err() == nil {
		c.Produce(ctx, &kgo.Record{Value: value}, nil)
		written += int64(len(value))
	}
	return written, errors.Join(ctx.Err(), end())
}
