package replica

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/schema"
)

// TestConcurrentUse runs everything at once, for the race detector and for deadlocks:
// producers that wait, long polls, the sync loop, moving starts, retention, changed
// settings, and the deletion of a topic in use.
func TestConcurrentUse(t *testing.T) {
	w := newWorld(t)
	s := durable()
	s.Log.SegmentBytes = 4000
	w.create("t", 2, s)
	w.create("relaxed", 1, relaxed())
	w.create("gone", 1, durable())
	w.m.opt.Clock = env.Real
	ctx, stop := context.WithCancel(t.Context())
	var loop, work sync.WaitGroup
	loop.Go(func() { w.dir.Run(ctx) })
	parts := []*Partition{w.part("t", 0), w.part("t", 1), w.part("relaxed", 0), w.part("gone", 0)}
	var mu sync.Mutex // of w.batch, which is the test's own
	for g := range 4 {
		work.Go(func() {
			for i := range 50 {
				var send []ProducePart
				mu.Lock()
				for _, p := range parts {
					send = append(send, ProducePart{p, w.batch(fmt.Sprint(g, i))})
				}
				mu.Unlock()
				done := make(chan struct{})
				w.m.Produce(send, -1, time.Minute, func(*ProduceOp) { close(done) })
				<-done
			}
		})
		work.Go(func() {
			for i := range 50 {
				done := make(chan *FetchOp, 1)
				var ask []FetchPart
				for _, p := range parts {
					ask = append(ask, from(p.ID().Topic, p.ID().Partition, p.Log().StartOffset()))
				}
				w.m.Fetch(ask, FetchLimits{Replica: Consumer, MinBytes: int32(i % 2), MaxBytes: 1 << 16, MaxWait: time.Millisecond}, func(op *FetchOp) { done <- op })
				for _, r := range (<-done).Collect() {
					r.Release()
				}
			}
		})
	}
	work.Go(func() {
		for range 20 {
			for _, p := range parts {
				w.m.DeleteRecords([]DeletePart{{p, -1}}, time.Minute, func(*DeleteOp) {}) // a deleted one refuses
			}
			w.m.Retain(time.Now(), func(logID, error) {})
		}
	})
	work.Go(func() {
		for i := range 20 {
			value := fmt.Sprint(i)
			w.record(&schema.Config{ResourceType: 2, ResourceName: "t", Key: "retention.ms", Value: &value})
			if i == 10 {
				w.record(&schema.RemoveTopic{TopicID: topicID("gone")})
			}
			if err := w.apply(); err != nil {
				t.Error(err)
			}
		}
	})
	work.Wait()
	stop()
	loop.Wait()
	for _, p := range parts[:3] {
		if p.HighWatermark() != 200 {
			t.Errorf("%s: high watermark %d", p.ID(), p.HighWatermark())
		}
	}
}
