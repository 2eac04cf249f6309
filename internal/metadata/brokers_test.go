package metadata

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/schema"
)

func TestRegistration(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*kmsg.BrokerRegistrationRequest)
		want   *kerr.Error
	}{
		{"new", func(*kmsg.BrokerRegistrationRequest) {}, nil},
		{"cluster", func(r *kmsg.BrokerRegistrationRequest) { r.ClusterID = "other" }, kerr.InconsistentClusterID},
		{"negative id", func(r *kmsg.BrokerRegistrationRequest) { r.BrokerID = -1 }, kerr.InvalidRegistration},
		{"alive", func(r *kmsg.BrokerRegistrationRequest) { r.BrokerID = 2; r.LogDirs[0] = id(202) }, kerr.DuplicateBrokerRegistration},
		{"own node", func(r *kmsg.BrokerRegistrationRequest) { r.BrokerID = 1; r.LogDirs[0] = id(201) }, nil},
		{"ZooKeeper", func(r *kmsg.BrokerRegistrationRequest) { r.IsMigratingZkBroker = true }, kerr.BrokerIDNotRegistered},
		{"no directory", func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs = nil }, kerr.InvalidRegistration},
		{"no directory v1", func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs, r.Version = nil, 1 }, nil},
		{"zero directory", func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs[0] = [16]byte{} }, kerr.InvalidRegistration},
		{"reserved directory", func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs[0] = [16]byte{15: 99} }, kerr.InvalidRegistration},
		{"directory twice", func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs = append(r.LogDirs, r.LogDirs[0]) }, kerr.InvalidRegistration},
		{"directory of another", func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs[0] = id(201) }, kerr.InvalidRegistration},
		{"no features", func(r *kmsg.BrokerRegistrationRequest) { r.Features = nil }, kerr.UnsupportedVersion},
		{"old build", func(r *kmsg.BrokerRegistrationRequest) { r.Features[0].MaxSupportedVersion = 32 }, kerr.UnsupportedVersion},
		{"new build", func(r *kmsg.BrokerRegistrationRequest) { r.Features[0].MaxSupportedVersion = 40 }, nil},
		{"unknown feature", func(r *kmsg.BrokerRegistrationRequest) {
			r.Features = append(r.Features, kmsg.BrokerRegistrationRequestFeature{Name: "x", MaxSupportedVersion: 3})
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newCluster(t, 2)
			req := registrationRequest(k.img(), 7, 77)
			c.change(req)
			got := k.ask(req).(*kmsg.BrokerRegistrationResponse)
			want := int16(0)
			if c.want != nil {
				want = c.want.Code
			}
			if got.ErrorCode != want {
				t.Fatalf("got %d, want %d", got.ErrorCode, want)
			}
			if c.want != nil {
				if len(k.records) != 0 || got.BrokerEpoch != -1 {
					t.Errorf("%d records, epoch %d", len(k.records), got.BrokerEpoch)
				}
				return
			}
			b := k.img().Broker(req.BrokerID)
			if b.Epoch != got.BrokerEpoch || b.Epoch != 3 || !b.Fenced || b.IncarnationID != id(77) || b.RegisteredAt != k.img().Index() {
				t.Errorf("broker %+v", b)
			}
			k.checkInvariants()
		})
	}
}

// TestSameIncarnation amends a registration and keeps epoch and state.
func TestSameIncarnation(t *testing.T) {
	k := newCluster(t, 2)
	k.mustCreate(assigned("t", []int32{2, 1}))
	epoch := k.img().Broker(2).Epoch
	req := registrationRequest(k.img(), 2, 2)
	req.Listeners[0].Port = 1234
	if got := k.ask(req).(*kmsg.BrokerRegistrationResponse); got.ErrorCode != 0 || got.BrokerEpoch != epoch {
		t.Fatalf("%+v", got)
	}
	b := k.img().Broker(2)
	if l, ok := b.Listener("PLAINTEXT"); !ok || l.Port != 1234 || b.Fenced {
		t.Errorf("%+v", b)
	}
	k.expect("t", 0, "leader 2 epoch 0 isr [2 1]")
}

