package differential

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// noSuchMember is a member id of the right form that no broker gave out.
const noSuchMember = "nobody"

func findCoordinator(s *Session) {
	s.Coordinator("find")
	s.Each(kmsg.FindCoordinator, func(v int16) {
		ask := func(label string, kind int8, keys ...string) {
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.CoordinatorType, req.CoordinatorKeys = kind, keys
			if len(keys) > 0 {
				req.CoordinatorKey = keys[0]
			}
			s.Do(label, v, req)
		}
		ask("a group", 0, "find")
		ask("no group", 0, "")
		if v >= 1 {
			ask("an unknown kind", 9, "find")
		}
		if v >= 4 {
			ask("two groups", 0, "find", "find-other")
			ask("nothing", 0)
			ask("a share group's malformed key", 2, "rubbish")
		}
	})
}

// join is a member of the consumer protocol that knows one assignor.
func join(group, member string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID = group, member
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 30_000, 5_000
	req.ProtocolType = "consumer"
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: subscription("members")}}
	return req
}

// subscription is the consumer protocol's metadata, version 0, of one topic.
func subscription(topic string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = []string{topic}
	return m.AppendTo(nil)
}

// memberOf joins a group alone, as its leader, and brings it to be stable. It
// records nothing.
func memberOf(s *Session, group string) (member string, generation int32) {
	s.Coordinator(group)
	s.Until("join "+group, func() error {
		req := join(group, member)
		req.Version = 5
		resp, err := s.Ask(req)
		if err != nil {
			return err
		}
		r := resp.(*kmsg.JoinGroupResponse)
		member, generation = r.MemberID, r.Generation
		if r.ErrorCode != 0 {
			return fmt.Errorf("error %d", r.ErrorCode)
		}
		return nil
	})
	s.Until("sync "+group, func() error {
		req := syncGroup(group, member, generation, member)
		req.Version = 3
		resp, err := s.Ask(req)
		if err != nil {
			return err
		}
		if r := resp.(*kmsg.SyncGroupResponse); r.ErrorCode != 0 {
			return fmt.Errorf("error %d", r.ErrorCode)
		}
		return nil
	})
	return member, generation
}

func syncGroup(group, member string, generation int32, assignees ...string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = group, member, generation
	req.ProtocolType, req.Protocol = ptr("consumer"), ptr("range")
	for i, m := range assignees {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
			MemberID: m, MemberAssignment: []byte(fmt.Sprintf("assignment %d", i)),
		})
	}
	return req
}

func heartbeat(group, member string, generation int32) *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = group, member, generation
	return req
}

// leave takes one member out, in the old form and the new.
func leave(group, member string) *kmsg.LeaveGroupRequest {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = group, member
	req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: member}}
	return req
}

// joinGroup: one member's life, at every version of each of its requests.
func joinGroup(s *Session) {
	s.Each(kmsg.JoinGroup, func(v int16) {
		group := fmt.Sprintf("join-v%d", v)
		s.Coordinator(group)
		resp, _ := s.Do("without a member id", v, join(group, "")).(*kmsg.JoinGroupResponse)
		if resp == nil {
			return
		}
		member := resp.MemberID
		if v >= 4 {
			resp, _ = s.Do("with the member id it was given", v, join(group, member)).(*kmsg.JoinGroupResponse)
			if resp == nil {
				return
			}
		}
		s.Do("heartbeat while the leader assigns "+group, 4, heartbeat(group, member, resp.Generation))
		s.Do("sync "+group, min(v, s.Latest(kmsg.SyncGroup)), syncGroup(group, member, resp.Generation, member))
		s.Do("heartbeat when stable "+group, min(v, s.Latest(kmsg.Heartbeat)), heartbeat(group, member, resp.Generation))
		resp, _ = s.Do("again, as the leader", v, join(group, member)).(*kmsg.JoinGroupResponse)
		if resp == nil {
			return
		}
		s.Do("sync again "+group, min(v, s.Latest(kmsg.SyncGroup)), syncGroup(group, member, resp.Generation, member))
		s.Do("leave "+group, min(v, s.Latest(kmsg.LeaveGroup)), leave(group, member))
		s.Do("heartbeat after leaving "+group, 4, heartbeat(group, member, resp.Generation))
	})
}

