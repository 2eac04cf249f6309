package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// hang is far beyond what any request may take, and far below what a quadratic one
// takes at the sizes below.
const hang = time.Minute

// TestHugeListsDoNotHoldUpTheCoordinator sends what fits a frame of a few megabytes.
// The coordinator of a partition serves its groups one after the other: what takes
// minutes for one client takes minutes from all.
func TestHugeListsDoNotHoldUpTheCoordinator(t *testing.T) {
	const entries = 500_000
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType = "g", "consumer"
	join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 10_000, 10_000
	var states []string
	for i := range entries {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name = fmt.Sprintf("%08d", i)
		join.Protocols = append(join.Protocols, p)
		states = append(states, p.Name)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w := newWorld(t, Options{})
		w.submit(Join{Req: join})
		for i := range 100 {
			commit := kmsg.NewPtrOffsetCommitRequest()
			commit.Group, commit.Generation = fmt.Sprint("other-", i), -1
			topic := kmsg.NewOffsetCommitRequestTopic()
			topic.Topic, topic.Partitions = "t", make([]kmsg.OffsetCommitRequestTopicPartition, 1)
			commit.Topics = append(commit.Topics, topic)
			w.submit(CommitOffsets{Req: commit})
		}
		w.submit(List{StatesFilter: append(states, "empty")})
	}()
	select {
	case <-done:
	case <-time.After(hang):
		t.Fatal("still at it")
	}
}
