package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

type readFlags struct {
	topic                            string
	consumers, maxBytes, partitionMB int
	minBytes                         int
	wait                             time.Duration
	once                             bool
}

func consumeCommand(e *conn.Env) *cobra.Command {
	var (
		fl readFlags
		b  bounds
	)
	cmd := &cobra.Command{
		Use:   "consume",
		Short: "Consume, and measure throughput",
		Long: "Consume a topic from its start, again and again until the time is over, and measure throughput. " +
			"'leat bench produce' fills one.",
		Example: `  leat bench consume
  leat bench consume --topic orders --consumers 4 --duration 30s --format json
  leat bench consume --once`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if fl.consumers < 1 || fl.maxBytes < 1 || fl.partitionMB < 1 || fl.minBytes < 0 {
				return out.Usagef("--consumers and the sizes must be above 0")
			}
			if err := b.check(); err != nil {
				return err
			}
			return benchConsume(cmd.Context(), e, fl, b)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&fl.topic, "topic", "t", defaultTopic, "the topic")
	f.IntVar(&fl.consumers, "consumers", 1, "number of consumers, which share the partitions")
	f.IntVar(&fl.maxBytes, "fetch-max-bytes", 50<<20, "the most bytes of one fetch")
	f.IntVar(&fl.partitionMB, "partition-max-bytes", 1<<20, "the most bytes of one partition in a fetch")
	f.IntVar(&fl.minBytes, "fetch-min-bytes", 1, "the least bytes that a fetch waits for")
	f.DurationVar(&fl.wait, "fetch-max-wait", 500*time.Millisecond, "how long a fetch waits for them")
	f.BoolVar(&fl.once, "once", false, "stop at the end of the topic")
	b.add(f)
	conn.CompleteBy(cmd, "topic", e.Topics(0))
	return cmd
}

func benchConsume(ctx context.Context, e *conn.Env, fl readFlags, b bounds) error {
	starts, ends, err := readable(ctx, e, fl.topic)
	if err != nil {
		return err
	}
	readers, err := newReaders(ctx, e, fl, starts, ends)
	if err != nil {
		return err
	}
	defer func() {
		for _, r := range readers {
			r.cl.Close()
		}
	}()
	w := newWindow(time.Now(), b)
	runUntil(ctx, e, w, func(ctx context.Context) {
		var wg sync.WaitGroup
		for _, r := range readers {
			wg.Go(func() { r.run(ctx, w, fl.once) })
		}
		wg.Wait()
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r := result{Benchmark: "consume", Topic: fl.topic, Summary: w.summary(), Settings: map[string]any{"consumers": fl.consumers,
		"partitions": len(starts), "fetch_max_bytes": fl.maxBytes, "partition_max_bytes": fl.partitionMB, "fetch_min_bytes": fl.minBytes}}
	return r.emit(e, "")
}

// readable gives the bounds of the partitions that hold records.
func readable(ctx context.Context, e *conn.Env, topic string) (starts, ends map[int32]int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout())
	defer cancel()
	adm, err := e.Admin(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer adm.Close()
	b, err := conn.ListBounds(ctx, adm, topic)
	if err != nil {
		return nil, nil, fmt.Errorf("topic %s: %w", topic, e.Explain(err))
	}
	starts, ends = map[int32]int64{}, map[int32]int64{}
	b.Start.Each(func(s kadm.ListedOffset) {
		if end, ok := b.End.Lookup(topic, s.Partition); ok && end.Offset > s.Offset {
			starts[s.Partition], ends[s.Partition] = s.Offset, end.Offset
		}
	})
	if len(starts) == 0 {
		return nil, nil, out.Hint(fmt.Errorf("topic %s holds no records", topic), "fill it with 'leat bench produce'")
	}
	return starts, ends, nil
}

// reader is one consumer of some partitions.
type reader struct {
	cl           *kgo.Client
	topic        string
	starts, ends map[int32]int64
}

func newReaders(ctx context.Context, e *conn.Env, fl readFlags, starts, ends map[int32]int64) ([]*reader, error) {
	var readers []*reader
	for i := range fl.consumers {
		r := &reader{topic: fl.topic, starts: map[int32]int64{}, ends: ends}
		from := map[int32]kgo.Offset{}
		for p, at := range starts {
			if int(p)%fl.consumers == i {
				r.starts[p], from[p] = at, kgo.NewOffset().At(at)
			}
		}
		if len(from) == 0 {
			continue
		}
		cl, err := e.Client(ctx, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{fl.topic: from}),
			kgo.FetchMaxBytes(int32(fl.maxBytes)), kgo.FetchMaxPartitionBytes(int32(fl.partitionMB)),
			kgo.FetchMinBytes(int32(fl.minBytes)), kgo.FetchMaxWait(fl.wait))
		if err != nil {
			for _, r := range readers {
				r.cl.Close()
			}
			return nil, err
		}
		r.cl = cl
		readers = append(readers, r)
	}
	return readers, nil
}

// run reads until ctx ends. A partition that is read to its end begins again, or
// with once is left alone.
func (r *reader) run(ctx context.Context, w *window, once bool) {
	left := len(r.starts)
	for left > 0 {
		fetches := r.cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		var records, bytes int64
		again := map[int32]kgo.EpochOffset{}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Err != nil && !errors.Is(p.Err, context.Canceled) && !errors.Is(p.Err, context.DeadlineExceeded) {
				w.fail(p.Err)
			}
			for _, rec := range p.Records {
				bytes += int64(len(rec.Key) + len(rec.Value))
			}
			records += int64(len(p.Records))
			if n := len(p.Records); n > 0 && p.Records[n-1].Offset+1 >= r.ends[p.Partition] {
				again[p.Partition] = kgo.EpochOffset{Epoch: -1, Offset: r.starts[p.Partition]}
			}
		})
		w.addBulk(now, records, bytes)
		switch {
		case len(again) == 0:
		case once:
			left -= len(again)
			for p := range again {
				r.cl.PauseFetchPartitions(map[string][]int32{r.topic: {p}})
			}
		default:
			r.cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{r.topic: again})
		}
	}
}
