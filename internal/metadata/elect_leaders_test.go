package metadata

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// electRequest asks for an election; no topics are all.
func electRequest(kind int8, topics ...kmsg.ElectLeadersRequestTopic) *kmsg.ElectLeadersRequest {
	req := kmsg.NewPtrElectLeadersRequest()
	req.Version, req.ElectionType, req.Topics = 2, kind, topics
	return req
}

func (k *cluster) elect(kind int8, topic string, partitions ...int32) string {
	k.t.Helper()
	req := electRequest(kind)
	if topic != "" {
		req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: topic, Partitions: partitions}}
	}
	resp := k.ask(req).(*kmsg.ElectLeadersResponse)
	s := fmt.Sprint(resp.ErrorCode, ":")
	for _, t := range resp.Topics {
		s += " " + t.Topic
		for _, p := range t.Partitions {
			s += fmt.Sprintf(" %d=%d", p.Partition, p.ErrorCode)
			if (p.ErrorMessage == nil) != (p.ErrorCode == 0) {
				k.t.Errorf("message %s of code %d", deref(p.ErrorMessage), p.ErrorCode)
			}
		}
	}
	return s
}

func TestElectLeaders(t *testing.T) {
	k := newCluster(t, 3)
	k.mustCreate(assigned("a", []int32{1, 2, 3}, []int32{2, 3, 1}), assigned("b", []int32{1}), assigned("c", []int32{1, 3}))
	is := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s; want %s", got, want)
		}
		k.checkInvariants()
	}
	k.fence(1)
	k.fence(2)
	k.expect("a", 0, "leader 3 epoch 2 isr [3] elr [2]")
	k.expect("a", 1, "leader 3 epoch 1 isr [3] elr [2]")
	is(k.elect(electPreferred, ""), "0: a 0=80 1=80 b c 0=80")
	k.unfence(1)
	k.unfence(2)
	is(k.elect(electPreferred, "a", 0, 1, 2), "0: a 0=80 1=80 2=3") // alive, not in sync
	k.alterISR("a", 0, 3, 1)
	k.alterISR("a", 1, 3, 1, 2)
	k.alterISR("c", 0, 3, 1)
	is(k.elect(electPreferred, "a", 1, 1), "0: a 1=0 1=42")
	k.expect("a", 1, "leader 2 epoch 2 isr [3 1 2]")
	is(k.elect(electPreferred, "x", 0), "0: x 0=3")
	is(k.elect(electPreferred, ""), "0: a 0=0 b c 0=0")
	k.expect("a", 0, "leader 1 epoch 3 isr [3 1]")
	is(k.elect(electPreferred, "a", 0), "0: a 0=84")
	is(k.elect(electPreferred, ""), "0: a b c")
	is(k.elect(electUnclean, "a", 0), "0: a 0=84")
	is(k.elect(7, "a", 0), "42: a 0=42")
	is(k.elect(7, ""), "42:")

	// Version 0 has no type, and means the preferred leader.
	k.fence(1)
	k.unfence(1)
	k.alterISR("a", 0, 3, 1)
	req := electRequest(electUnclean, kmsg.ElectLeadersRequestTopic{Topic: "a", Partitions: []int32{0}})
	req.Version = 0
	if resp := k.ask(req).(*kmsg.ElectLeadersResponse); resp.Topics[0].Partitions[0].ErrorCode != 0 || k.img().Partition("a", 0).Leader != 1 {
		t.Errorf("version 0: %+v", resp)
	}
}

// TestElectUncleanLeaders: a leader that lacks records is elected where it was asked
// for, whatever the topic allows, and only while no better one is there.
func TestElectUncleanLeaders(t *testing.T) {
	k := newCluster(t, 3)
	k.mustCreate(assigned("a", []int32{1, 2, 3}))
	k.alterISR("a", 0, 1, 2)
	k.alterISR("a", 0, 1)
	for _, b := range []int32{1, 2, 3} {
		k.fence(b)
	}
	k.expect("a", 0, "leader -1 epoch 2 isr [] elr [1 2] last [2]")
	if got := k.elect(electUnclean, "a", 0); got != fmt.Sprintf("0: a 0=%d", kerr.EligibleLeadersNotAvailable.Code) {
		t.Error(got)
	}
	k.unfence(3)
	k.expect("a", 0, "leader -1 epoch 2 isr [] elr [1 2] last [2]")
	if got := k.elect(electUnclean, "", 0); got != "0: a 0=0" {
		t.Error(got)
	}
	k.expect("a", 0, "leader 3 epoch 3 isr [3] recovering")
	k.checkInvariants()
}
