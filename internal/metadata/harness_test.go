package metadata

import (
	"fmt"
	"math/rand/v2"
	"pgregory.net/rapid"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/schema"
)

var testFeatures = []FeatureRange{{"metadata.version", 7, 33}, {featureELR, 0, 1}}

// cluster drives a controller as the runtime does, without a log: what is decided
// is applied at once, and to a second state that only ever replays.
type cluster struct {
	t      rapid.TB
	c      *Controller
	replay *Builder
	opts   Options
	rand   *rand.Rand
	now    time.Time
	offset int64
	timers map[string]time.Time
	logged []machine.Record
	// records are those of the last decision.
	records []schema.Record
	// after is called after each decision, unless nil.
	after func()
}

// newCluster bootstraps a cluster with brokers 1 to n, alive, and static settings.
func newCluster(t rapid.TB, n int, sets ...string) *cluster {
	return newClusterWith(t, map[string]int16{"metadata.version": 33, featureELR: 1}, n, sets...)
}

func newClusterWith(t rapid.TB, features map[string]int16, n int, sets ...string) *cluster {
	t.Helper()
	// The tests count on these times, whatever the defaults are.
	sets = append([]string{"broker.session.timeout.ms=9000", "broker.heartbeat.interval.ms=2000"}, sets...)
	cfg, _, err := config.Load(config.Sources{Sets: sets})
	if err != nil {
		t.Fatal(err)
	}
	k := &cluster{
		t: t, opts: Options{Config: cfg, Features: testFeatures, NodeID: 1}, replay: NewBuilder(nil),
		rand: rand.New(rand.NewPCG(1, 2)), now: time.UnixMilli(1_700_000_000_000), timers: map[string]time.Time{},
	}
	k.c = NewController(nil, k.opts)
	k.settle(k.c.Resume(k.now))
	if r, ok := k.do(&Bootstrap{Features: features}).(*BootstrapReply); !ok || !r.Created {
		t.Fatal("no cluster was created")
	}
	for id := int32(1); id <= int32(n); id++ {
		k.register(id, byte(id))
		k.unfence(id)
	}
	return k
}

// do decides one request and applies its records.
func (k *cluster) do(req any) any {
	k.t.Helper()
	in := machine.Input{Now: k.now, Rand: k.rand, Token: 7, Request: req}
	if _, timer := req.(machine.TimerFired); timer {
		in.Token = 0
	}
	d := k.c.Decide(in)
	k.settle(d)
	if in.Token == 0 {
		return nil
	}
	if len(d.Replies) != 1 || d.Replies[0].Token != 7 {
		k.t.Fatalf("%T got replies %+v", req, d.Replies)
	}
	return d.Replies[0].Body
}

func (k *cluster) settle(d machine.Decision) {
	k.t.Helper()
	k.records = nil
	for _, rec := range d.Records {
		k.offset++
		r, err := schema.Decode(rec.Value)
		if err != nil {
			k.t.Fatal(err)
		}
		check := k.epochs(r)
		if err := k.c.Apply(k.offset, k.now.UnixMilli(), rec); err != nil {
			k.t.Fatal(err)
		}
		check()
		k.records = append(k.records, r)
		k.logged = append(k.logged, rec)
		if err := k.replay.Apply(k.offset, r); err != nil {
			k.t.Fatal(err)
		}
	}
	for _, tm := range d.Timers {
		if k.timers[tm.Key] = tm.At; tm.At.IsZero() {
			delete(k.timers, tm.Key)
		}
	}
	if k.after != nil {
		k.after()
	}
}

// epochs returns a check, to be made once a record is applied, that a change of a
// partition counts one partition epoch and at most one leader epoch up.
func (k *cluster) epochs(rec schema.Record) func() {
	r, ok := rec.(*schema.PartitionChange)
	if !ok {
		return func() {}
	}
	p := k.img().TopicByID(r.TopicID).Partition(r.Index)
	leader, partition := p.LeaderEpoch, p.PartitionEpoch
	if r.Leader != noChange {
		leader++
	}
	return func() {
		k.t.Helper()
		p := k.img().TopicByID(r.TopicID).Partition(r.Index)
		if p.LeaderEpoch != leader || p.PartitionEpoch != partition+1 {
			k.t.Fatalf("leader epoch %d, partition epoch %d; want %d and %d", p.LeaderEpoch, p.PartitionEpoch, leader, partition+1)
		}
	}
}

// wait lets time pass and the timers that come due fire.
func (k *cluster) wait(d time.Duration) {
	k.t.Helper()
	end := k.now.Add(d)
	for {
		var next string
		for key, at := range k.timers {
			if !at.After(end) && (next == "" || at.Before(k.timers[next]) || at.Equal(k.timers[next]) && key < next) {
				next = key
			}
		}
		if next == "" {
			k.now = end
			return
		}
		if at := k.timers[next]; at.After(k.now) {
			k.now = at
		}
		delete(k.timers, next)
		k.do(machine.TimerFired{Key: next})
	}
}

