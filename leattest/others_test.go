package leattest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"

	"github.com/leat-stream/leat/leattest"
)

func TestSarama(t *testing.T) {
	node := leattest.Start(t)
	cfg := sarama.NewConfig()
	cfg.Version = sarama.MaxVersion
	cfg.Producer.Return.Successes = true
	cfg.Producer.Idempotent = true
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	cfg.Net.MaxOpenRequests = 1
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	p, err := sarama.NewSyncProducer([]string{node.Addr()}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i := range 50 {
		_, offset, err := p.SendMessage(&sarama.ProducerMessage{Topic: "sarama", Value: sarama.StringEncoder(fmt.Sprint(i))})
		if err != nil || offset != int64(i) {
			t.Fatalf("record %d: offset %d, %v", i, offset, err)
		}
	}
	g, err := sarama.NewConsumerGroup([]string{node.Addr()}, "sarama-group", cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	h := &saramaHandler{want: 50, done: cancel}
	for ctx.Err() == nil {
		if err := g.Consume(ctx, []string{"sarama"}, h); err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
	}
	if len(h.got) < 50 {
		t.Fatalf("consumed %d of 50 records", len(h.got))
	}
	for i, v := range h.got[:50] {
		if v != fmt.Sprint(i) {
			t.Fatalf("record %d is %q", i, v)
		}
	}
}

type saramaHandler struct {
	want int
	got  []string
	done func()
}

func (*saramaHandler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*saramaHandler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h *saramaHandler) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, ok := <-c.Messages():
			if !ok {
				return nil
			}
			h.got = append(h.got, string(m.Value))
			s.MarkMessage(m, "")
			if len(h.got) == h.want {
				h.done()
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

func TestKafkaGo(t *testing.T) {
	node := leattest.Start(t)
	ctx := deadline(t)
	w := &kafka.Writer{
		Addr: kafka.TCP(node.Addr()), Topic: "kafka-go", RequiredAcks: kafka.RequireAll,
		AllowAutoTopicCreation: true, BatchTimeout: time.Millisecond,
	}
	defer w.Close()
	for i := range 20 {
		err := w.WriteMessages(ctx, kafka.Message{Key: []byte("k"), Value: fmt.Append(nil, i)})
		if errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, kafka.LeaderNotAvailable) {
			t.Fatalf("record %d: the topic was created by first use, yet: %v", i, err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{node.Addr()}, GroupID: "kafka-go-group", Topic: "kafka-go",
		StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond,
	})
	defer r.Close()
	for i := range 20 {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Value) != fmt.Sprint(i) {
			t.Fatalf("record %d is %q", i, m.Value)
		}
	}
}
