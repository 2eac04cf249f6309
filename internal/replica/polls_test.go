package replica

import (
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/schema"
)

// TestPollsEndWhenLeadershipComes: a follower that waits for records of one partition
// must not wait on when its leader comes to lead another that it follows.
func TestPollsEndWhenLeadershipComes(t *testing.T) {
	l := newLead(t, 1, 1, 2)
	l.topics["u"] = durable()
	l.record(&schema.Topic{TopicID: topicID("u"), Name: "u"})
	l.record(&schema.Partition{TopicID: topicID("u"), Leader: 2, Replicas: []int32{1, 2}, ISR: []int32{1, 2}})
	l.must(l.apply())
	l.clock.Advance(2 * unrest)
	ended := 0
	limits := FetchLimits{Replica: 2, ReplicaEpoch: 12, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Minute}
	poll := func() {
		l.m.Fetch([]FetchPart{from("t", 0, 0)}, limits, func(op *FetchOp) {
			ended++
			op.Collect()
		})
	}
	poll() // the high watermark is news
	poll()
	if ended != 1 {
		t.Fatalf("%d polls ended", ended)
	}
	c := schema.NewPartitionChange()
	c.TopicID, c.Leader = topicID("u"), self
	l.record(c)
	l.must(l.apply())
	if ended != 2 {
		t.Fatal("the poll waits on")
	}
	if n := len(l.m.polls.open); n != 0 {
		t.Fatalf("%d polls are remembered", n)
	}
}