// TestFencedUntilCaughtUp: a broker is unfenced when it has read its own registration.
func TestFencedUntilCaughtUp(t *testing.T) {
	k := newCluster(t, 1)
	k.register(2, 2)
	at := k.img().Broker(2).RegisteredAt
	for index, caughtUp := range map[int64]bool{0: false, at - 1: false} {
		got := k.beat(2, func(r *kmsg.BrokerHeartbeatRequest) { r.CurrentMetadataOffset = index })
		if got.IsCaughtUp != caughtUp || !got.IsFenced {
			t.Errorf("at %d: %+v", index, got)
		}
	}
	if got := k.beat(2, func(r *kmsg.BrokerHeartbeatRequest) { r.CurrentMetadataOffset, r.WantFence = at, true }); !got.IsCaughtUp || !got.IsFenced {
		t.Errorf("who wants to be fenced: %+v", got)
	}
	if got := k.beat(2, func(r *kmsg.BrokerHeartbeatRequest) { r.CurrentMetadataOffset = at }); !got.IsCaughtUp || got.IsFenced {
		t.Errorf("caught up: %+v", got)
	}
	for _, change := range []func(*kmsg.BrokerHeartbeatRequest){
		func(r *kmsg.BrokerHeartbeatRequest) { r.BrokerEpoch-- },
		func(r *kmsg.BrokerHeartbeatRequest) { r.BrokerID = 9 },
	} {
		if got := k.beat(2, change); got.ErrorCode != kerr.StaleBrokerEpoch.Code || len(k.records) != 0 {
			t.Errorf("%+v", got)
		}
	}
}

// TestRestartOfASingleNode: each partition gets a new leader epoch and stays
// where it is, in one change.
func TestRestartOfASingleNode(t *testing.T) {
	k := newCluster(t, 1)
	k.mustCreate(topicAsk("t", 3, 1))
	k.expect("t", 1, "leader 1 epoch 0 isr [1]")
	k.register(1, 50)
	if len(k.records) != 4 {
		t.Errorf("%d records for three partitions and a broker", len(k.records))
	}
	k.expect("t", 1, "leader 1 epoch 1 isr [1]")
	if k.img().Active(1) {
		t.Error("not fenced")
	}
	k.unfence(1)
	k.expect("t", 1, "leader 1 epoch 1 isr [1]")
	k.checkInvariants()
}

// TestLostReplica: the only replica lost records; it is elected as the last known
// leader, and the partition says so.
func TestLostReplica(t *testing.T) {
	k := newCluster(t, 1)
	k.mustCreate(topicAsk("t", 2, 1))
	topic := k.img().Topic("t").ID
	k.register(1, 50, TopicPartition{topic, 1})
	k.expect("t", 0, "leader 1 epoch 1 isr [1]")
	k.expect("t", 1, "leader -1 epoch 1 isr [] last [1]")
	k.unfence(1)
	k.expect("t", 1, "leader 1 epoch 2 isr [1] recovering")
	// The leader says that it has recovered.
	if code := k.alterISR("t", 1, 1); code != 0 {
		t.Fatal(code)
	}
	k.expect("t", 1, "leader 1 epoch 2 isr [1]")
	k.checkInvariants()
}

// TestMissingDirectory: a replica in a log directory that is not there any more is
// not led from an empty one.
func TestMissingDirectory(t *testing.T) {
	k := newCluster(t, 1)
	k.mustCreate(topicAsk("t", 1, 1))
	req := registrationRequest(k.img(), 1, 50)
	req.LogDirs[0] = id(99)
	k.ask(req)
	k.unfence(1)
	k.expect("t", 0, "leader -1 epoch 1 isr [] elr [1] last [1]")
	k.checkInvariants()
	// It comes back.
	k.register(1, 51)
	k.unfence(1)
	k.expect("t", 0, "leader 1 epoch 2 isr [1]")
	k.checkInvariants()
}