func (k *cluster) img() *Image { return k.c.View() }

// ask sends a kmsg request.
func (k *cluster) ask(req kmsg.Request) kmsg.Response {
	k.t.Helper()
	resp, ok := k.do(&Request{Req: req}).(kmsg.Response)
	if !ok || resp.Key() != req.Key() || resp.GetVersion() != req.GetVersion() {
		k.t.Fatalf("%T got %T", req, resp)
	}
	return resp
}

func registrationRequest(img *Image, broker int32, incarnation byte) *kmsg.BrokerRegistrationRequest {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.Version = 4
	req.BrokerID, req.ClusterID, req.IncarnationID = broker, img.ClusterID(), id(incarnation)
	req.Features = RegistrationFeatures(testFeatures)
	req.LogDirs = [][16]byte{id(200 + byte(broker))}
	l := kmsg.NewBrokerRegistrationRequestListener()
	l.Name, l.Host, l.Port = "PLAINTEXT", "127.0.0.1", 9092
	req.Listeners = append(req.Listeners, l)
	return req
}

// register registers an incarnation of a broker and returns its epoch.
func (k *cluster) register(broker int32, incarnation byte, lost ...TopicPartition) int64 {
	k.t.Helper()
	resp := k.do(&RegisterBroker{Req: registrationRequest(k.img(), broker, incarnation), Lost: lost}).(*kmsg.BrokerRegistrationResponse)
	if resp.ErrorCode != 0 {
		k.t.Fatalf("registration of broker %d: %d", broker, resp.ErrorCode)
	}
	return resp.BrokerEpoch
}

func (k *cluster) beat(broker int32, change func(*kmsg.BrokerHeartbeatRequest)) *kmsg.BrokerHeartbeatResponse {
	k.t.Helper()
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.Version = 1
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = broker, k.img().Broker(broker).Epoch, k.img().Index()
	if change != nil {
		change(req)
	}
	return k.ask(req).(*kmsg.BrokerHeartbeatResponse)
}

func (k *cluster) unfence(broker int32) {
	k.t.Helper()
	if resp := k.beat(broker, nil); resp.ErrorCode != 0 || resp.IsFenced {
		k.t.Fatalf("broker %d is still fenced: %+v", broker, resp)
	}
}

func (k *cluster) fence(broker int32) {
	k.t.Helper()
	k.beat(broker, func(r *kmsg.BrokerHeartbeatRequest) { r.WantFence = true })
}

// topicAsk describes a topic to create; sets are "key=value".
func topicAsk(name string, partitions int32, replicas int16, sets ...[2]string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, replicas
	for _, s := range sets {
		k := kmsg.NewCreateTopicsRequestTopicConfig()
		k.Name, k.Value = s[0], &s[1]
		t.Configs = append(t.Configs, k)
	}
	return t
}

