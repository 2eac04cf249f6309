package api_test

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/leattest"
)

// TestAPartitionMovesAway: who waits for records of a partition that moves to another
// broker is told that this one leads no more, and who does (KIP-951), and so is whoever
// comes later, by every request. Only what is gone is unknown.
func TestAPartitionMovesAway(t *testing.T) {
	t.Parallel()
	c := leattest.StartCluster(t, 2)
	old, other := dial(t, c.Node(1)), dial(t, c.Node(2))
	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = 10_000
	in := kmsg.NewCreateTopicsRequestTopic()
	in.Topic, in.NumPartitions, in.ReplicationFactor = "moves", -1, -1
	in.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{1}}}
	create.Topics = append(create.Topics, in)
	made := ask[*kmsg.CreateTopicsResponse](old, 7, create).Topics[0]
	want(t, "create", made.ErrorCode, nil)
	of := topic{name: "moves", id: made.TopicID}
	old.produce(of, 0, values("a", "b"))

	byID, byName := dial(t, c.Node(1)), dial(t, c.Node(1))
	parked := waiting(fetchRequest(of, 0, 2))
	byID.post(latestFetch, parked)
	named := waiting(fetchRequest(of, 0, 2))
	byName.post(12, named)

	move := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	move.TimeoutMillis = 10_000
	mt := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	mp := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
	mp.Replicas = []int32{2}
	mt.Topic, mt.Partitions = of.name, append(mt.Partitions, mp)
	move.Topics = append(move.Topics, mt)
	want(t, "move", ask[*kmsg.AlterPartitionAssignmentsResponse](old, 0, move).Topics[0].Partitions[0].ErrorCode, nil)

	moved := func(what string, resp *kmsg.FetchResponse) {
		t.Helper()
		got := fetched(resp)
		want(t, what, got.ErrorCode, kerr.NotLeaderForPartition)
		if resp.Version < 16 {
			return
		}
		there := slices.ContainsFunc(resp.Brokers, func(b kmsg.FetchResponseBroker) bool { return b.NodeID == 2 })
		if got.CurrentLeader.LeaderID != 2 || got.CurrentLeader.LeaderEpoch < 1 || !there {
			t.Errorf("%s: the leader is told as %+v of %+v", what, got.CurrentLeader, resp.Brokers)
		}
	}
	moved("who waited", await[*kmsg.FetchResponse](byID, parked))
	moved("who waited by name", await[*kmsg.FetchResponse](byName, named))

	moved("a later fetch", ask[*kmsg.FetchResponse](old, latestFetch, fetchRequest(of, 0, 2)))
	want(t, "ListOffsets", old.listed(of, 0, -1).ErrorCode, kerr.NotLeaderForPartition)
	epochs := kmsg.NewPtrOffsetForLeaderEpochRequest()
	et := kmsg.NewOffsetForLeaderEpochRequestTopic()
	et.Topic, et.Partitions = of.name, append(et.Partitions, kmsg.NewOffsetForLeaderEpochRequestTopicPartition())
	epochs.Topics = append(epochs.Topics, et)
	ended := ask[*kmsg.OffsetForLeaderEpochResponse](old, 4, epochs)
	want(t, "OffsetForLeaderEpoch", ended.Topics[0].Partitions[0].ErrorCode, kerr.NotLeaderForPartition)
	deletes := kmsg.NewPtrDeleteRecordsRequest()
	dt := kmsg.NewDeleteRecordsRequestTopic()
	dt.Topic, dt.Partitions = of.name, append(dt.Partitions, kmsg.NewDeleteRecordsRequestTopicPartition())
	deletes.Topics = append(deletes.Topics, dt)
	deleted := ask[*kmsg.DeleteRecordsResponse](old, 2, deletes)
	want(t, "DeleteRecords", deleted.Topics[0].Partitions[0].ErrorCode, kerr.NotLeaderForPartition)
	out := produced(ask[*kmsg.ProduceResponse](old, produceByID, produceRequest(of, 0, -1, values("c").bytes(t))))
	want(t, "Produce", out.ErrorCode, kerr.NotLeaderForPartition)
	producers := kmsg.NewPtrDescribeProducersRequest()
	pt := kmsg.NewDescribeProducersRequestTopic()
	pt.Topic, pt.Partitions = of.name, []int32{0}
	producers.Topics = append(producers.Topics, pt)
	known := ask[*kmsg.DescribeProducersResponse](old, 0, producers)
	want(t, "DescribeProducers", known.Topics[0].Partitions[0].ErrorCode, kerr.NotLeaderForPartition)

	// What is deleted has no leader.
	for deadline := time.Now().Add(patience); other.fetch(of, 0, 2).ErrorCode != 0; { // node 2 hears of the move in its own time
		if time.Now().After(deadline) {
			t.Fatal("node 2 does not lead")
		}
	}
	gone := waiting(fetchRequest(of, 0, 2))
	other.post(latestFetch, gone)
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TimeoutMillis = 10_000
	dn := kmsg.NewDeleteTopicsRequestTopic()
	dn.TopicID = of.id
	del.Topics = append(del.Topics, dn)
	want(t, "delete", ask[*kmsg.DeleteTopicsResponse](old, 6, del).Topics[0].ErrorCode, nil)
	code := fetched(await[*kmsg.FetchResponse](other, gone)).ErrorCode
	if code != kerr.UnknownTopicID.Code && code != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("who waited for a deleted topic: error %v", kerr.ErrorForCode(code))
	}
	want(t, "ListOffsets of what is deleted", old.listed(of, 0, -1).ErrorCode, kerr.UnknownTopicOrPartition)
}
