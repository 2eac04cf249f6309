package cluster

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestDisksToPlanWith: what a node tells of its disks; a broken one does not count, one that is
// not told of is not known, and what is on its way takes room.
func TestDisksToPlanWith(t *testing.T) {
	holding := func(size int64) kadm.DescribedLogDirTopics {
		return kadm.DescribedLogDirTopics{"t": {0: {Topic: "t", Size: size}}}
	}
	s := &state{
		brokers: []kmsg.DescribeClusterResponseBroker{at(1, "a"), at(2, "b"), at(3, "c"), at(4, "d")},
		dirs: kadm.DescribedAllLogDirs{
			1: {"x": {TotalBytes: 1000, UsableBytes: 400, Topics: holding(100)}, "y": {TotalBytes: 500, UsableBytes: 300}},
			2: {"x": {TotalBytes: 1000, UsableBytes: 400, Topics: holding(30)}, "y": {TotalBytes: 500, UsableBytes: 300, Err: kerr.KafkaStorageError}},
			3: {"x": {TotalBytes: -1, UsableBytes: -1}},
		},
		moving: kadm.ListPartitionReassignmentsResponses{"t": {0: {Topic: "t", Partition: 0, Replicas: []int32{1, 2}, AddingReplicas: []int32{2}}}},
	}
	for i, want := range []planNode{{id: 1, total: 1500, free: 700}, {id: 2, total: 1000, free: 330}, {id: 3}, {id: 4}} {
		if got := s.nodes()[i]; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}
