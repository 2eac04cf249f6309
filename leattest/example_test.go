package leattest_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/leattest"
)

// A test sees its records survive a node's restart.
func ExampleStartCluster() {
	_ = func(t *testing.T) { // func TestOrders(t *testing.T)
		cluster := leattest.StartCluster(t, 3)
		client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()...), kgo.AllowAutoTopicCreation())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte("one")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		cluster.Stop(1) // the others lead what node 1 led
		cluster.Restart(1)
		cluster.WaitHealthy() // node 1 has caught up
	}
}