func joinGroupErrors(s *Session) {
	s.Coordinator("join-bad")
	s.Each(kmsg.JoinGroup, func(v int16) {
		with := func(label string, change func(*kmsg.JoinGroupRequest)) {
			req := join("join-bad", "")
			change(req)
			s.Do(label, v, req)
		}
		with("no group", func(r *kmsg.JoinGroupRequest) { r.Group = "" })
		with("an unknown member", func(r *kmsg.JoinGroupRequest) { r.MemberID = noSuchMember })
		with("a session too short", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 10 })
		with("a session too long", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1 << 30 })
		with("no protocols", func(r *kmsg.JoinGroupRequest) { r.Protocols = nil })
		with("no protocol type", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" })
	})
	member, _ := memberOf(s, "join-other")
	s.Each(kmsg.JoinGroup, func(v int16) {
		other := join("join-other", "")
		other.ProtocolType = "connect"
		s.Do("another protocol type than the group's", v, other)
		alien := join("join-other", "")
		alien.Protocols[0].Name = "alien"
		s.Do("a protocol that the others do not know", v, alien)
	})
	s.Do("clean up", 2, leave("join-other", member))
}

// staticMembers: KIP-345.
func staticMembers(s *Session) {
	s.From(kmsg.JoinGroup, 5, func(v int16) {
		group := fmt.Sprintf("static-v%d", v)
		s.Coordinator(group)
		static := func(member, instance string) *kmsg.JoinGroupRequest {
			req := join(group, member)
			req.InstanceID = &instance
			return req
		}
		first, _ := s.Do("a static member", v, static("", "one")).(*kmsg.JoinGroupResponse)
		if first == nil {
			return
		}
		sync := syncGroup(group, first.MemberID, first.Generation, first.MemberID)
		sync.InstanceID = ptr("one")
		s.Do("sync "+group, 3+min(v-5, 2), sync)
		second, _ := s.Do("it comes back without its member id", v, static("", "one")).(*kmsg.JoinGroupResponse)
		if second == nil {
			return
		}
		old := heartbeat(group, first.MemberID, second.Generation)
		old.InstanceID = ptr("one")
		s.Do("heartbeat of the replaced "+group, 4, old)
		unknown := heartbeat(group, second.MemberID, second.Generation)
		unknown.InstanceID = ptr("two")
		s.Do("heartbeat of an unknown instance "+group, 4, unknown)
		s.Do("the replaced joins", v, static(first.MemberID, "one"))
		s.Do("an unknown instance with a member id", v, static(first.MemberID, "two"))
		current := heartbeat(group, second.MemberID, second.Generation)
		current.InstanceID = ptr("one")
		s.Do("heartbeat of the current "+group, 4, current)
		byInstance := leave(group, "")
		byInstance.Members[0].InstanceID = ptr("one")
		byInstance.Members = append(byInstance.Members, kmsg.LeaveGroupRequestMember{InstanceID: ptr("two")})
		s.Do("removed by instance "+group, 5, byInstance)
	})
}

