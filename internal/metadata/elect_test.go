package metadata

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestElections tells stories: brokers go and come, and the state after each step.
func TestElections(t *testing.T) {
	type step struct {
		do   func(*cluster)
		want string
	}
	down := func(b int32) func(*cluster) { return func(k *cluster) { k.fence(b) } }
	up := func(b int32) func(*cluster) { return func(k *cluster) { k.unfence(b) } }
	join := func(isr ...int32) func(*cluster) {
		return func(k *cluster) {
			if code := k.alterISR("t", 0, isr...); code != 0 {
				k.t.Fatalf("ISR %v: %d", isr, code)
			}
		}
	}
	lose := func(b int32) func(*cluster) {
		return func(k *cluster) { k.restart(b, TopicPartition{k.img().Topic("t").ID, 0}) }
	}
	restart := func(b int32) func(*cluster) { return func(k *cluster) { k.restart(b) } }
	minISR := func(n string) func(*cluster) {
		return func(k *cluster) { k.alterOne(1, Resource{ResourceTopic, "t"}, op{"min.insync.replicas", opSet, &n}) }
	}
	stop := func(b int32) func(*cluster) {
		return func(k *cluster) { k.beat(b, func(r *kmsg.BrokerHeartbeatRequest) { r.WantShutdown = true }) }
	}
	beat := func(b int32) func(*cluster) { return func(k *cluster) { k.beat(b, nil) } }
	noELR := map[string]int16{"metadata.version": 33}
	elr := map[string]int16{"metadata.version": 33, featureELR: 1}
	for _, c := range []struct {
		name     string
		features map[string]int16
		minISR   string
		unclean  bool
		steps    []step
	}{
		{"one after the other with min ISR 1", elr, "1", false, []step{
			{nil, "leader 1 epoch 0 isr [1 2 3]"},
			{down(1), "leader 2 epoch 1 isr [2 3]"},
			{down(3), "leader 2 epoch 1 isr [2]"},
			{down(2), "leader -1 epoch 2 isr [] elr [2] last [2]"},
			{up(1), "leader -1 epoch 2 isr [] elr [2] last [2]"},
			{up(2), "leader 2 epoch 3 isr [2]"},
			{join(2, 1), "leader 2 epoch 3 isr [2 1]"},
		}},
		{"eligible leader replicas with min ISR 2", elr, "2", false, []step{
			{down(3), "leader 1 epoch 0 isr [1 2]"},
			{down(2), "leader 1 epoch 0 isr [1] elr [2]"},
			{down(1), "leader -1 epoch 1 isr [] elr [1 2] last [1]"},
			{up(3), "leader -1 epoch 1 isr [] elr [1 2] last [1]"},
			{up(2), "leader 2 epoch 2 isr [2] elr [1]"},
			{join(2, 3), "leader 2 epoch 2 isr [2 3]"},
		}},
		{"an eligible replica that restarts stays eligible", elr, "2", false, []step{
			{down(3), "leader 1 epoch 0 isr [1 2]"},
			{restart(2), "leader 1 epoch 0 isr [1] elr [2]"},
			{restart(1), "leader -1 epoch 1 isr [] elr [1 2] last [1]"},
			{up(2), "leader 2 epoch 2 isr [2] elr [1]"},
		}},
		{"an eligible replica that lost records does not", elr, "2", false, []step{
			{down(3), "leader 1 epoch 0 isr [1 2]"},
			{lose(2), "leader 1 epoch 0 isr [1]"},
			{down(1), "leader -1 epoch 1 isr [] elr [1] last [1]"},
			{up(2), "leader -1 epoch 1 isr [] elr [1] last [1]"},
			{lose(1), "leader -1 epoch 1 isr [] last [1]"},
			{up(3), "leader -1 epoch 1 isr [] last [1]"},
			{up(1), "leader 1 epoch 2 isr [1] recovering"},
			{join(1), "leader 1 epoch 2 isr [1]"},
			{join(1, 2, 3), "leader 1 epoch 2 isr [1 2 3]"},
		}},
		{"a member of the ELR loses records while it is there", elr, "3", false, []step{
			{down(2), "leader 1 epoch 0 isr [1 3] elr [2]"},
			{lose(2), "leader 1 epoch 0 isr [1 3]"},
			{down(3), "leader 1 epoch 0 isr [1] elr [3]"},
		}},
		{"min ISR falls while there is no leader", elr, "2", false, []step{
			{down(3), "leader 1 epoch 0 isr [1 2]"},
			{down(2), "leader 1 epoch 0 isr [1] elr [2]"},
			{down(1), "leader -1 epoch 1 isr [] elr [1 2] last [1]"},
			{minISR("1"), "leader -1 epoch 1 isr [] elr [1 2] last [1]"},
			// 2 alone moves the high watermark, so 1 falls behind from here on.
			{up(2), "leader 2 epoch 2 isr [2]"},
		}},
		{"who is shutting down comes back only by a registration", elr, "1", false, []step{
			{stop(1), "leader 2 epoch 1 isr [2 3]"},
			{down(1), "leader 2 epoch 1 isr [2 3]"},
			{down(2), "leader 3 epoch 2 isr [3]"},
			{beat(1), "leader 3 epoch 2 isr [3]"},
			{down(3), "leader -1 epoch 3 isr [] elr [3] last [3]"},
			{stop(3), "leader -1 epoch 3 isr [] elr [3] last [3]"},
		}},
		{"unclean", elr, "1", true, []step{
			{down(2), "leader 1 epoch 0 isr [1 3]"},
			{down(3), "leader 1 epoch 0 isr [1]"},
			{down(1), "leader -1 epoch 1 isr [] elr [1] last [1]"},
			{up(3), "leader 3 epoch 2 isr [3] recovering"},
			{up(1), "leader 3 epoch 2 isr [3] recovering"},
			{join(3), "leader 3 epoch 2 isr [3]"},
		}},
		{"unclean while another is alive", elr, "1", true, []step{
			{join(1), "leader 1 epoch 0 isr [1]"},
			{down(1), "leader 2 epoch 1 isr [2] recovering"},
		}},
		{"a clean one is preferred where unclean is allowed", elr, "2", true, []step{
			{join(1, 3), "leader 1 epoch 0 isr [1 3]"},
			{join(1), "leader 1 epoch 0 isr [1] elr [3]"},
			{down(1), "leader 3 epoch 1 isr [3] elr [1]"},
		}},
		{"without the feature the last ISR stays", noELR, "2", false, []step{
			{down(2), "leader 1 epoch 0 isr [1 3]"},
			{down(3), "leader 1 epoch 0 isr [1]"},
			{down(1), "leader -1 epoch 1 isr [1]"},
			{up(3), "leader -1 epoch 1 isr [1]"},
			{up(1), "leader 1 epoch 2 isr [1]"},
		}},
		{"without the feature unclean", noELR, "1", true, []step{
			{join(1), "leader 1 epoch 0 isr [1]"},
			{down(2), "leader 1 epoch 0 isr [1]"},
			{down(1), "leader 3 epoch 1 isr [3] recovering"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newClusterWith(t, c.features, 3)
			topic := assigned("t", []int32{1, 2, 3})
			for key, value := range map[string]string{"min.insync.replicas": c.minISR, "unclean.leader.election.enable": map[bool]string{true: "true", false: "false"}[c.unclean]} {
				cfg := kmsg.NewCreateTopicsRequestTopicConfig()
				cfg.Name, cfg.Value = key, &value
				topic.Configs = append(topic.Configs, cfg)
			}
			k.mustCreate(topic)
			for i, s := range c.steps {
				if s.do != nil {
					s.do(k)
				}
				if got := k.state("t", 0); got != s.want {
					t.Fatalf("step %d: %s; want %s", i, got, s.want)
				}
				k.checkInvariants()
			}
		})
	}
}

// restart registers the next incarnation of a broker and leaves it fenced.
func (k *cluster) restart(broker int32, lost ...TopicPartition) {
	k.t.Helper()
	delete(k.c.sessions, broker) // its session has ended
	k.register(broker, byte(100+k.offset%100), lost...)
}

// TestElectionHelpers tries what no story above does.
func TestElectionHelpers(t *testing.T) {
	p := &Partition{Leader: 2, LeaderEpoch: 4, PartitionEpoch: 9, Replicas: []int32{1, 2, 3}, ISR: []int32{2, 1}}
	all := func(int32) bool { return true }
	base := election{p: p, isr: p.ISR, acceptable: all, minISR: 1, elr: true, lost: NoLeader}

	if base.decide() != nil {
		t.Error("a change though all is well")
	}
	e := base
	e.preferred = true
	if r := e.decide(); r == nil || r.Leader != 1 || r.ISR != nil {
		t.Errorf("preferred: %+v", r)
	}
	e.acceptable = func(r int32) bool { return r != 1 }
	if r := e.decide(); r != nil {
		t.Errorf("preferred but not alive: %+v", r)
	}
	e = base
	e.bump = true
	if after := merge(p, e.decide()); after.Leader != 2 || after.LeaderEpoch != 5 || after.PartitionEpoch != 10 {
		t.Errorf("bumped: %+v", after)
	}
}

func TestAlterPartition(t *testing.T) {
	type ask = kmsg.AlterPartitionRequestTopicPartition
	for _, c := range []struct {
		name    string
		change  func(*kmsg.AlterPartitionRequest, *ask)
		version int16
		want    *kerr.Error
	}{
		{"shrink", func(_ *kmsg.AlterPartitionRequest, a *ask) {}, 3, nil},
		{"no change", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.NewEpochISR = isrOf(1, 2, 3) }, 3, nil},
		{"any epoch", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.NewEpochISR[1].BrokerEpoch = -1 }, 3, nil},
		{"by ids", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.NewISR = []int32{1, 2} }, 2, nil},
		{"by ids and name", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.NewISR = []int32{1, 2} }, 0, nil},
		{"stale broker", func(r *kmsg.AlterPartitionRequest, _ *ask) { r.BrokerEpoch = 77 }, 3, kerr.StaleBrokerEpoch},
		{"unknown broker", func(r *kmsg.AlterPartitionRequest, _ *ask) { r.BrokerID = 9 }, 3, kerr.StaleBrokerEpoch},
		{"unknown topic", func(r *kmsg.AlterPartitionRequest, _ *ask) { r.Topics[0].TopicID = id(9) }, 3, kerr.UnknownTopicID},
		{"unknown name", func(r *kmsg.AlterPartitionRequest, _ *ask) { r.Topics[0].Topic = "x" }, 1, kerr.UnknownTopicOrPartition},
		{"unknown partition", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.Partition = 1 }, 3, kerr.UnknownTopicOrPartition},
		{"newer leader epoch", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.LeaderEpoch++ }, 3, kerr.NotController},
		{"newer partition epoch", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.PartitionEpoch++ }, 3, kerr.NotController},
		{"older leader epoch", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.LeaderEpoch-- }, 3, kerr.FencedLeaderEpoch},
		{"older partition epoch", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.PartitionEpoch-- }, 3, kerr.InvalidUpdateVersion},
		{"not the leader", func(r *kmsg.AlterPartitionRequest, _ *ask) { r.BrokerID, r.BrokerEpoch = 2, 2 }, 3, kerr.InvalidRequest},
		{"without the leader", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.NewEpochISR = isrOf(2, 3) }, 3, kerr.InvalidRequest},
		{"empty", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.NewEpochISR = nil }, 3, kerr.InvalidRequest},
		{"no replica", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.NewEpochISR = isrOf(1, 4) }, 3, kerr.InvalidRequest},
		{"member twice", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.NewEpochISR = isrOf(1, 2, 2) }, 3, kerr.InvalidRequest},
		{"recovered to recovering", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.LeaderRecoveryState, a.NewEpochISR = 1, isrOf(1) }, 3, kerr.InvalidRequest},
		{"recovering with others", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.LeaderRecoveryState = 1 }, 3, kerr.InvalidRequest},
		{"unknown recovery state", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.LeaderRecoveryState = 2 }, 3, kerr.InvalidRequest},
		{"member's old epoch", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.NewEpochISR[1].BrokerEpoch-- }, 3, kerr.IneligibleReplica},
		{"fenced member", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.NewEpochISR = isrOf(1, 5) }, 3, kerr.IneligibleReplica},
		{"fenced member by id", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.NewISR = []int32{1, 5} }, 2, kerr.IneligibleReplica},
		{"fenced member by id v1", func(_ *kmsg.AlterPartitionRequest, a *ask) { a.NewISR = []int32{1, 5} }, 1, kerr.OperationNotAttempted},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newCluster(t, 5)
			k.mustCreate(assigned("t", []int32{1, 2, 3, 5}))
			k.fence(4)
			k.restart(5)
			// Epochs above zero, so that older ones exist.
			k.fence(1)
			k.unfence(1)
			k.alterISR("t", 0, 2, 3, 1)
			k.fence(2)
			k.fence(3)
			k.unfence(2)
			k.unfence(3)
			k.alterISR("t", 0, 1, 2, 3)
			k.expect("t", 0, "leader 1 epoch 2 isr [1 2 3]")
			before := k.state("t", 0)
			req := alterRequest(k.img(), 1, "t", 0, 1, 2)
			req.Version = c.version
			c.change(req, &req.Topics[0].Partitions[0])
			for i := range req.Topics[0].Partitions[0].NewEpochISR {
				m := &req.Topics[0].Partitions[0].NewEpochISR[i]
				if m.BrokerEpoch == -2 {
					m.BrokerEpoch = k.img().Broker(m.BrokerID).Epoch
				}
			}
			epoch := k.img().Partition("t", 0).PartitionEpoch
			got := k.alterPartition(req)
			if c.want != nil {
				if got.ErrorCode != c.want.Code || len(k.records) != 0 || k.state("t", 0) != before {
					t.Errorf("got %d, want %d; %s", got.ErrorCode, c.want.Code, k.state("t", 0))
				}
				return
			}
			p := k.img().Partition("t", 0)
			if got.ErrorCode != 0 || got.LeaderID != 1 || got.LeaderEpoch != 2 || !slices.Equal(got.ISR, p.ISR) || got.PartitionEpoch != p.PartitionEpoch {
				t.Errorf("%+v for %s", got, k.state("t", 0))
			}
			if c.name == "no change" {
				if len(k.records) != 0 || p.PartitionEpoch != epoch {
					t.Error("no change wrote records")
				}
			} else if p.PartitionEpoch != epoch+1 || !slices.Equal(p.ISR, []int32{1, 2}) {
				t.Errorf("partition epoch %d after %d; %s", p.PartitionEpoch, epoch, k.state("t", 0))
			}
			k.checkInvariants()
		})
	}
}

