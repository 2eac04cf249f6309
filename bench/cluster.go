//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/conformance/harness"
)

// inThree runs f with a cluster of three nodes of its own.
func inThree(ctx context.Context, p plan, name string, f func(c *harness.Cluster, adm *kadm.Client) error) error {
	dir, clean, err := folder(p, name)
	if err != nil {
		return err
	}
	defer clean()
	c, err := harness.StartCluster(ctx, harness.Leat, 3, harness.Options{Dir: dir})
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return errors.Join(err, c.Kill())
	}
	defer cl.Close()
	err = f(c, kadm.NewClient(cl))
	if err == nil || ctx.Err() != nil {
		return errors.Join(err, c.Kill())
	}
	kept, quit := c.Quit()
	return errors.Join(fmt.Errorf("the nodes' output and goroutines are in %s: %w", kept, err), quit)
}

// threefold makes a topic with three replicas and waits until all are in sync.
func threefold(ctx context.Context, adm *kadm.Client, topic string, partitions int32) error {
	two := "2"
	_, err := adm.CreateTopic(ctx, partitions, 3, map[string]*string{"min.insync.replicas": &two}, topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) && !errors.Is(err, kerr.RequestTimedOut) { // after a timeout it is made all the same
		return err
	}
	return allInSync(ctx, adm, topic, int(partitions))
}

// allInSync waits until every replica of a topic is in sync.
func allInSync(ctx context.Context, adm *kadm.Client, topic string, partitions int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		m, err := adm.Metadata(ctx, topic)
		left := 3 * partitions
		for _, p := range m.Topics[topic].Partitions {
			if p.Leader >= 0 {
				left -= len(p.ISR)
			}
		}
		if err == nil && left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d replicas of %s are not in sync: %w", left, 3*partitions, topic, errors.Join(ctx.Err(), err))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// rollingRate is how many records a second are written during a rolling restart.
const rollingRate = 500

// rolling restarts three nodes one after the other, each once all replicas are in sync
// again, and measures what a producer sees of it.
func rolling(ctx context.Context, p plan, r *results) error {
	const partitions = 3000
	return inThree(ctx, p, "rolling", func(c *harness.Cluster, adm *kadm.Client) error {
		if err := threefold(ctx, adm, "rolling", partitions); err != nil {
			return err
		}
		w, err := newTrickle(ctx, c.Addrs(), "rolling", partitions)
		if err != nil {
			return err
		}
		defer w.close()
		start := time.Now()
		for _, b := range c.Brokers {
			if err := b.Stop(time.Minute); err != nil {
				return err
			}
			if err := b.Restart(ctx); err != nil {
				return err
			}
			if err := allInSync(ctx, adm, "rolling", partitions); err != nil {
				return err
			}
		}
		r.single("three nodes, 3,000 partitions with three replicas: rolling restart, in all", "s", 60, 1, time.Since(start).Seconds())
		flushed := w.end(ctx)
		r.single(fmt.Sprintf("— produce p99 during it, %d records/s over all partitions, acks=all", rollingRate), "ms", 0, 1, w.quantile(99))
		r.single("— p99.9", "ms", 0, 1, w.quantile(99.9))
		r.single("— longest", "ms", 0, 1, w.quantile(100))
		failed, why := w.failures()
		r.single("— errors that the producer (franz-go) saw", "", 1, 1, float64(failed))
		if err := errors.Join(flushed, why); err != nil {
			return err
		}
		return w.allThere(ctx, adm, "rolling")
	})
}

// trickle is a producer of single records at a fixed rate, each measured from the moment
// at which it should have been sent until it is acknowledged by all. A record that fails
// is an error.
type trickle struct {
	c    *kgo.Client
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	hist  *hdrhistogram.Histogram
	acked []int64 // records of each partition
	fails int     // records that were not acknowledged
	err   error   // why the first of them was not
}

// newTrickle returns when every partition has a record.
func newTrickle(ctx context.Context, addrs []string, topic string, partitions int) (*trickle, error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return nil, err
	}
	first := make([]*kgo.Record, partitions)
	for i := range first {
		first[i] = &kgo.Record{Partition: int32(i), Value: make([]byte, 100)}
	}
	if err := c.ProduceSync(ctx, first...).FirstErr(); err != nil {
		c.Close()
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	w := &trickle{c: c, stop: stop, hist: hdrhistogram.New(1, int64(5*time.Minute/time.Microsecond), 3), acked: make([]int64, partitions)}
	for i := range w.acked {
		w.acked[i] = 1
	}
	w.done.Go(func() { w.run(ctx, partitions) })
	return w, nil
}

func (w *trickle) run(ctx context.Context, partitions int) {
	const gap = time.Second / rollingRate
	start := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		due := start.Add(time.Duration(n) * gap)
		time.Sleep(time.Until(due))
		// Neighbours have different leaders, and no partition is written to twice soon.
		w.c.Produce(context.WithoutCancel(ctx), &kgo.Record{Partition: int32(n % partitions), Value: make([]byte, 100)}, func(r *kgo.Record, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			switch {
			case err == nil:
				w.acked[r.Partition]++
			case w.err == nil:
				w.err = err
				fallthrough
			default:
				w.fails++
			}
			// It is within the range, so that it cannot fail.
			_ = w.hist.RecordValue(min(max(1, time.Since(due).Microseconds()), w.hist.HighestTrackableValue()))
		})
	}
}

