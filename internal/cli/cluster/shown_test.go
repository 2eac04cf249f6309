package cluster

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func at(id int32, host string) kmsg.DescribeClusterResponseBroker {
	b := kmsg.NewDescribeClusterResponseBroker()
	b.NodeID, b.Host, b.Port = id, host, 9092
	return b
}

// TestAddressesAreThoseOthersTell: whichever node answers first, and by whatever name it was
// reached, the addresses are the same; where nobody else tells, its own word has to do.
func TestAddressesAreThoseOthersTell(t *testing.T) {
	told := [][]kmsg.DescribeClusterResponseBroker{ // each says of itself how it was reached
		{at(1, "127.0.0.1"), at(2, "b"), at(3, "c")},
		{at(1, "a"), at(2, "127.0.0.1"), at(3, "c")},
		{at(1, "a"), at(2, "b"), at(3, "127.0.0.1")},
	}
	for first := range told {
		h := &home{brokers: told[first]}
		answers := make([]nodeAnswer, 3)
		for i := range answers {
			answers[i].brokers = told[i]
		}
		for i, want := range []string{"a:9092", "b:9092", "c:9092"} {
			if got := h.shown(h.brokers[i], answers); got != want {
				t.Errorf("first %d: node %d is shown at %s", first+1, i+1, got)
			}
		}
		if got := h.shown(h.brokers[first], make([]nodeAnswer, 3)); got != "127.0.0.1:9092" {
			t.Errorf("alone: %s", got)
		}
	}
}

// TestWhyReplicasStay: each reason for which a node keeps a replica.
func TestWhyReplicasStay(t *testing.T) {
	nodes := []planNode{{id: 1, rack: "x", leaving: true}, {id: 2, rack: "y", total: 1000, free: 150}, {id: 3, rack: "y", total: 1000, free: 150}, {id: 4, rack: "z", down: true}}
	parts := []planPartition{
		{topic: "moving", replicas: []int32{1, 2}, fixed: true, moving: true},
		{topic: "headless", replicas: []int32{1, 2}, fixed: true},
		{topic: "racks", replicas: []int32{1, 2}},
		{topic: "down", replicas: []int32{1, 2, 3}},
		{topic: "everywhere", replicas: []int32{1, 2, 3, 4}},
		{topic: "goes", replicas: []int32{1}},
		{topic: "large", replicas: []int32{1}, bytes: 60},
		{topic: "fits", replicas: []int32{1}, bytes: 40},
		{topic: "larger", replicas: []int32{4, 1}, bytes: 100},
		{topic: "elsewhere", replicas: []int32{2}},
	}
	want := map[string]string{
		"moving": "it is being moved already", "headless": "it has no leader", "racks": "its replicas would stand in fewer racks",
		"down": "no node that is up is without a replica of it", "everywhere": "every other node has a replica of it",
		"large":  "no room: each disk that may take it would be left with less than --reserve",
		"larger": "no room: each disk that may take it would be left with less than --reserve",
	}
	moves, _ := plan(nodes, parts, planLimits{evacuate: true, reserve: 0.1})
	left := stays(nodes, parts, moves, 1)
	if len(left) != len(want) || len(moves) != 2 {
		t.Fatalf("%+v, moves %+v", left, moves)
	}
	for _, s := range left {
		if s.why != want[s.topic] {
			t.Errorf("%s: %s", s.topic, s.why)
		}
	}
}

// TestFullDiskIsNotHealthy: a node whose disk has no room takes no records, though it is up, and
// its replicas count as in sync for a while.
func TestFullDiskIsNotHealthy(t *testing.T) {
	dir := func(free int64) kmsg.DescribeLogDirsResponseDir {
		d := kmsg.NewDescribeLogDirsResponseDir()
		d.TotalBytes, d.UsableBytes = 1<<30, free
		return d
	}
	for _, test := range []struct {
		free []int64 // of each directory; -1 when it is not told
		full bool
	}{
		{[]int64{diskRoom}, false}, {[]int64{diskRoom - 1}, true}, {[]int64{0}, true}, {[]int64{1 << 29, 0}, true}, {[]int64{-1}, false},
	} {
		resp := kmsg.NewPtrDescribeLogDirsResponse()
		for _, free := range test.free {
			d := dir(free)
			if free < 0 {
				d.TotalBytes = -1
			}
			resp.Dirs = append(resp.Dirs, d)
		}
		n := statusNode{ID: 1, Answers: true, Bytes: -1, Free: -1, Total: -1}
		n.disks(resp)
		s := &status{Brokers: []statusNode{n}}
		s.Healthy = s.well()
		shown := s.tables()[1].Rows[0][3]
		if n.DiskFull != test.full || s.Healthy == test.full || strings.Contains(shown, "FULL") != test.full {
			t.Errorf("free %v: full %v, healthy %v, shown as %s", test.free, n.DiskFull, s.Healthy, shown)
		}
	}
}

// TestNothingToMove: while others' moves are under way, the nodes are not said to be in balance.
func TestNothingToMove(t *testing.T) {
	for moving, want := range map[int]string{0: "nothing to move: the nodes are in balance", 3: "being moved already: 3; 'leat cluster balance --cancel'"} {
		if got := balanced(moving, 0); !strings.Contains(got, want) || strings.Contains(got, "in balance") != (moving == 0) {
			t.Errorf("%d: %s", moving, got)
		}
	}
	for _, moving := range []int{0, 3} {
		if got := balanced(moving, 1); strings.Contains(got, "in balance") {
			t.Errorf("a node has no room, %d move: %s", moving, got)
		}
	}
}

// TestCounted: one is no plural, none is.
func TestCounted(t *testing.T) {
	for n, want := range map[int]string{0: "0 moves have ended", 1: "1 move has ended", 12: "12 moves have ended"} {
		if got := counted(n, "1 move has ended", "%d moves have ended"); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

// TestKeepsOne: one partition is no plural.
func TestKeepsOne(t *testing.T) {
	for n, want := range map[int]string{1: "node 3 keeps replicas of 1 partition (1: no room)", 2: "node 3 keeps replicas of 2 partitions (2: no room)"} {
		if err := keeps(3, slices.Repeat([]stay{{topic: "t", why: "no room"}}, n)); !strings.HasPrefix(err.Error(), want) {
			t.Error(err)
		}
	}
}
