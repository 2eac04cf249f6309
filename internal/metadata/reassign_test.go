package metadata

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// reassignRequest asks for replicas of one partition; nil cancels.
func reassignRequest(topic string, partition int32, replicas []int32) *kmsg.AlterPartitionAssignmentsRequest {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.Version, req.AllowReplicationFactorChange = 1, true
	rt := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	rt.Topic = topic
	p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
	p.Partition, p.Replicas = partition, replicas
	rt.Partitions = append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	return req
}

func (k *cluster) reassign(topic string, partition int32, replicas ...int32) int16 {
	k.t.Helper()
	return k.reassigned(reassignRequest(topic, partition, replicas)).ErrorCode
}

func (k *cluster) cancel(topic string, partition int32) int16 {
	k.t.Helper()
	return k.reassigned(reassignRequest(topic, partition, nil)).ErrorCode
}

func (k *cluster) reassigned(req *kmsg.AlterPartitionAssignmentsRequest) kmsg.AlterPartitionAssignmentsResponseTopicPartition {
	k.t.Helper()
	resp := k.ask(req).(*kmsg.AlterPartitionAssignmentsResponse)
	if resp.ErrorCode != 0 || resp.AllowReplicationFactorChange != req.AllowReplicationFactorChange {
		k.t.Fatalf("%+v", resp)
	}
	return resp.Topics[0].Partitions[0]
}

// assignmentOf prints a partition's replicas and its reassignment.
func (k *cluster) assignmentOf(topic string, partition int32) string {
	p := k.img().Partition(topic, partition)
	return fmt.Sprintf("%v +%v -%v", p.Replicas, p.Adding(), p.Removing())
}

