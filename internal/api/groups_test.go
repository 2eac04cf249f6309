package api

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
)

func TestFindCoordinatorVersions(t *testing.T) {
	c := newCoordinators(t)
	versions(kmsg.FindCoordinator, func(v int16) {
		for _, typ := range []int8{0, 1} {
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.CoordinatorKey, req.CoordinatorType, req.CoordinatorKeys = "g", typ, []string{"g", "h"}
			resp := do[*kmsg.FindCoordinatorResponse](c, v, req)
			found := resp.Coordinators
			if v < 4 {
				found = []kmsg.FindCoordinatorResponseCoordinator{{Key: "g", NodeID: resp.NodeID, Host: resp.Host, Port: resp.Port, ErrorCode: resp.ErrorCode, ErrorMessage: resp.ErrorMessage}, {Key: "h", NodeID: 1, Host: "broker", Port: 9092}}
			}
			for i, key := range []string{"g", "h"} {
				if f := found[i]; f.Key != key || f.NodeID != 1 || f.Host != "broker" || f.Port != 9092 || f.ErrorCode != 0 {
					t.Errorf("version %d, type %d: %+v", v, typ, f)
				}
			}
		}
	})
	if c.created != 2 {
		t.Errorf("%d topics created, want one for groups and one for transactions", c.created)
	}
}

func TestFindCoordinatorFailures(t *testing.T) {
	c := newCoordinators(t)
	c.creating = errors.New("no controller")
	for _, typ := range []int8{0, 1, 2, 9} {
		want := kerr.CoordinatorNotAvailable
		if typ >= 2 {
			want = kerr.InvalidRequest
		}
		for _, v := range []int16{3, 6} {
			resp := do[*kmsg.FindCoordinatorResponse](c, v, &kmsg.FindCoordinatorRequest{CoordinatorType: typ, CoordinatorKeys: []string{"g"}, CoordinatorKey: "g"})
			code, node, port := resp.ErrorCode, resp.NodeID, resp.Port
			if v >= 4 {
				code, node, port = resp.Coordinators[0].ErrorCode, resp.Coordinators[0].NodeID, resp.Coordinators[0].Port
			}
			if code != want.Code || node != -1 || port != -1 {
				t.Errorf("type %d version %d: error %d, node %d, port %d", typ, v, code, node, port)
			}
		}
	}
	c.creating = nil
	c.find()
}

func TestGroupVersions(t *testing.T) {
	c := newCoordinators(t)
	c.find()
	versions(kmsg.JoinGroup, func(v int16) { c.member(fmt.Sprint("join", v), v) })
	versions(kmsg.SyncGroup, func(v int16) {
		id := fmt.Sprint("sync", v)
		member, generation := c.member(id, 9)
		resp := do[*kmsg.SyncGroupResponse](c, v, &kmsg.SyncGroupRequest{Group: id, MemberID: member, Generation: generation, ProtocolType: kmsg.StringPtr("consumer"), Protocol: kmsg.StringPtr("range")})
		if resp.ErrorCode != 0 || string(resp.MemberAssignment) != "assignment" || v >= 5 && *resp.Protocol != "range" {
			t.Errorf("sync version %d: %+v", v, resp)
		}
		if v >= 5 {
			resp = do[*kmsg.SyncGroupResponse](c, v, &kmsg.SyncGroupRequest{Group: id, MemberID: member, Generation: generation})
			if resp.ErrorCode != kerr.InconsistentGroupProtocol.Code {
				t.Errorf("sync version %d without a protocol: %+v", v, resp)
			}
		}
	})
	versions(kmsg.Heartbeat, func(v int16) {
		id := fmt.Sprint("heartbeat", v)
		member, generation := c.member(id, 9)
		if resp := do[*kmsg.HeartbeatResponse](c, v, &kmsg.HeartbeatRequest{Group: id, MemberID: member, Generation: generation}); resp.ErrorCode != 0 {
			t.Errorf("heartbeat version %d: %+v", v, resp)
		}
	})
	versions(kmsg.LeaveGroup, func(v int16) {
		id := fmt.Sprint("leave", v)
		member, _ := c.member(id, 9)
		ask := &kmsg.LeaveGroupRequest{Group: id, MemberID: member, Members: []kmsg.LeaveGroupRequestMember{{MemberID: member}, {MemberID: "stranger"}}}
		resp := do[*kmsg.LeaveGroupResponse](c, v, ask)
		if resp.ErrorCode != 0 || v >= 3 && (resp.Members[0].ErrorCode != 0 || resp.Members[1].ErrorCode != kerr.UnknownMemberID.Code) {
			t.Errorf("leave version %d: %+v", v, resp)
		}
		resp = do[*kmsg.LeaveGroupResponse](c, v, ask)
		if code := kerr.UnknownMemberID.Code; v < 3 && resp.ErrorCode != code || v >= 3 && resp.Members[0].ErrorCode != code {
			t.Errorf("leave version %d again: %+v", v, resp)
		}
	})
}