// assigned is a topic whose partitions have the given replicas.
func assigned(name string, lists ...[]int32) kmsg.CreateTopicsRequestTopic {
	t := topicAsk(name, -1, -1)
	for i, l := range lists {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(i), l
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	return t
}

func createRequest(topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.Topics = 7, topics
	return req
}

// create creates topics and returns the answers.
func (k *cluster) create(topics ...kmsg.CreateTopicsRequestTopic) []kmsg.CreateTopicsResponseTopic {
	k.t.Helper()
	return k.ask(createRequest(topics...)).(*kmsg.CreateTopicsResponse).Topics
}

// mustCreate creates topics that must succeed.
func (k *cluster) mustCreate(topics ...kmsg.CreateTopicsRequestTopic) {
	k.t.Helper()
	for _, r := range k.create(topics...) {
		if r.ErrorCode != 0 {
			k.t.Fatalf("topic %s: %d %s", r.Topic, r.ErrorCode, deref(r.ErrorMessage))
		}
	}
}

func deref(s *string) string {
	if s == nil {
		return "<null>"
	}
	return *s
}

// state prints a partition: leader, epochs, lists.
func (k *cluster) state(topic string, partition int32) string {
	p := k.img().Partition(topic, partition)
	s := fmt.Sprintf("leader %d epoch %d isr %v", p.Leader, p.LeaderEpoch, p.ISR)
	if len(p.ELR()) > 0 {
		s += fmt.Sprintf(" elr %v", p.ELR())
	}
	if len(p.LastKnownELR()) > 0 {
		s += fmt.Sprintf(" last %v", p.LastKnownELR())
	}
	if p.Recovering() {
		s += " recovering"
	}
	return s
}

func (k *cluster) expect(topic string, partition int32, want string) {
	k.t.Helper()
	if got := k.state(topic, partition); got != want {
		k.t.Errorf("%s-%d: %s; want %s", topic, partition, got, want)
	}
}

// alterISR asks for another ISR as the partition's leader does.
func (k *cluster) alterISR(topic string, partition int32, isr ...int32) int16 {
	k.t.Helper()
	p := k.img().Partition(topic, partition)
	return k.alterPartition(alterRequest(k.img(), p.Leader, topic, partition, isr...)).ErrorCode
}

// alterRequest is a well-formed AlterPartition of a broker.
func alterRequest(img *Image, broker int32, topic string, partition int32, isr ...int32) *kmsg.AlterPartitionRequest {
	t := img.Topic(topic)
	req := kmsg.NewPtrAlterPartitionRequest()
	req.Version = 3
	req.BrokerID, req.BrokerEpoch = broker, img.Broker(broker).Epoch
	ask := kmsg.NewAlterPartitionRequestTopicPartition()
	ask.Partition = partition
	if p := t.Partition(partition); p != nil {
		ask.LeaderEpoch, ask.PartitionEpoch = p.LeaderEpoch, p.PartitionEpoch
	}
	for _, id := range isr {
		m := kmsg.NewAlterPartitionRequestTopicPartitionNewEpochISR()
		m.BrokerID = id
		if b := img.Broker(id); b != nil {
			m.BrokerEpoch = b.Epoch
		}
		ask.NewEpochISR = append(ask.NewEpochISR, m)
	}
	rt := kmsg.NewAlterPartitionRequestTopic()
	rt.Topic, rt.TopicID, rt.Partitions = t.Name, t.ID, append(rt.Partitions, ask)
	req.Topics = append(req.Topics, rt)
	return req
}

func (k *cluster) alterPartition(req *kmsg.AlterPartitionRequest) kmsg.AlterPartitionResponseTopicPartition {
	k.t.Helper()
	resp := k.ask(req).(*kmsg.AlterPartitionResponse)
	if resp.ErrorCode != 0 {
		return kmsg.AlterPartitionResponseTopicPartition{ErrorCode: resp.ErrorCode}
	}
	return resp.Topics[0].Partitions[0]
}

// checkInvariants checks the whole state.
func (k *cluster) checkInvariants() {
	k.t.Helper()
	img := k.img()
	if !k.replay.View().Equal(img) {
		k.t.Fatal("the replayed image differs from the controller's")
	}
	partitions := 0
	for t := range img.Topics() {
		if img.TopicByID(t.ID) != t {
			k.t.Fatalf("topic %s is not found by its id", t.Name)
		}
		for i, p := range t.Partitions {
			partitions++
			k.checkPartition(t, int32(i), p)
		}
	}
	if partitions != img.PartitionCount() {
		k.t.Fatalf("%d partitions, %d are counted", partitions, img.PartitionCount())
	}
}

func (k *cluster) checkPartition(t *Topic, index int32, p *Partition) {
	k.t.Helper()
	bad := func(what string) {
		k.t.Fatalf("%s-%d: %s: %s, replicas %v", t.Name, index, what, k.state(t.Name, index), p.Replicas)
	}
	if p.Index != index {
		bad("index")
	}
	for _, list := range [][]int32{p.Replicas, p.ISR, p.ELR(), p.LastKnownELR()} {
		if _, twice := repeated(list); twice {
			bad("a list with a member twice")
		}
		for _, r := range list {
			if !slices.Contains(p.Replicas, r) {
				bad("a member that is no replica")
			}
		}
	}
	for _, r := range p.ISR {
		if slices.Contains(p.ELR(), r) {
			bad("ISR and ELR are not disjoint")
		}
	}
	img := k.img()
	elr := img.Feature(featureELR) > 0
	switch b := img.Broker(p.Leader); {
	case p.Leader == NoLeader:
		if elr && len(p.ISR) > 0 && slices.ContainsFunc(p.ISR, func(r int32) bool { return k.c.canLead(p, r) }) {
			bad("no leader, though one could be")
		}
		if elr && slices.ContainsFunc(p.ELR(), func(r int32) bool { return k.c.canLead(p, r) }) {
			bad("no leader, though an eligible one is alive")
		}
	case !slices.Contains(p.ISR, p.Leader):
		bad("the leader is not in sync")
	case len(p.Replicas) > 1 && !b.Active():
		bad("the leader is not alive")
	}
	if len(p.Replicas) > 1 {
		for _, r := range p.ISR {
			if elr && !img.Active(r) {
				bad("a dead member of the ISR")
			}
		}
	}
	if len(p.ELR()) > 0 && len(p.ISR) >= min(img.MinISR(t.Name), len(p.Replicas)) {
		bad("an ELR beside an ISR that is large enough")
	}
	if both := slices.Concat(p.Adding(), p.Removing()); !sameMembers(both, within(both, p.Replicas)) {
		bad("a reassignment of what is no replica: " + k.assignmentOf(t.Name, index))
	}
	if p.Directories != nil && len(p.Directories) != len(p.Replicas) {
		bad("directories")
	}
}
