//go:build linux

package failover

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/record"
)

// writers write to every partition, one record every few milliseconds, acks=all.
type writers struct {
	topic string
	view  *view
	pace  time.Duration
	stop  context.CancelFunc
	all   []*writer
	wg    sync.WaitGroup
}

// writer writes to one partition.
type writer struct {
	ws        *writers
	partition int32
	sent      atomic.Int64 // when the newest acknowledged request was sent, in ns
	errors    atomic.Int64
	mu        sync.Mutex
	acked     map[int64]uint64 // what lies where, by its word
	why       string           // the last error
}

func newWriters(ctx context.Context, addrs []string, topic string, partitions int, pace time.Duration) *writers {
	ctx, cancel := context.WithCancel(ctx)
	ws := &writers{topic: topic, view: newView(addrs, partitions), pace: pace, stop: cancel}
	ws.wg.Go(func() { ws.view.run(ctx, topic) })
	ws.view.doubt()
	for p := range partitions {
		w := &writer{ws: ws, partition: int32(p), acked: map[int64]uint64{}}
		ws.all = append(ws.all, w)
		ws.wg.Go(func() { w.run(ctx) })
	}
	return ws
}

func (ws *writers) close() {
	ws.stop()
	ws.wg.Wait()
}

// failures is how many writes have failed so far.
func (ws *writers) failures() (n int64) {
	for _, w := range ws.all {
		n += w.errors.Load()
	}
	return n
}

// since waits until every partition has acknowledged a request that was sent after a
// node was gone, and gives how long after the failure the last of them did. Where that takes
// too long, last is a partition that did not.
func (ws *writers) since(ctx context.Context, failure, gone time.Time, limit time.Duration) (took time.Duration, last *writer, ok bool) {
	for {
		last = nil
		for _, w := range ws.all {
			if w.sent.Load() < gone.UnixNano() {
				last = w
				break
			}
		}
		if last == nil {
			return time.Since(failure), nil, true
		}
		if time.Since(failure) >= limit || ctx.Err() != nil {
			return time.Since(failure), last, false
		}
		time.Sleep(time.Millisecond)
	}
}

func (w *writer) run(ctx context.Context) {
	var l *link
	defer func() {
		if l != nil {
			l.close()
		}
	}()
	for n := uint64(1); ctx.Err() == nil; n++ {
		addr, news := w.ws.view.leader(w.partition)
		if addr == "" {
			w.ws.view.doubt()
			w.wait(ctx, news)
			continue
		}
		if l == nil || l.addr != addr {
			if l != nil {
				l.close()
			}
			l = &link{addr: addr}
		}
		word := uint64(w.partition)<<48 | n
		at := time.Now()
		offset, err := w.produce(l, word)
		if err != nil {
			w.errors.Add(1)
			w.mu.Lock()
			w.why = err.Error()
			w.mu.Unlock()
			w.ws.view.doubt()
			w.wait(ctx, news)
			continue
		}
		w.mu.Lock()
		w.acked[offset] = word
		w.mu.Unlock()
		w.sent.Store(at.UnixNano())
		select {
		case <-ctx.Done():
		case <-time.After(w.ws.pace):
		}
	}
}

// reason is the last error.
func (w *writer) reason() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.why
}

// wait waits for news of the leaders, for a moment.
func (w *writer) wait(ctx context.Context, news <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-news:
	case <-time.After(50 * time.Millisecond):
	}
}

func (w *writer) produce(l *link, word uint64) (int64, error) {
	var b record.Builder
	b.Reset(record.NewHeader(0), record.Compression{})
	b.Append(time.Now().UnixMilli(), nil, binary.BigEndian.AppendUint64(nil, word))
	batch, err := b.Build(nil)
	if err != nil {
		return 0, err
	}
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 12, -1, int32(patience/time.Millisecond)
	t := kmsg.NewProduceRequestTopic()
	t.Topic = w.ws.topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = w.partition, batch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := l.call(req)
	if err != nil {
		return 0, err
	}
	got := resp.(*kmsg.ProduceResponse)
	if len(got.Topics) != 1 || len(got.Topics[0].Partitions) != 1 {
		return 0, fmt.Errorf("an answer for %d topics", len(got.Topics))
	}
	a := got.Topics[0].Partitions[0]
	if a.ErrorCode != 0 && a.CurrentLeader.LeaderID >= 0 { // KIP-951
		w.ws.view.mu.Lock()
		w.ws.view.lead(w.partition, a.CurrentLeader.LeaderID, a.CurrentLeader.LeaderEpoch)
		w.ws.view.mu.Unlock()
	}
	return a.BaseOffset, kerr.ErrorForCode(a.ErrorCode)
}
