package replica

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// TestBatchesBehindAnEarlyOneAreRefusedAlike: the first batch of a producer came before this
// broker knew that it leads, and the second after it.
func TestBatchesBehindAnEarlyOneAreRefusedAlike(t *testing.T) {
	unknownID := kerr.UnknownTopicID.Message
	send := func(l *lead, sequence int32, want string) {
		t.Helper()
		a := l.produce(-1, ProducePart{l.part("t", 0), l.sequenced(9, sequence, "a")})
		l.mustSync()
		l.expect(a, want)
	}
	t.Run("leader", func(t *testing.T) {
		l := newLead(t, 1, 1)
		l.change(2, 1, 2)
		send(l, 0, notLeader)
		send(l, 1, notLeader)
		l.change(1, 1)
		send(l, 1, notLeader)
		send(l, 2, notLeader)
		send(l, 0, "0-0")
		send(l, 1, "1-1")
		send(l, 2, "2-2")
	})
	for name, ref := range map[string]Ref{"topic id": {TopicID: topicID("t")}, "topic name": {Topic: "t"}} {
		t.Run(name, func(t *testing.T) {
			l := newLead(t, 1, 1)
			l.m.RefusedEarly(ref, l.sequenced(9, 0, "a"), kerr.UnknownTopicID)
			l.m.RefusedEarly(ref, l.sequenced(9, 1, "a"), kerr.UnknownTopicID)
			send(l, 1, unknownID)
			send(l, 0, "0-0")
			send(l, 1, "1-1")
		})
	}
	t.Run("known to the log", func(t *testing.T) {
		l := newLead(t, 1, 1)
		send(l, 0, "0-0")
		l.change(2, 1, 2)
		send(l, 1, notLeader)
		l.change(1, 1)
		send(l, 1, "1-1")
		l.m.RefusedEarly(Ref{Topic: "t"}, l.sequenced(9, 1, "a"), kerr.UnknownTopicOrPartition)
		send(l, 2, "2-2")
	})
	t.Run("for ever", func(t *testing.T) {
		l := newLead(t, 1, 1)
		l.m.RefusedEarly(Ref{Topic: "t"}, l.sequenced(9, 0, "a"), kerr.UnknownTopicOrPartition)
		l.clock.Advance(gapLasts)
		send(l, 1, "0-0")
	})
	t.Run("for others", func(t *testing.T) {
		l := newLead(t, 1, 1)
		l.m.RefusedEarly(Ref{Topic: "t"}, l.sequenced(8, 0, "a"), kerr.UnknownTopicOrPartition)
		l.m.RefusedEarly(Ref{Topic: "t"}, l.sequenced(9, 0, "a"), kerr.TopicAuthorizationFailed)
		l.m.RefusedEarly(Ref{Topic: "t", Index: 1}, l.sequenced(9, 0, "a"), kerr.UnknownTopicOrPartition)
		l.m.RefusedEarly(Ref{Topic: "t"}, l.batch("a"), kerr.UnknownTopicOrPartition)
		send(l, 1, "0-0")
	})
	t.Run("bounded", func(t *testing.T) {
		l := newLead(t, 1, 1)
		for i := range int64(3 * maxGaps) {
			l.m.RefusedEarly(Ref{Topic: "t"}, l.sequenced(100+i, 0, "a"), kerr.UnknownTopicOrPartition)
		}
		if n := len(l.m.early.gaps); n > maxGaps {
			t.Fatalf("%d are remembered", n)
		}
	})
}
