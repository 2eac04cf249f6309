package metadata

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/schema"
)

// bigCluster has partitions spread over topics of a hundred, on n brokers, each
// partition on three of them, or on one where there are fewer.
func bigCluster(tb testing.TB, brokers, partitions int) *cluster {
	k := newCluster(tb, brokers)
	factor := int16(3)
	if brokers < 3 {
		factor = 1
	}
	for i := 0; i < partitions; i += 100 {
		k.mustCreate(topicAsk(fmt.Sprintf("topic-%05d", i/100), 100, factor))
		k.logged = nil
	}
	return k
}

// TestMemory holds a partition to what its comment says.
func TestMemory(t *testing.T) {
	const partitions = 100_000
	b := NewBuilder(nil)
	apply(t, b, &schema.RegisterBroker{BrokerID: 1, Directories: [][16]byte{id(1)}})
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for i := range partitions {
		topic := [16]byte{byte(i / 100), byte(i / 100 >> 8), 1}
		if i%100 == 0 {
			apply(t, b, &schema.Topic{TopicID: topic, Name: fmt.Sprintf("topic-%05d", i/100)})
		}
		replicas := []int32{int32(i % 30), int32((i + 1) % 30), int32((i + 2) % 30)}
		apply(t, b, &schema.Partition{TopicID: topic, Index: int32(i % 100), Leader: replicas[0], Replicas: replicas, ISR: replicas,
			Directories: [][16]byte{id(byte(i % 30)), id(byte((i + 1) % 30)), id(byte((i + 2) % 30))}})
	}
	img, _ := b.Image()
	each := (heap() - before) / partitions
	runtime.KeepAlive(img)
	t.Logf("a partition takes %d bytes", each)
	if each > 140 {
		t.Errorf("a partition takes %d bytes", each)
	}
}

// BenchmarkRestart is the registration of a broker's new incarnation, which gives
// every partition it led a new leader epoch, with its application.
func BenchmarkRestart(b *testing.B) {
	for _, c := range []struct{ brokers, partitions int }{{1, 10_000}, {1, 100_000}} {
		b.Run(fmt.Sprintf("brokers=%d/partitions=%d", c.brokers, c.partitions), func(b *testing.B) {
			k := bigCluster(b, c.brokers, c.partitions)
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				delete(k.c.sessions, 1)
				req := registrationRequest(k.img(), 1, 0)
				req.IncarnationID = [16]byte{byte(n), byte(n >> 8), byte(n >> 16), 1}
				d := k.c.Decide(machine.Input{Now: k.now, Rand: k.rand, Token: 1, Request: &RegisterBroker{Req: req}})
				for _, rec := range d.Records {
					k.offset++
					if err := k.c.Apply(k.offset, 0, rec); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkFailover is what the controller does for a broker that fell silent: it is
// fenced, and every partition that it was in sync with changes. The image that is
// published after it is part of it.
func BenchmarkFailover(b *testing.B) {
	k := bigCluster(b, 30, 100_000)
	base, _ := k.c.b.Image()
	bytes, records := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		c := NewController(base, k.opts)
		d := c.Decide(machine.Input{Now: k.now, Rand: k.rand, Token: 1, Request: &Request{Req: fenceRequest(base, 7)}})
		bytes, records = 0, len(d.Records)
		for _, rec := range d.Records {
			bytes += len(rec.Value)
			if err := c.Apply(base.Index()+1, 0, rec); err != nil {
				b.Fatal(err)
			}
		}
		c.b.Image()
	}
	b.ReportMetric(float64(records), "records")
	b.ReportMetric(float64(bytes), "record-bytes")
}

func fenceRequest(img *Image, broker int32) *kmsg.BrokerHeartbeatRequest {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch, req.WantFence = broker, img.Broker(broker).Epoch, true
	return req
}

// BenchmarkControllerFailover is how a new controller builds its state: the records
// of a snapshot, and its first timers.
func BenchmarkControllerFailover(b *testing.B) {
	k := bigCluster(b, 30, 100_000)
	img, _ := k.c.b.Image()
	whole := frames(b, img)
	b.ReportAllocs()
	for b.Loop() {
		c := NewController(nil, k.opts)
		for _, f := range whole {
			if err := c.Apply(0, 0, machine.Record{Value: f}); err != nil {
				b.Fatal(err)
			}
		}
		if d := c.Resume(k.now); len(d.Timers) < 30 {
			b.Fatal("no sessions")
		}
	}
}

// BenchmarkChores is a round of what timers do when there is nothing to do.
func BenchmarkChores(b *testing.B) {
	k := bigCluster(b, 30, 100_000)
	for b.Loop() {
		for _, key := range []string{choreWatch, choreLeaders, choreUnclean, choreInternal} {
			if d := k.c.Decide(machine.Input{Now: k.now, Request: machine.TimerFired{Key: key}}); len(d.Records) > 0 {
				b.Fatal("records")
			}
		}
	}
}

// BenchmarkCreateTopic creates one topic of one partition among many, with the
// image and delta that are published after it.
func BenchmarkCreateTopic(b *testing.B) {
	for _, topics := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("topics=%d", topics), func(b *testing.B) {
			k := newCluster(b, 1)
			for i := range topics {
				k.mustCreate(topicAsk(fmt.Sprintf("topic-%05d", i), 1, 1))
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				d := k.c.Decide(machine.Input{Now: k.now, Rand: k.rand, Token: 1, Request: &Request{Req: createRequest(topicAsk(fmt.Sprintf("new-%d", n), 1, 1))}})
				for _, rec := range d.Records {
					k.offset++
					if err := k.c.Apply(k.offset, 0, rec); err != nil {
						b.Fatal(err)
					}
				}
				k.c.b.Image()
			}
		})
	}
}

// BenchmarkSnapshot writes and loads an image of 100,000 partitions.
func BenchmarkSnapshot(b *testing.B) {
	img, _ := bigCluster(b, 30, 100_000).c.b.Image()
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			for _, err := range img.Snapshot() {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	whole := frames(b, img)
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			if _, err := LoadSnapshot(each(whole)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkLookup is what a request does for each partition.
func BenchmarkLookup(b *testing.B) {
	img, _ := bigCluster(b, 3, 100_000).c.b.Image()
	topic := img.Topic("topic-00500").ID
	b.Run("id", func(b *testing.B) {
		for b.Loop() {
			if img.TopicByID(topic).Partition(7) == nil {
				b.Fatal("not found")
			}
		}
	})
	b.Run("name", func(b *testing.B) {
		for b.Loop() {
			if img.Partition("topic-00500", 7) == nil {
				b.Fatal("not found")
			}
		}
	})
}