// groupMembers: what members may say to a stable group, at every version.
func groupMembers(s *Session) {
	member, generation := memberOf(s, "members")
	s.Each(kmsg.Heartbeat, func(v int16) {
		s.Do("good", v, heartbeat("members", member, generation))
		s.Do("an old generation", v, heartbeat("members", member, generation-1))
		s.Do("a generation to come", v, heartbeat("members", member, generation+1))
		s.Do("an unknown member", v, heartbeat("members", noSuchMember, generation))
		s.Do("no member", v, heartbeat("members", "", generation))
		s.Do("an unknown group", v, heartbeat("members-unknown", member, generation))
		s.Do("no group", v, heartbeat("", member, generation))
	})
	s.Each(kmsg.SyncGroup, func(v int16) {
		s.Do("when stable", v, syncGroup("members", member, generation))
		s.Do("an old generation", v, syncGroup("members", member, generation-1))
		s.Do("an unknown member", v, syncGroup("members", noSuchMember, generation))
		s.Do("an unknown group", v, syncGroup("members-unknown", member, generation))
		s.Do("no group", v, syncGroup("", member, generation))
		if v >= 5 {
			kind := syncGroup("members", member, generation)
			kind.ProtocolType = ptr("connect")
			s.Do("another protocol type", v, kind)
			name := syncGroup("members", member, generation)
			name.Protocol = ptr("alien")
			s.Do("another protocol", v, name)
			null := syncGroup("members", member, generation)
			null.ProtocolType, null.Protocol = nil, nil
			s.Do("no protocol type and name", v, null)
		}
	})
	s.Each(kmsg.LeaveGroup, func(v int16) {
		s.Do("an unknown member", v, leave("members", noSuchMember))
		s.Do("an unknown group", v, leave("members-unknown", member))
		s.Do("no group", v, leave("", member))
		s.Do("no member", v, leave("members", ""))
		if v >= 3 {
			none := leave("members", member)
			none.Members = nil
			s.Do("nobody", v, none)
			wrong := leave("members", member)
			wrong.Members[0].InstanceID = ptr("nobody")
			s.Do("an unknown instance", v, wrong)
			two := leave("members", noSuchMember)
			two.Members = append(two.Members, kmsg.LeaveGroupRequestMember{MemberID: "somebody"})
			s.Do("two unknown members", v, two)
		}
	})
	s.Each(kmsg.DescribeGroups, func(v int16) {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = []string{"members", "members-unknown", ""}
		s.Do("a stable one, an unknown one, none", v, req)
		if v >= 3 {
			req.IncludeAuthorizedOperations = true
			s.Do("with authorized operations", v, req)
		}
		s.Do("nothing", v, kmsg.NewPtrDescribeGroupsRequest())
	})
	s.Each(kmsg.DeleteGroups, func(v int16) {
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{"members", "members-unknown", ""}
		s.Do("one with members, an unknown one, none", v, req)
	})
	s.Do("clean up", 2, leave("members", member))
}

func commit(group, member string, generation int32, topic string, id [16]byte, partition int32, offset int64, metadata *string) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = group, member, generation
	req.RetentionTimeMillis = -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.Metadata, p.Timestamp = partition, offset, metadata, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// fetchOffsets asks in the form that the version has: one group or several.
func fetchOffsets(group, topic string, id [16]byte, partitions ...int32) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: topic, Partitions: partitions}}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, TopicID: id, Partitions: partitions}}
	req.Groups = append(req.Groups, g)
	return req
}