// TestFailedDirectory: while running, one of two directories fails.
func TestFailedDirectory(t *testing.T) {
	k := newCluster(t, 1)
	k.register(2, 2)
	two := registrationRequest(k.img(), 2, 2)
	two.LogDirs = append(two.LogDirs, id(150))
	k.ask(two)
	k.unfence(2)
	k.mustCreate(assigned("t", []int32{2}, []int32{2}, []int32{2}), assigned("u", []int32{2, 1}))
	k.alterOne(1, Resource{ResourceTopic, "u"}, op{"unclean.leader.election.enable", opSet, str("true")})
	topic, other := k.img().Topic("t").ID, k.img().Topic("u").ID
	if got := k.assign(2, id(150), topic, 0, 1, 7); !slices.Equal(got, []int16{0, 0, kerr.UnknownTopicOrPartition.Code}) {
		t.Fatalf("assignment: %v", got)
	}
	k.assign(2, id(202), topic, 2)
	k.assign(2, id(150), other, 0)
	if got := k.assign(1, id(201), topic, 0); got[0] != kerr.NotLeaderForPartition.Code {
		t.Errorf("a directory for a replica of another: %v", got)
	}
	if got := k.assign(2, id(99), topic, 0); got[0] != kerr.InvalidRequest.Code {
		t.Errorf("an unknown directory: %v", got)
	}
	if got := k.assign(2, id(150), id(1), 0); got[0] != kerr.UnknownTopicID.Code {
		t.Errorf("an unknown topic: %v", got)
	}
	k.assign(2, id(150), topic, 0)
	if len(k.records) != 0 {
		t.Error("an assignment that is known wrote records")
	}
	got := k.beat(2, func(r *kmsg.BrokerHeartbeatRequest) { r.OfflineLogDirs = [][16]byte{id(150), id(98)} })
	if got.ErrorCode != 0 || got.IsFenced {
		t.Errorf("%+v", got)
	}
	k.expect("t", 0, "leader -1 epoch 1 isr [] elr [2] last [2]")
	k.expect("u", 0, "leader 1 epoch 1 isr [1]")
	k.expect("t", 2, "leader 2 epoch 0 isr [2]")
	if b := k.img().Broker(2); len(b.Directories) != 1 {
		t.Errorf("directories %v", b.Directories)
	}
	k.checkInvariants()
	k.beat(2, func(r *kmsg.BrokerHeartbeatRequest) { r.OfflineLogDirs = [][16]byte{id(150), id(98)} })
	if len(k.records) != 0 {
		t.Error("the same failure wrote records again")
	}
	// Not even an unclean election takes a replica whose directory has failed.
	k.fence(1)
	k.expect("u", 0, "leader -1 epoch 2 isr [] elr [1] last [1]")
	k.unfence(1)
	// Fenced and back, the failed directory still counts for nothing.
	k.fence(2)
	k.unfence(2)
	k.expect("t", 0, "leader -1 epoch 1 isr [] elr [2] last [2]")
	k.checkInvariants()
}

// assign says where a broker's replicas are and returns the codes.
func (k *cluster) assign(broker int32, dir, topic [16]byte, partitions ...int32) []int16 {
	k.t.Helper()
	req := kmsg.NewPtrAssignReplicasToDirsRequest()
	req.BrokerID, req.BrokerEpoch = broker, k.img().Broker(broker).Epoch
	d := kmsg.NewAssignReplicasToDirsRequestDirectory()
	d.ID = dir
	rt := kmsg.NewAssignReplicasToDirsRequestDirectoryTopic()
	rt.TopicID = topic
	for _, p := range partitions {
		rt.Partitions = append(rt.Partitions, kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{Partition: p})
	}
	d.Topics = append(d.Topics, rt)
	req.Directories = append(req.Directories, d)
	var codes []int16
	for _, p := range k.ask(req).(*kmsg.AssignReplicasToDirsResponse).Directories[0].Topics[0].Partitions {
		codes = append(codes, p.ErrorCode)
	}
	return codes
}

