//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// load is one client program's task. The same program loads both brokers.
type load struct {
	Mode       string // produce, consume, e2e
	Addr       string
	Topic      string
	Partitions int
	Producers  int // 1 when 0
	Size       int // bytes of a value
	Keyed      bool
	Acks       string // 1, all
	Linger     int    // ms
	Buffer     int    // records that one producer has under way at most
	Rate       int    // records per second, for e2e
	Seconds    int    // measured
	Warm       int    // seconds before
}

// loaded is what came of it.
type loaded struct {
	Records    int64   // measured
	Bytes      int64   // measured, values and keys
	Seconds    float64 // measured
	TotalBytes int64   // warm-up included: what the broker's CPU is set against
	// Latencies in ms, of e2e: from the intended send to the poll that gave the record.
	P50, P99, P999, Max float64
}

// batchBytes keeps batches above 64 KiB where there is enough to send.
const batchBytes = 256 << 10

func loadMain(args []string) {
	var l load
	if len(args) != 1 {
		log.Fatal("load: want one JSON argument")
	}
	if err := json.Unmarshal([]byte(args[0]), &l); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(l.Seconds+l.Warm+50)*time.Second)
	defer cancel()
	var got loaded
	var err error
	switch l.Mode {
	case "produce":
		got, err = produce(ctx, l)
	case "consume":
		got, err = consume(ctx, l)
	case "e2e":
		got, err = endToEnd(ctx, l)
	default:
		err = fmt.Errorf("load: mode %q", l.Mode)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(got)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func createTopic(ctx context.Context, l load) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(l.Addr))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = kadm.NewClient(c).CreateTopic(ctx, int32(l.Partitions), 1, nil, l.Topic)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return nil
	}
	return err
}

func producer(l load) (*kgo.Client, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(l.Addr), kgo.DefaultProduceTopic(l.Topic), kgo.ProducerBatchMaxBytes(batchBytes),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(l.Buffer),
		kgo.ProducerLinger(time.Duration(l.Linger) * time.Millisecond), kgo.MetadataMinAge(100 * time.Millisecond),
	}
	if l.Acks == "1" {
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(5))
	}
	return kgo.NewClient(opts...)
}

// window counts what falls into the measured time.
type window struct {
	from, to       time.Time
	records, bytes atomic.Int64
	total          atomic.Int64
}

func newWindow(l load) *window {
	from := time.Now().Add(time.Duration(l.Warm) * time.Second)
	return &window{from: from, to: from.Add(time.Duration(l.Seconds) * time.Second)}
}

func (w *window) count(now time.Time, records, bytes int64) {
	w.total.Add(bytes)
	if now.After(w.from) && now.Before(w.to) {
		w.records.Add(records)
		w.bytes.Add(bytes)
	}
}

func (w *window) result() loaded {
	return loaded{Records: w.records.Load(), Bytes: w.bytes.Load(), TotalBytes: w.total.Load(), Seconds: w.to.Sub(w.from).Seconds()}
}

// produce keeps every producer's buffer full until the end of the window.
func produce(ctx context.Context, l load) (loaded, error) {
	if err := createTopic(ctx, l); err != nil {
		return loaded{}, err
	}
	n := max(l.Producers, 1)
	w := newWindow(l)
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		wg.Go(func() { errs <- produceOne(ctx, l, w, uint64(i)) })
	}
	wg.Wait()
	var all error
	for range n {
		all = errors.Join(all, <-errs)
	}
	return w.result(), all
}

func produceOne(ctx context.Context, l load, w *window, seed uint64) error {
	c, err := producer(l)
	if err != nil {
		return err
	}
	defer c.Close()
	rnd := rand.New(rand.NewPCG(seed, 1))
	value := make([]byte, l.Size)
	for i := range value {
		value[i] = byte(rnd.Uint32())
	}
	var failed atomic.Pointer[error]
	done := func(r *kgo.Record, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
			return
		}
		w.count(time.Now(), 1, int64(len(r.Key)+len(r.Value)))
	}
	for time.Now().Before(w.to) && failed.Load() == nil {
		r := &kgo.Record{Value: value}
		if l.Keyed {
			r.Key = binary.BigEndian.AppendUint64(nil, rnd.Uint64N(10_000))
		}
		c.Produce(ctx, r, done)
	}
	if err := c.Flush(ctx); err != nil {
		return err
	}
	if p := failed.Load(); p != nil {
		return *p
	}
	return nil
}