// offsets: commits of those who are no members.
func offsets(s *Session) {
	id := s.Topic("offsets", 3)
	s.Coordinator("offsets")
	s.Each(kmsg.OffsetCommit, func(v int16) {
		send := func(label string, req *kmsg.OffsetCommitRequest) { s.Do(label, v, req) }
		send("good", commit("offsets", "", -1, "offsets", id, 0, int64(v)*10, ptr("note")))
		send("no metadata", commit("offsets", "", -1, "offsets", id, 1, 7, nil))
		send("the longest metadata", commit("offsets", "", -1, "offsets", id, 2, 7, ptr(strings.Repeat("x", 4096))))
		send("metadata too long", commit("offsets", "", -1, "offsets", id, 2, 8, ptr(strings.Repeat("x", 4097))))
		send("a negative offset", commit("offsets", "", -1, "offsets", id, 2, -5, nil))
		send("an unknown partition", commit("offsets", "", -1, "offsets", id, 9, 1, nil))
		send("an unknown topic", commit("offsets", "", -1, "offsets-unknown", [16]byte{3}, 0, 1, nil))
		send("no group", commit("", "", -1, "offsets", id, 0, 1, nil))
		send("an unknown member", commit("offsets", noSuchMember, 1, "offsets", id, 0, 1, nil))
		send("a generation without a member", commit("offsets", "", 3, "offsets", id, 0, 1, nil))
		send("a group that never was, with a generation", commit("offsets-never", noSuchMember, 3, "offsets", id, 0, 1, nil))
		nothing := commit("offsets", "", -1, "offsets", id, 0, 1, nil)
		nothing.Topics = nil
		send("nothing", nothing)
		if v >= 6 {
			epoch := commit("offsets", "", -1, "offsets", id, 0, int64(v), nil)
			epoch.Topics[0].Partitions[0].LeaderEpoch = 4
			send("with a leader epoch", epoch)
		}
	})
	s.Each(kmsg.OffsetFetch, func(v int16) {
		s.Do("three partitions and an unknown one", v, fetchOffsets("offsets", "offsets", id, 0, 1, 2, 9))
		s.Do("an unknown topic", v, fetchOffsets("offsets", "offsets-unknown", [16]byte{3}, 0))
		s.Do("an unknown group", v, fetchOffsets("offsets-unknown", "offsets", id, 0))
		s.Do("no group", v, fetchOffsets("", "offsets", id, 0))
		if v >= 2 {
			all := fetchOffsets("offsets", "offsets", id, 0)
			all.Topics, all.Groups[0].Topics = nil, nil
			s.Do("all", v, all)
			all = fetchOffsets("offsets-unknown", "offsets", id, 0)
			all.Topics, all.Groups[0].Topics = nil, nil
			s.Do("all of an unknown group", v, all)
		}
		none := fetchOffsets("offsets", "offsets", id, 0)
		none.Topics, none.Groups[0].Topics = []kmsg.OffsetFetchRequestTopic{}, []kmsg.OffsetFetchRequestGroupTopic{}
		s.Do("nothing", v, none)
		if v >= 7 {
			stable := fetchOffsets("offsets", "offsets", id, 0)
			stable.RequireStable = true
			s.Do("stable only", v, stable)
		}
		if v >= 8 {
			two := fetchOffsets("offsets", "offsets", id, 0)
			two.Groups = append(two.Groups, fetchOffsets("offsets-unknown", "offsets", id, 1).Groups...)
			s.Do("two groups", v, two)
		}
		if v >= 9 {
			as := fetchOffsets("offsets", "offsets", id, 0)
			as.Groups[0].MemberID, as.Groups[0].MemberEpoch = ptr(noSuchMember), 4
			s.Do("as an unknown member", v, as)
		}
	})
}

// memberOffsets: commits of a stable group's member and of others beside it.
func memberOffsets(s *Session) {
	id := s.Topic("member-offsets", 1)
	member, generation := memberOf(s, "member-offsets")
	s.Each(kmsg.OffsetCommit, func(v int16) {
		s.Do("as the member", v, commit("member-offsets", member, generation, "member-offsets", id, 0, 5, nil))
		s.Do("of an old generation", v, commit("member-offsets", member, generation-1, "member-offsets", id, 0, 6, nil))
		s.Do("of a generation to come", v, commit("member-offsets", member, generation+1, "member-offsets", id, 0, 6, nil))
		s.Do("as nobody", v, commit("member-offsets", "", -1, "member-offsets", id, 0, 6, nil))
		s.Do("as an unknown member", v, commit("member-offsets", noSuchMember, generation, "member-offsets", id, 0, 6, nil))
		if v >= 7 {
			instance := commit("member-offsets", member, generation, "member-offsets", id, 0, 6, nil)
			instance.InstanceID = ptr("nobody")
			s.Do("as an unknown instance", v, instance)
		}
	})
	s.Do("what was kept", 7, fetchOffsets("member-offsets", "member-offsets", id, 0))
	s.Do("clean up", 2, leave("member-offsets", member))
}