// TestSessions: a silent broker is fenced, a broker heard from is not, and a
// controller that slept does not blame the brokers.
func TestSessions(t *testing.T) {
	k := newCluster(t, 2, "broker.session.timeout.ms=9000")
	k.mustCreate(assigned("t", []int32{2, 1}))
	for range 10 {
		k.wait(5 * time.Second)
		k.beat(1, nil)
		k.beat(2, nil)
	}
	if !k.img().Active(1) || !k.img().Active(2) {
		t.Fatal("fenced though heard from")
	}
	k.wait(5 * time.Second)
	k.beat(1, nil)
	k.wait(5 * time.Second)
	if !k.img().Active(1) || k.img().Active(2) {
		t.Fatal("broker 2 was silent for longer than its session")
	}
	k.expect("t", 0, "leader 1 epoch 1 isr [1]")
	k.unfence(2)
	k.unfence(1)
	// The process stops for a minute: the timer fires late.
	k.now = k.now.Add(time.Minute)
	k.do(machine.TimerFired{Key: sessionKey(2)})
	if !k.img().Active(2) {
		t.Fatal("fenced by a timer that was late")
	}
	k.wait(9 * time.Second)
	if k.img().Active(2) {
		t.Fatal("not fenced after a session more")
	}
	for _, key := range []string{"session:9", "session:x", "other", "session:"} {
		if k.do(machine.TimerFired{Key: key}); len(k.records) != 0 {
			t.Errorf("timer %q wrote records", key)
		}
	}
}

// TestNewController: sessions are learnt anew, and a broker that this controller
// has not heard from can register again at once.
func TestNewController(t *testing.T) {
	k := newCluster(t, 3)
	k.mustCreate(assigned("t", []int32{2, 3}))
	k.c = NewController(nil, k.opts)
	for i, rec := range k.logged {
		if err := k.c.Apply(int64(i+1), 0, rec); err != nil {
			t.Fatal(err)
		}
	}
	k.timers = map[string]time.Time{}
	k.settle(k.c.Resume(k.now))
	for _, id := range []int32{1, 2, 3} {
		if _, ok := k.timers[sessionKey(id)]; !ok {
			t.Errorf("timers %v", k.timers)
		}
	}
	k.beat(3, nil)
	if got := k.ask(registrationRequest(k.img(), 3, 60)).(*kmsg.BrokerRegistrationResponse); got.ErrorCode != kerr.DuplicateBrokerRegistration.Code {
		t.Errorf("broker 3 was heard from: %d", got.ErrorCode)
	}
	k.register(2, 60)
	k.expect("t", 0, "leader 3 epoch 1 isr [3]")
	k.wait(5 * time.Second)
	k.beat(3, nil)
	k.wait(5 * time.Second)
	if k.img().Active(1) || !k.img().Active(3) {
		t.Error("broker 1 never came back")
	}
	k.checkInvariants()
}

// TestControlledShutdown moves leadership away, and lets the broker go when the
// others know.
func TestControlledShutdown(t *testing.T) {
	k := newCluster(t, 3)
	k.mustCreate(assigned("t", []int32{2, 1}, []int32{1, 2}), assigned("sole", []int32{2}))
	stop := func(r *kmsg.BrokerHeartbeatRequest) { r.WantShutdown = true }
	if got := k.beat(2, stop); got.ShouldShutdown || got.IsFenced || !k.img().Broker(2).InControlledShutdown {
		t.Fatalf("%+v", got)
	}
	k.expect("t", 0, "leader 1 epoch 1 isr [1]")
	k.expect("t", 1, "leader 1 epoch 0 isr [1]")
	k.expect("sole", 0, "leader 2 epoch 0 isr [2]")
	k.checkInvariants()
	at := k.img().Index()
	old := func(r *kmsg.BrokerHeartbeatRequest) { r.CurrentMetadataOffset = at - 1 }
	k.beat(1, old)
	k.beat(3, old)
	if got := k.beat(2, stop); got.ShouldShutdown {
		t.Error("granted before the others know")
	}
	k.beat(1, nil)
	if got := k.beat(2, stop); got.ShouldShutdown {
		t.Error("granted before all others know")
	}
	k.beat(3, nil)
	if got := k.beat(2, stop); !got.ShouldShutdown || !k.img().Broker(2).Fenced {
		t.Errorf("%+v", got)
	}
	if got := k.beat(2, stop); !got.ShouldShutdown || len(k.records) != 0 {
		t.Errorf("asked again: %+v", got)
	}
	k.register(2, 200) // at once: the session of the one that left is over
	k.checkInvariants()
	// A single node has nobody to hand over to.
	k = newCluster(t, 1)
	k.mustCreate(topicAsk("t", 5, 1))
	if got := k.beat(1, stop); !got.ShouldShutdown || !got.IsFenced || len(k.records) != 1 {
		t.Errorf("%+v and %d records", got, len(k.records))
	}
}