// end waits for what is under way, for a minute.
func (w *trickle) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("what is under way is not acknowledged within a minute"))
	defer cancel()
	w.stop()
	sent := make(chan struct{})
	go func() { // which close waits for, too
		w.done.Wait()
		close(sent)
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-sent:
	}
	if err := w.c.Flush(ctx); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

// close gives up what is under way, so that nothing is sent beside the cases that follow.
func (w *trickle) close() {
	w.stop()
	w.c.Close() // a send that waits for room ends by this
	w.done.Wait()
}

// failures are the records that were not acknowledged, and why the first was not.
func (w *trickle) failures() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fails, w.err
}

// allThere compares what was acknowledged with where the partitions end.
func (w *trickle) allThere(ctx context.Context, adm *kadm.Client, topic string) error {
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	for i, n := range w.acked {
		end, ok := ends.Lookup(topic, int32(i))
		if !ok || end.Err != nil || end.Offset != n {
			return fmt.Errorf("partition %d ends at %d (%v), acknowledged were %d records", i, end.Offset, end.Err, n)
		}
	}
	return nil
}

func (w *trickle) quantile(q float64) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return float64(w.hist.ValueAtQuantile(q)) / 1000
}

// How long many replicas settle, and how long they are watched.
const (
	idleSettle = 10 * time.Second
	idleEmpty  = 25 * time.Second
	idleTime   = time.Minute
)

// idle measures what many replicas cost that nobody uses, on each of three nodes: first empty,
// when they have neither directory nor files, and then with a record in each.
func idle(ctx context.Context, p plan, r *results) error {
	const topics, partitions = 10, 334 // 10,020 replicas
	return inThree(ctx, p, "idle", func(c *harness.Cluster, adm *kadm.Client) error {
		name := func(i int) string { return fmt.Sprint("idle", i) }
		for i := range topics {
			if err := threefold(ctx, adm, name(i), partitions); err != nil {
				return err
			}
		}
		if err := atRest(ctx, c, r, "10,000 replicas in all, empty, idle for 25 s", idleEmpty); err != nil {
			return err
		}
		for i := range topics {
			if err := recordInEach(ctx, c, name(i), partitions); err != nil {
				return err
			}
		}
		return atRest(ctx, c, r, "10,000 replicas in all, a record in each, idle for a minute", idleTime)
	})
}

// recordInEach writes a record to each partition of a topic.
func recordInEach(ctx context.Context, c *harness.Cluster, topic string, partitions int) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	return writeToEach(ctx, cl, partitions)
}

// atRest measures what three nodes use that nobody asks anything, for so long.
func atRest(ctx context.Context, c *harness.Cluster, r *results, what string, watched time.Duration) error {
	if err := pause(ctx, idleSettle); err != nil { // what was made is written
		return err
	}
	before, err := usedBy(c)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := pause(ctx, watched); err != nil {
		return err
	}
	after, err := usedBy(c)
	if err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	var shares, rss []float64
	for i, b := range c.Brokers {
		shares = append(shares, 100*(after[i].total()-before[i].total())/took)
		held, err := rssOf(b.PID())
		if err != nil {
			return err
		}
		rss = append(rss, held)
	}
	r.single("three nodes, "+what+": CPU of each", "% of a core", 3, len(c.Brokers), shares...)
	r.single("— resident memory of each", "MiB", 0, len(c.Brokers), rss...)
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func usedBy(c *harness.Cluster) (all []cpu, err error) {
	for _, b := range c.Brokers {
		used, err := cpuOf(b.PID())
		if err != nil {
			return nil, err
		}
		all = append(all, used)
	}
	return all, nil
}