// TestJoinVersionZero: before there was a rebalance timeout it was the session's.
func TestJoinVersionZero(t *testing.T) {
	c := newCoordinators(t)
	c.find()
	c.member("g", 0)
	parked := c.send(0, joinRequest("g"))
	c.clock.Advance(0) // the coordinator has one member to wait for
	described := do[*kmsg.DescribeGroupsResponse](c, 6, &kmsg.DescribeGroupsRequest{Groups: []string{"g"}})
	if state := described.Groups[0].State; state != "PreparingRebalance" {
		t.Fatalf("state %s", state)
	}
	c.clock.Advance(10 * time.Second)
	if resp := (<-parked).(*kmsg.JoinGroupResponse); resp.ErrorCode != 0 || resp.Generation != 2 {
		t.Errorf("%+v", resp)
	}
}

func TestOffsetCommitAndFetchVersions(t *testing.T) {
	c := newCoordinators(t)
	c.find()
	id := c.image.Load().Topic("t").ID
	versions(kmsg.OffsetCommit, func(v int16) {
		ask := kmsg.NewPtrOffsetCommitRequest()
		ask.Group = fmt.Sprint("g", v)
		for _, topic := range []string{"t", "nowhere"} {
			rt := kmsg.NewOffsetCommitRequestTopic()
			rt.Topic = topic
			if topic == "t" {
				rt.TopicID = id
			}
			for _, p := range []int32{1, 2} {
				rp := kmsg.NewOffsetCommitRequestTopicPartition()
				rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata = p, int64(v), 3, kmsg.StringPtr("note")
				rt.Partitions = append(rt.Partitions, rp)
			}
			ask.Topics = append(ask.Topics, rt)
		}
		resp := do[*kmsg.OffsetCommitResponse](c, v, ask)
		unknown := kerr.UnknownTopicOrPartition.Code
		if v >= 10 {
			unknown = kerr.UnknownTopicID.Code
		}
		codes := map[string]int16{}
		for _, rt := range resp.Topics {
			for _, p := range rt.Partitions {
				codes[fmt.Sprintf("%s%v%d", rt.Topic, rt.TopicID == id, p.Partition)] = p.ErrorCode
			}
		}
		want := map[string]int16{"tfalse1": 0, "tfalse2": kerr.UnknownTopicOrPartition.Code, "nowherefalse1": unknown, "nowherefalse2": unknown}
		if v >= 10 {
			want = map[string]int16{"true1": 0, "true2": kerr.UnknownTopicOrPartition.Code, "false1": unknown, "false2": unknown}
		}
		if fmt.Sprint(codes) != fmt.Sprint(want) || len(resp.Topics) != 2 {
			t.Errorf("commit version %d: %v in %d topics", v, codes, len(resp.Topics))
		}
	})
	versions(kmsg.OffsetFetch, func(v int16) {
		c.checkFetch(v, id, false)
		if v >= 2 {
			c.checkFetch(v, id, true)
		}
	})
}