// TestNoReturnFromShutdown: a broker that asked to stop and fell silent is not
// taken back by a late heartbeat.
func TestNoReturnFromShutdown(t *testing.T) {
	k := newCluster(t, 2)
	k.mustCreate(assigned("t", []int32{1, 2}))
	k.beat(1, func(r *kmsg.BrokerHeartbeatRequest) { r.WantShutdown = true })
	k.fence(1)
	if got := k.beat(1, nil); !got.IsFenced || len(k.records) != 0 {
		t.Errorf("%+v and %d records", got, len(k.records))
	}
	k.restart(1)
	k.unfence(1)
	if !k.img().Active(1) {
		t.Error("a new registration does not help")
	}
}

func TestUnregister(t *testing.T) {
	k := newCluster(t, 3)
	k.mustCreate(assigned("t", []int32{2, 1}), assigned("sole", []int32{2}))
	epoch := k.img().Broker(2).Epoch
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = 2
	if got := k.ask(req).(*kmsg.UnregisterBrokerResponse); got.ErrorCode != 0 || got.ErrorMessage != nil {
		t.Fatalf("%+v", got)
	}
	k.expect("t", 0, "leader 1 epoch 1 isr [1]")
	k.expect("sole", 0, "leader -1 epoch 1 isr [] last [2]")
	k.checkInvariants()
	if got := k.ask(req).(*kmsg.UnregisterBrokerResponse); got.ErrorCode != kerr.BrokerIDNotRegistered.Code {
		t.Errorf("%+v", got)
	}
	if k.register(2, 9) <= epoch {
		t.Error("a broker epoch was given out again")
	}
	k.unfence(2)
	k.expect("sole", 0, "leader 2 epoch 2 isr [2] recovering")
}

// TestLateRemovalIsRefused: a copy of a request may lie in a broken connection until the broker
// has registered anew (seed 110000891 of the simulation).
func TestLateRemovalIsRefused(t *testing.T) {
	k := newCluster(t, 3)
	epoch := k.img().Broker(2).Epoch
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = 2
	ask := func() int16 {
		return k.do(&Request{Req: req, Incarnation: &epoch}).(*kmsg.UnregisterBrokerResponse).ErrorCode
	}
	if code := ask(); code != 0 {
		t.Fatal(kerr.ErrorForCode(code))
	}
	k.register(2, 9)
	if code := ask(); code != kerr.StaleBrokerEpoch.Code || k.img().Broker(2) == nil {
		t.Fatalf("answered %v, registered: %v", kerr.ErrorForCode(code), k.img().Broker(2) != nil)
	}
	epoch = k.img().Broker(2).Epoch
	if code := ask(); code != 0 || k.img().Broker(2) != nil {
		t.Fatalf("answered %v, registered: %v", kerr.ErrorForCode(code), k.img().Broker(2) != nil)
	}
}

