package broker

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// joinRequest is a first join, which waits for group.initial.rebalance.delay.ms.
func joinRequest(group string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group = 3, group
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 60_000
	req.ProtocolType = "consumer"
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", []byte{0}
	req.Protocols = append(req.Protocols, p)
	return req
}

// coordinator makes the offsets topic and waits until the group's coordinator serves.
func (n *testNode) coordinator(c *client, group string) {
	n.t.Helper()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKey = 2, group
	n.eventually("the coordinator is known", func() bool {
		return c.ask(find).(*kmsg.FindCoordinatorResponse).ErrorCode == 0
	})
	n.eventually("the coordinator is loaded", func() bool {
		beat := kmsg.NewPtrHeartbeatRequest()
		beat.Group, beat.MemberID = group, "nobody"
		code := c.ask(beat).(*kmsg.HeartbeatResponse).ErrorCode
		return code == kerr.UnknownMemberID.Code
	})
}

// TestStopAnswersWhoWaits: nothing needs the grace period, which on this clock would
// never end: producers are acknowledged, long polls and joins are answered, silent and
// half-sent requests are dropped.
func TestStopAnswersWhoWaits(t *testing.T) {
	n := start(t, "group.initial.rebalance.delay.ms=3000")
	producer, poller, member, silent, half := n.dial(), n.dial(), n.dial(), n.dial(), n.dial()
	producer.createTopic("t")
	n.coordinator(member, "g")
	member.send(joinRequest("g"))
	poller.send(fetchRequest("t", 0, 1_000_000, time.Hour))
	silent.ask(kmsg.NewPtrApiVersionsRequest())
	half.ask(kmsg.NewPtrApiVersionsRequest())
	half.nc.Write([]byte{0, 0, 1, 0, 0})
	n.eventually("the fetch waits", func() bool { return n.waiting("t") == 1 })
	n.eventually("the join waits", func() bool { return n.b.node.Groups().Stats().Pending == 1 })
	for range 50 {
		producer.send(produceRequest("t", -1, []byte("v")))
	}
	producer.produced(producer.receive())
	if err := n.b.Close(time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := member.receive().(*kmsg.JoinGroupResponse); got.ErrorCode != kerr.NotCoordinator.Code {
		t.Fatalf("the join was answered with %v", kerr.ErrorForCode(got.ErrorCode))
	}
	poller.fetched(poller.receive())
	acked := int64(1)
	for len(producer.sent) > 0 {
		resp, err := producer.next()
		if err != nil {
			break // not read any more; the client asks again
		}
		if got := producer.produced(resp); got != acked {
			t.Fatalf("offset %d was answered with %d", acked, got)
		}
		acked++
	}
	for _, c := range []*client{member, poller, silent, half} {
		if !c.ended() {
			t.Fatal("a connection stays open")
		}
	}
	if err := n.b.Close(0); err != nil {
		t.Fatal(err) // once is enough
	}
	n.restartOn(n.disk().CrashClone(nil)) // a clean stop leaves nothing to the page cache
	if !n.log.has("after a clean stop") {
		t.Fatalf("the log:\n%s", n.log)
	}
	if got := n.dial().fetch("t", 0); int64(len(got)) < acked {
		t.Fatalf("%d records of %d that were acknowledged", len(got), acked)
	}
}

// TestStopCutsWhoDoesNotRead: a client that takes no answers holds the stop for the
// grace period, not longer.
func TestStopCutsWhoDoesNotRead(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("t")
	for range 8 {
		c.produce("t", make([]byte, 900_000))
	}
	var reqs []kmsg.Request
	for range 20 {
		reqs = append(reqs, fetchRequest("t", 0, 0, 0))
	}
	c.send(reqs...)
	done := make(chan error, 1)
	go func() { done <- n.b.Close(time.Second) }()
	n.eventually("the stop ends", func() bool {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return true
		default:
			return false
		}
	})
}

func TestStopBeforeStart(t *testing.T) {
	n := prepare(t)
	n.open()
	n.stop()
	n.start()
}

// TestReadiness: ready only while it serves, healthy as long as the disk takes writes.
func TestReadiness(t *testing.T) {
	n := prepare(t)
	n.open()
	if n.b.Ready() == nil || n.b.Healthy() != nil {
		t.Fatal("before the start: ", n.b.Ready(), n.b.Healthy())
	}
	if err := n.b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n.b.Ready() != nil || n.b.Healthy() != nil {
		t.Fatal("while serving: ", n.b.Ready(), n.b.Healthy())
	}
	n.stop()
	if n.b.Ready() == nil {
		t.Fatal("ready after the stop")
	}
}
