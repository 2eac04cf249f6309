package cluster

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Reassignments lists the partitions whose replicas are being moved. (kadm takes no
// list for none.)
func Reassignments(ctx context.Context, cl kmsg.Requestor) (kadm.ListPartitionReassignmentsResponses, error) {
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	req.TimeoutMillis = 15_000
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	all := kadm.ListPartitionReassignmentsResponses{}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		all[t.Topic] = map[int32]kadm.ListPartitionReassignmentsResponse{}
		for _, p := range t.Partitions {
			all[t.Topic][p.Partition] = kadm.ListPartitionReassignmentsResponse{
				Topic: t.Topic, Partition: p.Partition, Replicas: p.Replicas, AddingReplicas: p.AddingReplicas, RemovingReplicas: p.RemovingReplicas}
		}
	}
	return all, nil
}

// ReplicationFactor is how many replicas a partition is to have in sync: while it is moved, as
// many as before, for those that are added have yet to catch up. Kafka's tools count so
// (getReplicationFactor of its TopicCommand). The move may be over, by what its replicas are.
func ReplicationFactor(replicas []int32, move kadm.ListPartitionReassignmentsResponse) int {
	if slices.ContainsFunc(replicas, func(id int32) bool {
		return slices.Contains(move.AddingReplicas, id) || slices.Contains(move.RemovingReplicas, id)
	}) {
		return len(move.Replicas) - len(move.AddingReplicas)
	}
	return len(replicas)
}

// underReplicated counts the partitions that have fewer replicas in sync than they are to have.
func underReplicated(meta *kmsg.MetadataResponse, moves kadm.ListPartitionReassignmentsResponses) (n int) {
	for i := range meta.Topics {
		t := &meta.Topics[i]
		for _, p := range t.Partitions {
			if len(p.ISR) < ReplicationFactor(p.Replicas, moves[text(t.Topic)][p.Partition]) {
				n++
			}
		}
	}
	return n
}

// movesAnswer is how many partitions are being moved, and how many are under-replicated; without
// an answer, as if nothing moved.
type movesAnswer struct {
	moving, under int
	err           error
}

// moves asks what is being moved.
func (a *asking) moves(ctx context.Context, h *home) (got movesAnswer) {
	got.under = underReplicated(h.meta, nil)
	got.err = a.at(h.address, func(br *kgo.Broker) error {
		var all kadm.ListPartitionReassignmentsResponses
		if err := again(ctx, func() (err error) {
			all, err = Reassignments(ctx, br)
			return err
		}); err != nil {
			return err
		}
		got.moving = len(all.Sorted())
		if got.under = underReplicated(h.meta, all); got.under == 0 {
			return nil
		}
		// A move may have ended since the node told of the cluster.
		meta, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, br)
		if err == nil {
			got.under = underReplicated(meta, all)
		}
		return err
	})
	return got
}
