package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/forming"
)

// joint is a node of several on loopback: real sockets and the real clock, on a
// simulated disk.
type joint struct {
	*testNode
	roles   string
	started chan error
}

// joints are nodes that know of each other.
type joints struct {
	t   *testing.T
	all []*joint
}

// freeAddress is an address that nobody listens on now.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// add makes a node that is not started. Its addresses stay the same.
func (js *joints) add(roles string, sets ...string) *joint {
	js.t.Helper()
	var listeners []string
	if strings.Contains(roles, "broker") {
		listeners = append(listeners, "PLAINTEXT://"+freeAddress(js.t))
	}
	if strings.Contains(roles, "controller") {
		listeners = append(listeners, "CONTROLLER://"+freeAddress(js.t))
	}
	n := &testNode{t: js.t, fs: env.NewDisk(uint64(len(js.all) + 1)), dir: "data", boot: "boot-1", log: &logText{}}
	n.disk().SetClock(env.Real)
	n.sets = append([]string{
		"process.roles=" + roles, "listeners=" + strings.Join(listeners, ","), "broker.session.timeout.ms=1500", "broker.heartbeat.interval.ms=100",
	}, sets...)
	j := &joint{testNode: n, roles: roles}
	js.all = append(js.all, j)
	return j
}

// content is that of a small file of the data directory, "" where there is none.
func (j *joint) content(name string) string {
	j.t.Helper()
	f, err := j.fs.OpenFile(j.dir+"/"+name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		j.t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1<<16)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		j.t.Fatal(err)
	}
	return string(b[:n])
}

// address is where the node listens.
func (j *joint) address(listener string) string {
	for _, s := range j.sets {
		list, ok := strings.CutPrefix(s, "listeners=")
		for l := range strings.SplitSeq(list, ",") {
			if a, found := strings.CutPrefix(l, listener+"://"); ok && found {
				return a
			}
		}
	}
	j.t.Fatal("no listener " + listener)
	return ""
}

// begin starts the node; the outcome comes by started.
func (j *joint) begin() {
	j.t.Helper()
	opt := j.options()
	opt.Clock = env.Real
	dead := j.dead
	j.started = make(chan error, 1)
	started := j.started
	b, err := Open(j.t.Context(), opt)
	if err != nil {
		started <- err
		return
	}
	j.b = b
	j.t.Cleanup(func() {
		dead.Store(true)
		if err := b.Close(0); err != nil {
			j.t.Logf("close: %v", err)
		}
	})
	go func() { started <- b.Start(j.t.Context()) }()
}

func (j *joint) up() *joint {
	j.t.Helper()
	j.begin()
	return j.serves()
}

func (j *joint) serves() *joint {
	j.t.Helper()
	select {
	case err := <-j.started:
		if err != nil {
			j.t.Fatalf("%v\n%s", err, j.log)
		}
	case <-time.After(time.Minute):
		j.t.Fatalf("the node does not serve\n%s", j.log)
	}
	return j
}

// refused is why the start came to nothing.
func (j *joint) refused() error {
	j.t.Helper()
	select {
	case err := <-j.started:
		return err
	case <-time.After(time.Minute):
		j.t.Fatalf("the node is not refused\n%s", j.log)
		return nil
	}
}

// quorum is what a node tells of the metadata quorum: the voters, those who follow, and
// the directories of all.
func (j *joint) quorum() (leader int32, voters, observers []int32, dirs map[int32][16]byte, ok bool) {
	c := j.dialTo(j.address("PLAINTEXT"))
	defer c.nc.Close()
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Version = 2
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", []kmsg.DescribeQuorumRequestTopicPartition{{}}
	req.Topics = append(req.Topics, topic)
	resp := c.ask(req).(*kmsg.DescribeQuorumResponse)
	if resp.ErrorCode != 0 || len(resp.Topics) != 1 || resp.Topics[0].Partitions[0].LeaderID < 0 {
		return -1, nil, nil, nil, false
	}
	p := resp.Topics[0].Partitions[0]
	dirs = map[int32][16]byte{}
	for _, v := range p.CurrentVoters {
		voters = append(voters, v.ReplicaID)
		dirs[v.ReplicaID] = v.ReplicaDirectoryID
	}
	for _, o := range p.Observers {
		observers = append(observers, o.ReplicaID)
		if _, votes := dirs[o.ReplicaID]; !votes {
			dirs[o.ReplicaID] = o.ReplicaDirectoryID
		}
	}
	slices.Sort(voters)
	return p.LeaderID, voters, observers, dirs, true
}

