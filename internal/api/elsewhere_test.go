package api

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/record"
)

// TestWhoLeadsIsTold: a broker that has no replica of a partition says who leads it, and
// where that is (KIP-951); for one that does not exist, that it does not.
func TestWhoLeadsIsTold(t *testing.T) {
	w := newWorld(t)
	id := w.topic("t", []int32{2, 2, 3})
	for v := int16(4); v <= 18; v++ {
		for part, is := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.UnknownTopicOrPartition} {
			req := kmsg.NewPtrFetchRequest()
			req.SessionEpoch = -1
			ask := kmsg.NewFetchRequestTopic()
			ask.Topic, ask.TopicID = "t", id
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition = int32(part)
			ask.Partitions = append(ask.Partitions, p)
			req.Topics = append(req.Topics, ask)
			resp := w.serve(ClientDoor, v, req).(*kmsg.FetchResponse)
			got := resp.Topics[0].Partitions[0]
			if got.ErrorCode != is.Code {
				t.Errorf("fetch version %d of partition %d: error %d", v, part, got.ErrorCode)
			}
			tells := v >= 16 && part == 0
			if (got.CurrentLeader.LeaderID == 2 && got.CurrentLeader.LeaderEpoch == 5) != tells {
				t.Errorf("fetch version %d of partition %d: leader %+v", v, part, got.CurrentLeader)
			}
			where := ""
			for _, b := range resp.Brokers {
				where += fmt.Sprint(b.NodeID, b.Host, b.Port, *b.Rack)
			}
			if (where == fmt.Sprint(int32(2), "host", int32(9002), "r2")) != tells {
				t.Errorf("fetch version %d of partition %d: brokers %q", v, part, where)
			}
		}
	}
	for v := int16(3); v <= 13; v++ {
		resp := w.serve(ClientDoor, v, produceOne("t", id)).(*kmsg.ProduceResponse)
		got := resp.Topics[0].Partitions[0]
		if got.ErrorCode != kerr.NotLeaderForPartition.Code {
			t.Errorf("produce version %d: error %d", v, got.ErrorCode)
		}
		tells := v >= 10
		if (got.CurrentLeader.LeaderID == 2 && got.CurrentLeader.LeaderEpoch == 5) != tells || (len(resp.Brokers) == 1) != tells {
			t.Errorf("produce version %d: leader %+v of %+v", v, got.CurrentLeader, resp.Brokers)
		}
	}
	w.denied = []kmsg.ACLOperation{kmsg.ACLOperationWrite}
	denied := w.serve(ClientDoor, 13, produceOne("t", id)).(*kmsg.ProduceResponse)
	if got := denied.Topics[0].Partitions[0].ErrorCode; got != kerr.TopicAuthorizationFailed.Code || len(denied.Brokers) != 0 {
		t.Errorf("who may not write: error %d, brokers %+v", got, denied.Brokers)
	}
}

// produceOne is a request of one record for partition 0.
func produceOne(topic string, id [16]byte) *kmsg.ProduceRequest {
	var b record.Builder
	b.Reset(record.NewHeader(0), record.Compression{})
	b.Append(1, nil, []byte("v"))
	batch, err := b.Build(nil)
	if err != nil {
		panic(err)
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 1000
	to := kmsg.NewProduceRequestTopic()
	to.Topic, to.TopicID = topic, id
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = batch
	to.Partitions = append(to.Partitions, p)
	req.Topics = append(req.Topics, to)
	return req
}

// TestFollowersNeedTheClustersPermission: and no topic's.
func TestFollowersNeedTheClustersPermission(t *testing.T) {
	w := newWorld(t)
	id := w.topic("t", []int32{1, 1, 2})
	ask := func(replica int32) int16 {
		req := kmsg.NewPtrFetchRequest()
		req.SessionEpoch = -1
		req.ReplicaState.ID, req.ReplicaState.Epoch = replica, 2
		topic := kmsg.NewFetchRequestTopic()
		topic.TopicID = id
		topic.Partitions = append(topic.Partitions, kmsg.NewFetchRequestTopicPartition())
		req.Topics = append(req.Topics, topic)
		return w.serve(ClientDoor, 18, req).(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode
	}
	// The replica itself is not here: that is the answer to those who may ask.
	for _, c := range []struct {
		replica int32
		denied  kmsg.ACLOperation
		is      *kerr.Error
	}{
		{2, kmsg.ACLOperationClusterAction, kerr.TopicAuthorizationFailed},
		{2, kmsg.ACLOperationRead, kerr.NotLeaderForPartition},
		{-1, kmsg.ACLOperationRead, kerr.TopicAuthorizationFailed},
		{-1, kmsg.ACLOperationClusterAction, kerr.NotLeaderForPartition},
		{3, kmsg.ACLOperationRead, kerr.NotLeaderForPartition}, // which is no replica
	} {
		w.denied = []kmsg.ACLOperation{c.denied}
		if got := ask(c.replica); got != c.is.Code {
			t.Errorf("replica %d without %v: error %v", c.replica, c.denied, kerr.ErrorForCode(got))
		}
	}
}
