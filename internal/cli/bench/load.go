package bench

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/cli/produce"
)

// loadFlags say what is produced, and how.
type loadFlags struct {
	producers, size, batch, inflight, buffered int
	keys                                       int64
	linger                                     time.Duration
	acks, compression, payload                 string
	rate                                       float64
}

func (l *loadFlags) add(f *pflag.FlagSet, rate float64) {
	f.IntVar(&l.producers, "producers", 1, "number of producers, each with connections of its own")
	f.IntVarP(&l.size, "record-size", "s", 1024, "bytes of a record's value")
	f.IntVar(&l.batch, "batch", 1<<20, "the most bytes of a batch")
	f.DurationVar(&l.linger, "linger", 5*time.Millisecond, "how long a batch waits for more records")
	f.StringVar(&l.acks, "acks", "all", "what a record waits for: all, leader, none")
	f.StringVarP(&l.compression, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	f.Int64Var(&l.keys, "keys", 0, "give records one of so many keys, at random (0: no keys)")
	f.StringVar(&l.payload, "payload", "random", "what values hold: random (does not compress), text or zeros")
	f.Float64VarP(&l.rate, "rate", "r", rate, "records per second of all producers together (0: as fast as possible)")
	f.IntVar(&l.inflight, "in-flight", 5, "produce requests on the way to one broker (5 with --acks all)")
	f.IntVar(&l.buffered, "buffer", 100_000, "records that one producer holds before it waits")
}

func (l *loadFlags) check() error {
	if l.producers < 1 || l.size < 0 || l.batch < 1 || l.keys < 0 || l.rate < 0 || l.linger < 0 || l.inflight < 1 || l.buffered < 1 {
		return out.Usagef("--producers, --batch, --in-flight and --buffer must be above 0, --record-size, --keys, --rate and --linger not below")
	}
	if l.payload != "random" && l.payload != "text" && l.payload != "zeros" {
		return out.Usagef("--payload=%s: use random, text or zeros", l.payload)
	}
	return nil
}

func (l *loadFlags) settings() map[string]any {
	return map[string]any{"producers": l.producers, "record_size": l.size, "batch": l.batch, "linger_ms": l.linger.Seconds() * 1000,
		"acks": l.acks, "compression": l.compression, "keys": l.keys, "payload": l.payload, "rate": l.rate,
		"in_flight": l.inflight, "buffer": l.buffered}
}

func (l *loadFlags) options(topic string) ([]kgo.Opt, error) {
	codec, err := produce.Codec(l.compression)
	if err != nil {
		return nil, err
	}
	acks, err := produce.Acks(l.acks)
	if err != nil {
		return nil, err
	}
	opts := append(acks, kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(int32(l.batch)),
		kgo.ProducerLinger(l.linger),
		kgo.MaxBufferedRecords(l.buffered))
	if l.acks != "all" && l.acks != "-1" {
		// Idempotent producers have as many as keep their order: five.
		opts = append(opts, kgo.MaxProduceRequestsInflightPerBroker(l.inflight))
	}
	if l.keys == 0 {
		// A partition is kept for a batch, as the Java client does.
		opts = append(opts, kgo.RecordPartitioner(kgo.UniformBytesPartitioner(min(l.batch, 64<<10), true, true, nil)))
	}
	return opts, nil
}

// load is a number of producers at work.
type load struct {
	flags   loadFlags
	clients []*kgo.Client
	// stamp, when set, writes a record's due time into its value.
	stamp func(value []byte, due time.Time)
	// acked is called when a record was acknowledged, and may be called by several
	// goroutines at once.
	acked func(due time.Time, r *kgo.Record, err error)

	values [][]byte
}

// newLoad connects the producers.
func newLoad(ctx context.Context, e *conn.Env, flags loadFlags, topic string) (*load, error) {
	opts, err := flags.options(topic)
	if err != nil {
		return nil, err
	}
	l := &load{flags: flags, values: values(flags)}
	for range flags.producers {
		cl, err := e.Client(ctx, opts...)
		if err != nil {
			l.close()
			return nil, err
		}
		l.clients = append(l.clients, cl)
	}
	return l, nil
}

func (l *load) close() {
	var wg sync.WaitGroup
	for _, cl := range l.clients {
		wg.Go(cl.Close)
	}
	wg.Wait()
}

// differentValues is how many values are sent in turn.
const differentValues = 64

func values(fl loadFlags) [][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	words := []string{"order ", "payment ", "customer ", "shipped ", "pending ", "EUR ", "amount ", "2026-01-31 "}
	all := make([][]byte, differentValues)
	for i := range all {
		v := make([]byte, 0, fl.size+16)
		for len(v) < fl.size {
			switch fl.payload {
			case "random":
				v = binary.LittleEndian.AppendUint64(v, rng.Uint64())
			case "text":
				v = append(v, words[rng.IntN(len(words))]...)
			default:
				v = append(v, 0)
			}
		}
		all[i] = v[:fl.size:fl.size]
	}
	return all
}

// item is a record on its way, with the time it was due. Items are used again.
type item struct {
	record  kgo.Record
	due     time.Time
	promise func(*kgo.Record, error)
}

// run produces from start until ctx ends, and waits for what is on the way.
func (l *load) run(ctx context.Context, start time.Time) {
	var wg sync.WaitGroup
	for i, cl := range l.clients {
		wg.Go(func() { l.producer(ctx, cl, i, start) })
	}
	wg.Wait()
}

// drainTimeout bounds the wait for the last acknowledgements.
const drainTimeout = 10 * time.Second

func (l *load) producer(ctx context.Context, cl *kgo.Client, n int, start time.Time) {
	rng := rand.New(rand.NewPCG(3, uint64(n)))
	var pool sync.Pool
	pool.New = func() any {
		it := &item{}
		it.promise = func(r *kgo.Record, err error) {
			l.acked(it.due, r, err)
			it.record = kgo.Record{}
			pool.Put(it)
		}
		return it
	}
	// Each producer has its share of the rate, and the producers take turns.
	interval := time.Duration(0)
	if l.flags.rate > 0 {
		interval = time.Duration(float64(l.flags.producers) / l.flags.rate * float64(time.Second))
		start = start.Add(interval * time.Duration(n) / time.Duration(l.flags.producers))
	}
	pace := newPacer()
	defer pace.close()
	for i := 0; ctx.Err() == nil; i++ {
		due := time.Now()
		if interval > 0 {
			if due = start.Add(time.Duration(i) * interval); pace.until(ctx, due) != nil {
				break
			}
		}
		it := pool.Get().(*item)
		it.due = due
		it.record.Value = l.values[i%len(l.values)]
		if l.stamp != nil {
			it.record.Value = append([]byte(nil), it.record.Value...)
			l.stamp(it.record.Value, due)
		}
		if l.flags.keys > 0 {
			it.record.Key = binary.BigEndian.AppendUint64(nil, rng.Uint64N(uint64(l.flags.keys)))
		}
		cl.Produce(ctx, &it.record, it.promise)
	}
	flush, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	_ = cl.Flush(flush) // what is not acknowledged by then fails its promise when the client closes
}