// checkFetch fetches the offset of t/1 in group g6, by name or with all there are.
func (c *coordinators) checkFetch(v int16, id [16]byte, all bool) {
	c.t.Helper()
	ask := kmsg.NewPtrOffsetFetchRequest()
	ask.Group, ask.RequireStable = "g6", true
	g, other := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroup()
	g.Group, other.Group, other.Topics = "g6", "never", nil
	if !all {
		ask.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{1, 7}}}
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", TopicID: id, Partitions: []int32{1, 7}}, {Topic: "x", TopicID: [16]byte{9}, Partitions: []int32{0}}}
	}
	ask.Groups = []kmsg.OffsetFetchRequestGroup{g, other}
	resp := do[*kmsg.OffsetFetchResponse](c, v, ask)
	if resp.ErrorCode != 0 {
		c.t.Fatalf("fetch version %d: %+v", v, resp)
	}
	seen := ""
	if v < 8 {
		for _, rt := range resp.Topics {
			for _, p := range rt.Partitions {
				seen += fmt.Sprintf("%s/%d:%d %d %s %d;", rt.Topic, p.Partition, p.Offset, p.LeaderEpoch, *p.Metadata, p.ErrorCode)
			}
		}
	} else {
		if len(resp.Groups) != 2 || resp.Groups[0].Group != "g6" || resp.Groups[1].Group != "never" || len(resp.Groups[1].Topics) != 0 {
			c.t.Fatalf("fetch version %d: %+v", v, resp.Groups)
		}
		for _, rt := range resp.Groups[0].Topics {
			name := rt.Topic
			if v >= 10 {
				name = map[bool]string{true: "t", false: "x"}[rt.TopicID == id]
			}
			for _, p := range rt.Partitions {
				seen += fmt.Sprintf("%s/%d:%d %d %s %d;", name, p.Partition, p.Offset, p.LeaderEpoch, *p.Metadata, p.ErrorCode)
			}
		}
	}
	epoch := 3
	if v < 5 {
		epoch = -1
	}
	want := fmt.Sprintf("t/1:6 %d note 0;", epoch)
	if !all {
		want += "t/7:-1 -1  0;"
		switch {
		case v >= 10:
			want += "x/0:-1 -1  100;"
		case v >= 8:
			want += "x/0:-1 -1  0;"
		}
	}
	if seen != want {
		c.t.Errorf("fetch version %d, all %v:\n got  %s\n want %s", v, all, seen, want)
	}
}

func TestGroupAdminVersions(t *testing.T) {
	c := newCoordinators(t)
	if resp := do[*kmsg.ListGroupsResponse](c, 5, kmsg.NewPtrListGroupsRequest()); resp.ErrorCode != 0 || len(resp.Groups) != 0 {
		t.Errorf("list without the topic: %+v", resp)
	}
	c.find()
	member, _ := c.member("used", 9)
	versions(kmsg.DescribeGroups, func(v int16) {
		resp := do[*kmsg.DescribeGroupsResponse](c, v, &kmsg.DescribeGroupsRequest{Groups: []string{"used", "never"}, IncludeAuthorizedOperations: true})
		g, never := resp.Groups[0], resp.Groups[1]
		if g.Group != "used" || g.State != "Stable" || g.Protocol != "range" || len(g.Members) != 1 || g.Members[0].MemberID != member ||
			g.Members[0].ClientID != "client" || g.Members[0].ClientHost != "/127.0.0.1" || v >= 3 && g.AuthorizedOperations != 1<<3|1<<6|1<<8|1<<10|1<<11 {
			t.Errorf("describe version %d: %+v", v, g)
		}
		if want := kerr.GroupIDNotFound.Code; never.State != "Dead" || v >= 6 && never.ErrorCode != want || v < 6 && never.ErrorCode != 0 {
			t.Errorf("describe version %d: %+v", v, never)
		}
	})
	versions(kmsg.ListGroups, func(v int16) {
		resp := do[*kmsg.ListGroupsResponse](c, v, &kmsg.ListGroupsRequest{StatesFilter: []string{"stable"}, TypesFilter: []string{"Classic"}})
		if len(resp.Groups) != 1 || resp.Groups[0].Group != "used" || resp.Groups[0].ProtocolType != "consumer" {
			t.Errorf("list version %d: %+v", v, resp.Groups)
		}
	})
	versions(kmsg.OffsetDelete, func(v int16) {
		ask := kmsg.NewPtrOffsetDeleteRequest()
		ask.Group = "used"
		ask.Topics = []kmsg.OffsetDeleteRequestTopic{
			{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 5}}},
			{Topic: "nowhere", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}},
		}
		resp := do[*kmsg.OffsetDeleteResponse](c, v, ask)
		seen := ""
		for _, rt := range resp.Topics {
			for _, p := range rt.Partitions {
				seen += fmt.Sprintf("%s/%d:%d;", rt.Topic, p.Partition, p.ErrorCode)
			}
		}
		// The metadata of this member names no topics, so it counts as taking all.
		if want := "t/5:3;t/0:86;nowhere/0:3;"; resp.ErrorCode != 0 || seen != want {
			t.Errorf("offset delete version %d: %d %s", v, resp.ErrorCode, seen)
		}
		for id, want := range map[string]*kerr.Error{"": kerr.InvalidGroupID, "never": kerr.GroupIDNotFound} {
			ask.Group = id
			if resp := do[*kmsg.OffsetDeleteResponse](c, v, ask); resp.ErrorCode != want.Code || len(resp.Topics) != 0 {
				t.Errorf("offset delete of %q: %+v", id, resp)
			}
		}
	})
	versions(kmsg.DeleteGroups, func(v int16) {
		id := fmt.Sprint("gone", v)
		member, _ := c.member(id, 9)
		do[*kmsg.LeaveGroupResponse](c, 0, &kmsg.LeaveGroupRequest{Group: id, MemberID: member})
		resp := do[*kmsg.DeleteGroupsResponse](c, v, &kmsg.DeleteGroupsRequest{Groups: []string{id, "used", "never", id}})
		codes := ""
		for _, g := range resp.Groups {
			codes += fmt.Sprintf("%s:%d;", g.Group, g.ErrorCode)
		}
		if want := id + ":0;used:68;never:69;"; codes != want {
			t.Errorf("delete version %d: %s", v, codes)
		}
	})
}

