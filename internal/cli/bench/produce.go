package bench

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

func produceCommand(e *conn.Env) *cobra.Command {
	var (
		topic topicFlags
		load  loadFlags
		b     bounds
	)
	cmd := &cobra.Command{
		Use:   "produce",
		Short: "Produce, and measure throughput and the latency of acknowledgements",
		Example: `  leat bench produce
  leat bench produce --partitions 12 --record-size 1024 --acks leader --duration 30s --format json
  leat bench produce --producers 50 --record-size 100 --keys 10000 --linger 0 --rate 100000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(load.check(), b.check()); err != nil {
				return err
			}
			return benchProduce(cmd.Context(), e, topic, load, b)
		},
	}
	topic.add(cmd.Flags())
	load.add(cmd.Flags(), 0)
	b.add(cmd.Flags())
	complete(cmd, e)
	return cmd
}

func benchProduce(ctx context.Context, e *conn.Env, topic topicFlags, fl loadFlags, b bounds) error {
	partitions, err := topic.ensure(ctx, e)
	if err != nil {
		return err
	}
	l, err := newLoad(ctx, e, fl, topic.name)
	if err != nil {
		return err
	}
	defer l.close()
	start := time.Now()
	w := newWindow(start, b)
	l.acked = func(due time.Time, r *kgo.Record, err error) {
		if err != nil {
			if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				w.fail(err)
			}
			return
		}
		w.count(due, time.Now(), len(r.Key)+len(r.Value))
	}
	runUntil(ctx, e, w, func(ctx context.Context) { l.run(ctx, start) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r := result{Benchmark: "produce", Topic: topic.name, Settings: fl.settings(), Open: fl.rate > 0, Summary: w.summary()}
	r.Settings["partitions"] = partitions
	return r.emit(e, "send to acknowledge")
}

// runUntil runs work until the window has passed, is full, or something failed.
func runUntil(ctx context.Context, e *conn.Env, w *window, work func(context.Context)) {
	ctx, cancel := context.WithDeadline(ctx, w.until)
	defer cancel()
	began := time.Now()
	bar := measuring(e.Out, w.until.Sub(began))
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(ctx)
	}()
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			bar.reach(time.Since(began))
			if w.failure() != nil {
				cancel()
			}
		case <-w.full:
			cancel()
			<-done
			bar.Done()
			return
		case <-done:
			bar.Done()
			return
		}
	}
}

// timeBar shows how much of a measurement's time has passed, in whole seconds.
type timeBar struct {
	*out.Progress
	shown int64
}

func measuring(o *out.Out, d time.Duration) *timeBar {
	return &timeBar{Progress: o.Progress(int64((d+time.Second-1)/time.Second), "measuring, seconds", false)}
}

// reach moves on to the time that has passed.
func (b *timeBar) reach(passed time.Duration) {
	if s := int64(passed / time.Second); s > b.shown {
		b.Add(s - b.shown)
		b.shown = s
	}
}

// watchInterval is how often a running measurement is looked at.
const watchInterval = 100 * time.Millisecond
