package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

func e2eCommand(e *conn.Env) *cobra.Command {
	var (
		topic topicFlags
		load  loadFlags
		b     bounds
	)
	cmd := &cobra.Command{
		Use:   "e2e",
		Short: "Produce at a fixed rate and consume at once, and measure the time from one to the other",
		Example: `  leat bench e2e
  leat bench e2e --rate 10000 --record-size 1024 --acks all --linger 0 --duration 60s
  leat bench e2e --topic-config leat.durability=relaxed --recreate --format json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(load.check(), b.check()); err != nil {
				return err
			}
			if load.rate <= 0 || load.size < stampSize {
				return out.Usagef("--rate must be above 0 and --record-size at least %d", stampSize)
			}
			return benchE2E(cmd.Context(), e, topic, load, b)
		},
	}
	topic.add(cmd.Flags())
	load.add(cmd.Flags(), 1000)
	b.add(cmd.Flags())
	complete(cmd, e)
	return cmd
}

// stampSize is what a value begins with: the number of the run and the time the
// record was due, in nanoseconds after the run's start.
const stampSize = 16

func benchE2E(ctx context.Context, e *conn.Env, topic topicFlags, fl loadFlags, b bounds) error {
	partitions, err := topic.ensure(ctx, e)
	if err != nil {
		return err
	}
	reader, err := tail(ctx, e, topic.name)
	if err != nil {
		return err
	}
	defer reader.Close()
	l, err := newLoad(ctx, e, fl, topic.name)
	if err != nil {
		return err
	}
	defer l.close()

	run := rand.Uint64()
	start := time.Now()
	w, acks := newWindow(start, b), newWindow(start, b)
	l.stamp = func(v []byte, due time.Time) {
		binary.BigEndian.PutUint64(v, run)
		binary.BigEndian.PutUint64(v[8:], uint64(due.Sub(start)))
	}
	l.acked = func(due time.Time, r *kgo.Record, err error) {
		switch {
		case err == nil:
			acks.count(due, time.Now(), len(r.Value))
		case !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
			w.fail(err)
		}
	}
	runUntil(ctx, e, w, func(ctx context.Context) {
		read, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			receive(read, reader, w, run, start)
		}()
		l.run(ctx, start)
		stop()
		<-done
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r := result{Benchmark: "e2e", Topic: topic.name, Settings: fl.settings(), Open: true, Summary: w.summary(), Ack: acks.summary().Latency}
	r.Settings["partitions"] = partitions
	return r.emit(e, "send to receive")
}

// tail is a consumer at the present end of a topic.
func tail(ctx context.Context, e *conn.Env, topic string) (*kgo.Client, error) {
	bounded, cancel := context.WithTimeout(ctx, e.Timeout())
	defer cancel()
	adm, err := e.Admin(bounded)
	if err != nil {
		return nil, err
	}
	defer adm.Close()
	b, err := conn.ListBounds(bounded, adm, topic)
	if err != nil {
		return nil, e.Explain(err)
	}
	from := map[int32]kgo.Offset{}
	b.End.Each(func(o kadm.ListedOffset) { from[o.Partition] = kgo.NewOffset().At(o.Offset) })
	return e.Client(ctx, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.FetchMaxWait(500*time.Millisecond))
}

// receive counts the run's records as they come.
func receive(ctx context.Context, cl *kgo.Client, w *window, run uint64, start time.Time) {
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		now := time.Now()
		for it := fetches.RecordIter(); !it.Done(); {
			v := it.Next().Value
			if len(v) < stampSize || binary.BigEndian.Uint64(v) != run {
				continue
			}
			w.count(start.Add(time.Duration(binary.BigEndian.Uint64(v[8:]))), now, len(v))
		}
		for _, fe := range fetches.Errors() {
			if ctx.Err() == nil {
				w.fail(fe.Err)
			}
		}
	}
}