// TestCoordinatorElsewhere: without the topic, or its partition, here.
func TestCoordinatorElsewhere(t *testing.T) {
	c := newCoordinators(t)
	c.checkGroupErrors(kerr.NotCoordinator, kerr.NotCoordinator, kerr.NotCoordinator)
	c.topic(metadata.OffsetsTopic, 3) // led here by the image, but not yet in fact
	c.checkGroupErrors(kerr.NotCoordinator, kerr.NotCoordinator, kerr.NotCoordinator)
	if resp := do[*kmsg.ListGroupsResponse](c, 5, kmsg.NewPtrListGroupsRequest()); resp.ErrorCode != 0 {
		t.Errorf("list: %+v", resp)
	}
}

func TestCoordinatorLoading(t *testing.T) {
	c := newCoordinators(t)
	c.topic(metadata.OffsetsTopic, 1)
	hold := make(chan struct{})
	c.lead(0, &memoryLog{hold: hold})
	defer close(hold)
	c.checkGroupErrors(kerr.CoordinatorLoadInProgress, kerr.CoordinatorLoadInProgress, nil)
	if resp := do[*kmsg.ListGroupsResponse](c, 5, kmsg.NewPtrListGroupsRequest()); resp.ErrorCode != kerr.CoordinatorLoadInProgress.Code {
		t.Errorf("list: %+v", resp)
	}
}

// TestCoordinatorAppendFails: what the log says becomes what clients act upon.
func TestCoordinatorAppendFails(t *testing.T) {
	for _, row := range []struct {
		fails error
		want  *kerr.Error
	}{
		{kerr.NotEnoughReplicas, kerr.CoordinatorNotAvailable},
		{kerr.KafkaStorageError, kerr.NotCoordinator},
		{kerr.MessageTooLarge, kerr.UnknownServerError},
	} {
		c := newCoordinators(t)
		c.topic(metadata.OffsetsTopic, 1)
		c.lead(0, &memoryLog{fails: row.fails})
		if resp := do[*kmsg.JoinGroupResponse](c, 9, joinRequest("g")); resp.ErrorCode != row.want.Code {
			t.Errorf("%v: %+v", row.fails, resp)
		}
	}
}