// TestReturnIsTold: who operates the cluster hears of a broker that was unregistered and comes
// back with what it had; a broker that is new, or was only down, is no news.
func TestReturnIsTold(t *testing.T) {
	k := newCluster(t, 3)
	register := func(previous int64) []machine.Effect {
		t.Helper()
		req := registrationRequest(k.img(), 2, 77)
		req.PreviousBrokerEpoch = previous
		d := k.c.Decide(machine.Input{Now: k.now, Rand: k.rand, Token: 7, Request: &RegisterBroker{Req: req}})
		k.settle(d)
		if resp := d.Replies[0].Body.(*kmsg.BrokerRegistrationResponse); resp.ErrorCode != 0 {
			t.Fatal(kerr.ErrorForCode(resp.ErrorCode))
		}
		return d.Effects
	}
	remove := func() {
		t.Helper()
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = 2
		if got := k.ask(req).(*kmsg.UnregisterBrokerResponse); got.ErrorCode != 0 {
			t.Fatalf("%+v", got)
		}
	}
	k.wait(10 * time.Second) // its session ends
	epoch := k.img().Broker(2).Epoch
	if told := register(epoch); len(told) != 0 {
		t.Errorf("of a restart it is told: %v", told)
	}
	epoch = k.img().Broker(2).Epoch
	remove()
	if told := register(0); len(told) != 0 {
		t.Errorf("of a new broker it is told: %v", told)
	}
	remove()
	told := register(epoch)
	if want := (BrokerReturned{2, epoch, k.img().Broker(2).Epoch}); len(told) != 1 || told[0] != want {
		t.Errorf("told %v, want %v", told, want)
	}
	if told := register(epoch); len(told) != 0 {
		t.Errorf("when it asks again it is told: %v", told)
	}
	remove()
	if told := register(1 << 40); len(told) != 0 {
		t.Errorf("of an epoch that never was it is told: %v", told)
	}
}

// What an operator said of a node's vote goes with the node, unless that is up: it would be
// given its vote again.
func TestUnregisterTakesBackTheWish(t *testing.T) {
	for _, up := range []bool{false, true} {
		k := newCluster(t, 3)
		never, other := "never", "1000000"
		wish := kmsg.NewPtrIncrementalAlterConfigsRequest()
		wish.Resources = append(wish.Resources, incremental(Resource{ResourceBroker, "3"},
			op{"leat.quorum.voter", opSet, &never}, op{"leader.replication.throttled.rate", opSet, &other}))
		if got := k.ask(wish).(*kmsg.IncrementalAlterConfigsResponse).Resources[0]; got.ErrorCode != 0 {
			t.Fatal(*got.ErrorMessage)
		}
		if !up {
			k.fence(3)
		}
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = 3
		if got := k.ask(req).(*kmsg.UnregisterBrokerResponse); got.ErrorCode != 0 {
			t.Fatalf("%+v", got)
		}
		have := k.img().Config(ResourceBroker, "3")
		if _, kept := have["leat.quorum.voter"]; kept != up || have["leader.replication.throttled.rate"] != other {
			t.Errorf("up %v: %v", up, have)
		}
		k.checkInvariants()
	}
}

func TestAllocateProducerIDs(t *testing.T) {
	k := newCluster(t, 2)
	ask := func(broker int32, epoch int64) *kmsg.AllocateProducerIDsResponse {
		req := kmsg.NewPtrAllocateProducerIDsRequest()
		req.BrokerID, req.BrokerEpoch = broker, epoch
		return k.ask(req).(*kmsg.AllocateProducerIDsResponse)
	}
	for i := range int64(3) {
		if got := ask(1, 1); got.ErrorCode != 0 || got.ProducerIDStart != 1000*i || got.ProducerIDLen != 1000 {
			t.Errorf("block %d: %+v", i, got)
		}
	}
	if got := ask(2, 1); got.ErrorCode != kerr.StaleBrokerEpoch.Code || len(k.records) != 0 {
		t.Errorf("stale: %+v", got)
	}
	if got := ask(9, 1); got.ErrorCode != kerr.StaleBrokerEpoch.Code {
		t.Errorf("unknown: %+v", got)
	}
	k.offset++
	if err := k.c.b.Apply(k.offset, &schema.ProducerIDs{Next: 1<<63 - 1}); err != nil {
		t.Fatal(err)
	}
	if got := ask(1, 1); got.ErrorCode != kerr.UnknownServerError.Code || len(k.records) != 0 {
		t.Errorf("exhausted: %+v", got)
	}
}
