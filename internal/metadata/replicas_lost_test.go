package metadata

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (k *cluster) lose(broker int32, parts ...TopicPartition) *ReplicasLostReply {
	k.t.Helper()
	return k.do(&ReplicasLost{BrokerID: broker, BrokerEpoch: k.img().Broker(broker).Epoch, Partitions: parts}).(*ReplicasLostReply)
}

// TestReplicasLost: a damaged replica hands over, and is in no list that says that it
// is whole until it has caught up again.
func TestReplicasLost(t *testing.T) {
	type step struct {
		do   func(*cluster) int // partitions that the broker leads on
		want string
	}
	lose := func(b int32) func(*cluster) int {
		return func(k *cluster) int {
			tp := TopicPartition{k.img().Topic("t").ID, 0}
			return len(k.lose(b, tp, tp, TopicPartition{tp.TopicID, 9}, TopicPartition{}).Kept)
		}
	}
	isr := func(members ...int32) func(*cluster) int {
		return func(k *cluster) int { k.alterISR("t", 0, members...); return 0 }
	}
	down := func(b int32) func(*cluster) int { return func(k *cluster) int { k.fence(b); return 0 } }
	up := func(b int32) func(*cluster) int { return func(k *cluster) int { k.unfence(b); return 0 } }
	kept := func(do func(*cluster) int) func(*cluster) int { return func(k *cluster) int { return do(k) - 1 } }
	for _, c := range []struct {
		name  string
		sets  [][2]string
		steps []step
	}{
		{"the leader hands over", nil, []step{
			{lose(1), "leader 2 epoch 1 isr [2 3]"},
			{lose(1), "leader 2 epoch 2 isr [2 3]"},
			{isr(2, 3, 1), "leader 2 epoch 2 isr [2 3 1]"},
		}},
		{"a follower", nil, []step{
			{lose(2), "leader 1 epoch 1 isr [1 3]"},
			{down(3), "leader 1 epoch 1 isr [1] elr [3]"},
		}},
		{"one that was neither, and may have asked to join", nil, []step{
			{isr(1, 3), "leader 1 epoch 0 isr [1 3]"},
			{lose(2), "leader 1 epoch 1 isr [1 3]"},
		}},
		{"an eligible one", nil, []step{
			{isr(1, 2), "leader 1 epoch 0 isr [1 2]"},
			{isr(1), "leader 1 epoch 0 isr [1] elr [2]"},
			{lose(2), "leader 1 epoch 1 isr [1]"},
		}},
		{"a leader alone, beside one that is eligible", nil, []step{
			{isr(1, 2), "leader 1 epoch 0 isr [1 2]"},
			{isr(1), "leader 1 epoch 0 isr [1] elr [2]"},
			{lose(1), "leader 2 epoch 1 isr [2]"},
		}},
		{"a leader alone, beside one that is eligible and away", nil, []step{
			{isr(1, 2), "leader 1 epoch 0 isr [1 2]"},
			{down(2), "leader 1 epoch 0 isr [1] elr [2]"},
			{lose(1), "leader -1 epoch 1 isr [] elr [2] last [1]"},
			{up(2), "leader 2 epoch 2 isr [2]"},
		}},
		{"the last one leads on", [][2]string{{"min.insync.replicas", "1"}, {"unclean.leader.election.enable", "true"}}, []step{
			{isr(1), "leader 1 epoch 0 isr [1]"},
			{kept(lose(1)), "leader 1 epoch 1 isr [1] recovering"},
			{kept(lose(1)), "leader 1 epoch 1 isr [1] recovering"},
			{isr(1), "leader 1 epoch 1 isr [1]"},
			{isr(1, 2), "leader 1 epoch 1 isr [1 2]"},
			{lose(1), "leader 2 epoch 2 isr [2]"},
		}},
		{"fenced", [][2]string{{"min.insync.replicas", "1"}}, []step{
			{isr(1), "leader 1 epoch 0 isr [1]"},
			{down(1), "leader -1 epoch 1 isr [] elr [1] last [1]"},
			{lose(1), "leader -1 epoch 1 isr [] last [1]"},
			{lose(1), "leader -1 epoch 1 isr [] last [1]"},
			{up(1), "leader 1 epoch 2 isr [1] recovering"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newCluster(t, 3)
			topic := assigned("t", []int32{1, 2, 3})
			topic.Configs = topicAsk("", 0, 0, c.sets...).Configs
			k.mustCreate(topic)
			for i, s := range c.steps {
				if n := s.do(k); n != 0 || k.state("t", 0) != s.want {
					t.Fatalf("step %d: %s; want %s (%+d kept)", i, k.state("t", 0), s.want, n)
				}
				k.checkInvariants()
			}
		})
	}
	k := newCluster(t, 1)
	if r := k.do(&ReplicasLost{BrokerID: 1, BrokerEpoch: 99}).(*ReplicasLostReply); r.ErrorCode != kerr.StaleBrokerEpoch.Code {
		t.Errorf("an earlier incarnation: %+v", r)
	}
}

// TestAnotherDisk: a broker that comes with an empty disk under its old id is trusted
// with nothing that was on the old one, and what only was there is waited for until
// somebody says that it will not come back.
func TestAnotherDisk(t *testing.T) {
	k := newCluster(t, 3)
	k.mustCreate(assigned("t", []int32{1, 2, 3}), assigned("u", []int32{3}), assigned("v", []int32{3, 1}))
	k.alterISR("v", 0, 3)
	k.expect("v", 0, "leader 3 epoch 0 isr [3]")
	disk := func(incarnation byte, dir [16]byte) {
		t.Helper()
		delete(k.c.sessions, 3)
		req := registrationRequest(k.img(), 3, incarnation)
		req.LogDirs[0] = dir
		if resp := k.ask(req).(*kmsg.BrokerRegistrationResponse); resp.ErrorCode != 0 {
			t.Fatal(resp.ErrorCode)
		}
		k.checkInvariants()
		k.unfence(3)
		k.checkInvariants()
	}
	old, empty := id(203), id(99)
	disk(50, empty)
	k.expect("t", 0, "leader 1 epoch 0 isr [1 2]")
	k.expect("u", 0, "leader -1 epoch 1 isr [] elr [3] last [3]")
	k.expect("v", 0, "leader -1 epoch 1 isr [] elr [3] last [3]")
	dir := func(topic string) [16]byte { return k.img().Partition(topic, 0).Directory(3) }
	if dir("t") != empty || dir("u") != old || dir("v") != old {
		t.Errorf("directories %x %x %x", dir("t"), dir("u"), dir("v"))
	}
	if got := k.assign(3, empty, k.img().Topic("u").ID, 0); got[0] != kerr.InvalidRequest.Code {
		t.Errorf("the only replica was moved to an empty disk: %v", got)
	}
	// The old disk is found again.
	disk(51, old)
	k.expect("u", 0, "leader 3 epoch 2 isr [3]")
	k.expect("v", 0, "leader 3 epoch 2 isr [3]")
	if dir("t") != empty {
		t.Errorf("directory %x", dir("t"))
	}
	k.alterISR("t", 0, 1, 2, 3)
	if k.expect("t", 0, "leader 1 epoch 0 isr [1 2 3]"); dir("t") != old {
		t.Errorf("what joins is where its broker is: %x", dir("t"))
	}
	// It is not, and somebody says so: whoever has any records leads, else the empty disk.
	disk(52, empty)
	for _, topic := range []string{"u", "v"} {
		if got := k.elect(electUnclean, topic, 0); got != fmt.Sprintf("0: %s 0=0", topic) {
			t.Error(got)
		}
	}
	k.expect("u", 0, "leader 3 epoch 4 isr [3] recovering")
	k.expect("v", 0, "leader 1 epoch 4 isr [1] recovering")
	if dir("u") != empty || dir("v") != empty {
		t.Errorf("directories %x %x", dir("u"), dir("v"))
	}
	k.checkInvariants()
}

// TestAnotherDiskUnderNoName: a replica that was made while no directory of its broker
// was online is on none that comes later.
func TestAnotherDiskUnderNoName(t *testing.T) {
	k := newCluster(t, 2)
	k.beat(2, func(r *kmsg.BrokerHeartbeatRequest) { r.OfflineLogDirs = [][16]byte{id(202)} })
	k.mustCreate(assigned("t", []int32{2, 1}))
	k.expect("t", 0, "leader 2 epoch 0 isr [2 1]")
	k.alterISR("t", 0, 2)
	delete(k.c.sessions, 2)
	req := registrationRequest(k.img(), 2, 50)
	req.LogDirs[0] = id(99)
	k.ask(req)
	k.expect("t", 0, "leader -1 epoch 1 isr [] last [2]")
	k.checkInvariants()
}