// isrOf lists members whose epochs (-2) the test fills in.
func isrOf(ids ...int32) (out []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR) {
	for _, id := range ids {
		out = append(out, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: id, BrokerEpoch: -2})
	}
	return out
}

// TestAlterPartitionTwice: one request cannot change a partition twice, nor with
// an epoch that its first change made old.
func TestAlterPartitionTwice(t *testing.T) {
	k := newCluster(t, 2)
	k.mustCreate(assigned("t", []int32{1, 2}))
	req := alterRequest(k.img(), 1, "t", 0, 1)
	req.Topics = append(req.Topics, req.Topics[0])
	resp := k.ask(req).(*kmsg.AlterPartitionResponse)
	if resp.Topics[0].Partitions[0].ErrorCode != 0 || resp.Topics[1].Partitions[0].ErrorCode != kerr.InvalidRequest.Code || len(k.records) != 1 {
		t.Errorf("%+v", resp.Topics)
	}
	req.Topics = req.Topics[:1]
	if got := k.alterPartition(req); got.ErrorCode != kerr.InvalidUpdateVersion.Code {
		t.Errorf("a repeated request: %d", got.ErrorCode)
	}
}

// TestAlterPartitionCompletesReassignment: the leader that loses its replica by
// its own request is told so.
func TestAlterPartitionCompletesReassignment(t *testing.T) {
	k := newCluster(t, 2)
	k.mustCreate(assigned("t", []int32{1}))
	k.reassign("t", 0, 2)
	if got := k.alterISR("t", 0, 1, 2); got != kerr.NewLeaderElected.Code {
		t.Errorf("got %d", got)
	}
	k.expect("t", 0, "leader 2 epoch 1 isr [2]")
	k.checkInvariants()
}

