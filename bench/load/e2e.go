package load

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// steadyBuffer is more than a broker that keeps up ever has under way: two seconds.
const steadyBuffer = 20_000

// endToEnd sends at a fixed rate and measures each record from the moment at which
// it should have been sent, so that a stall counts in full (coordinated omission).
func endToEnd(ctx context.Context, l Load, w *window) error {
	if err := CreateTopic(ctx, l); err != nil {
		return err
	}
	p, err := producer(l, steadyBuffer)
	if err != nil {
		return err
	}
	defer p.Close()
	c, err := client(l, kgo.ConsumeTopics(l.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMinBytes(1), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer c.Close()
	// One record through, so that the consumer is in place before the clock runs.
	if err := settle(ctx, p, c, l); err != nil {
		return err
	}
	w.open()
	t := &timed{w: w, hist: hdrhistogram.New(1, int64(5*time.Minute/time.Microsecond), 3)}
	readCtx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	var cerr error
	wg.Go(func() { cerr = t.consume(readCtx, c) })
	sent, err := sendSteadily(ctx, p, l, w)
	if err == nil {
		// What is still under way counts too, however late it comes.
		err = t.await(ctx, sent)
	}
	stop()
	wg.Wait()
	ms := func(q float64) float64 { return float64(t.hist.ValueAtQuantile(q)) / 1000 }
	w.p50, w.p99, w.p999, w.max = ms(50), ms(99), ms(99.9), float64(t.hist.Max())/1000
	return errors.Join(err, cerr)
}

func settle(ctx context.Context, p, c *kgo.Client, l Load) error {
	ctx, cancel := context.WithTimeout(ctx, setupLimit)
	defer cancel()
	if err := p.ProduceSync(ctx, &kgo.Record{Value: make([]byte, l.Size)}).FirstErr(); err != nil {
		return err
	}
	for {
		f := c.PollFetches(ctx)
		if ctx.Err() != nil {
			return errors.New("no record came through")
		}
		if f.NumRecords() > 0 {
			return nil
		}
	}
}

// sendSteadily sends until the window ends and says how many records were sent.
func sendSteadily(ctx context.Context, p *kgo.Client, l Load, w *window) (sent int64, err error) {
	var failed atomic.Pointer[error]
	start := time.Now()
	gap := time.Second / time.Duration(l.Rate)
	for ; ; sent++ {
		due := start.Add(time.Duration(sent) * gap)
		if due.After(w.to) {
			break
		}
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		value := make([]byte, l.Size)
		binary.BigEndian.PutUint64(value, uint64(due.UnixNano()))
		p.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	drain, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	err = p.Flush(drain)
	if e := failed.Load(); e != nil {
		err = errors.Join(err, *e)
	}
	return sent, err
}

// timed takes the times of what is consumed.
type timed struct {
	w    *window
	hist *hdrhistogram.Histogram
	seen atomic.Int64
}

func (t *timed) consume(ctx context.Context, c *kgo.Client) error {
	for {
		f := c.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := f.Err(); err != nil {
			return err
		}
		now := time.Now()
		f.EachRecord(func(r *kgo.Record) {
			due := time.Unix(0, int64(binary.BigEndian.Uint64(r.Value)))
			t.seen.Add(1)
			if due.Before(t.w.from) || due.After(t.w.to) {
				return
			}
			t.w.records.Add(1)
			t.w.bytes.Add(int64(len(r.Value)))
			// What is beyond the histogram, five minutes, is as bad as that.
			_ = t.hist.RecordValue(min(max(1, now.Sub(due).Microseconds()), t.hist.HighestTrackableValue()))
		})
	}
}

// await waits until so many records have come.
func (t *timed) await(ctx context.Context, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for t.seen.Load() < n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("records that were acknowledged did not come")
		}
	}
	return nil
}
