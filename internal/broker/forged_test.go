package broker

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
)

// observer is how far the log of a node goes that has no vote, as another node tells, and
// when that last heard of it.
func (j *joint) observer(id int32) (end int64, heard time.Time) {
	c := j.dialTo(j.address("PLAINTEXT"))
	defer c.nc.Close()
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Version = 2
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", []kmsg.DescribeQuorumRequestTopicPartition{{}}
	req.Topics = append(req.Topics, topic)
	resp := c.ask(req).(*kmsg.DescribeQuorumResponse)
	if len(resp.Topics) == 1 {
		for _, o := range resp.Topics[0].Partitions[0].Observers {
			if o.ReplicaID == id {
				return o.LogEndOffset, time.UnixMilli(o.LastFetchTimestamp)
			}
		}
	}
	return -1, heard
}

// TestAForgedHelloMovesNobody: who claims to be a node that speaks, and to be elsewhere, is
// answered, and changes nothing in what the leader knows of that node.
func TestAForgedHelloMovesNobody(t *testing.T) {
	js := &joints{t: t}
	one := js.add(both).up()
	two := js.add(both, "leat.join="+one.address("CONTROLLER")).up()
	id, at := two.b.node.ID(), two.address("CONTROLLER")
	c := one.dialTo(one.address("CONTROLLER"))
	cluster := c.ask(&nodewire.HelloRequest{From: nodewire.Identity{NodeID: -1}}).(*nodewire.HelloResponse).ClusterID
	knows := func() (end int64, heard time.Time, ok bool) {
		end, heard = one.observer(id)
		address, known := one.b.node.Resolve(id, peer.ToController)
		return end, heard, known && address == at && end > 0 && end < 1<<40
	}
	for {
		var last time.Time
		js.until("node 2 is an observer", func() (ok bool) {
			_, last, ok = knows()
			return ok
		})
		_, _, _, dirs, _ := one.quorum()
		forged := &nodewire.HelloRequest{
			From: nodewire.Identity{NodeID: id, DirectoryID: dirs[id], Address: "127.0.0.1:1"}, ClusterID: cluster, Voter: true, Applied: 1 << 40,
		}
		resp := c.ask(forged).(*nodewire.HelloResponse)
		if resp.ErrorCode != 0 || !resp.HasLog {
			t.Fatalf("%+v", resp)
		}
		end, _, ok := knows()
		if ok {
			return
		}
		if time.Since(last) < 3*time.Second { // a node that is silent for longer may have moved
			address, _ := one.b.node.Resolve(id, peer.ToController)
			t.Fatalf("node %d is at %s; it is believed to be at %s, with a log up to %d", id, at, address, end)
		}
	}
}
