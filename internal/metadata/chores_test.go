package metadata

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
)

// live lets time pass while brokers send their heartbeats.
func (k *cluster) live(d time.Duration, brokers ...int32) {
	k.t.Helper()
	for end := k.now.Add(d); k.now.Before(end); {
		k.wait(min(2*time.Second, end.Sub(k.now)))
		for _, b := range brokers {
			k.beat(b, nil)
		}
	}
}

// TestPreferredLeaders: leadership goes back by itself, once an interval.
func TestPreferredLeaders(t *testing.T) {
	for _, c := range []struct {
		enabled string
		want    int32
	}{{"true", 1}, {"false", 2}} {
		k := newCluster(t, 3, "leader.imbalance.check.interval.seconds=20", "auto.leader.rebalance.enable="+c.enabled)
		k.mustCreate(assigned("t", []int32{1, 2, 3}, []int32{2, 3, 1}))
		k.fence(1)
		k.unfence(1)
		k.live(time.Minute, 1, 2, 3)
		if p := k.img().Partition("t", 0); p.Leader != 2 {
			t.Errorf("leader %d, which is not in sync", p.Leader)
		}
		k.alterISR("t", 0, 2, 3, 1)
		k.live(21*time.Second, 1, 2, 3)
		if p := k.img().Partition("t", 0); p.Leader != c.want {
			t.Errorf("enabled %s: leader %d", c.enabled, p.Leader)
		}
		k.expect("t", 1, "leader 2 epoch 0 isr [2 3]")
		k.checkInvariants()
	}
}

// TestPreferredLeadersInBatches: many elections are several batches, close together.
func TestPreferredLeadersInBatches(t *testing.T) {
	k := newCluster(t, 2)
	lists := make([][]int32, maxElections+10)
	for i := range lists {
		lists[i] = []int32{1, 2}
	}
	k.mustCreate(assigned("t", lists...))
	k.fence(1)
	k.unfence(1)
	for i := range lists {
		k.alterISR("t", int32(i), 2, 1)
	}
	k.do(machine.TimerFired{Key: choreLeaders})
	if len(k.records) != maxElections || !k.timers[choreLeaders].Equal(k.now.Add(soon)) {
		t.Errorf("%d records, again %v", len(k.records), k.timers[choreLeaders].Sub(k.now))
	}
	k.wait(soon)
	if len(k.records) != 10 {
		t.Errorf("%d records", len(k.records))
	}
	k.checkInvariants()
}

// TestUncleanOnceAllowed: a topic that is allowed to lose records gets a leader at once,
// by its own setting, by that of all brokers, and by a setting that is taken away.
func TestUncleanOnceAllowed(t *testing.T) {
	for _, c := range []struct {
		res Resource
		do  op
	}{
		{Resource{ResourceTopic, "t"}, op{"unclean.leader.election.enable", opSet, str("true")}},
		{Resource{ResourceBroker, ""}, op{"unclean.leader.election.enable", opSet, str("true")}},
		{Resource{ResourceTopic, "never"}, op{"unclean.leader.election.enable", opDelete, nil}},
	} {
		k := newCluster(t, 2)
		never := topicAsk("never", -1, -1, [2]string{"unclean.leader.election.enable", "false"})
		never.ReplicaAssignment = assigned("", []int32{1, 2}).ReplicaAssignment
		k.mustCreate(assigned("t", []int32{1, 2}), never)
		if c.res.Name == "never" {
			k.alterOne(1, Resource{ResourceBroker, ""}, op{"unclean.leader.election.enable", opSet, str("true")})
		}
		for _, topic := range []string{"t", "never"} {
			k.alterISR(topic, 0, 1)
		}
		k.fence(1)
		want := map[string]string{"t": "leader -1 epoch 1 isr [] elr [1] last [1]", "never": "leader -1 epoch 1 isr [] elr [1] last [1]"}
		if c.res.Name == "never" {
			want["t"] = "leader 2 epoch 1 isr [2] recovering"
		}
		check := func() {
			t.Helper()
			for topic, state := range want {
				k.expect(topic, 0, state)
			}
			k.checkInvariants()
		}
		check()
		k.alterOne(1, c.res, c.do)
		k.wait(0)
		if c.res.Name == "never" {
			want["never"] = "leader 2 epoch 2 isr [2] recovering"
		} else {
			want["t"] = "leader 2 epoch 2 isr [2] recovering"
		}
		check()
	}
}

