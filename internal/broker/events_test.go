package broker

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// tells waits until the log has a line with all the words.
func (n *testNode) tells(words ...string) {
	n.t.Helper()
	n.eventually("the log tells "+words[0], func() bool { return n.log.has(words...) })
}

func TestEventsOfTopics(t *testing.T) {
	n := start(t)
	n.tells("level=INFO", "listener PLAINTEXT takes connections at "+n.b.Addr(), "event=ListenerOpen")
	c := n.dial()
	c.createTopic("t", "retention.ms=1000")
	n.tells("level=INFO", "topic t created: id ", "partitions 1, replication factor 1", "event=TopicCreated")
	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.Version = 3
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = "t", 3
	grow.Topics = append(grow.Topics, topic)
	if err := kerr.ErrorForCode(c.ask(grow).(*kmsg.CreatePartitionsResponse).Topics[0].ErrorCode); err != nil {
		t.Fatal(err)
	}
	n.tells("topic t has 3 partitions, 1 before", "event=PartitionsAdded")
	if n.log.has("config of topic t altered") {
		t.Fatalf("configs given at the creation are told as a change:\n%s", n.log)
	}
	c.alter(kmsg.ConfigResourceTypeTopic, "t", "retention.ms=2000")
	n.tells("config of topic t altered: retention.ms=2000", "event=ConfigAltered")
	c.alter(kmsg.ConfigResourceTypeTopic, "t", "retention.ms")
	n.tells("config of topic t altered: retention.ms unset")
	c.alter(kmsg.ConfigResourceTypeBroker, "", "log.retention.ms=5000")
	n.tells("config of broker default altered: log.retention.ms=5000")
	c.deleteTopic("t")
	n.tells("topic t deleted: id ", "partitions 3", "event=TopicDeleted")
	c.createTopic("u")
	n.tells("topic u created")
	n.stop()
	n.tells("level=INFO", "stopped in ", "event=Stopped")
	n.restartOn(n.disk().KillClone())
	if n.log.has("topic u created") {
		t.Fatalf("a restart tells what was there before:\n%s", n.log)
	}
}

func TestEventsOfGroups(t *testing.T) {
	n := start(t)
	c := n.dial()
	n.coordinator(c, "g")
	first := c.ask(joinRequest("g")).(*kmsg.JoinGroupResponse)
	if err := kerr.ErrorForCode(first.ErrorCode); err != nil {
		t.Fatal(err)
	}
	n.tells("level=INFO", "group g: generation 0 with 1 members rebalances: member "+first.MemberID+" joins", "event=Rebalancing")
	n.tells("level=INFO", "group g: generation 1 has 1 members, protocol range, leader "+first.MemberID, "event=GenerationFormed")
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group = 5, "g"
	who, reason := kmsg.NewLeaveGroupRequestMember(), "shutting down"
	who.MemberID, who.Reason = first.MemberID, &reason
	leave.Members = append(leave.Members, who)
	c.ask(leave)
	n.tells("level=INFO", "group g: member "+first.MemberID, "is out: it left", "shutting down", "event=MemberGone")
	n.tells("group g: generation 2 is empty")

	second := c.ask(joinRequest("g")).(*kmsg.JoinGroupResponse)
	n.clock.Advance(11 * time.Second)
	n.tells("group g: member "+second.MemberID, "is out: session timeout", "event=MemberGone")
}

// TestEventsOfRetention: what is removed, and why, is no debug message.
func TestEventsOfRetention(t *testing.T) {
	n := start(t, "log.retention.check.interval.ms=1000")
	c := n.dial()
	c.createTopic("t", "segment.bytes=1048576", "retention.bytes=1", "file.delete.delay.ms=0")
	for range 3 {
		c.produce("t", make([]byte, 700_000))
	}
	n.tells("level=INFO", "log t-0: segment 0 with", "deleted: ", "event=SegmentDeleted")
}