// groups: lists, and groups without members.
func groups(s *Session) {
	id := s.Topic("groups", 1)
	member, _ := memberOf(s, "groups-stable")
	s.Coordinator("groups-simple")
	s.Do("make a simple group", 7, commit("groups-simple", "", -1, "groups", id, 0, 5, nil))
	emptied, _ := memberOf(s, "groups-emptied")
	s.Do("make an emptied group", 2, leave("groups-emptied", emptied))
	s.Each(kmsg.ListGroups, func(v int16) {
		list := func(label string, states, types []string) {
			req := kmsg.NewPtrListGroupsRequest()
			req.StatesFilter, req.TypesFilter = states, types
			req.SetVersion(v)
			resp, err := s.Ask(req)
			if r, ok := resp.(*kmsg.ListGroupsResponse); ok {
				// Groups of other scenarios may not be gone yet.
				kept := r.Groups[:0]
				for _, g := range r.Groups {
					if strings.HasPrefix(g.Group, "groups-") {
						kept = append(kept, g)
					}
				}
				r.Groups = kept
			}
			s.record(label, req, resp, err)
		}
		list("all", nil, nil)
		if v >= 4 {
			list("stable", []string{"Stable"}, nil)
			list("empty, in capitals", []string{"EMPTY"}, nil)
			list("an unknown state", []string{"Rubbish"}, nil)
		}
		if v >= 5 {
			list("classic", nil, []string{"classic"})
			list("consumer", nil, []string{"consumer"})
			list("an unknown type", nil, []string{"rubbish"})
		}
	})
	s.Each(kmsg.DescribeGroups, func(v int16) {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = []string{"groups-simple", "groups-emptied"}
		s.Do("without members", v, req)
	})
	s.Each(kmsg.DeleteGroups, func(v int16) {
		name := fmt.Sprintf("groups-delete-v%d", v)
		s.Coordinator(name)
		s.Do("make "+name, 7, commit(name, "", -1, "groups", id, 0, 5, nil))
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{name}
		s.Do("a group without members", v, req)
		s.Do("it is gone", 7, fetchOffsets(name, "groups", id, 0))
		s.Do("again", v, req)
	})
	s.Do("clean up", 2, leave("groups-stable", member))
}

func deleteOffsets(s *Session) {
	id := s.Topic("offset-delete", 2)
	s.Coordinator("offset-delete")
	s.Do("make a simple group", 7, commit("offset-delete", "", -1, "offset-delete", id, 0, 5, nil))
	member, _ := memberOf(s, "offset-delete-members")
	s.Each(kmsg.OffsetDelete, func(v int16) {
		remove := func(label, group, topic string, partitions ...int32) {
			req := kmsg.NewPtrOffsetDeleteRequest()
			req.Group = group
			t := kmsg.OffsetDeleteRequestTopic{Topic: topic}
			for _, p := range partitions {
				t.Partitions = append(t.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
			}
			req.Topics = append(req.Topics, t)
			s.Do(label, v, req)
		}
		remove("one kept, one not, one unknown", "offset-delete", "offset-delete", 0, 1, 9)
		remove("an unknown topic", "offset-delete", "offset-delete-unknown", 0)
		remove("an unknown group", "offset-delete-unknown", "offset-delete", 0)
		remove("no group", "", "offset-delete", 0)
		remove("of a group with members", "offset-delete-members", "offset-delete", 0)
		remove("of a topic that members read", "offset-delete-members", "members", 0)
	})
	s.Do("what is left", 7, fetchOffsets("offset-delete", "offset-delete", id, 0, 1))
	s.Do("clean up", 2, leave("offset-delete-members", member))
}
