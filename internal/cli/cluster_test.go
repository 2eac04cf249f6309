package cli

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-stream/leat/internal/nodewire"
)

// mover plays the part of a controller that moves replicas, beside a cluster in memory.
type mover struct {
	mu       sync.Mutex
	assigned map[string][]int32 // by "topic-partition"
	moving   []string
	cancels  int
	settings []string // in the order of their being set and deleted
	elected  bool
	removed  []string
	resigns  bool    // votes that are taken are gone
	resigned []int32 // voters whose vote was taken
	silent   bool    // a voter is
	alone    bool    // a fourth voter, 7, is no broker
	software string

	world     *world
	stuck     bool  // moves do not end
	fenced    bool  // nodes are, but for 0, once something moves
	mute      int32 // a node that does not take settings, if any
	preferred bool  // replicas are down
	drops     int   // of answers to UnregisterBroker
	leader    int32 // of the quorum
	voters    int32 // 0: three
	dead      bool  // node 0 does not answer any more
	headless  bool  // the quorum is

	begun    int    // moves
	takeBack int    // after so many have begun, those that move are taken back; 0 is never
	deletes  string // a topic that is deleted once something moves
	strange  bool   // node 3 is not registered

	shape *shape // of the one partition of orders that there is, if it is told
}

func (m *mover) attach(w *world) {
	m.world, m.mute = w, -1
	on := func(key kmsg.Key, fn func(kmsg.Request) kmsg.Response) {
		w.cluster.ControlKey(key.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			m.mu.Lock()
			defer m.mu.Unlock()
			resp := fn(r)
			if key == kmsg.UnregisterBroker && m.drops > 0 {
				m.drops--
				return nil, errors.New("dropped"), true
			}
			return resp, nil, resp != nil
		})
	}
	on(kmsg.ApiVersions, m.versions)
	on(kmsg.AlterPartitionAssignments, m.assign)
	on(kmsg.ListPartitionReassignments, m.list)
	on(kmsg.Metadata, m.metadata)
	on(kmsg.ElectLeaders, m.elect)
	on(kmsg.DescribeCluster, m.describedCluster)
	on(kmsg.IncrementalAlterConfigs, m.configure)
	on(kmsg.DescribeQuorum, m.describedQuorum)
	m.follow()
	on(kmsg.RemoveRaftVoter, func(r kmsg.Request) kmsg.Response {
		m.removed = append(m.removed, "voter")
		if m.resigns {
			m.resigned = append(m.resigned, r.(*kmsg.RemoveRaftVoterRequest).VoterID)
		}
		return r.ResponseKind()
	})
	on(kmsg.UnregisterBroker, func(r kmsg.Request) kmsg.Response {
		resp := r.ResponseKind().(*kmsg.UnregisterBrokerResponse)
		if r.(*kmsg.UnregisterBrokerRequest).BrokerID == 9 {
			resp.ErrorCode = kerr.BrokerIDNotRegistered.Code
			return resp
		}
		m.removed = append(m.removed, "broker")
		return resp
	})
}

// versions says that every request is known: the cluster in memory lacks some.
func (m *mover) versions(r kmsg.Request) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.ApiVersionsResponse)
	nodewire.SetSoftware(resp, m.software)
	kversion.V4_4_0().EachMaxKeyVersion(func(key, highest int16) {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MaxVersion = key, highest
		resp.ApiKeys = append(resp.ApiKeys, k)
	})
	return resp
}