// TestCoordinatorCommitTimeout: records that are not committed in time.
func TestCoordinatorCommitTimeout(t *testing.T) {
	c := newCoordinators(t)
	c.topic(metadata.OffsetsTopic, 1)
	log := &memoryLog{}
	c.lead(0, log)
	c.member("g", 9)
	log.stuck.Store(true)
	commit := c.send(9, commitRequest("other"))
	for appended := false; !appended; {
		log.mu.Lock()
		appended = len(log.recs) > 2
		log.mu.Unlock()
	}
	fetch := c.send(9, fetchRequest("g"))
	// Both wait, in this order, before the clock is moved.
	for s := c.runtime.Stats(); s.Queued > 0 || s.Pending < 2; s = c.runtime.Stats() {
	}
	c.waitForTimers(2)
	c.clock.Advance(time.Minute)
	if code := (<-commit).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode; code != kerr.CoordinatorNotAvailable.Code {
		t.Errorf("commit: error %d", code)
	}
	if code := (<-fetch).(*kmsg.OffsetFetchResponse).Groups[0].ErrorCode; code != kerr.NotCoordinator.Code {
		t.Errorf("fetch: error %d", code)
	}
}

// waitForTimers waits until a view, which comes after what was submitted before it,
// has been parked: then the deadlines of those are set.
func (c *coordinators) waitForTimers(parked int64) {
	c.runtime.View(GroupShard(0), func(machine.Machine) any { return nil }, func(any, error) {})
	for c.runtime.Stats().Pending < parked+1 {
	}
}

func commitRequest(id string) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = id
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 0, Offset: 1}}}}
	return req
}

func fetchRequest(id string) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: id}}
	return req
}

// checkGroupErrors sends every request of a group and expects one error: in general,
// of a fetch, and of a heartbeat (nil: none).
func (c *coordinators) checkGroupErrors(want, ofFetch, ofHeartbeat *kerr.Error) {
	c.t.Helper()
	code := func(e *kerr.Error) int16 {
		if e == nil {
			return 0
		}
		return e.Code
	}
	check := func(what string, got int16, want *kerr.Error) {
		c.t.Helper()
		if got != code(want) {
			c.t.Errorf("%s: error %d, want %d", what, got, code(want))
		}
	}
	join := do[*kmsg.JoinGroupResponse](c, 9, joinRequest("g"))
	check("join", join.ErrorCode, want)
	sync := &kmsg.SyncGroupRequest{Group: "g", MemberID: "m", ProtocolType: new(string), Protocol: new(string)}
	check("sync", do[*kmsg.SyncGroupResponse](c, 5, sync).ErrorCode, want)
	check("heartbeat", do[*kmsg.HeartbeatResponse](c, 4, &kmsg.HeartbeatRequest{Group: "g", MemberID: "m"}).ErrorCode, ofHeartbeat)
	check("leave", do[*kmsg.LeaveGroupResponse](c, 5, &kmsg.LeaveGroupRequest{Group: "g"}).ErrorCode, want)
	check("commit", do[*kmsg.OffsetCommitResponse](c, 9, commitRequest("g")).Topics[0].Partitions[0].ErrorCode, want)
	check("fetch", do[*kmsg.OffsetFetchResponse](c, 9, fetchRequest("g")).Groups[0].ErrorCode, ofFetch)
	old := &kmsg.OffsetFetchRequest{Group: "g", Topics: []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}}
	check("fetch version 1", do[*kmsg.OffsetFetchResponse](c, 1, old).Topics[0].Partitions[0].ErrorCode, ofFetch)
	check("fetch version 7", do[*kmsg.OffsetFetchResponse](c, 7, old).ErrorCode, ofFetch)
	check("describe", do[*kmsg.DescribeGroupsResponse](c, 6, &kmsg.DescribeGroupsRequest{Groups: []string{"g"}}).Groups[0].ErrorCode, want)
	check("delete", do[*kmsg.DeleteGroupsResponse](c, 2, &kmsg.DeleteGroupsRequest{Groups: []string{"g"}}).Groups[0].ErrorCode, want)
	check("offset delete", do[*kmsg.OffsetDeleteResponse](c, 0, &kmsg.OffsetDeleteRequest{Group: "g"}).ErrorCode, want)
}

