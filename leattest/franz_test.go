package leattest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/leattest"
)

// deadline bounds a test that waits for something that never comes.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func client(t *testing.T, node *leattest.Node, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(node.Addr())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// consume polls n records.
func consume(ctx context.Context, t *testing.T, c *kgo.Client, n int) []*kgo.Record {
	t.Helper()
	var got []*kgo.Record
	for len(got) < n {
		f := c.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(got), n, err)
		}
		got = append(got, f.Records()...)
	}
	return got
}

func TestFranzRoundTripInEveryCodec(t *testing.T) {
	node := leattest.Start(t)
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for name, codec := range codecs {
		t.Run(name, func(t *testing.T) {
			ctx := deadline(t)
			topic := "codec-" + name
			p := client(t, node, kgo.ProducerBatchCompression(codec), kgo.AllowAutoTopicCreation())
			const n = 500
			for i := range n {
				r := &kgo.Record{
					Topic: topic, Key: fmt.Appendf(nil, "key-%d", i%7), Value: fmt.Appendf(nil, "value-%04d-%s", i, name),
					Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, i)}},
				}
				if i%50 == 0 {
					r.Value = nil
				}
				p.Produce(ctx, r, func(_ *kgo.Record, err error) {
					if err != nil {
						t.Errorf("record %d: %v", i, err)
					}
				})
			}
			if err := p.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			c := client(t, node, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			for i, r := range consume(ctx, t, c, n) {
				want := fmt.Sprintf("value-%04d-%s", i, name)
				if i%50 == 0 {
					want = ""
				}
				if r.Offset != int64(i) || string(r.Value) != want || string(r.Headers[0].Value) != fmt.Sprint(i) {
					t.Fatalf("record %d came as offset %d %q %v", i, r.Offset, r.Value, r.Headers)
				}
			}
		})
	}
}

func TestAcknowledgedRecordsSurviveRestart(t *testing.T) {
	node := leattest.Start(t)
	ctx := deadline(t)
	p := client(t, node, kgo.AllowAutoTopicCreation())
	for i := range 100 {
		r := &kgo.Record{Topic: "kept", Value: fmt.Append(nil, i)}
		if err := p.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	node.Restart()
	c := client(t, node, kgo.ConsumeTopics("kept"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for i, r := range consume(ctx, t, c, 100) {
		if string(r.Value) != fmt.Sprint(i) {
			t.Fatalf("record %d is %q", i, r.Value)
		}
	}
}

func TestGroupSharesWorkAndResumes(t *testing.T) {
	node := leattest.Start(t)
	ctx := deadline(t)
	adm := kadm.NewClient(client(t, node))
	if _, err := adm.CreateTopic(ctx, 4, 1, nil, "work"); err != nil {
		t.Fatal(err)
	}
	p := client(t, node, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	send := func(from, to int) {
		for i := from; i < to; i++ {
			if err := p.ProduceSync(ctx, &kgo.Record{Topic: "work", Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(0, 40)
	seen := map[string]int{}
	first := client(t, node, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("work"), kgo.DisableAutoCommit())
	for _, r := range consume(ctx, t, first, 40) {
		seen[string(r.Value)]++
	}
	if err := first.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	first.Close()
	send(40, 60)
	second := client(t, node, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("work"))
	for _, r := range consume(ctx, t, second, 20) {
		seen[string(r.Value)]++
	}
	for i := range 60 {
		if seen[fmt.Sprint(i)] != 1 {
			t.Errorf("record %d was seen %d times", i, seen[fmt.Sprint(i)])
		}
	}
	lags, err := adm.Lag(ctx, "g")
	if err != nil {
		t.Fatal(err)
	}
	if err := lags.Error(); err != nil {
		t.Fatal(err)
	}
}

func TestReplayByTime(t *testing.T) {
	node := leattest.Start(t)
	ctx := deadline(t)
	base := time.Now().Add(-time.Hour).Truncate(time.Second)
	p := client(t, node, kgo.AllowAutoTopicCreation())
	for i := range 60 {
		r := &kgo.Record{Topic: "times", Value: fmt.Append(nil, i), Timestamp: base.Add(time.Duration(i) * time.Minute)}
		if err := p.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	at := base.Add(30 * time.Minute).UnixMilli()
	c := client(t, node, kgo.ConsumeTopics("times"), kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(at)))
	if r := consume(ctx, t, c, 30)[0]; string(r.Value) != "30" {
		t.Fatalf("replay begins at %q", r.Value)
	}
}
