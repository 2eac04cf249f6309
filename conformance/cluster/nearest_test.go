//go:build conformance

package cluster

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const nearTopic = "near"

// reader reads the topic's one partition from its start, and knows from whom.
type reader struct {
	cl *kgo.Client

	mu   sync.Mutex
	from map[int32]int // records, by the node that sent them
	read []string      // values, by their offsets
	odd  []string      // what a reader should not see
}

// OnFetchBatchRead is a hook of kgo.
func (r *reader) OnFetchBatchRead(meta kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.from[meta.NodeID] += m.NumRecords
}

// newReader starts a reader in a rack, or in none; it ends with the test.
func newReader(t *testing.T, seeds []string, rack string) *reader {
	t.Helper()
	r := &reader{from: map[int32]int{}}
	// Only after this time does franz-go ask the leader again, though the replica that it was
	// sent to is gone; by default after half an hour.
	opts := []kgo.Opt{kgo.SeedBrokers(seeds...), kgo.WithHooks(r), kgo.MetadataMinAge(50 * time.Millisecond), kgo.RecheckPreferredReplicaInterval(time.Second),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{nearTopic: {0: kgo.NewOffset().AtStart()}})}
	if rack != "" {
		opts = append(opts, kgo.Rack(rack))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	r.cl = cl
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			r.keep(ctx, cl.PollFetches(ctx))
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		cl.Close()
	})
	return r
}

func (r *reader) keep(ctx context.Context, fetches kgo.Fetches) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fetches.EachError(func(topic string, p int32, err error) {
		if ctx.Err() == nil {
			r.odd = append(r.odd, fmt.Sprintf("%s-%d: %v", topic, p, err))
		}
	})
	fetches.EachRecord(func(kr *kgo.Record) {
		if kr.Offset != int64(len(r.read)) {
			r.odd = append(r.odd, fmt.Sprintf("offset %d after %d records", kr.Offset, len(r.read)))
		}
		r.read = append(r.read, string(kr.Value))
	})
}

// sources are the nodes that sent records, with how many.
func (r *reader) sources() map[int32]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.from)
}

// awaitAll waits until n records are read, which are numbered from 0 on.
func (r *reader) awaitAll(t *testing.T, n int) {
	t.Helper()
	await(t, fmt.Sprint(n, " records"), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.read) >= n || len(r.odd) > 0
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.odd) > 0 {
		t.Fatalf("a reader sees %q", r.odd)
	}
	for i, v := range r.read {
		if v != strconv.Itoa(i) {
			t.Fatalf("record %d is %q", i, v)
		}
	}
}

// TestNearest: a reader is sent to the replica in its rack and reads from no other
// (KIP-392), goes on elsewhere when that dies, comes back to it, and survives the leader.
func TestNearest(t *testing.T) {
	rack := func(id int) string { return fmt.Sprint("rack-", id) }
	c := grown(t, 3, func(id int) map[string]string {
		return map[string]string{"broker.rack": rack(id), "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"}
	})
	c.createTopic(nearTopic, 1, nil)
	c.awaitStatus("with a topic", 1, 2, 3)
	producer, err := kgo.NewClient(kgo.SeedBrokers(c.seeds()...), kgo.DefaultProduceTopic(nearTopic), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	sent := 0
	produce := func(n int) {
		t.Helper()
		for range n {
			if err := producer.ProduceSync(t.Context(), kgo.StringRecord(strconv.Itoa(sent))).FirstErr(); err != nil {
				t.Fatal(err)
			}
			sent++
		}
	}
	produce(50)
	leader := c.leader(nearTopic, 0)
	near := c.nodes[leader.id%nodes]

	readers := map[*reader]*node{
		newReader(t, c.seeds(), rack(near.id)):   near,
		newReader(t, c.seeds(), rack(leader.id)): leader,
		newReader(t, c.seeds(), "rack-nowhere"):  leader,
		newReader(t, c.seeds(), ""):              leader,
	}
	for r := range readers {
		r.awaitAll(t, sent)
	}
	produce(50) // while they read
	var nearby *reader
	for r, n := range readers {
		r.awaitAll(t, sent)
		if got := r.sources(); len(got) != 1 || got[int32(n.id)] != sent {
			t.Errorf("of %d records a reader has, by nodes, %v; node %d was to send all", sent, got, n.id)
		}
		if n == near {
			nearby = r
		}
	}

	if err := near.Kill(); err != nil {
		t.Fatal(err)
	}
	produce(50)
	nearby.awaitAll(t, sent)
	if got := nearby.sources(); got[int32(leader.id)] == 0 {
		t.Errorf("after node %d died, records came from %v, and not from node %d, which leads", near.id, got, leader.id)
	}
	c.restart(near)
	c.awaitStatus("after the restart", 1, 2, 3)
	before := nearby.sources()[int32(near.id)]
	await(t, "records from the replica that is back", func() bool {
		produce(1)
		return nearby.sources()[int32(near.id)] > before
	})

	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	produce(50)
	for r := range readers {
		r.awaitAll(t, sent)
	}
}
