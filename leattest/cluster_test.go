package leattest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/leattest"
)

func clusterClient(t *testing.T, c *leattest.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.Addrs()...), kgo.MetadataMinAge(50 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// What three nodes acknowledged is there whichever of them is stopped, and a node that
// comes back has the same address, and catches up.
func TestStartCluster(t *testing.T) {
	c := leattest.StartCluster(t, 3)
	addrs := c.Addrs()
	producer := clusterClient(t, c, kgo.DefaultProduceTopic("orders"))
	created, err := kadm.NewClient(producer).CreateTopic(deadline(t), 6, 3, nil, "orders")
	if err != nil || created.ReplicationFactor != 3 {
		t.Fatal(created, err)
	}
	var want []string
	produce := func() {
		t.Helper()
		for range 30 {
			v := fmt.Sprint(len(want))
			if err := producer.ProduceSync(deadline(t), kgo.KeyStringRecord(v, v)).FirstErr(); err != nil {
				t.Fatal(err)
			}
			want = append(want, v)
		}
	}
	readable := func() {
		t.Helper()
		consumer := clusterClient(t, c, kgo.ConsumeTopics("orders"))
		var got []string
		for len(got) < len(want) {
			fetches := consumer.PollFetches(deadline(t))
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
		}
		slices.Sort(got)
		sorted := slices.Sorted(slices.Values(want))
		if !slices.Equal(got, sorted) {
			t.Fatalf("read %v, want %v", got, sorted)
		}
	}
	produce()
	for id := 1; id <= 3; id++ {
		c.Stop(id)
		produce()
		readable()
		c.WaitHealthy() // the others are
		c.Restart(id)
		c.WaitHealthy()
	}
	readable()
	if !slices.Equal(c.Addrs(), addrs) || c.Node(2).Addr() != addrs[1] {
		t.Errorf("addresses %v, before %v", c.Addrs(), addrs)
	}
}

// Two nodes have one vote, five have three; a setting is every node's.
func TestClustersOfOtherSizes(t *testing.T) {
	for _, nodes := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			c := leattest.StartCluster(t, nodes, leattest.Set("num.partitions", "7"))
			c.WaitHealthy()
			cl := clusterClient(t, c, kgo.AllowAutoTopicCreation())
			if err := cl.ProduceSync(deadline(t), &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			topics, err := kadm.NewClient(cl).ListTopics(deadline(t), "t")
			if err != nil {
				t.Fatal(err)
			}
			if p := topics["t"].Partitions; len(p) != 7 || len(p[0].Replicas) != min(nodes, 3) {
				t.Errorf("%d partitions of %d replicas", len(p), len(p[0].Replicas))
			}
		})
	}
}
