package broker

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/env"
)

// franz is a client as it is.
func (n *testNode) franz(opts ...kgo.Opt) *kgo.Client {
	n.t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(n.b.Addr())}, opts...)...)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(c.Close)
	return c
}

// consumed polls n values of a topic.
func (n *testNode) consumed(topic string, from int64, count int) (values []string) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
	defer cancel()
	c := n.franz(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(from)}}))
	for len(values) < count {
		f := c.PollFetches(ctx)
		if err := f.Err(); err != nil {
			n.t.Fatalf("after %d of %d records: %v", len(values), count, err)
		}
		for _, r := range f.Records() {
			values = append(values, string(r.Value))
		}
	}
	return values
}

// checkpointed waits until what is there now is below the recovery points.
func (n *testNode) checkpointed() {
	n.t.Helper()
	at := n.clock.Now()
	n.eventually("a checkpoint", func() bool { return n.clock.Now().Sub(at) > 7*time.Second })
}

func (c *client) produceError(topic string, acks int16, value []byte) error {
	c.t.Helper()
	p := c.ask(produceRequest(topic, acks, value)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	return kerr.ErrorForCode(p.ErrorCode)
}

// TestFullDiskWhileRunning: producers are told, and wait; reads, deletions and retention go
// on, and the space that these give back is enough to go on by itself.
func TestFullDiskWhileRunning(t *testing.T) {
	n := start(t, "log.retention.check.interval.ms=60000")
	c := n.dial()
	c.createTopic("t", "segment.bytes=1048576", "retention.bytes=1048576", "file.delete.delay.ms=1000")
	c.createTopic("u", "file.delete.delay.ms=3600000")
	big := bytes.Repeat([]byte("x"), 900_000) // a segment each
	for range 4 {
		c.produce("t", big)
	}
	c.produce("u", []byte("v"))
	n.checkpointed()
	n.disk().SetFree(0)

	for _, acks := range []int16{-1, 1} {
		for _, topic := range []string{"t", "u"} {
			if err := c.produceError(topic, acks, []byte("w")); err != kerr.KafkaStorageError {
				t.Fatalf("acks %d to %s on a full disk: %v", acks, topic, err)
			}
		}
	}
	if !n.log.has("level=WARN", "write to segment", "no space left on device") {
		t.Fatalf("the log:\n%s", n.log)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	patient := n.franz(kgo.DefaultProduceTopic("t"), kgo.MetadataMinAge(10*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
	result := make(chan error, 10)
	for i := range 10 {
		patient.Produce(ctx, kgo.StringRecord(fmt.Sprint(i)), func(_ *kgo.Record, err error) { result <- err })
	}
	if got := n.consumed("t", 0, 4); len(got[3]) != len(big) { // reads go on
		t.Fatalf("read %d bytes", len(got[3]))
	}
	c.deleteTopic("u") // deletions go on
	if err := c.produceError("t", 1, []byte("w")); err != kerr.KafkaStorageError {
		t.Fatalf("before there is space: %v", err)
	}
	if err := n.b.Ready(); err != nil {
		t.Fatalf("a full disk is not fatal: %v", err)
	}
	n.clock.Advance(time.Minute) // retention is due, and then the removal of files
	n.eventually("the producer's records are in", func() bool { return len(result) == 10 })
	for range 10 {
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	}
	first := n.partition("t").Log().StartOffset()
	if first == 0 {
		t.Fatal("nothing was deleted")
	}
	n.power()
	got := n.consumed("t", first, int(4-first)+10)
	for i, v := range got[4-first:] {
		if v != fmt.Sprint(i) {
			t.Fatalf("record %d is %.20q", i, v)
		}
	}
	if end := n.partition("t").Log().EndOffset(); end != 14 {
		t.Fatalf("ends at %d", end)
	}
}

// TestWriteErrorWhileRunning: a partition whose file cannot be written is refused to its
// producers and read on; the others are not concerned. A restart looks again.
func TestWriteErrorWhileRunning(t *testing.T) {
	n := start(t, "log.retention.check.interval.ms=1000")
	c := n.dial()
	c.createTopic("t", "segment.bytes=1048576", "file.delete.delay.ms=0")
	c.createTopic("u")
	big := bytes.Repeat([]byte("x"), 900_000)
	c.produce("t", big)
	c.produce("t", big)
	n.checkpointed()
	n.disk().OnOp(func(op env.Op) error {
		if op.Kind == env.OpWrite && strings.HasPrefix(op.Path, "data/t-0/") && strings.HasSuffix(op.Path, ".log") {
			return env.Partial{N: 10, Err: syscall.EIO}
		}
		return nil
	})
	for range 2 {
		if err := c.produceError("t", -1, []byte("w")); err != kerr.KafkaStorageError {
			t.Fatalf("produce: %v", err)
		}
	}
	n.disk().OnOp(nil)
	if err := c.produceError("t", -1, []byte("w")); err != kerr.KafkaStorageError {
		t.Fatalf("a disk that failed is not trusted again: %v", err)
	}
	c.produce("u", []byte("v"))
	if got := n.consumed("t", 0, 2); len(got[1]) != len(big) {
		t.Fatalf("read %d bytes", len(got[1]))
	}
	c.alter(kmsg.ConfigResourceTypeTopic, "t", "retention.bytes=900000")
	n.eventually("retention goes on", func() bool { return n.partition("t").Log().StartOffset() == 1 })
	c.deleteTopic("u")
	n.kill()
	c = n.dial()
	if at := c.produce("t", []byte("w")); at != 2 {
		t.Fatalf("appended at %d", at)
	}
}

// TestSyncErrorWhileRunning: after a failed sync nothing is acknowledged any more, what was
// is read, and health says so.
func TestSyncErrorWhileRunning(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("t")
	c.createTopic("relaxed", "leat.durability=relaxed")
	c.produce("t", []byte("v"))
	c.produce("relaxed", []byte("v"))
	n.disk().OnOp(func(op env.Op) error {
		if op.Kind == env.OpSync && !strings.HasPrefix(op.Path, "data/metadata") {
			return syscall.EIO
		}
		return nil
	})
	if err := c.produceError("t", -1, []byte("w")); err != kerr.KafkaStorageError {
		t.Fatalf("produce: %v", err)
	}
	n.disk().OnOp(nil)
	n.eventually("the directory is offline", func() bool { return n.b.Healthy() != nil })
	for _, topic := range []string{"t", "relaxed"} {
		for _, acks := range []int16{-1, 1} {
			if err := c.produceError(topic, acks, []byte("w")); err != kerr.KafkaStorageError {
				t.Fatalf("produce to %s: %v", topic, err)
			}
		}
		if got := c.fetch(topic, 0); len(got) != 1 || got[0] != "v" {
			t.Fatalf("read %q of %s", got, topic)
		}
	}
	if !n.log.has("level=ERROR", "is offline") {
		t.Fatalf("the log:\n%s", n.log)
	}
	c.deleteTopic("relaxed")
	n.power()
	c = n.dial()
	if got := c.fetch("t", 0); len(got) == 0 || got[0] != "v" {
		t.Fatalf("read %q", got)
	}
	c.produce("t", []byte("x"))
}
