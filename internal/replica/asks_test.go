package replica

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// asks is one fetch of a consumer.
func (b *broker) asks(reader uint64, offset int64) *kerr.Error {
	var f Fetched
	l := FetchLimits{Replica: Consumer, ReplicaEpoch: -1, MaxBytes: 1 << 20, Reader: reader}
	b.m.Fetch([]FetchPart{from("t", 0, offset)}, l, func(op *FetchOp) { f = op.Collect()[0] })
	f.Release()
	return f.Err
}

// TestDamageThatOnlyAConsumerSees: what a consumer asks for again and again is checked; it is
// told to come again, and finds what it wants at the next leader.
func TestDamageThatOnlyAConsumerSees(t *testing.T) {
	c := filled(t, 200)
	lead := c.leader("t", 0)
	lead.flip()
	var base int64
	fmt.Sscanf(filepath.Base(lead.segments()[1]), "%d", &base)
	at := base + 1 // the flipped byte is in its second batch
	for reader := range uint64(20) {
		if err := lead.asks(reader+1, at); err != nil {
			t.Fatalf("consumer %d, at once: %v", reader+1, err)
		}
	}
	if n := lead.m.Stats().Suspected; n != 0 {
		t.Fatalf("checked %d times, and all asked once", n)
	}
	for range suspiciousAsks - 1 {
		if err := lead.asks(1, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := lead.asks(1, at); err != kerr.KafkaStorageError {
		t.Fatalf("after %d asks: %v", suspiciousAsks, err)
	}
	c.until("another one leads", func() bool { return c.leader("t", 0) != lead && c.leader("t", 0).part("t", 0).Leading() })
	if err := c.leader("t", 0).asks(1, at); err != nil {
		t.Fatalf("the new leader: %v", err)
	}
	c.until("all are in sync", func() bool { return lead.m.Stats().Mended == 1 && c.inSync() })
	c.same(200)
}

// TestAskingAgainCostsLittle: a consumer that asks again and again for what is good has it
// checked ever more rarely, and many of them share a rate.
func TestAskingAgainCostsLittle(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	w.send("t", 0, 1, "a")
	w.send("t", 0, 1, "b")
	w.mustSync()
	ask := func(reader uint64, offset int64) {
		t.Helper()
		l := FetchLimits{Replica: Consumer, ReplicaEpoch: -1, MaxBytes: 1 << 20, Reader: reader}
		w.m.Fetch([]FetchPart{from("t", 0, offset)}, l, func(op *FetchOp) {
			got := op.Collect()[0]
			if got.Err != nil || got.Run == nil {
				t.Errorf("got %+v", got)
			}
			got.Release()
		})
	}
	checked := func(want int64) {
		t.Helper()
		if got := w.m.Stats().Suspected; got != want {
			t.Fatalf("checked %d times, want %d", got, want)
		}
	}
	for range 1000 {
		ask(1, 0)
		w.clock.Advance(1e6)
	}
	checked(9) // after 3, 6, 12 … 768 asks
	for range 1000 {
		ask(1, 1)
		ask(1, 0) // it goes to and fro
	}
	checked(9)
	w.m.asks.limit.take(w.clock.Now(), checkRate, checkRate)
	for range 10 {
		ask(2, 0)
	}
	checked(9) // the rate is used up for a second
	w.clock.Advance(1e9)
	ask(2, 0)
	checked(10)
	for reader := range uint64(maxAsks + 10) {
		ask(reader, 0)
	}
	if n, m := len(w.m.asks.byKey), w.m.asks.order.Len(); n != maxAsks || m != maxAsks {
		t.Fatalf("%d and %d are remembered", n, m)
	}
}