// consume reads the topic from the start, again and again, until the window ends.
func consume(ctx context.Context, l load) (loaded, error) {
	w := newWindow(l)
	for time.Now().Before(w.to) {
		if err := consumeOnce(ctx, l, w); err != nil {
			return loaded{}, err
		}
	}
	return w.result(), nil
}

func consumeOnce(ctx context.Context, l load, w *window) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(l.Addr), kgo.ConsumeTopics(l.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(50<<20), kgo.FetchMaxPartitionBytes(1<<20), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer c.Close()
	ends, err := kadm.NewClient(c).ListEndOffsets(ctx, l.Topic)
	if err != nil {
		return err
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	for left > 0 && time.Now().Before(w.to) {
		f := c.PollFetches(ctx)
		if err := f.Err(); err != nil {
			return err
		}
		now, records, bytes := time.Now(), int64(0), int64(0)
		f.EachRecord(func(r *kgo.Record) {
			records++
			bytes += int64(len(r.Key) + len(r.Value))
		})
		w.count(now, records, bytes)
		left -= records
	}
	return nil
}

// endToEnd sends at a fixed rate and measures each record from the moment at which
// it should have been sent, so that a stall counts in full (coordinated omission).
func endToEnd(ctx context.Context, l load) (loaded, error) {
	if err := createTopic(ctx, l); err != nil {
		return loaded{}, err
	}
	p, err := producer(l)
	if err != nil {
		return loaded{}, err
	}
	defer p.Close()
	c, err := kgo.NewClient(kgo.SeedBrokers(l.Addr), kgo.ConsumeTopics(l.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
		kgo.FetchMinBytes(1), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return loaded{}, err
	}
	defer c.Close()
	// One record through, so that the consumer is in place before the clock runs.
	if err := settle(ctx, p, c, l); err != nil {
		return loaded{}, err
	}
	w := newWindow(l)
	hist := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
	var wg sync.WaitGroup
	consumed := make(chan error, 1)
	readCtx, stop := context.WithCancel(ctx)
	wg.Go(func() { consumed <- consumeTimed(readCtx, c, w, hist) })
	err = sendSteadily(ctx, p, l, w)
	if err == nil {
		err = p.Flush(ctx)
	}
	time.Sleep(time.Second) // what is still under way arrives
	stop()
	wg.Wait()
	if cerr := <-consumed; err == nil {
		err = cerr
	}
	got := w.result()
	ms := func(q float64) float64 { return float64(hist.ValueAtQuantile(q)) / 1000 }
	got.P50, got.P99, got.P999, got.Max = ms(50), ms(99), ms(99.9), float64(hist.Max())/1000
	return got, err
}

func settle(ctx context.Context, p, c *kgo.Client, l load) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		if err := p.ProduceSync(ctx, &kgo.Record{Value: make([]byte, l.Size)}).FirstErr(); err != nil {
			return err
		}
		short, end := context.WithTimeout(ctx, time.Second)
		f := c.PollFetches(short)
		end()
		if f.NumRecords() > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return errors.New("e2e: no record came through")
		}
	}
}

func sendSteadily(ctx context.Context, p *kgo.Client, l load, w *window) error {
	var failed atomic.Pointer[error]
	start := time.Now()
	gap := time.Second / time.Duration(l.Rate)
	for i := 0; ; i++ {
		due := start.Add(time.Duration(i) * gap)
		if due.After(w.to) {
			break
		}
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		value := make([]byte, l.Size)
		binary.BigEndian.PutUint64(value, uint64(due.UnixNano()))
		p.Produce(ctx, &kgo.Record{Value: value, Partition: int32(i % l.Partitions)}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	if e := failed.Load(); e != nil {
		return *e
	}
	return nil
}

func consumeTimed(ctx context.Context, c *kgo.Client, w *window, hist *hdrhistogram.Histogram) error {
	for {
		f := c.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := f.Err(); err != nil {
			return err
		}
		now := time.Now()
		var bad error
		f.EachRecord(func(r *kgo.Record) {
			due := time.Unix(0, int64(binary.BigEndian.Uint64(r.Value)))
			w.total.Add(int64(len(r.Value)))
			if due.Before(w.from) || due.After(w.to) {
				return
			}
			w.records.Add(1)
			w.bytes.Add(int64(len(r.Value)))
			if err := hist.RecordValue(max(1, now.Sub(due).Microseconds())); err != nil {
				bad = err
			}
		})
		if bad != nil {
			return bad
		}
	}
}