// TestChoresBeforeTheCluster: a controller that waits for its first brokers keeps its timers.
func TestChoresBeforeTheCluster(t *testing.T) {
	k := newCluster(t, 0)
	k.c = NewController(nil, k.opts)
	k.timers = map[string]time.Time{}
	k.settle(k.c.Resume(k.now))
	k.wait(10 * time.Minute)
	for _, key := range []string{choreWatch, choreLeaders, choreUnclean, choreInternal} {
		if at := k.timers[key]; !at.After(k.now) {
			t.Errorf("timer %s: %v", key, at)
		}
	}
}

// TestStoppedController: after a stop of this process that is longer than the rest of
// any session, nobody is fenced for it, whichever event comes first.
func TestStoppedController(t *testing.T) {
	for _, stop := range []time.Duration{5 * time.Second, 8 * time.Second, 12 * time.Second, time.Hour} {
		for _, first := range []string{choreWatch, sessionKey(2), "heartbeat"} {
			k := newCluster(t, 5, "broker.session.timeout.ms=9000")
			for range 3 {
				k.live(2*time.Second, 1, 2, 3, 4, 5)
			}
			k.now = k.now.Add(stop)
			if first == "heartbeat" {
				k.beat(3, nil)
			} else {
				k.do(machine.TimerFired{Key: first})
			}
			k.wait(0)
			k.wait(time.Second)
			for _, b := range k.img().Brokers() {
				if !b.Active() {
					t.Errorf("stopped for %v, then %s: broker %d is fenced", stop, first, b.ID)
				}
			}
			k.live(10*time.Second, 1, 2, 3)
			if k.img().Active(4) || k.img().Active(5) || !k.img().Active(1) {
				t.Error("the silent are not fenced after a session more")
			}
		}
	}
}

// TestClockGoesBack: a clock that is set back by hours does not keep the dead alive.
func TestClockGoesBack(t *testing.T) {
	k := newCluster(t, 3, "broker.session.timeout.ms=9000")
	k.live(4*time.Second, 1, 2, 3)
	k.now = k.now.Add(-2 * time.Hour)
	k.live(12*time.Second, 1, 2)
	if k.img().Active(3) || !k.img().Active(1) || !k.img().Active(2) {
		t.Errorf("brokers %v %v %v", k.img().Active(1), k.img().Active(2), k.img().Active(3))
	}
	for key, at := range k.timers {
		if at.After(k.now.Add(6 * time.Minute)) {
			t.Errorf("timer %s in %v", key, at.Sub(k.now))
		}
	}
}