// TestReassignments tells stories: requests, in-sync replicas that follow, and the
// assignment and state after each step.
func TestReassignments(t *testing.T) {
	type step struct {
		do         func(*cluster)
		assignment string
		state      string
	}
	move := func(want *kerr.Error, replicas ...int32) func(*cluster) {
		return func(k *cluster) {
			k.t.Helper()
			if got := k.reassign("t", 0, replicas...); got != codeOf(want) {
				k.t.Fatalf("reassignment to %v: %d", replicas, got)
			}
		}
	}
	cancel := func(want *kerr.Error) func(*cluster) {
		return func(k *cluster) {
			k.t.Helper()
			if got := k.cancel("t", 0); got != codeOf(want) {
				k.t.Fatalf("cancellation: %d", got)
			}
		}
	}
	isr := func(want *kerr.Error, members ...int32) func(*cluster) {
		return func(k *cluster) {
			k.t.Helper()
			if got := k.alterISR("t", 0, members...); got != codeOf(want) {
				k.t.Fatalf("ISR %v: %d", members, got)
			}
		}
	}
	down := func(b int32) func(*cluster) { return func(k *cluster) { k.fence(b) } }
	up := func(b int32) func(*cluster) { return func(k *cluster) { k.unfence(b) } }
	for _, c := range []struct {
		name     string
		replicas []int32
		sets     [][2]string
		steps    []step
	}{
		{"all others", []int32{1, 2, 3}, nil, []step{
			{move(nil, 4, 5, 6), "[4 5 6 1 2 3] +[4 5 6] -[1 2 3]", "leader 1 epoch 0 isr [1 2 3]"},
			{isr(nil, 1, 2, 3, 4, 5), "[4 5 6 1 2 3] +[4 5 6] -[1 2 3]", "leader 1 epoch 0 isr [1 2 3 4 5]"},
			{isr(kerr.NewLeaderElected, 1, 2, 3, 4, 5, 6), "[4 5 6] +[] -[]", "leader 4 epoch 1 isr [4 5 6]"},
		}},
		{"the leader stays, in a new epoch", []int32{1, 2, 3}, nil, []step{
			{move(nil, 4, 1, 2), "[4 1 2 3] +[4] -[3]", "leader 1 epoch 0 isr [1 2 3]"},
			{isr(nil, 1, 2, 3, 4), "[4 1 2] +[] -[]", "leader 1 epoch 1 isr [1 2 4]"},
		}},
		{"who is to stay must be in sync too", []int32{1, 2, 3}, nil, []step{
			{down(2), "[1 2 3] +[] -[]", "leader 1 epoch 0 isr [1 3]"},
			{move(nil, 2, 1, 4), "[2 1 4 3] +[4] -[3]", "leader 1 epoch 0 isr [1 3]"},
			{isr(nil, 1, 3, 4), "[2 1 4 3] +[4] -[3]", "leader 1 epoch 0 isr [1 3 4]"},
			{up(2), "[2 1 4 3] +[4] -[3]", "leader 1 epoch 0 isr [1 3 4]"},
			{isr(nil, 1, 3, 4, 2), "[2 1 4] +[] -[]", "leader 1 epoch 1 isr [1 4 2]"},
		}},
		{"another order at once, without an epoch", []int32{1, 2, 3}, nil, []step{
			{move(nil, 3, 1, 2), "[3 1 2] +[] -[]", "leader 1 epoch 0 isr [1 2 3]"},
			{move(nil, 3, 1, 2), "[3 1 2] +[] -[]", "leader 1 epoch 0 isr [1 2 3]"},
		}},
		{"fewer at once, the leader among those who go", []int32{1, 2, 3}, nil, []step{
			{move(nil, 2, 3), "[2 3] +[] -[]", "leader 2 epoch 1 isr [2 3]"},
			{move(nil, 3), "[3] +[] -[]", "leader 3 epoch 2 isr [3]"},
		}},
		{"fewer once one of them is in sync", []int32{1, 2, 3}, nil, []step{
			{isr(nil, 1, 2), "[1 2 3] +[] -[]", "leader 1 epoch 0 isr [1 2]"},
			{move(nil, 3), "[3 1 2] +[] -[1 2]", "leader 1 epoch 0 isr [1 2]"},
			{down(1), "[3 1 2] +[] -[1 2]", "leader 2 epoch 1 isr [2] elr [1]"},
			{isr(kerr.NewLeaderElected, 2, 3), "[3] +[] -[]", "leader 3 epoch 2 isr [3]"},
		}},
		{"more", []int32{1}, nil, []step{
			{move(nil, 1, 2, 3), "[1 2 3] +[2 3] -[]", "leader 1 epoch 0 isr [1]"},
			{isr(nil, 1, 3), "[1 2 3] +[2 3] -[]", "leader 1 epoch 0 isr [1 3]"},
			{isr(nil, 1, 3, 2), "[1 2 3] +[] -[]", "leader 1 epoch 0 isr [1 3 2]"},
		}},
		{"a sole replica that is away gets company", []int32{1}, nil, []step{
			{down(1), "[1] +[] -[]", "leader 1 epoch 0 isr [1]"},
			{move(nil, 2), "[2 1] +[2] -[1]", "leader -1 epoch 1 isr [] elr [1] last [1]"},
			{cancel(nil), "[1] +[] -[]", "leader -1 epoch 2 isr [] elr [1] last [1]"},
			{move(nil, 2), "[2 1] +[2] -[1]", "leader -1 epoch 2 isr [] elr [1] last [1]"},
			{up(1), "[2 1] +[2] -[1]", "leader 1 epoch 3 isr [1]"},
			{isr(kerr.NewLeaderElected, 1, 2), "[2] +[] -[]", "leader 2 epoch 4 isr [2]"},
		}},
		{"cancelled", []int32{1, 2, 3}, nil, []step{
			{cancel(kerr.NoReassignmentInProgress), "[1 2 3] +[] -[]", "leader 1 epoch 0 isr [1 2 3]"},
			{move(nil, 4, 5), "[4 5 1 2 3] +[4 5] -[1 2 3]", "leader 1 epoch 0 isr [1 2 3]"},
			{isr(nil, 1, 2, 3, 4), "[4 5 1 2 3] +[4 5] -[1 2 3]", "leader 1 epoch 0 isr [1 2 3 4]"},
			{cancel(nil), "[1 2 3] +[] -[]", "leader 1 epoch 1 isr [1 2 3]"},
			{cancel(kerr.NoReassignmentInProgress), "[1 2 3] +[] -[]", "leader 1 epoch 1 isr [1 2 3]"},
		}},
		{"cancelled while a new one leads", []int32{1, 2}, nil, []step{
			{move(nil, 3, 4), "[3 4 1 2] +[3 4] -[1 2]", "leader 1 epoch 0 isr [1 2]"},
			{isr(nil, 1, 3), "[3 4 1 2] +[3 4] -[1 2]", "leader 1 epoch 0 isr [1 3]"},
			{down(1), "[3 4 1 2] +[3 4] -[1 2]", "leader 3 epoch 1 isr [3]"},
			{cancel(kerr.InvalidReplicaAssignment), "[3 4 1 2] +[3 4] -[1 2]", "leader 3 epoch 1 isr [3]"},
			{isr(nil, 3, 2), "[3 4 1 2] +[3 4] -[1 2]", "leader 3 epoch 1 isr [3 2]"},
			{cancel(nil), "[1 2] +[] -[]", "leader 2 epoch 2 isr [2]"},
		}},
		{"cancelled while a new one leads and an old one is eligible", []int32{1, 2}, [][2]string{{"min.insync.replicas", "2"}}, []step{
			{move(nil, 3, 4), "[3 4 1 2] +[3 4] -[1 2]", "leader 1 epoch 0 isr [1 2]"},
			{isr(nil, 1, 2, 3), "[3 4 1 2] +[3 4] -[1 2]", "leader 1 epoch 0 isr [1 2 3]"},
			{down(2), "[3 4 1 2] +[3 4] -[1 2]", "leader 1 epoch 0 isr [1 3]"},
			{down(1), "[3 4 1 2] +[3 4] -[1 2]", "leader 3 epoch 1 isr [3] elr [1]"},
			{cancel(kerr.InvalidReplicaAssignment), "[3 4 1 2] +[3 4] -[1 2]", "leader 3 epoch 1 isr [3] elr [1]"},
			{up(1), "[3 4 1 2] +[3 4] -[1 2]", "leader 3 epoch 1 isr [3] elr [1]"},
			{cancel(nil), "[1 2] +[] -[]", "leader 1 epoch 2 isr [1]"},
		}},
		{"cancelled uncleanly where that is allowed", []int32{1, 2}, [][2]string{{"unclean.leader.election.enable", "true"}}, []step{
			{move(nil, 3), "[3 1 2] +[3] -[1 2]", "leader 1 epoch 0 isr [1 2]"},
			{isr(kerr.NewLeaderElected, 1, 2, 3), "[3] +[] -[]", "leader 3 epoch 1 isr [3]"},
			{move(nil, 1, 2), "[1 2 3] +[1 2] -[3]", "leader 3 epoch 1 isr [3]"},
			{isr(nil, 3, 1), "[1 2 3] +[1 2] -[3]", "leader 3 epoch 1 isr [3 1]"},
			{down(3), "[1 2 3] +[1 2] -[3]", "leader 1 epoch 2 isr [1]"},
			{cancel(kerr.InvalidReplicaAssignment), "[1 2 3] +[1 2] -[3]", "leader 1 epoch 2 isr [1]"},
			{up(3), "[1 2 3] +[1 2] -[3]", "leader 1 epoch 2 isr [1]"},
			{cancel(nil), "[3] +[] -[]", "leader 3 epoch 3 isr [3] recovering"},
		}},
		{"replaced by another", []int32{1, 2, 3}, nil, []step{
			{move(nil, 4, 5, 6), "[4 5 6 1 2 3] +[4 5 6] -[1 2 3]", "leader 1 epoch 0 isr [1 2 3]"},
			{isr(nil, 1, 2, 3, 4, 5), "[4 5 6 1 2 3] +[4 5 6] -[1 2 3]", "leader 1 epoch 0 isr [1 2 3 4 5]"},
			{move(nil, 4, 1, 2), "[4 1 2] +[] -[]", "leader 1 epoch 1 isr [1 2 4]"},
		}},
		{"replaced by another, then cancelled", []int32{1, 2, 3}, nil, []step{
			{move(nil, 4, 5, 6), "[4 5 6 1 2 3] +[4 5 6] -[1 2 3]", "leader 1 epoch 0 isr [1 2 3]"},
			{move(nil, 6, 4, 1), "[6 4 1 2 3] +[4 6] -[2 3]", "leader 1 epoch 1 isr [1 2 3]"},
			{cancel(nil), "[1 2 3] +[] -[]", "leader 1 epoch 2 isr [1 2 3]"},
		}},
		{"replaced by what was there", []int32{1, 2, 3}, nil, []step{
			{move(nil, 4, 2, 3), "[4 2 3 1] +[4] -[1]", "leader 1 epoch 0 isr [1 2 3]"},
			{move(nil, 1, 2, 3), "[1 2 3] +[] -[]", "leader 1 epoch 1 isr [1 2 3]"},
		}},
		{"replaced while only a new one is in sync", []int32{1}, nil, []step{
			{move(nil, 2, 3), "[2 3 1] +[2 3] -[1]", "leader 1 epoch 0 isr [1]"},
			{isr(nil, 1, 2), "[2 3 1] +[2 3] -[1]", "leader 1 epoch 0 isr [1 2]"},
			{down(1), "[2 3 1] +[2 3] -[1]", "leader 2 epoch 1 isr [2]"},
			{move(nil, 3, 4), "[3 4 1 2] +[3 4] -[1 2]", "leader 2 epoch 1 isr [2]"},
			{isr(kerr.NewLeaderElected, 2, 3, 4), "[3 4] +[] -[]", "leader 3 epoch 2 isr [3 4]"},
		}},
		{"replaced while too few others are in sync", []int32{1, 2}, [][2]string{{"min.insync.replicas", "2"}}, []step{
			{move(nil, 3, 2), "[3 2 1] +[3] -[1]", "leader 1 epoch 0 isr [1 2]"},
			{isr(kerr.NewLeaderElected, 1, 2, 3), "[3 2] +[] -[]", "leader 3 epoch 1 isr [2 3]"},
			{move(nil, 4, 5), "[4 5 2 3] +[4 5] -[2 3]", "leader 3 epoch 1 isr [2 3]"},
			{isr(nil, 2, 3, 4), "[4 5 2 3] +[4 5] -[2 3]", "leader 3 epoch 1 isr [2 3 4]"},
			{down(2), "[4 5 2 3] +[4 5] -[2 3]", "leader 3 epoch 1 isr [3 4]"},
			{cancel(kerr.InvalidReplicaAssignment), "[4 5 2 3] +[4 5] -[2 3]", "leader 3 epoch 1 isr [3 4]"},
			{move(nil, 1, 6), "[1 6 2 3 4] +[1 6] -[2 3 4]", "leader 3 epoch 2 isr [3 4]"},
			{up(2), "[1 6 2 3 4] +[1 6] -[2 3 4]", "leader 3 epoch 2 isr [3 4]"},
			{isr(kerr.NewLeaderElected, 3, 4, 1, 6), "[1 6] +[] -[]", "leader 1 epoch 3 isr [1 6]"},
		}},
		{"a new one dies on the way", []int32{1, 2}, [][2]string{{"min.insync.replicas", "2"}}, []step{
			{move(nil, 3, 2), "[3 2 1] +[3] -[1]", "leader 1 epoch 0 isr [1 2]"},
			{down(3), "[3 2 1] +[3] -[1]", "leader 1 epoch 0 isr [1 2]"},
			{down(2), "[3 2 1] +[3] -[1]", "leader 1 epoch 0 isr [1] elr [2]"},
			{up(3), "[3 2 1] +[3] -[1]", "leader 1 epoch 0 isr [1] elr [2]"},
			{isr(nil, 1, 3), "[3 2 1] +[3] -[1]", "leader 1 epoch 0 isr [1 3]"},
			{up(2), "[3 2 1] +[3] -[1]", "leader 1 epoch 0 isr [1 3]"},
			{isr(kerr.NewLeaderElected, 1, 3, 2), "[3 2] +[] -[]", "leader 3 epoch 1 isr [3 2]"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newCluster(t, 6)
			topic := assigned("t", c.replicas)
			topic.Configs = topicAsk("", 0, 0, c.sets...).Configs
			k.mustCreate(topic)
			for i, s := range c.steps {
				s.do(k)
				if a, st := k.assignmentOf("t", 0), k.state("t", 0); a != s.assignment || st != s.state {
					t.Fatalf("step %d: %s, %s\nwant %s, %s", i, a, st, s.assignment, s.state)
				}
				k.checkInvariants()
			}
		})
	}
}

func codeOf(err *kerr.Error) int16 {
	if err == nil {
		return 0
	}
	return err.Code
}

func TestReassignmentErrors(t *testing.T) {
	type req = kmsg.AlterPartitionAssignmentsRequest
	for _, c := range []struct {
		name   string
		change func(*req)
		want   *kerr.Error
		text   string
	}{
		{"topic", func(r *req) { r.Topics[0].Topic = "x" }, kerr.UnknownTopicOrPartition, "Unable to find a topic named x."},
		{"partition", func(r *req) { r.Topics[0].Partitions[0].Partition = 7 }, kerr.UnknownTopicOrPartition, "Unable to find partition t:7."},
		{"empty", func(r *req) { r.Topics[0].Partitions[0].Replicas = []int32{} }, kerr.InvalidReplicaAssignment,
			"The manual partition assignment includes an empty replica list."},
		{"unregistered", func(r *req) { r.Topics[0].Partitions[0].Replicas = []int32{1, 9} }, kerr.InvalidReplicaAssignment,
			"The manual partition assignment includes broker 9, but no such broker is registered."},
		{"twice", func(r *req) { r.Topics[0].Partitions[0].Replicas = []int32{3, 3} }, kerr.InvalidReplicaAssignment,
			"The manual partition assignment includes the broker 3 more than once."},
		{"factor", func(r *req) { r.AllowReplicationFactorChange = false }, kerr.InvalidReplicationFactor,
			"The replication factor is changed from 2 to 3"},
		{"cancel", func(r *req) { r.Topics[0].Partitions[0].Replicas = nil }, kerr.NoReassignmentInProgress, "No partition reassignment is in progress."},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newCluster(t, 3)
			k.mustCreate(assigned("t", []int32{1, 2}))
			r := reassignRequest("t", 0, []int32{1, 2, 3})
			c.change(r)
			got := k.reassigned(r)
			if got.ErrorCode != c.want.Code || deref(got.ErrorMessage) != c.text || len(k.records) != 0 {
				t.Errorf("%d %s, %d records", got.ErrorCode, deref(got.ErrorMessage), len(k.records))
			}
		})
	}
	k := newCluster(t, 4)
	k.mustCreate(assigned("t", []int32{1, 2}))
	r := reassignRequest("t", 0, []int32{3, 4})
	r.AllowReplicationFactorChange = false
	if got := k.reassigned(r); got.ErrorCode != 0 {
		t.Errorf("same factor: %d", got.ErrorCode)
	}
	// The factor is the one that the reassignment on its way leads to.
	r.Topics[0].Partitions[0].Replicas = []int32{3, 1}
	if got := k.reassigned(r); got.ErrorCode != 0 {
		t.Errorf("same factor while reassigning: %d", got.ErrorCode)
	}
	// Version 0 knows no such wish.
	r.Version, r.Topics[0].Partitions[0].Replicas = 0, []int32{1}
	if resp := k.ask(r).(*kmsg.AlterPartitionAssignmentsResponse); resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Errorf("version 0: %+v", resp)
	}
	// One of two wishes for the same partition counts.
	r = reassignRequest("t", 0, []int32{1, 3})
	r.Topics = append(r.Topics, reassignRequest("t", 0, []int32{4}).Topics...)
	resp := k.ask(r).(*kmsg.AlterPartitionAssignmentsResponse)
	if resp.Topics[0].Partitions[0].ErrorCode != 0 || resp.Topics[1].Partitions[0].ErrorCode != kerr.InvalidRequest.Code || len(k.records) != 1 {
		t.Errorf("twice: %+v", resp.Topics)
	}
	r.Topics[0].Partitions = slices.Repeat(r.Topics[0].Partitions, maxRecords)
	resp = k.ask(r).(*kmsg.AlterPartitionAssignmentsResponse)
	if resp.Topics[0].Partitions[0].ErrorCode != kerr.PolicyViolation.Code || len(k.records) != 0 {
		t.Errorf("too many: %+v", resp.Topics[0].Partitions[0])
	}
}