// until waits for a condition.
func (js *joints) until(what string, ok func() bool) {
	js.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			for _, j := range js.all {
				js.t.Logf("%v\n%s", j.sets, j.log)
			}
			js.t.Fatal(what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// voters waits until a node tells of these voters.
func (js *joints) voters(of *joint, want ...int32) {
	js.t.Helper()
	var got []int32
	js.until(fmt.Sprintf("voters are to be %v", want), func() bool {
		_, voters, _, _, ok := of.quorum()
		got = voters
		return ok && slices.Equal(got, want)
	})
}

// replicates makes a topic with as many replicas and writes to it, through a node.
func (js *joints) replicates(by *joint, topic string, replicas int16) {
	js.t.Helper()
	js.until("topic "+topic+" with replicas everywhere", func() bool {
		c := by.dialTo(by.address("PLAINTEXT"))
		defer c.nc.Close()
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version, req.TimeoutMillis = 7, 10_000
		x := kmsg.NewCreateTopicsRequestTopic()
		x.Topic, x.NumPartitions, x.ReplicationFactor = topic, 1, replicas
		req.Topics = append(req.Topics, x)
		code := c.ask(req).(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode
		return code == 0 || code == kerr.TopicAlreadyExists.Code
	})
}

const both = "broker,controller"

// TestJoin: a node alone, then two that are told nothing but an address of it, one of
// its listener for controllers and one of that for clients; they become three voters.
// They find each other again, with no address at all.
func TestJoin(t *testing.T) {
	js := &joints{t: t}
	one := js.add(both).up()
	two := js.add(both, "leat.join="+one.address("CONTROLLER")).up()
	if _, voters, _, _, ok := one.quorum(); !ok || len(voters) == 2 {
		t.Errorf("voters %v with one node more", voters)
	}
	three := js.add(both, "leat.join="+one.address("PLAINTEXT")).up()
	js.voters(one, 1, 2, 3)
	js.voters(three, 1, 2, 3)
	js.replicates(two, "t", 3)
	for _, j := range js.all {
		place := j.options().Config.Place()
		if kept := j.content(config.PlaceFile); kept != string(place) {
			t.Errorf("remembered: %q, want %q", kept, place)
		}
	}

	for _, j := range js.all {
		j.stop()
		j.sets = slices.DeleteFunc(j.sets, func(s string) bool { return strings.HasPrefix(s, "leat.join=") })
	}
	for _, j := range js.all {
		j.begin()
	}
	for _, j := range js.all {
		j.serves()
	}
	js.voters(two, 1, 2, 3)
	js.replicates(three, "t", 3)
	js.replicates(three, "u", 3)
}

// TestRoles: three controllers and two brokers apart from them, one of which got its id
// from the cluster; all of them are started again.
func TestRoles(t *testing.T) {
	js := &joints{t: t}
	var list []string
	for i := range 3 {
		c := js.add("controller", fmt.Sprint("node.id=", i+1))
		list = append(list, c.address("CONTROLLER"))
	}
	servers := "controller.quorum.bootstrap.servers=" + strings.Join(list, ",")
	for _, c := range js.all {
		c.sets = append(c.sets, servers)
	}
	js.add("broker", servers, "node.id=10")
	js.add("broker", "leat.join="+list[1])
	brokers := js.all[3:]
	for _, topic := range []string{"a", "b"} {
		for _, j := range js.all[:4] {
			j.begin()
		}
		for _, j := range js.all[:4] {
			j.serves()
		}
		brokers[1].up()
		js.voters(brokers[0], 1, 2, 3)
		js.until("observers 10 and 11", func() bool {
			_, _, observers, _, ok := brokers[1].quorum()
			return ok && slices.Equal(observers, []int32{10, 11})
		})
		js.replicates(brokers[0], topic, 2)
		for _, j := range slices.Backward(js.all) {
			j.stop()
		}
	}
}

// TestWrongStarts: nodes that have no place in the cluster are told so in one line.
func TestWrongStarts(t *testing.T) {
	js := &joints{t: t}
	one := js.add(both).up()

	for _, listener := range []string{"CONTROLLER", "PLAINTEXT"} {
		other := js.add(both)
		other.up()
		other.stop()
		other.sets = append(other.sets, "leat.join="+one.address(listener))
		other.begin()
		if err := other.refused(); !errors.Is(err, &forming.Refusal{Kind: forming.OtherCluster}) || strings.Contains(err.Error(), "\n") {
			t.Errorf("a node of another cluster by %s: %v", listener, err)
		}
	}

	member := js.add(both, "leat.join="+one.address("CONTROLLER")).up()
	member.stop()
	member.sets = append(member.sets, "node.id=7")
	member.begin()
	if err := member.refused(); err == nil || !strings.Contains(err.Error(), "belongs to node 2, not to 7") {
		t.Errorf("with another id than before: %v", err)
	}
}

// TestIDTaken: a node with the id of one that is alive waits for that one to end; an id
// that is given is given once.
func TestIDTaken(t *testing.T) {
	js := &joints{t: t}
	one := js.add(both).up()
	join := "leat.join=" + one.address("CONTROLLER")
	a, b := js.add(both, join), js.add(both, join)
	opened := make(chan struct{}, 2)
	for _, j := range []*joint{a, b} {
		go func() {
			defer func() { opened <- struct{}{} }()
			j.begin()
		}()
	}
	<-opened
	<-opened
	a.serves()
	b.serves()
	if ids := []int32{a.b.node.ID(), b.b.node.ID()}; slices.Max(ids) != 3 || slices.Min(ids) != 2 {
		t.Errorf("ids %v", ids)
	}
	twin := js.add(both, join, fmt.Sprint("node.id=", a.b.node.ID()))
	twin.begin()
	js.until("the twin says what it waits for", func() bool { return twin.log.has("in use by another node that is alive") })
	a.stop()
	twin.serves()
}

// TestJoinEachOther: two nodes without an id that are to join each other wait, and say that
// the other one does, too; one that is in a cluster, at such an address, takes the other in.
func TestJoinEachOther(t *testing.T) {
	js := &joints{t: t}
	a, b := js.add(both), js.add(both)
	a.sets = append(a.sets, "leat.join="+b.address("CONTROLLER"))
	before := b.sets
	b.sets = append(slices.Clone(before), "leat.join="+a.address("CONTROLLER"))
	ctx, stop := context.WithCancel(t.Context())
	opened := make(chan error, 1)
	opt := b.options()
	opt.Clock = env.Real
	go func() {
		_, err := Open(ctx, opt)
		opened <- err
	}()
	begun := make(chan struct{})
	go func() {
		defer close(begun)
		a.begin()
	}()
	for _, j := range js.all {
		js.until("it says that the other one waits", func() bool { return j.log.has("it waits to join a cluster, too") })
	}
	stop()
	if err := <-opened; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	b.sets = before
	b.up() // it founds a cluster
	<-begun
	a.serves()
}

// TestDuplicateRegistration: a broker whose id another one has says so, once, and goes on
// when the other's session has ended.
func TestDuplicateRegistration(t *testing.T) {
	js := &joints{t: t}
	one := js.add(both, "broker.session.timeout.ms=600000").up()
	other := one.dialTo(one.address("CONTROLLER"))
	reg := kmsg.NewPtrBrokerRegistrationRequest()
	reg.Version, reg.BrokerID, reg.ClusterID = 4, 9, one.b.node.Image().ClusterID()
	reg.IncarnationID, reg.LogDirs = [16]byte{9}, [][16]byte{{8: 9}}
	for _, f := range one.b.node.Image().Broker(1).Features {
		x := kmsg.NewBrokerRegistrationRequestFeature()
		x.Name, x.MinSupportedVersion, x.MaxSupportedVersion = f.Name, f.Min, f.Max
		reg.Features = append(reg.Features, x)
	}
	l := kmsg.NewBrokerRegistrationRequestListener()
	l.Name, l.Host, l.Port = "PLAINTEXT", "kafka-9", 9092
	reg.Listeners = append(reg.Listeners, l)
	registered := other.ask(reg).(*kmsg.BrokerRegistrationResponse)
	if registered.ErrorCode != 0 {
		t.Fatal(kerr.ErrorForCode(registered.ErrorCode))
	}
	const said = "node.id 9 is in use by another broker"
	nine := js.add("broker", "node.id=9", "leat.join="+one.address("CONTROLLER"))
	nine.begin()
	js.until("it says who has its id", func() bool { return nine.log.has("WARN", said+" at kafka-9:9092, with another data directory") })
	beat := kmsg.NewPtrBrokerHeartbeatRequest()
	beat.Version, beat.BrokerID, beat.BrokerEpoch, beat.WantShutdown = 1, 9, registered.BrokerEpoch, true
	js.until("the other one's end", func() bool {
		resp := other.ask(beat).(*kmsg.BrokerHeartbeatResponse)
		return resp.ErrorCode == 0 && resp.ShouldShutdown
	})
	nine.serves()
	if n := strings.Count(nine.log.String(), said); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// TestVoterBecomesBroker: a voter that is started without the controller's role is refused
// while it has its vote, and comes up once that was taken.
func TestVoterBecomesBroker(t *testing.T) {
	js := &joints{t: t}
	one := js.add(both).up()
	join := "leat.join=" + one.address("CONTROLLER")
	two, three := js.add(both, join).up(), js.add(both, join).up()
	js.voters(one, 1, 2, 3)
	plain := []string{"process.roles=broker", "listeners=PLAINTEXT://" + three.address("PLAINTEXT")}
	three.stop()
	before := three.sets
	three.sets = append(slices.Clone(before), plain...)
	three.begin()
	if err := three.refused(); !errors.Is(err, &forming.Refusal{Kind: forming.StillVotes}) {
		t.Fatal(err)
	}
	if err := three.b.Close(0); err != nil {
		t.Fatal(err)
	}
	three.sets = before
	three.up()
	c := two.dialTo(two.address("PLAINTEXT"))
	never := "never"
	set := kmsg.NewPtrIncrementalAlterConfigsRequest()
	set.Version = 1
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, "3"
	r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: string(config.LeatQuorumVoter), Value: &never})
	set.Resources = append(set.Resources, r)
	if code := c.ask(set).(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode; code != 0 {
		t.Fatal(kerr.ErrorForCode(code))
	}
	js.voters(two, 1, 2)
	three.stop()
	three.sets = append(slices.Clone(before), plain...)
	three.up()
	js.replicates(three, "t", 3)
}

// TestOnlyVoterBecomesBroker: it is refused, since nobody else could say why it waits in vain.
func TestOnlyVoterBecomesBroker(t *testing.T) {
	js := &joints{t: t}
	one := js.add(both).up()
	one.stop()
	before := one.sets
	one.sets = append(slices.Clone(before), "process.roles=broker", "listeners=PLAINTEXT://"+one.address("PLAINTEXT"),
		"controller.quorum.bootstrap.servers="+one.address("CONTROLLER"))
	one.begin()
	if err := one.refused(); fmt.Sprint(err) != "node 1 is the only voter of the metadata quorum, which nobody would lead without it: "+
		"start it with process.roles=broker,controller, and give other controllers votes before its own is taken" {
		t.Fatal(err)
	}
	one.sets = before
	one.up()
}

// TestQuorumOfOneOfThree: a voter that has lost the others says so to whom asks.
func TestQuorumOfOneOfThree(t *testing.T) {
	js := &joints{t: t}
	one, two, three := js.add(both, "node.id=1"), js.add(both, "node.id=2"), js.add(both, "node.id=3")
	list := "controller.quorum.bootstrap.servers=" + strings.Join([]string{one.address("CONTROLLER"), two.address("CONTROLLER"), three.address("CONTROLLER")}, ",")
	for _, j := range js.all {
		j.sets = append(j.sets, list)
		j.begin()
	}
	for _, j := range js.all {
		j.serves()
	}
	for _, j := range []*joint{two, three} {
		j.dead.Store(true)
		j.disk().PowerOff()
	}
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version, create.TimeoutMillis = 7, 1000
	create.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "t", NumPartitions: 1, ReplicationFactor: 1}}
	one.dialTo(one.address("PLAINTEXT")).send(create) // the others end by what they cannot write
	want := fmt.Sprintf("the metadata quorum has no leader: a majority of the voters (1 at %s, 2 at %s, 3 at %s) has to run",
		one.address("CONTROLLER"), two.address("CONTROLLER"), three.address("CONTROLLER"))
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Version = 2
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", []kmsg.DescribeQuorumRequestTopicPartition{{}}
	req.Topics = append(req.Topics, topic)
	js.until("it is without a leader for longer than an election takes", func() bool { return one.log.has("WARN", "the metadata quorum has no leader: it takes") })
	if resp := one.dialTo(one.address("PLAINTEXT")).ask(req).(*kmsg.DescribeQuorumResponse); resp.ErrorCode != kerr.LeaderNotAvailable.Code || *resp.ErrorMessage != want {
		t.Errorf("%+v, want %s", resp, want)
	}
}

// TestReady: nodes that have lost the controller are not ready, and are when it is back;
// they work meanwhile.
func TestReady(t *testing.T) {
	js := &joints{t: t}
	one := js.add(both).up()
	join := "leat.join=" + one.address("CONTROLLER")
	two, three := js.add("broker", join).up(), js.add("controller", join, "node.id=3").up()
	for _, j := range js.all {
		if err := j.b.Ready(); err != nil {
			t.Errorf("node %d serves: %v", j.b.node.ID(), err)
		}
	}
	one.stop()
	for who, says := range map[*joint]string{two: "out of touch with the controller", three: "the metadata is not followed"} {
		js.until("not ready", func() bool {
			err := who.b.Ready()
			return err != nil && strings.HasPrefix(err.Error(), says) && who.b.Healthy() == nil
		})
	}
	one.begin()
	one.serves()
	for _, j := range js.all {
		js.until("ready again", func() bool { return j.b.Ready() == nil })
	}
}

// TestWipedDisk: a voter whose disk is empty comes back as another member, and the old
// one goes.
func TestWipedDisk(t *testing.T) {
	js := &joints{t: t}
	one := js.add(both).up()
	join := "leat.join=" + one.address("CONTROLLER")
	js.add(both, join).up()
	three := js.add(both, join).up()
	js.voters(one, 1, 2, 3)
	_, _, _, before, _ := one.quorum()
	three.stop()
	three.fs = env.NewDisk(99)
	three.disk().SetClock(env.Real)
	three.sets = append(three.sets, "node.id=3")
	three.up()
	js.until("node 3 votes with its new directory", func() bool {
		_, voters, _, dirs, ok := one.quorum()
		return ok && slices.Equal(voters, []int32{1, 2, 3}) && dirs[3] != before[3]
	})
	js.replicates(three, "t", 3)
}

// TestMajorityWiped: while most voters are down or have empty disks, nobody is told that
// its id is in use: what is wrong is that the metadata has no leader, and who is left says
// whom it waits for.
func TestMajorityWiped(t *testing.T) {
	js := trio(t)
	one, two, three := js.all[0], js.all[1], js.all[2]
	js.voters(one, 1, 2, 3)
	two.stop()
	three.stop()
	const waits = "the metadata quorum has no leader: it takes 2 of the voters [1 at "
	js.until("node 1 says what it waits for", func() bool { return one.log.has("WARN", waits, "hears of [1 at ", "] only") })
	two.fs = env.NewDisk(98)
	two.disk().SetClock(env.Real)
	two.sets = append(two.sets, "node.id=2")
	two.begin()
	js.until("node 2 says what is wrong", func() bool {
		return two.log.has("another data directory has had node.id 2", "the cluster's metadata has no leader", "(node 1 at ")
	})
	if two.log.has("in use by another node") {
		t.Errorf("node 2 blames another node:\n%s", two.log)
	}
	three.up() // it has its data: the two of them are a majority
	two.serves()
	js.voters(one, 1, 2, 3)
}

// TestChangeVoters: an operator takes a vote away and gives it back; what was wanted
// stays, and the node without a vote goes on.
func TestChangeVoters(t *testing.T) {
	js := &joints{t: t}
	one := js.add(both).up()
	join := "leat.join=" + one.address("CONTROLLER")
	js.add(both, join).up()
	three := js.add(both, join).up()
	js.voters(one, 1, 2, 3)
	leader, _, _, dirs, _ := one.quorum()
	var out int32 = 3
	if leader == out {
		out = 2
	}
	c := one.dialTo(one.address("PLAINTEXT"))
	remove := kmsg.NewPtrRemoveRaftVoterRequest()
	remove.VoterID, remove.VoterDirectoryID = out, dirs[out]
	if resp := c.ask(remove).(*kmsg.RemoveRaftVoterResponse); resp.ErrorCode != 0 {
		t.Fatalf("remove: %d", resp.ErrorCode)
	}
	js.until("the node goes on as an observer", func() bool {
		_, voters, observers, _, ok := one.quorum()
		return ok && len(voters) == 2 && slices.Equal(observers, []int32{out})
	})
	if resp := c.ask(remove).(*kmsg.RemoveRaftVoterResponse); resp.ErrorCode != kerr.VoterNotFound.Code {
		t.Errorf("remove again: %d", resp.ErrorCode)
	}
	js.replicates(js.all[out-1], "t", 3)

	add := kmsg.NewPtrAddRaftVoterRequest()
	add.Version, add.AckWhenCommitted = 1, true
	add.VoterID, add.VoterDirectoryID, add.TimeoutMillis = out, dirs[out], 30_000
	host, port, err := net.SplitHostPort(js.all[out-1].address("CONTROLLER"))
	if err != nil {
		t.Fatal(err)
	}
	l := kmsg.NewAddRaftVoterRequestListener()
	l.Name, l.Host = "CONTROLLER", host
	if _, err := fmt.Sscan(port, &l.Port); err != nil {
		t.Fatal(err)
	}
	add.Listeners = append(add.Listeners, l)
	if resp := c.ask(add).(*kmsg.AddRaftVoterResponse); resp.ErrorCode != 0 {
		t.Fatalf("add: %d", resp.ErrorCode)
	}
	js.voters(three, 1, 2, 3)
	if resp := c.ask(add).(*kmsg.AddRaftVoterResponse); resp.ErrorCode != kerr.DuplicateVoter.Code {
		t.Errorf("add again: %d", resp.ErrorCode)
	}
	img := one.b.node.Image()
	if got := img.Config(4, fmt.Sprint(out))[string(config.LeatQuorumVoter)]; got != "always" {
		t.Errorf("what the operator wanted of node %d is %q", out, got)
	}
}

// TestMoved: members that are reached elsewhere after a restart find each other by the
// addresses that they are given, and the cluster keeps the new ones.
func TestMoved(t *testing.T) {
	js := &joints{t: t}
	one := js.add(both).up()
	join := "leat.join=" + one.address("CONTROLLER")
	js.add(both, join).up()
	js.add(both, join).up()
	js.voters(one, 1, 2, 3)
	var moved []string
	for _, j := range js.all {
		j.stop()
		moved = append(moved, freeAddress(t))
	}
	for i, j := range js.all {
		j.sets = slices.DeleteFunc(j.sets, func(s string) bool { return strings.HasPrefix(s, "leat.join=") || strings.HasPrefix(s, "listeners=") })
		j.sets = append(j.sets, "listeners=PLAINTEXT://"+freeAddress(t)+",CONTROLLER://"+moved[i], "leat.join="+moved[(i+1)%3])
		j.begin()
	}
	for _, j := range js.all {
		j.serves()
	}
	js.until("the members' new addresses", func() bool {
		c := one.dialTo(one.address("CONTROLLER"))
		defer c.nc.Close()
		req := kmsg.NewPtrDescribeClusterRequest()
		req.Version, req.EndpointType = 1, 2
		resp := c.ask(req).(*kmsg.DescribeClusterResponse)
		var got []string
		for _, b := range resp.Brokers {
			got = append(got, net.JoinHostPort(b.Host, fmt.Sprint(b.Port)))
		}
		slices.Sort(got)
		return slices.Equal(got, slices.Sorted(slices.Values(moved)))
	})
}

// TestLeaveHandsOver: the leader of the metadata stops, and another leads before it is gone.
func TestLeaveHandsOver(t *testing.T) {
	js := &joints{t: t}
	one := js.add(both).up()
	join := "leat.join=" + one.address("CONTROLLER")
	js.add(both, join).up()
	js.add(both, join).up()
	js.voters(one, 1, 2, 3)
	leader, _, _, _, _ := one.quorum()
	going := js.all[leader-1]
	going.b.node.Leave(t.Context())
	js.until("another leads", func() bool {
		now, _, _, _, ok := js.all[leader%3].quorum()
		return ok && now != leader
	})
	if going.log.has("not handed over") {
		t.Error(going.log)
	}
	going.stop()
}