// TestInternalTopicsGrow: the coordinators' topics follow the cluster from one broker
// to three, a few partitions at a time, and are safe at the end.
func TestInternalTopicsGrow(t *testing.T) {
	k := newCluster(t, 1, "offsets.topic.num.partitions=25", "transaction.state.log.num.partitions=4")
	k.do(&AutoCreateTopics{Names: []string{OffsetsTopic, TransactionTopic, "mine"}})
	racks := []string{"", "a", "a", "b", "b"}
	add := func(broker int32) {
		req := registrationRequest(k.img(), broker, byte(broker))
		req.Rack = &racks[broker-1]
		k.ask(req)
		k.unfence(broker)
	}
	alive := []int32{1}
	follow := func() { // whoever is added joins
		for _, topic := range []string{OffsetsTopic, TransactionTopic} {
			for _, p := range k.img().Topic(topic).Partitions {
				if len(p.Adding()) > 0 {
					k.alterISR(topic, p.Index, p.Replicas...)
				}
			}
		}
	}
	moving := func() (n int) {
		for _, topic := range []string{OffsetsTopic, TransactionTopic} {
			for _, p := range k.img().Topic(topic).Partitions {
				if len(p.Adding()) > 0 {
					n++
				}
			}
		}
		return n
	}
	factors := func() string {
		seen := map[string]bool{}
		for t := range k.img().Topics() {
			for _, p := range t.Partitions {
				seen[fmt.Sprintf("%s:%d", t.Name, len(p.Replicas))] = true
			}
		}
		var s []string
		for t := range k.img().Topics() {
			for n := range 6 {
				if seen[fmt.Sprintf("%s:%d", t.Name, n)] {
					s = append(s, fmt.Sprintf("%s:%d", t.Name, n))
				}
			}
		}
		return strings.Join(s, " ")
	}
	grow := func() {
		for range 20 {
			k.live(internalInterval, alive...)
			if n := moving(); n > maxGrowing {
				t.Fatalf("%d partitions grow at a time", n)
			}
			follow()
			k.checkInvariants()
		}
	}
	grow()
	if got := factors(); got != "__consumer_offsets:1 __transaction_state:1 mine:1" {
		t.Error(got)
	}
	add(2)
	alive = append(alive, 2)
	grow()
	if got := factors(); got != "__consumer_offsets:2 __transaction_state:2 mine:1" {
		t.Error(got)
	}
	if n := k.img().MinISR(OffsetsTopic); n != 1 {
		t.Errorf("min ISR %d of two replicas", n)
	}
	for _, b := range []int32{3, 4, 5} {
		add(b)
		alive = append(alive, b)
	}
	grow()
	if got := factors(); got != "__consumer_offsets:3 __transaction_state:3 mine:1" {
		t.Error(got)
	}
	holds := map[int32]int{}
	for _, topic := range []string{OffsetsTopic, TransactionTopic} {
		if n := k.img().MinISR(topic); n != 2 {
			t.Errorf("min ISR %d of %s", n, topic)
		}
		for _, p := range k.img().Topic(topic).Partitions {
			third := p.Replicas[2]
			holds[third]++
			if third < 4 {
				t.Errorf("replicas %v leave rack b out", p.Replicas)
			}
		}
	}
	if len(holds) != 2 || holds[4] < 10 || holds[5] < 10 {
		t.Errorf("third replicas %v", holds)
	}
	// One that is set stays.
	k = newCluster(t, 3, "offsets.topic.replication.factor=1")
	k.do(&AutoCreateTopics{Names: []string{OffsetsTopic}})
	k.live(time.Minute, 1, 2, 3)
	if got := k.img().Topic(OffsetsTopic).ReplicationFactor(); got != 1 || k.img().MinISR(OffsetsTopic) != 1 {
		t.Errorf("a factor that is set became %d", got)
	}
}

// TestInternalTopicsDoNotWaitForTheDead: partitions whose new broker has died take no room.
func TestInternalTopicsDoNotWaitForTheDead(t *testing.T) {
	k := newCluster(t, 1, "offsets.topic.num.partitions=25")
	k.do(&AutoCreateTopics{Names: []string{OffsetsTopic}})
	k.register(2, 2)
	k.unfence(2)
	k.live(internalInterval, 1, 2)
	k.beat(2, func(r *kmsg.BrokerHeartbeatRequest) { r.WantFence = true })
	k.register(3, 3)
	k.unfence(3)
	k.live(internalInterval, 1, 3)
	with := map[int32]int{}
	for _, p := range k.img().Topic(OffsetsTopic).Partitions {
		for _, r := range p.Adding() {
			with[r]++
		}
	}
	if with[2] != maxGrowing || with[3] != maxGrowing {
		t.Errorf("%v", with)
	}
	k.checkInvariants()
}
