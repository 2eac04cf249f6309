package cluster

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// state is what the commands that move things know of the cluster.
type state struct {
	meta    kadm.Metadata
	brokers []kmsg.DescribeClusterResponseBroker // fenced ones too, by id
	dirs    kadm.DescribedAllLogDirs
	moving  kadm.ListPartitionReassignmentsResponses
}

// look asks the cluster.
func look(ctx context.Context, cl *kgo.Client, adm *kadm.Client) (*state, error) {
	s := &state{}
	var err error
	if s.meta, err = adm.Metadata(ctx); err != nil {
		return nil, err
	}
	if s.brokers, err = describeBrokers(ctx, cl); err != nil {
		return nil, err
	}
	// A broker that is down, or hangs, does not tell; what others say is enough to plan by.
	soon, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	if s.dirs, err = adm.DescribeAllLogDirs(soon, nil); err != nil && len(s.dirs) == 0 {
		return nil, err
	}
	s.moving, err = Reassignments(ctx, cl)
	return s, err
}

// DescribeBrokers lists the brokers that the cluster knows, fenced ones too.
func DescribeBrokers(ctx context.Context, cl kmsg.Requestor) ([]kmsg.DescribeClusterResponseBroker, error) {
	return describeBrokers(ctx, cl)
}

// describeBrokers lists the brokers that the cluster knows, fenced ones too.
func describeBrokers(ctx context.Context, cl kmsg.Requestor) ([]kmsg.DescribeClusterResponseBroker, error) {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType, req.IncludeFencedBrokers = 1, true
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(resp.Brokers, func(a, b kmsg.DescribeClusterResponseBroker) int { return int(a.NodeID) - int(b.NodeID) })
	return resp.Brokers, kerr.ErrorForCode(resp.ErrorCode)
}

// nodes are the brokers to plan for; those of leaving get nothing and keep nothing.
// What is being moved already is on its way: it takes room that is still free. Of those that
// leave, one may be registered no more.
func (s *state) nodes(leaving ...int32) []planNode {
	var all []planNode
	for _, id := range leaving {
		if !s.knows(id) {
			all = append(all, planNode{id: id, leaving: true, down: true, gone: true})
		}
	}
	for _, b := range s.brokers {
		n := planNode{id: b.NodeID, down: b.IsFenced, leaving: slices.Contains(leaving, b.NodeID)}
		if b.Rack != nil {
			n.rack = *b.Rack
		}
		for _, d := range s.dirs[b.NodeID] {
			if d.Err == nil && d.TotalBytes > 0 && d.UsableBytes >= 0 {
				n.total, n.free = n.total+d.TotalBytes, n.free+d.UsableBytes
			}
		}
		for _, p := range s.moving.Sorted() {
			if slices.Contains(p.AddingReplicas, n.id) {
				n.free -= max(s.size(p.Topic, p.Partition)-s.has(n.id, p.Topic, p.Partition), 0)
			}
		}
		all = append(all, n)
	}
	return all
}

// knows tells whether a broker is registered.
func (s *state) knows(id int32) bool {
	return slices.ContainsFunc(s.brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return b.NodeID == id })
}

// strangers are nodes that have replicas and are not registered, by id.
func (s *state) strangers() (all []int32) {
	s.meta.Topics.EachPartition(func(p kadm.PartitionDetail) {
		for _, id := range p.Replicas {
			if !s.knows(id) {
				all = append(all, id)
			}
		}
	})
	slices.Sort(all)
	return slices.Compact(all)
}

// partitions are the partitions to plan for, by topic and number.
func (s *state) partitions() []planPartition {
	var all []planPartition
	for _, t := range s.meta.Topics.Sorted() {
		for _, p := range t.Partitions.Sorted() {
			_, moving := s.moving[t.Topic][p.Partition]
			all = append(all, planPartition{topic: t.Topic, id: t.ID, index: p.Partition, replicas: p.Replicas, bytes: s.size(t.Topic, p.Partition),
				moving: moving, fixed: moving || p.Leader < 0 || len(p.Replicas) == 0})
		}
	}
	return all
}

// size is what the largest replica of a partition takes.
func (s *state) size(topic string, partition int32) (most int64) {
	for _, dirs := range s.dirs {
		for _, d := range dirs {
			if p, ok := d.Topics.Lookup(topic, partition); ok {
				most = max(most, p.Size)
			}
		}
	}
	return most
}

// has is what a broker has of a partition.
func (s *state) has(id int32, topic string, partition int32) (bytes int64) {
	for _, d := range s.dirs[id] {
		if p, ok := d.Topics.Lookup(topic, partition); ok {
			bytes += p.Size
		}
	}
	return bytes
}

// holds counts the replicas that a broker is to have, those on their way included.
func (s *state) holds(id int32) (replicas int) {
	s.meta.Topics.EachPartition(func(p kadm.PartitionDetail) {
		if slices.Contains(p.Replicas, id) {
			replicas++
		}
	})
	return replicas
}
