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

// singles measures what is a time or a size rather than a rate. What fails is noted.
func singles(ctx context.Context, p plan, r *results) error {
	for _, s := range []struct {
		name string
		f    func(context.Context, plan, *results) error
	}{
		{"single-binary", binarySize}, {"single-first", firstRecord}, {"single-many", manyPartitions}, {"single-restart", restart},
		{"single-metadata", metadata},
		{"cluster-rolling", rolling}, {"cluster-idle", idle}, {"cluster-failover", failovers}, {"cluster-cut", cuts},
	} {
		if !p.cases.MatchString(s.name) {
			continue
		}
		if err := s.f(ctx, p, r); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.fail(0, leat, s.name, err)
		}
	}
	return nil
}

func binarySize(_ context.Context, p plan, r *results) error {
	info, err := os.Stat(p.leat)
	if err != nil {
		return err
	}
	r.single("size of the binary", "MB", 40, float64(info.Size())/1e6)
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
	for range 5 {
		if err := alone(ctx, p, "first", func(b *harness.Broker) error {
			took, err := startTime(ctx, b, "first")
			if err != nil {
				return err
			}
			held, err := rssOf(b.PID())
			times, rss = append(times, took), append(rss, held)
			return err
		}); err != nil {
			return err
		}
	}
	r.single("exec to first acknowledged record, empty folder", "ms", 300, times...)
	r.single("resident memory, idle, after that record", "MiB", 60, rss...)
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
		for _, c := range []struct {
			how string
			end func() error
		}{
			{"a clean stop", func() error { return b.Stop(30 * time.Second) }},
			{"kill -9", b.Kill},
		} {
			var times []float64
			for range restarts {
				if err := c.end(); err != nil {
					return err
				}
				took, err := startTime(ctx, b, "many")
				if err != nil {
					return err
				}
				held, err := rssOf(b.PID())
				if err != nil {
					return err
				}
				times, rss = append(times, took), append(rss, held)
			}
			r.single("10,000 partitions: exec to first acknowledged record after "+c.how, "ms", 3000, times...)
		}
		r.single("10,000 partitions: resident memory", "MiB", 400, rss...)
		return nil
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
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Partition: int32(i), Value: []byte("one")}
	}
	return c.ProduceSync(ctx, records...).FirstErr()
}

// restarts is how often a start is measured.
const restarts = 3

// restart measures starts after kill -9 under load, with much data on disk.
func restart(ctx context.Context, p plan, r *results) error {
	return alone(ctx, p, "restart", func(b *harness.Broker) error {
		if err := b.Restart(ctx); err != nil {
			return err
		}
		more := int64(p.gigas) * 1e9
		var times []float64
		for range restarts {
			err := fill(ctx, b.Addr, more, b.Kill)
			if err != nil {
				return err
			}
			more = 1e9
			took, err := startTime(ctx, b, "fill")
			if err != nil {
				return err
			}
			times = append(times, took)
		}
		r.single(fmt.Sprintf("exec to first acknowledged record after kill -9 under load, %d GB and more on disk", p.gigas), "ms", 2000, times...)
		return nil
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
	return errors.Join(ctx.Err(), end())
}