func TestPlacement(t *testing.T) {
	broker := func(id int32, rack string, fenced bool) *Broker {
		b := &Broker{ID: id, Fenced: fenced}
		if rack != "" {
			b.Rack = &rack
		}
		return b
	}
	r := rand.New(rand.NewPCG(3, 4))
	var nine []*Broker
	rackOf := map[int32]string{}
	for i := range int32(9) {
		rack := string(rune('A' + i%3))
		nine = append(nine, broker(i, rack, false))
		rackOf[i] = rack
	}
	lists, err := place(r, nine, 90, 3)
	if err != nil {
		t.Fatal(err)
	}
	leads, holds := map[int32]int{}, map[int32]int{}
	pairs := map[[2]int32]int{}
	for _, l := range lists {
		leads[l[0]]++
		pairs[[2]int32{l[0], l[1]}]++
		racks := map[string]bool{}
		for _, id := range l {
			holds[id]++
			racks[rackOf[id]] = true
		}
		if len(racks) != 3 {
			t.Fatalf("replicas %v share a rack", l)
		}
	}
	for id := range int32(9) {
		if leads[id] != 10 || holds[id] < 25 || holds[id] > 35 {
			t.Errorf("broker %d leads %d and holds %d", id, leads[id], holds[id])
		}
	}
	sets := map[string]bool{}
	for _, l := range lists[:9] {
		sets[fmt.Sprint(slices.Sorted(slices.Values(l)))] = true
	}
	if len(sets) != 9 {
		t.Errorf("nine partitions share %d sets of replicas", len(sets))
	}
	if len(pairs) < 30 {
		t.Errorf("only %d pairs of leader and first follower", len(pairs))
	}

	// Without racks, and some fenced: those lead nothing and are used last.
	flat := []*Broker{broker(1, "", false), broker(2, "", true), broker(3, "", false), broker(4, "", true)}
	lists, err = place(r, flat, 20, 3)
	if err != nil {
		t.Fatal(err)
	}
	leads = map[int32]int{}
	for _, l := range lists {
		leads[l[0]]++
		if _, twice := repeated(l); twice || !slices.Contains(l, 1) || !slices.Contains(l, 3) {
			t.Errorf("replicas %v", l)
		}
	}
	if leads[1] != 10 || leads[3] != 10 {
		t.Errorf("leaders %v", leads)
	}
	// A rack whose brokers are all fenced follows, but does not lead.
	lists, err = place(r, []*Broker{broker(1, "A", false), broker(2, "B", true)}, 10, 2)
	for _, l := range lists {
		if err != nil || !slices.Equal(l, []int32{1, 2}) {
			t.Errorf("%v, %v", l, err)
		}
	}
	if _, err := place(r, flat, 1, 5); err == nil {
		t.Error("five replicas on four brokers")
	}
	if _, err := place(r, flat[1:2], 1, 1); err == nil {
		t.Error("a partition that nobody leads")
	}
	if _, err := place(r, nil, 1, 1); err == nil {
		t.Error("no broker")
	}
	// The start is random.
	starts := map[int32]bool{}
	for range 50 {
		l, _ := place(r, nine, 1, 1)
		starts[l[0][0]] = true
	}
	if len(starts) < 6 {
		t.Errorf("starts %v", starts)
	}
}