func (m *mover) assign(r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.AlterPartitionAssignmentsRequest)
	resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	for _, t := range req.Topics {
		out := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			name := place(t.Topic, p.Partition)
			if p.Replicas == nil {
				m.cancels++
				m.moving = nil
			} else {
				m.assigned[name] = p.Replicas
				m.moving = append(m.moving, name)
				m.begun++
			}
			part := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			part.Partition = p.Partition
			out.Partitions = append(out.Partitions, part)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// follow has the metadata show replicas where they were moved to, and no topic that was deleted.
func (m *mover) follow() {
	base, err := kgo.NewClient(kgo.SeedBrokers(m.world.cluster.ListenAddrs()...)) // for what the cluster in memory says
	if err != nil {
		m.world.t.Fatal(err)
	}
	m.world.t.Cleanup(base.Close)
	m.world.cluster.ControlKey(kmsg.Metadata.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		m.world.cluster.KeepControl()
		req := r.(*kmsg.MetadataRequest)
		m.mu.Lock()
		moved := m.begun > 0 || m.strange
		m.mu.Unlock()
		if !moved || req.IncludeTopicAuthorizedOperations {
			return nil, nil, false
		}
		var resp *kmsg.MetadataResponse
		var err error
		m.world.cluster.SleepControl(func() {
			plain := *req
			plain.IncludeTopicAuthorizedOperations = true // marks it as this one's
			resp, err = plain.RequestWith(m.world.t.Context(), base)
		})
		if err != nil {
			return nil, err, true
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.shown(resp)
		return resp, nil, true
	})
}

// shown puts what was moved into the metadata.
func (m *mover) shown(resp *kmsg.MetadataResponse) {
	if m.strange {
		resp.ControllerID = 0
		resp.Brokers = slices.DeleteFunc(resp.Brokers, func(b kmsg.MetadataResponseBroker) bool { return b.NodeID == 3 })
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if m.begun > 0 && *t.Topic == m.deletes {
			t.ErrorCode, t.Partitions = kerr.UnknownTopicOrPartition.Code, nil
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if name := place(*t.Topic, p.Partition); m.assigned[name] != nil && !slices.Contains(m.moving, name) {
				p.Replicas = m.assigned[name]
				p.ISR = m.assigned[name]
			}
		}
	}
}

// list tells what moves, and is done with it.
func (m *mover) list(r kmsg.Request) kmsg.Response {
	if m.takeBack > 0 && m.begun >= m.takeBack {
		for _, name := range m.moving {
			delete(m.assigned, name)
		}
		m.moving = nil
	}
	resp := r.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
	if m.shape != nil {
		m.shape.list(resp)
		return resp
	}
	for _, name := range m.moving {
		topic, index, _ := strings.Cut(name, "/")
		t := kmsg.NewListPartitionReassignmentsResponseTopic()
		t.Topic = topic
		p := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
		p.Partition = int32(index[0] - '0')
		t.Partitions = append(t.Partitions, p)
		resp.Topics = append(resp.Topics, t)
	}
	if !m.stuck {
		m.moving = nil
	}
	return resp
}

func (m *mover) elect(r kmsg.Request) kmsg.Response {
	m.elected = true
	resp := r.ResponseKind().(*kmsg.ElectLeadersResponse)
	for _, t := range r.(*kmsg.ElectLeadersRequest).Topics {
		out := kmsg.NewElectLeadersResponseTopic()
		out.Topic = t.Topic
		for _, index := range t.Partitions {
			p := kmsg.NewElectLeadersResponseTopicPartition()
			if p.Partition = index; m.preferred {
				p.ErrorCode = kerr.PreferredLeaderNotAvailable.Code
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (m *mover) describedCluster(r kmsg.Request) kmsg.Response {
	if !m.fenced && !m.dead && !m.strange {
		return nil
	}
	resp := r.ResponseKind().(*kmsg.DescribeClusterResponse)
	for id, address := range m.world.cluster.ListenAddrs() {
		b := kmsg.NewDescribeClusterResponseBroker()
		host, port, _ := net.SplitHostPort(address)
		n, _ := strconv.Atoi(port)
		b.NodeID, b.Host, b.Port, b.IsFenced = int32(id), host, int32(n), id > 0 && m.fenced && len(m.assigned) > 0
		if id == 0 && m.dead {
			b.Port = 1
		}
		if id == 3 && m.strange {
			continue
		}
		resp.Brokers = append(resp.Brokers, b)
	}
	return resp
}

func (m *mover) configure(r kmsg.Request) kmsg.Response {
	if m.mute >= 0 && m.world.cluster.CurrentNode() == m.mute {
		return nil
	}
	req := r.(*kmsg.IncrementalAlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	for _, res := range req.Resources {
		for _, c := range res.Configs {
			verb := "delete "
			if c.Op == kmsg.IncrementalAlterConfigOpSet {
				verb = "set "
			}
			m.settings = append(m.settings, verb+c.Name)
		}
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = res.ResourceType, res.ResourceName
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

func (m *mover) describedQuorum(r kmsg.Request) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeQuorumResponse)
	t := kmsg.NewDescribeQuorumResponseTopic()
	t.Topic = "__cluster_metadata"
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	if p.LeaderID, p.LeaderEpoch, p.HighWatermark = m.leader, 7, 100; m.headless {
		p.ErrorCode = kerr.NotController.Code
	}
	for id := range cmp.Or(m.voters, 3) {
		v := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		v.ReplicaID, v.LogEndOffset, v.LastCaughtUpTimestamp = id, 100-int64(id), 50000-int64(id)
		if id == 2 && m.silent {
			v.LastCaughtUpTimestamp -= 20000
		}
		p.CurrentVoters = append(p.CurrentVoters, v)
	}
	if m.alone {
		v := p.CurrentVoters[len(p.CurrentVoters)-1]
		v.ReplicaID = 7
		p.CurrentVoters = append(p.CurrentVoters, v)
	}
	p.CurrentVoters = slices.DeleteFunc(p.CurrentVoters, func(v kmsg.DescribeQuorumResponseTopicPartitionReplicaState) bool {
		return slices.Contains(m.resigned, v.ReplicaID)
	})
	t.Partitions = append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
	return resp
}

func place(topic string, partition int32) string { return topic + "/" + string(rune('0'+partition)) }

func newMover(t *testing.T) (*world, *mover) {
	w := newWorld(t, kfake.NumBrokers(4), kfake.SeedTopics(4, "orders"))
	m := &mover{assigned: map[string][]int32{}}
	m.attach(w)
	return w, m
}

// TestClusterStatus: nodes, partitions and the quorum on one screen.
func TestClusterStatus(t *testing.T) {
	w, m := newMover(t)
	var s struct {
		Healthy    bool
		Silent     int `json:"voters_behind"`
		Partitions int
		Brokers    []struct{ ID, Replicas int }
		Quorum     struct {
			Leader  int
			Members []struct {
				ID, Lag, Behind_ms int
				Voter              bool
			}
		}
	}
	w.json(&s, "cluster", "status")
	if !s.Healthy || s.Partitions != 4 || len(s.Brokers) != 4 || len(s.Quorum.Members) != 3 {
		t.Fatalf("%+v", s)
	}
	if last := s.Quorum.Members[2]; last.Lag != 2 || last.Behind_ms != 2 || !last.Voter {
		t.Errorf("%+v", last)
	}
	text := w.ok("", "cluster", "status")
	m.silent = true // it may be a controller alone, which no broker tells of
	if w.json(&s, "cluster", "status"); s.Healthy || s.Silent != 1 {
		t.Errorf("with a silent voter: %+v", s)
	}
	for _, word := range []string{"healthy", "under-replicated", "DISK FREE", "leader", "voter"} {
		if !strings.Contains(text, word) {
			t.Errorf("%q is not in\n%s", word, text)
		}
	}
}

// TestTwoVotersAreNoRest: either of them is needed. Status says so, and so does the removal that
// leads there, before.
func TestTwoVotersAreNoRest(t *testing.T) {
	w, m := newMover(t)
	var s struct{ Attention []string }
	for voters, says := range map[int32]string{1: "", 2: "2 voters: the loss of either stops the metadata", 3: "", 4: "4 voters bear the loss of 1, as 3 would", 5: ""} {
		m.voters, s.Attention = voters, nil
		w.json(&s, "cluster", "status")
		if text := w.ok("", "cluster", "status"); says == "" && (len(s.Attention) > 0 || strings.Contains(text, "attention")) ||
			says != "" && (len(s.Attention) != 1 || !strings.HasPrefix(s.Attention[0], says) || !strings.Contains(text, says)) {
			t.Errorf("%d voters: %q\n%s", voters, s.Attention, text)
		}
	}
	w.ok("", "topic", "delete", "orders")
	const says = "without node 0 there are 2 voters"
	for voters, told := range map[int32]bool{2: false, 3: true, 4: false} {
		m.voters = voters
		if r := w.run("", "cluster", "remove", "0", "--force"); r.code != 0 || strings.Contains(r.err, says) != told {
			t.Errorf("of %d voters: %+v", voters, r)
		}
	}
}

// TestDrainOfWhatCannotGo: it is said what stays and why, and that is a failure, of a dry run too.
func TestDrainOfWhatCannotGo(t *testing.T) {
	w := newWorld(t, kfake.NumBrokers(3), kfake.SeedTopics(4, "orders"))
	m := &mover{assigned: map[string][]int32{}}
	m.attach(w)
	for _, args := range [][]string{{"cluster", "drain", "0", "--dry-run"}, {"cluster", "drain", "0"}} {
		r := w.run("", args...)
		if got := strings.Count(r.out, "every other node has a replica of it"); got != 4 || r.code != 1 || !strings.Contains(r.err, "nothing of node 0 can move") ||
			!strings.Contains(r.err, "node 0 keeps replicas of 4 partitions (4: every other node has a replica of it)") {
			t.Errorf("%v: %+v", args, r)
		}
		if r := w.run("", append(args, "--format", "json")...); r.code != 1 || strings.Count(r.out, `"why"`) != 4 {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if len(m.assigned) != 0 {
		t.Errorf("moved %v", m.assigned)
	}
	w.ok("", "topic", "delete", "orders")
	if r := w.run("", "cluster", "drain", "0", "--dry-run"); r.code != 0 || !strings.Contains(r.err, "node 0 holds nothing") {
		t.Errorf("%+v", r)
	}
}

// hang has a node, all of them for -1, not answer a request until the test ends.
func (w *world) hang(key kmsg.Key, node int32) {
	release := make(chan struct{})
	w.t.Cleanup(func() { close(release) })
	w.cluster.ControlKey(key.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		if node >= 0 && w.cluster.CurrentNode() != node {
			return nil, nil, false
		}
		w.cluster.SleepControl(func() { <-release })
		return nil, errors.New("too late"), true
	})
}

// TestClusterStatusOfAClusterInPart: what answers is shown, what does not is named, and a
// node that hangs holds up neither the others nor the command.
func TestClusterStatusOfAClusterInPart(t *testing.T) {
	w := newWorld(t, kfake.NumBrokers(4), kfake.SeedTopics(4, "orders"))
	w.hang(kmsg.DescribeLogDirs, 3)
	w.hang(kmsg.DescribeQuorum, -1)
	m := &mover{assigned: map[string][]int32{}, software: "1.2.3"}
	m.attach(w)
	var s struct {
		Healthy  bool
		Not_told []string
		Versions []struct {
			Version string
			Nodes   []int
		}
		Brokers []struct {
			ID, Bytes int
			Version   string
			Answers   bool
		}
	}
	w.json(&s, "cluster", "status", "--timeout", "2s")
	if s.Healthy || len(s.Brokers) != 4 {
		t.Fatalf("%+v", s)
	}
	for _, b := range s.Brokers {
		if !b.Answers || b.Version != "1.2.3" || (b.Bytes < 0) != (b.ID == 3) {
			t.Errorf("%+v", b)
		}
	}
	if len(s.Versions) != 1 || len(s.Versions[0].Nodes) != 4 {
		t.Errorf("versions %+v", s.Versions)
	}
	want := []string{"node 3: disks: no answer within 2s", "quorum: no answer within 2s"}
	if !slices.Equal(s.Not_told, want) {
		t.Errorf("not told: %q", s.Not_told)
	}
}

// TestClusterDrain: a plan first, then moves under a limit that is lifted again.
func TestClusterDrain(t *testing.T) {
	w, m := newMover(t)
	var plan struct {
		Moves []struct{ From, To []int32 }
	}
	w.json(&plan, "cluster", "drain", "0", "--dry-run")
	for _, mv := range plan.Moves {
		if !slices.Contains(mv.From, 0) || slices.Contains(mv.To, 0) {
			t.Errorf("%+v", mv)
		}
	}
	if len(m.assigned) != 0 || len(m.settings) != 0 {
		t.Fatal("a dry run changed something")
	}
	r := w.run("", "cluster", "drain", "0", "--rate", "1000", "--parallel", "1")
	if len(plan.Moves) == 0 {
		t.Fatal("nothing is to be moved")
	}
	if r.code != 0 || !strings.Contains(r.err, fmt.Sprintf("%d moves have ended", len(plan.Moves))) || !strings.Contains(r.err, "node 0 is empty") {
		t.Errorf("%+v", r)
	}
	if len(m.assigned) != len(plan.Moves) || !m.elected {
		t.Errorf("moved %v, elected %v", m.assigned, m.elected)
	}
	if n := len(m.settings); n == 0 || !strings.HasPrefix(m.settings[0], "set ") || !strings.HasPrefix(m.settings[n-1], "delete ") {
		t.Errorf("settings %v", m.settings)
	}
	w.fails(2, "no node id", "cluster", "drain", "x")
	w.fails(1, "node 9: the cluster does not know it", "cluster", "drain", "9")
}

// TestDrainOfAController: a node that is no broker holds nothing, and is known all the same.
func TestDrainOfAController(t *testing.T) {
	w, m := newMover(t)
	m.alone = true
	if r := w.run("", "cluster", "drain", "7"); r.code != 0 || !strings.Contains(r.err, "node 7 is no broker, a controller only, and holds no replicas") {
		t.Errorf("%+v", r)
	}
}

// spread puts the replicas of each partition of orders on the node of its number and the two behind it.
func (w *world) spread() {
	for i := range int32(4) {
		if err := w.cluster.MoveTopicPartition("orders", i, i); err != nil {
			w.t.Fatal(err)
		}
	}
}

// disks has every node tell of a disk with so many bytes, and of 100 bytes in each partition of
// orders, whose replicas are on the node of its number and the two behind it.
func (w *world) disks(totals [4]int64, free int64) {
	w.spread()
	w.cluster.ControlKey(kmsg.DescribeLogDirs.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		resp := r.ResponseKind().(*kmsg.DescribeLogDirsResponse)
		dir := kmsg.NewDescribeLogDirsResponseDir()
		dir.Dir, dir.TotalBytes, dir.UsableBytes = "d", totals[w.cluster.CurrentNode()], free
		topic := kmsg.NewDescribeLogDirsResponseDirTopic()
		topic.Topic = "orders"
		for i := range int32(4) {
			p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
			p.Partition, p.Size = i, 100
			topic.Partitions = append(topic.Partitions, p)
		}
		dir.Topics = append(dir.Topics, topic)
		resp.Dirs = append(resp.Dirs, dir)
		return resp, nil, true
	})
}

// TestMovesLeaveDisksTheirReserve: drain says what has no room, balance which node would get
// more, and --reserve says how much stays free.
func TestMovesLeaveDisksTheirReserve(t *testing.T) {
	w, _ := newMover(t)
	w.disks([4]int64{9000, 9000, 9000, 9000}, 990)
	r := w.run("", "cluster", "drain", "0", "--dry-run")
	if r.code != 1 || !strings.Contains(r.err, ": no room: each disk that may take it would be left with less than --reserve)") {
		t.Errorf("%+v", r)
	}
	if r := w.run("", "cluster", "drain", "0", "--dry-run", "--reserve", "0"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	w.fails(2, "--reserve", "cluster", "drain", "0", "--reserve", "100")

	w, _ = newMover(t)
	w.disks([4]int64{1000, 1000, 1000, 9000}, 990)
	var planned struct {
		Moves   []struct{ From, To []int32 }
		No_room []int32
	}
	w.json(&planned, "cluster", "balance", "--dry-run", "--reserve", "5")
	brought := func() (n int) {
		for _, mv := range planned.Moves {
			if !slices.Contains(mv.From, 3) && slices.Contains(mv.To, 3) {
				n++
			}
		}
		return n
	}
	if brought() != 1 || len(planned.No_room) > 0 {
		t.Errorf("%+v", planned)
	}
	if r := w.run("", "cluster", "balance", "--dry-run"); !strings.Contains(r.err, "no room, beside what --reserve leaves free, for all that node 3 would get\n") {
		t.Errorf("%+v", r)
	}
	planned.Moves = nil
	w.json(&planned, "cluster", "balance", "--dry-run")
	if brought() != 0 || !slices.Equal(planned.No_room, []int32{3}) {
		t.Errorf("%+v", planned)
	}
}

// TestClusterBalance: it wants to be told what to do, and --cancel takes moves back.
func TestClusterBalance(t *testing.T) {
	w, m := newMover(t)
	w.fails(2, "--dry-run, --apply and --cancel", "cluster", "balance")
	w.fails(2, "--dry-run, --apply and --cancel", "cluster", "balance", "--apply", "--dry-run")
	w.fails(2, "--parallel", "cluster", "balance", "--apply", "--parallel", "0")
	w.ok("", "cluster", "balance", "--dry-run")
	if len(m.assigned) != 0 {
		t.Fatal("a dry run moved something")
	}
	w.ok("", "cluster", "balance", "--apply")
	m.moving = []string{"orders/1"}
	if r := w.run("", "cluster", "balance", "--cancel"); r.code != 0 || m.cancels != 1 || !strings.Contains(r.err, "1 move taken back\n") {
		t.Errorf("exit %d, %d moves taken back: %s", r.code, m.cancels, r.err)
	}
}

// TestClusterRemove: not while the node has replicas, or is up.
func TestClusterRemove(t *testing.T) {
	w, m := newMover(t)
	w.fails(1, "leat cluster drain", "cluster", "remove", "0")
	w.fails(1, "node 9", "cluster", "remove", "9")
	if len(m.removed) != 0 {
		t.Fatalf("removed %v", m.removed)
	}
	w.ok("", "topic", "delete", "orders")
	w.fails(1, "stop it first", "cluster", "remove", "0")
	w.ok("", "cluster", "remove", "0", "--force")
	if !slices.Equal(m.removed, []string{"voter", "broker"}) {
		t.Errorf("removed %v", m.removed)
	}
	m.removed, m.alone = nil, true
	w.fails(1, "stop it first", "cluster", "remove", "7")
	m.silent = true
	w.ok("", "cluster", "remove", "7")
	if !slices.Equal(m.removed, []string{"voter", "broker"}) {
		t.Errorf("of a controller alone: removed %v", m.removed)
	}
}
