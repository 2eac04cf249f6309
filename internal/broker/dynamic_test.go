package broker

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/record"
)

// live is a topic in use, and a client that changes it.
type live struct {
	t   *testing.T
	n   *testNode
	ctx context.Context
	p   *kgo.Client
	adm *kadm.Client
}

func newLive(t *testing.T, sets ...string) *live {
	t.Helper()
	n := start(t, append([]string{"log.retention.check.interval.ms=1000", "log.cleaner.backoff.ms=1000"}, sets...)...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	p := n.franz(kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(1),
		kgo.ProducerBatchMaxBytes(8<<20), kgo.RecordRetries(1))
	l := &live{t: t, n: n, ctx: ctx, p: p, adm: kadm.NewClient(p)}
	if _, err := l.adm.CreateTopic(ctx, 1, 1, map[string]*string{"file.delete.delay.ms": kadm.StringPtr("0")}, "t"); err != nil {
		t.Fatal(err)
	}
	return l
}

// set changes the topic as an admin client does.
func (l *live) set(name, value string) {
	l.t.Helper()
	r, err := l.adm.AlterTopicConfigs(l.ctx, []kadm.AlterConfig{{Name: name, Value: &value}}, "t")
	if err == nil {
		err = r[0].Err
	}
	if err != nil {
		l.t.Fatalf("%s=%s: %v", name, value, err)
	}
}

func (l *live) send(key string, value []byte) (*kgo.Record, error) {
	return l.p.ProduceSync(l.ctx, &kgo.Record{Key: []byte(key), Value: value, Timestamp: l.n.clock.Now()}).First()
}

func (l *live) mustSend(key string, value []byte) *kgo.Record {
	l.t.Helper()
	r, err := l.send(key, value)
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

func (l *live) log() *log.Log { return l.n.partition("t").Log() }

func (l *live) segments() int {
	l.t.Helper()
	s, err := l.log().Segments()
	if err != nil {
		l.t.Fatal(err)
	}
	return len(s)
}

// stored is the batch that holds an offset.
func (l *live) stored(offset int64) record.Batch {
	l.t.Helper()
	run, err := l.log().Read(offset, 1, l.log().EndOffset(), true)
	if err != nil {
		l.t.Fatal(err)
	}
	defer run.Release()
	p := make([]byte, run.Len())
	if _, err := run.ReadAt(p, 0); err != nil {
		l.t.Fatal(err)
	}
	return record.Batch(p)
}

// TestSettingsOfALiveTopic: a change holds for the next thing that it concerns.
func TestSettingsOfALiveTopic(t *testing.T) {
	value := bytes.Repeat([]byte("leat "), 80_000) // 400 kB
	t.Run("segment.bytes", func(t *testing.T) {
		l := newLive(t)
		for range 4 {
			l.mustSend("k", value)
		}
		if n := l.segments(); n != 1 {
			t.Fatalf("%d segments", n)
		}
		l.set("segment.bytes", "1048576")
		l.mustSend("k", value)
		if n := l.segments(); n != 2 {
			t.Fatalf("%d segments", n)
		}
		l.set("max.message.bytes", "4000000")
		if _, err := l.send("k", bytes.Repeat(value, 3)); !errors.Is(err, kerr.RecordListTooLarge) {
			t.Fatalf("a batch larger than a segment: %v", err)
		}
	})
	t.Run("segment.ms", func(t *testing.T) {
		l := newLive(t)
		l.mustSend("k", nil)
		l.n.clock.Advance(time.Hour)
		l.mustSend("k", nil)
		l.set("segment.ms", "60000")
		if n := l.segments(); n != 1 {
			t.Fatalf("%d segments", n)
		}
		l.mustSend("k", nil)
		if n := l.segments(); n != 2 {
			t.Fatalf("%d segments", n)
		}
	})
	t.Run("max.message.bytes", func(t *testing.T) {
		l := newLive(t)
		l.mustSend("k", value)
		for _, limit := range []string{"100000", "0"} {
			l.set("max.message.bytes", limit)
			if _, err := l.send("k", value); !errors.Is(err, kerr.MessageTooLarge) {
				t.Fatalf("above %s: %v", limit, err)
			}
		}
		l.set("max.message.bytes", "2000000")
		if r := l.mustSend("k", bytes.Repeat(value, 4)); r.Offset != 1 {
			t.Fatalf("at %d", r.Offset)
		}
	})
	t.Run("compression.type", func(t *testing.T) {
		l := newLive(t)
		for i, c := range []struct {
			value string
			codec record.Codec
		}{
			{"producer", record.CodecNone}, {"zstd", record.CodecZstd}, {"gzip", record.CodecGzip}, {"lz4", record.CodecLZ4},
			{"snappy", record.CodecSnappy}, {"uncompressed", record.CodecNone},
		} {
			l.set("compression.type", c.value)
			l.mustSend("k", value)
			if b := l.stored(int64(i)); b.Codec() != c.codec {
				t.Fatalf("%s: stored as %v", c.value, b.Codec())
			}
		}
		for i, v := range l.n.consumed("t", 0, 6) {
			if v != string(value) {
				t.Fatalf("record %d came as %d bytes", i, len(v))
			}
		}
		sizes := map[string]int{}
		l.set("compression.type", "gzip")
		for _, level := range []string{"1", "9"} {
			l.set("compression.gzip.level", level)
			sizes[level] = len(l.stored(l.mustSend("k", value).Offset))
		}
		if sizes["9"] >= sizes["1"] {
			t.Fatalf("by gzip level: %v", sizes)
		}
	})
	t.Run("message.timestamp.type", func(t *testing.T) {
		l := newLive(t)
		sent := l.n.clock.Now().Truncate(time.Millisecond)
		if r := l.mustSend("k", nil); r.Timestamp.UnixMilli() != sent.UnixMilli() {
			t.Fatalf("at %v", r.Timestamp)
		}
		l.set("message.timestamp.type", "LogAppendTime")
		l.n.clock.Advance(time.Minute)
		now := l.n.clock.Now()
		r, err := l.p.ProduceSync(l.ctx, &kgo.Record{Value: value, Timestamp: sent}).First()
		if b := l.stored(1); err != nil || b.TimestampType() != record.LogAppendTime || b.MaxTimestamp() != now.UnixMilli() {
			t.Fatalf("%+v: %v %v, now %v", r, err, b.Header(), now)
		}
		l.set("message.timestamp.type", "CreateTime")
		l.set("message.timestamp.after.max.ms", "1000")
		l.set("message.timestamp.before.max.ms", "1000")
		for _, ts := range []time.Time{now.Add(2 * time.Second), now.Add(-2 * time.Second)} {
			if err := l.p.ProduceSync(l.ctx, &kgo.Record{Value: value, Timestamp: ts}).FirstErr(); !errors.Is(err, kerr.InvalidTimestamp) {
				t.Fatalf("%v, now %v: %v", ts, now, err)
			}
		}
	})
	t.Run("retention.ms", func(t *testing.T) {
		l := newLive(t)
		l.mustSend("k", nil)
		l.n.checkpointed()
		if l.log().StartOffset() != 0 {
			t.Fatal("gone")
		}
		l.set("retention.ms", "1000")
		l.n.eventually("the active segment is rolled and gone", func() bool { return l.log().StartOffset() == 1 })
		if r := l.mustSend("k", nil); r.Offset != 1 {
			t.Fatalf("at %d", r.Offset)
		}
	})
	t.Run("cleanup.policy", func(t *testing.T) {
		l := newLive(t)
		l.set("segment.bytes", "1048576")
		l.set("min.cleanable.dirty.ratio", "0")
		for range 8 {
			l.mustSend("k", value)
		}
		if _, err := l.p.ProduceSync(l.ctx, &kgo.Record{Value: value, Timestamp: l.n.clock.Now()}).First(); err != nil {
			t.Fatal(err)
		}
		l.set("cleanup.policy", "compact")
		if err := l.p.ProduceSync(l.ctx, &kgo.Record{Value: value, Timestamp: l.n.clock.Now()}).FirstErr(); !errors.Is(err, kerr.InvalidRecord) {
			t.Fatalf("a record without a key: %v", err)
		}
		l.n.eventually("it is compacted", func() bool { return l.stored(0).BaseOffset() > 0 })
		if l.log().StartOffset() != 0 {
			t.Fatal("compaction moved the start")
		}
	})
	t.Run("min.insync.replicas", func(t *testing.T) {
		l := newLive(t)
		l.set("min.insync.replicas", "2") // of one replica there can be one
		l.mustSend("k", nil)
		if m := l.n.b.node.Image().MinISR("t"); m != 2 {
			t.Fatalf("%d", m)
		}
	})
	t.Run("leat.durability", func(t *testing.T) {
		l := newLive(t)
		l.mustSend("k", nil)
		l.set("leat.durability", "relaxed")
		l.mustSend("k", nil)
		if end, synced := l.log().EndOffset(), l.log().SyncedOffset(); end != 2 || synced != 1 {
			t.Fatalf("a relaxed topic: %d of %d are synced", synced, end)
		}
		l.set("leat.durability", "durable")
		l.mustSend("k", nil)
		if synced := l.log().SyncedOffset(); synced != 3 {
			t.Fatalf("%d are synced", synced)
		}
		l.n.power()
		if got := l.n.consumed("t", 0, 3); len(got) != 3 {
			t.Fatalf("%q", got)
		}
	})
	t.Run("flush.messages", func(t *testing.T) {
		l := newLive(t)
		l.set("leat.durability", "relaxed")
		l.mustSend("k", nil)
		l.n.checkpointed()
		l.set("flush.messages", "2")
		l.mustSend("k", nil)
		if synced := l.log().SyncedOffset(); synced != 1 {
			t.Fatalf("%d are synced", synced)
		}
		l.mustSend("k", nil)
		l.n.eventually("both are synced", func() bool { return l.log().SyncedOffset() == 3 })
	})
	t.Run("the broker's own", func(t *testing.T) {
		l := newLive(t)
		l.mustSend("k", value)
		for name, v := range map[string]string{"message.max.bytes": "100000", "log.segment.bytes": "1048576", "compression.type": "lz4"} {
			r, err := l.adm.AlterBrokerConfigs(l.ctx, []kadm.AlterConfig{{Name: name, Value: &v}})
			if err == nil {
				err = r[0].Err
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if _, err := l.send("k", []byte(strings.Repeat("x", 200_000))); !errors.Is(err, kerr.MessageTooLarge) {
			t.Fatalf("a large one: %v", err)
		}
		if got := l.stored(l.mustSend("k", []byte("v")).Offset).Codec(); got != record.CodecLZ4 {
			t.Fatalf("stored as %v", got)
		}
		if c := l.log().Config(); c.SegmentBytes != 1<<20 {
			t.Fatalf("segments of %d", c.SegmentBytes)
		}
	})
}
