package metadata

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// handOver has the leader of a partition ask for another one.
func (k *cluster) handOver(topic string, partition int32, isr ...int32) int16 {
	k.t.Helper()
	req := alterRequest(k.img(), k.img().Partition(topic, partition).Leader, topic, partition, isr...)
	SetHandOver(&req.Topics[0].Partitions[0])
	return k.alterPartition(req).ErrorCode
}

// TestHandOver: a leader without room is followed by the next one in sync that can lead, and
// stays in sync itself; all have their turn.
func TestHandOver(t *testing.T) {
	type step struct {
		do   func(*cluster) int16
		want string
	}
	over := func(isr ...int32) func(*cluster) int16 {
		return func(k *cluster) int16 { return k.handOver("t", 0, isr...) }
	}
	isr := func(members ...int32) func(*cluster) int16 {
		return func(k *cluster) int16 { return k.alterISR("t", 0, members...) }
	}
	other := kerr.NewLeaderElected.Code
	for _, c := range []struct {
		name  string
		code  int16 // of the last step
		steps []step
	}{
		{"all have their turn", other, []step{
			{over(1, 2, 3), "leader 2 epoch 1 isr [1 2 3]"},
			{over(1, 2, 3), "leader 3 epoch 2 isr [1 2 3]"},
			{over(1, 2, 3), "leader 1 epoch 3 isr [1 2 3]"},
		}},
		{"to one in sync", other, []step{
			{isr(1, 3), "leader 1 epoch 0 isr [1 3]"},
			{over(1, 3), "leader 3 epoch 1 isr [1 3]"},
		}},
		{"not to one that joins with it, or leaves", 0, []step{
			{isr(1), "leader 1 epoch 0 isr [1]"},
			{over(1, 2), "leader 1 epoch 0 isr [1 2]"},
			{over(1), "leader 1 epoch 0 isr [1]"},
		}},
		{"nobody else", 0, []step{
			{isr(1), "leader 1 epoch 0 isr [1]"},
			{over(1), "leader 1 epoch 0 isr [1]"},
		}},
		{"not to one that is to go", other, []step{
			{func(k *cluster) int16 { return k.reassign("t", 0, 1, 3, 4) }, "leader 1 epoch 0 isr [1 2 3]"},
			{over(1, 2, 3), "leader 3 epoch 1 isr [1 2 3]"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newCluster(t, 4)
			topic := assigned("t", []int32{1, 2, 3})
			topic.Configs = topicAsk("", 0, 0, [2]string{"min.insync.replicas", "1"}).Configs
			k.mustCreate(topic)
			code := int16(0)
			for i, s := range c.steps {
				code = s.do(k)
				if got := k.state("t", 0); got != s.want {
					t.Fatalf("step %d: %s; want %s (%d)", i, got, s.want, code)
				}
				k.checkInvariants()
			}
			if code != c.code {
				t.Errorf("the last is answered with %d, want %d", code, c.code)
			}
		})
	}
	// As any other wish it is of one state of the partition and one life of its leader.
	k := newCluster(t, 3)
	k.mustCreate(assigned("t", []int32{1, 2, 3}))
	stale := alterRequest(k.img(), 1, "t", 0, 1, 2, 3)
	SetHandOver(&stale.Topics[0].Partitions[0])
	k.alterISR("t", 0, 1, 2)
	if got := k.alterPartition(stale).ErrorCode; got != kerr.InvalidUpdateVersion.Code {
		t.Errorf("of an earlier state: %d", got)
	}
	if stale.BrokerEpoch--; k.alterPartition(stale).ErrorCode != kerr.StaleBrokerEpoch.Code {
		t.Error("an earlier incarnation is heard")
	}
	k.expect("t", 0, "leader 1 epoch 0 isr [1 2]")
}