// TestManyGroups: a request of more groups than a coordinator's queue holds.
func TestManyGroups(t *testing.T) {
	c := newCoordinators(t)
	c.find()
	const n = 25_000
	describe, fetch, del := kmsg.NewPtrDescribeGroupsRequest(), kmsg.NewPtrOffsetFetchRequest(), kmsg.NewPtrDeleteGroupsRequest()
	for i := range n {
		id := fmt.Sprint("g", i)
		describe.Groups, del.Groups = append(describe.Groups, id), append(del.Groups, id)
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = id
		fetch.Groups = append(fetch.Groups, g)
	}
	for i, g := range do[*kmsg.DescribeGroupsResponse](c, 5, describe).Groups {
		if g.ErrorCode != 0 || g.Group != describe.Groups[i] || g.State != "Dead" {
			t.Fatalf("describe: %+v", g)
		}
	}
	for i, g := range do[*kmsg.OffsetFetchResponse](c, 8, fetch).Groups {
		if g.ErrorCode != 0 || g.Group != describe.Groups[i] {
			t.Fatalf("fetch: %+v", g)
		}
	}
	for i, g := range do[*kmsg.DeleteGroupsResponse](c, 2, del).Groups {
		if g.ErrorCode != kerr.GroupIDNotFound.Code || g.Group != describe.Groups[i] {
			t.Fatalf("delete: %+v", g)
		}
	}
	if n := c.runtime.Stats().Overloads; n != 0 {
		t.Errorf("%d requests were refused", n)
	}
}

// TestFanOutAtOnce: parts that are done at once, and none.
func TestFanOutAtOnce(t *testing.T) {
	for _, n := range []int{0, 1, maxFanOut + 1, 1_000_000} {
		started, ended := 0, 0
		fanOut(n, func(i int, done func()) {
			if i != started {
				t.Fatalf("part %d after %d", i, started)
			}
			started++
			done()
		}, func() { ended++ })
		if started != n || ended != 1 {
			t.Errorf("%d parts: %d started, %d ends", n, started, ended)
		}
	}
}

func TestClientHost(t *testing.T) {
	for _, row := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, "/10.0.0.1"},
		{&net.TCPAddr{IP: net.ParseIP("::1")}, "/0:0:0:0:0:0:0:1"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::a:b"), Zone: "eth0"}, "/fe80:0:0:0:0:0:a:b%eth0"},
		{&net.TCPAddr{}, "/"},
		{&net.UnixAddr{Name: "s"}, "/"},
	} {
		if got := clientHost(row.addr); got != row.want {
			t.Errorf("%v: %s, want %s", row.addr, got, row.want)
		}
	}
}

// TestParkedRequestsEndWithTheirConnection: a member that waits for others holds no
// connection that has ended, and what it waited for is told to nobody.
func TestParkedRequestsEndWithTheirConnection(t *testing.T) {
	c := newCoordinators(t)
	c.find()
	c.member("g", 9)
	second := joinRequest("g")
	second.SetVersion(9)
	second.MemberID = do[*kmsg.JoinGroupResponse](c, 9, second).MemberID
	frame := kmsg.NewRequestFormatter().AppendRequest(nil, second, 7)[4:]
	done := make(chan Answer, 2)
	var r Request
	if v := c.s.Serve(&Conn{}, frame, &r, func(a Answer) { done <- a }); v.Err != nil {
		t.Fatal(v.Err)
	}
	state := func() string { // behind what was sent before
		return do[*kmsg.DescribeGroupsResponse](c, 6, &kmsg.DescribeGroupsRequest{Groups: []string{"g"}}).Groups[0].State
	}
	if s := state(); s != "PreparingRebalance" || len(done) != 0 {
		t.Fatalf("state %s, %d answers", s, len(done))
	}
	r.Cancel()
	if a := <-done; a != nil {
		t.Error("cancelled, and yet there is something to write")
	}
	c.clock.Advance(60 * time.Second) // the other member is given up
	if s := state(); s == "PreparingRebalance" || len(done) != 0 {
		t.Errorf("state %s, completed twice: %v", s, len(done) != 0)
	}
}