// TestReassignmentDirectories: new replicas get the directory of a broker that has
// one, and old ones keep theirs, in whatever order.
func TestReassignmentDirectories(t *testing.T) {
	k := newCluster(t, 4)
	req := registrationRequest(k.img(), 5, 5)
	req.LogDirs = [][16]byte{id(51), id(52)}
	k.ask(req)
	k.unfence(5)
	k.mustCreate(assigned("t", []int32{1, 2}))
	k.reassign("t", 0, 5, 3, 2)
	p := k.img().Partition("t", 0)
	want := [][16]byte{{}, id(203), id(202), id(201)}
	if !slices.Equal(p.Replicas, []int32{5, 3, 2, 1}) || !slices.Equal(p.Directories, want) {
		t.Errorf("%v in %v", p.Replicas, p.Directories)
	}
	k.alterISR("t", 0, 1, 2, 3, 5)
	if p = k.img().Partition("t", 0); !slices.Equal(p.Directories, want[:3]) {
		t.Errorf("%v in %v", p.Replicas, p.Directories)
	}
}

// TestReassignmentToWhoHasNoDisk: a broker whose only directory has failed can be
// assigned to, by no known directory; and one that comes with another disk while it is
// being added may lead from that.
func TestReassignmentToWhoHasNoDisk(t *testing.T) {
	k := newCluster(t, 3)
	k.mustCreate(assigned("t", []int32{2}), assigned("u", []int32{2}))
	k.reassign("u", 0, 3)
	k.beat(3, func(r *kmsg.BrokerHeartbeatRequest) { r.OfflineLogDirs = [][16]byte{id(203)} })
	k.reassign("t", 0, 2, 3)
	if p := k.img().Partition("t", 0); !slices.Equal(p.Directories, [][16]byte{id(202), {}}) {
		t.Errorf("%x", p.Directories)
	}
	k.checkInvariants()
	delete(k.c.sessions, 3)
	req := registrationRequest(k.img(), 3, 33)
	req.LogDirs[0] = id(99)
	k.ask(req)
	k.unfence(3)
	if got := k.alterISR("u", 0, 2, 3); got != kerr.NewLeaderElected.Code {
		t.Errorf("joined: %d", got)
	}
	k.expect("u", 0, "leader 3 epoch 1 isr [3]")
	if p := k.img().Partition("u", 0); p.Directory(3) != id(99) {
		t.Errorf("%x", p.Directories)
	}
	k.checkInvariants()
}

