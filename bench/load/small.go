package load

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// connecting is how many clients connect at a time: fifty at once overflow the queue
// of connections of a broker that has a single core.
const connecting = 5

// smallBuffer is how many records one of the producers has under way.
const smallBuffer = 100

func producer(l Load, buffer int) (*kgo.Client, error) {
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(l.Topic), kgo.ProducerBatchMaxBytes(batchBytes), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(buffer),
	}
	if l.Acks == 1 {
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(inFlight))
	}
	return client(l, opts...)
}

// small is many producers of small records with keys, each its own client. The clock
// runs once every one of them has a record acknowledged.
func small(ctx context.Context, l Load, w *window) error {
	if err := CreateTopic(ctx, l); err != nil {
		return err
	}
	clients := make([]*kgo.Client, l.Producers)
	defer func() {
		for _, c := range clients {
			if c != nil {
				c.Close()
			}
		}
	}()
	if err := each(len(clients), connecting, func(i int) (err error) {
		ctx, cancel := context.WithTimeout(ctx, setupLimit)
		defer cancel()
		if clients[i], err = producer(l, smallBuffer); err != nil {
			return err
		}
		return clients[i].ProduceSync(ctx, smallRecord(rand.New(rand.NewPCG(uint64(i), 2)), make([]byte, l.Size))).FirstErr()
	}); err != nil {
		return err
	}
	w.open()
	return each(len(clients), len(clients), func(i int) error { return smallProducer(ctx, clients[i], l, w, uint64(i)) })
}

// each runs f for 0 to n-1, so many at a time.
func each(n, atOnce int, f func(i int) error) error {
	errs := make([]error, n)
	room := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i := range n {
		room <- struct{}{}
		wg.Go(func() {
			errs[i] = f(i)
			<-room
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func smallRecord(rnd *rand.Rand, value []byte) *kgo.Record {
	return &kgo.Record{Key: binary.BigEndian.AppendUint64(nil, rnd.Uint64N(10_000)), Value: value}
}

// smallProducer keeps its buffer full until the end of the window.
func smallProducer(ctx context.Context, c *kgo.Client, l Load, w *window, seed uint64) error {
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
	for !w.over() && failed.Load() == nil {
		c.Produce(ctx, smallRecord(rnd, value), done)
	}
	drain, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	if err := c.Flush(drain); err != nil {
		return err
	}
	if p := failed.Load(); p != nil {
		return *p
	}
	return nil
}
