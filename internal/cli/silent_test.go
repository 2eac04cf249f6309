package cli

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// silence makes a node of a cluster one that takes connections and says nothing, as a process
// does that is frozen: the others tell an address at which that is so.
func (w *world) silence(node int32) {
	w.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { ln.Close() }) // nobody accepts: the kernel does
	host, port, _ := net.SplitHostPort(ln.Addr().String())
	number, _ := strconv.Atoi(port)
	for id := range int32(len(w.cluster.ListenAddrs())) {
		if err := w.cluster.MoveTopicPartition("orders", id, id); err != nil {
			w.t.Fatal(err)
		}
	}
	w.cluster.ControlKey(kmsg.Metadata.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		resp := r.ResponseKind().(*kmsg.MetadataResponse)
		id := w.cluster.ListenAddrs()
		for i, address := range id {
			b := kmsg.NewMetadataResponseBroker()
			h, p, _ := net.SplitHostPort(address)
			n, _ := strconv.Atoi(p)
			b.NodeID, b.Host, b.Port = int32(i), h, int32(n)
			if b.NodeID == node {
				b.Host, b.Port = host, int32(number)
			}
			resp.Brokers = append(resp.Brokers, b)
		}
		info := w.cluster.TopicInfo("orders")
		t := kmsg.NewMetadataResponseTopic()
		t.Topic, t.TopicID = kmsg.StringPtr("orders"), info.TopicID
		for p := range id { // one for each node
			at := kmsg.NewMetadataResponseTopicPartition()
			at.Partition, at.Leader = int32(p), int32(p)
			at.Replicas, at.ISR = []int32{at.Leader}, []int32{at.Leader}
			t.Partitions = append(t.Partitions, at)
		}
		resp.Topics = append(resp.Topics, t)
		return resp, nil, true
	})
}

// TestDescribeBesideASilentNode: what its leader does not tell is named, the rest is shown, all
// of it within --timeout: the context of the run is as long as that, and the client alone would
// wait for longer.
func TestDescribeBesideASilentNode(t *testing.T) {
	w := newWorld(t, kfake.NumBrokers(3), kfake.SeedTopics(3, "orders"))
	w.silence(2)
	w.servers = w.cluster.ListenAddrs()[0]
	out := w.ok("", "topic", "describe", "orders", "--timeout", "4s")
	rows := lines(out)
	if len(rows) < 5 || !strings.HasPrefix(rows[2], "0 0 -1 0 0 0 0 0") || !strings.HasSuffix(rows[4], "no answer") {
		t.Errorf("%s", out)
	}
}

// TestProduceBesideASilentNode: --timeout counts for records whose leader is silent.
func TestProduceBesideASilentNode(t *testing.T) {
	w := newWorld(t, kfake.NumBrokers(3), kfake.SeedTopics(3, "orders"))
	w.silence(2)
	w.servers = w.cluster.ListenAddrs()[0]
	r := w.run("a\n", "produce", "orders", "--partition", "2", "--timeout", "2s")
	if r.code != 1 || !strings.Contains(r.err, "1 record not known to be written: no answer within 2s") {
		t.Errorf("%+v", r)
	}
	if got := w.ok("a\n", "produce", "orders", "--partition", "1", "--timeout", "4s", "--quiet"); got != "" {
		t.Error(got)
	}
}