func TestListReassignments(t *testing.T) {
	k := newCluster(t, 3)
	k.mustCreate(assigned("a", []int32{1}, []int32{2}), assigned("b", []int32{3}), assigned("c", []int32{1}))
	k.reassign("a", 1, 3)
	k.reassign("c", 0, 2, 3)
	list := func(topics []kmsg.ListPartitionReassignmentsRequestTopic) string {
		req := kmsg.NewPtrListPartitionReassignmentsRequest()
		req.Topics = topics
		s := ""
		for _, t := range k.img().Reassignments(req).Topics {
			for _, p := range t.Partitions {
				s += fmt.Sprintf("%s-%d %v +%v -%v; ", t.Topic, p.Partition, p.Replicas, p.AddingReplicas, p.RemovingReplicas)
			}
		}
		return s
	}
	if got, want := list(nil), "a-1 [3 2] +[3] -[2]; c-0 [2 3 1] +[2 3] -[1]; "; got != want {
		t.Errorf("all: %s", got)
	}
	ask := []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "a", Partitions: []int32{0, 1, 7}}, {Topic: "b", Partitions: []int32{0}}, {Topic: "x", Partitions: []int32{0}}}
	if got, want := list(ask), "a-1 [3 2] +[3] -[2]; "; got != want {
		t.Errorf("some: %s", got)
	}
	if got := list([]kmsg.ListPartitionReassignmentsRequestTopic{}); got != "" {
		t.Errorf("none: %s", got)
	}
}
