//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/bench/load"
	"github.com/leat-stream/leat/conformance/harness"
)

// singleCases are measured once, after the rounds: what is a time, a size or a count
// rather than a rate. Each has a limit, so that one that hangs does not keep the others.
var singleCases = []struct {
	name  string
	limit time.Duration
	f     func(context.Context, plan, *results) error
}{
	{"single-binary", time.Minute, binarySize},
	{"single-first", 5 * time.Minute, firstRecord},
	{"single-many", 10 * time.Minute, manyPartitions},
	{"single-restart", 15 * time.Minute, restart},
	{"single-metadata", 10 * time.Minute, metadata},
	{"cluster-rolling", 10 * time.Minute, rolling},
	{"cluster-idle", 10 * time.Minute, idle},
	{"cluster-failover", 20 * time.Minute, failovers}, // and what the processors are kept busy
	{"cluster-cut", 30 * time.Minute, cuts},
}

// singles measures what has no rounds. What fails is noted.
func singles(ctx context.Context, p plan, r *results) error {
	for _, s := range singleCases {
		if !p.runs(s.name) {
			continue
		}
		r.at = s.name
		limit := s.limit
		if s.name == "cluster-failover" {
			limit += p.calm
		}
		limited, end := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%s has not ended within %v", s.name, limit))
		err := s.f(limited, p, r)
		end()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.fail(0, leat, s.name, err)
		}
	}
	return nil
}

// firsts is how often a start in an empty folder is measured, restarts how often others.
const (
	firsts   = 5
	restarts = 3
)

func binarySize(_ context.Context, p plan, r *results) error {
	info, err := os.Stat(p.leat)
	if err != nil {
		return err
	}
	r.single("size of the binary", "MB", 40, 1, float64(info.Size())/1e6)
	return nil
}

// alone runs f with a broker of its own and ends the broker, whatever comes.
func alone(ctx context.Context, p plan, name string, f func(b *harness.Broker) error) error {
	dir, clean, err := folder(p, name)
	if err != nil {
		return err
	}
	defer clean()
	b, err := harness.Prepare(harness.Leat, harness.Options{Dir: dir})
	if err != nil {
		return err
	}
	if err := f(b); err != nil {
		return errors.Join(err, b.Kill())
	}
	return b.Stop(30 * time.Second)
}

// firstRecord measures from exec to the first acknowledged record in an empty
// folder, and what an idle broker holds.
func firstRecord(ctx context.Context, p plan, r *results) error {
	var times, rss []float64
	var err error
	for n := 0; n < firsts && err == nil; n++ {
		err = alone(ctx, p, "first", func(b *harness.Broker) error { return timed(ctx, b, "first", &times, &rss) })
	}
	r.single("exec to first acknowledged record, empty folder", "ms", 300, firsts, times...)
	r.single("resident memory, idle, after that record", "MiB", 60, firsts, rss...)
	return err
}

// timed starts a broker and adds how long it took, in ms, and what it holds then, in MiB.
func timed(ctx context.Context, b *harness.Broker, topic string, times, rss *[]float64) error {
	took, err := startTime(ctx, b, topic)
	if err != nil {
		return err
	}
	*times = append(*times, took)
	held, err := rssOf(b.PID())
	if err != nil {
		return err
	}
	*rss = append(*rss, held)
	return nil
}

// awaitDial tries until the broker accepts connections.
func awaitDial(ctx context.Context, b *harness.Broker) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		c, err := net.DialTimeout("tcp", b.Addr, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-b.Dead():
			return fmt.Errorf("the broker ended at its start; see its output: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("the broker does not accept connections: %w", err)
		case <-time.After(time.Millisecond):
		}
	}
}

// sendOne has one record acknowledged. What is not ready yet is asked again soon.
func sendOne(ctx context.Context, addr, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.AllowAutoTopicCreation(),
		kgo.MetadataMinAge(10*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
	if err != nil {
		return err
	}
	defer c.Close()
	return c.ProduceSync(ctx, kgo.StringRecord("first")).FirstErr()
}

// startTime starts a broker and measures until a record is acknowledged, in ms.
func startTime(ctx context.Context, b *harness.Broker, topic string) (float64, error) {
	start := time.Now()
	if err := b.Launch(); err != nil {
		return 0, err
	}
	if err := awaitDial(ctx, b); err != nil {
		return 0, err
	}
	if err := sendOne(ctx, b.Addr, topic); err != nil {
		return 0, err
	}
	return float64(time.Since(start).Microseconds()) / 1000, nil
}

// manyPartitions measures a start with 10,000 partitions that each hold a record.
func manyPartitions(ctx context.Context, p plan, r *results) error {
	const partitions = 10_000
	return alone(ctx, p, "many", func(b *harness.Broker) error {
		if err := b.Restart(ctx); err != nil {
			return err
		}
		if err := fillPartitions(ctx, b.Addr, partitions); err != nil {
			return err
		}
		var rss []float64
		var err error
		for _, c := range []struct {
			how string
			end func() error
		}{
			{"a clean stop", func() error { return b.Stop(30 * time.Second) }},
			{"kill -9", b.Kill},
		} {
			var times []float64
			for n := 0; n < restarts && err == nil; n++ {
				if err = c.end(); err == nil {
					err = timed(ctx, b, "many", &times, &rss)
				}
			}
			r.single("10,000 partitions: exec to first acknowledged record after "+c.how, "ms", 3000, restarts, times...)
		}
		r.single("10,000 partitions: resident memory", "MiB", 400, 2*restarts, rss...)
		return err
	})
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
	return writeToEach(ctx, c, n)
}

// writeToEach writes a record to each of n partitions of the client's topic.
func writeToEach(ctx context.Context, c *kgo.Client, n int) error {
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Partition: int32(i), Value: []byte("one")}
	}
	return c.ProduceSync(ctx, records...).FirstErr()
}

// restart measures starts after kill -9 under load, with much data on disk.
func restart(ctx context.Context, p plan, r *results) error {
	return alone(ctx, p, "restart", func(b *harness.Broker) error {
		if err := b.Restart(ctx); err != nil {
			return err
		}
		more := int64(p.gigas) * 1e9
		var times, rss []float64
		var err error
		for n := 0; n < restarts && err == nil; n++ {
			if err = fill(ctx, b.Addr, more, b.Kill); err == nil {
				err = timed(ctx, b, "fill", &times, &rss)
			}
			more = 1e9
		}
		r.single(fmt.Sprintf("exec to first acknowledged record after kill -9 under load, %d GB and more on disk", p.gigas), "ms", 2000, restarts, times...)
		return err
	})
}

// fill writes about so many bytes and ends the broker while more are under way.
func fill(ctx context.Context, addr string, bytes int64, end func() error) error {
	if err := load.CreateTopic(ctx, load.Load{Addr: addr, Topic: "fill", Partitions: 12}); err != nil {
		return err
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("fill"), kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(2_000), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return err
	}
	defer c.Close()
	value := make([]byte, 16<<10)
	for written := int64(0); written < bytes && ctx.Err() == nil; written += int64(len(value)) {
		c.Produce(ctx, &kgo.Record{Value: value}, nil)
	}
	return errors.Join(context.Cause(ctx), end())
}
