package group

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/leat-stream/leat/internal/machine"
)

// model sends random requests and remembers what the answers promised.
type model struct {
	*world
	r *rapid.T
	// asked is what each open token asked for.
	asked map[machine.Token]any
	// known are the member ids that were ever given out, by group.
	known map[string][]string
	// generation is the highest that was told of a group since the last load.
	generation map[string]int32
	// leaders is who was told to lead a generation, until the next load.
	leaders map[string]string
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		opts := Options{
			InitialRebalanceDelay: time.Duration(rapid.SampledFrom([]int{0, 0, 3}).Draw(r, "delay")) * time.Second,
			MaxSize:               rapid.SampledFrom([]int{0, 0, 2}).Draw(r, "size"),
			MaxPending:            rapid.SampledFrom([]int{0, 1}).Draw(r, "pending"),
			MaxBatchBytes:         rapid.SampledFrom([]int{0, 0, 700}).Draw(r, "batch"),
		}
		m := &model{world: newWorld(t, opts), r: r, asked: make(map[machine.Token]any), known: make(map[string][]string)}
		m.onReply, m.onRecord = m.answered, m.written
		m.forget()
		for range 80 {
			m.step()
			m.check()
		}
		m.drain()
	})
}

func (m *model) forget() {
	m.generation, m.leaders = make(map[string]int32), make(map[string]string)
}

var groupIDs = []string{"g", "h"}

func (m *model) pick(name string, from ...string) string {
	return rapid.SampledFrom(from).Draw(m.r, name)
}

// memberOf picks a member id, most often one that is in the group.
func (m *model) memberOf(id string) string {
	from := []string{"", "stranger"}
	from = append(from, m.known[id]...)
	if g := m.m.groups[id]; g != nil {
		for range 3 {
			for _, mm := range g.members.all() {
				from = append(from, mm.id)
			}
		}
	}
	return m.pick("member", from...)
}

func (m *model) generationOf(id string) int32 {
	n := int32(rapid.SampledFrom([]int{0, 0, 0, 0, 0, -1}).Draw(m.r, "generation"))
	if g := m.m.groups[id]; g != nil {
		n += g.generation
	}
	return n
}

// instanceOf picks the instance id that goes with a member id, or now and then another.
func (m *model) instanceOf(id, memberID string) *string {
	if rapid.IntRange(0, 9).Draw(m.r, "any instance") > 0 {
		if g := m.m.groups[id]; g != nil && g.members.get(memberID) != nil {
			return g.members.get(memberID).instance
		}
	}
	if s := m.pick("instance", "", "", "", "i1", "i2"); s != "" {
		return &s
	}
	return nil
}

func (m *model) step() {
	switch m.pick("do", "join", "join", "join", "sync", "sync", "heartbeat", "leave", "commit", "other", "advance", "advance", "reload",
		"all join", "all join", "all join", "followers sync", "followers sync", "leader syncs", "leader syncs") {
	case "join":
		m.join()
	case "sync":
		m.sync()
	case "advance":
		d := time.Duration(rapid.SampledFrom([]int{1, 5, 11, 61, 700}).Draw(m.r, "seconds")) * time.Second
		m.advance(d)
	case "reload":
		before := durable(m.m)
		m.load()
		clear(m.asked)
		m.forget()
		if after := durable(m.m); after != before {
			m.r.Fatalf("the load differs:\n%s\nwas\n%s", after, before)
		}
	case "all join", "followers sync", "leader syncs":
		m.cooperate(m.pick("group", groupIDs...), m.pick("who", "some", "all") == "all")
	case "heartbeat":
		id := m.pick("group", groupIDs...)
		member := m.memberOf(id)
		m.ask(Heartbeat{Req: &kmsg.HeartbeatRequest{Group: id, MemberID: member, InstanceID: m.instanceOf(id, member), Generation: m.generationOf(id)}})
	case "leave":
		id := m.pick("group", groupIDs...)
		req := &kmsg.LeaveGroupRequest{Group: id}
		for range rapid.IntRange(1, 2).Draw(m.r, "leavers") {
			member := m.memberOf(id)
			req.Members = append(req.Members, kmsg.LeaveGroupRequestMember{MemberID: member, InstanceID: m.instanceOf(id, member)})
		}
		m.ask(Leave{Req: req})
	case "commit":
		id := m.pick("group", groupIDs...)
		member := m.memberOf(id)
		req := &kmsg.OffsetCommitRequest{Group: id, MemberID: member, InstanceID: m.instanceOf(id, member), Generation: m.generationOf(id)}
		req.RetentionTimeMillis = int64(rapid.SampledFrom([]int{-1, -1, 30000}).Draw(m.r, "retention"))
		topic := kmsg.OffsetCommitRequestTopic{Topic: m.pick("topic", "t", "u"), TopicID: topicID(m.pick("id", "", "new"))}
		for p := range rapid.IntRange(1, 10).Draw(m.r, "partitions") {
			topic.Partitions = append(topic.Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: int32(p), Offset: int64(m.token)})
		}
		req.Topics = append(req.Topics, topic)
		m.ask(CommitOffsets{Context{Version: 9}, req})
	case "other":
		m.ask(m.other(m.pick("group", groupIDs...)))
	}
}

func (m *model) other(id string) any {
	topic := m.pick("topic", "t", "u")
	switch m.pick("other", "describe", "list", "delete", "offsets", "topic", "fetch") {
	case "describe":
		return Describe{Context{Version: 6}, id}
	case "list":
		return List{}
	case "delete":
		return DeleteGroup{id}
	case "offsets":
		rt := kmsg.OffsetDeleteRequestTopic{Topic: topic}
		for p := range int32(12) {
			rt.Partitions = append(rt.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
		}
		return DeleteOffsets{&kmsg.OffsetDeleteRequest{Group: id, Topics: []kmsg.OffsetDeleteRequestTopic{rt}}}
	case "topic":
		return TopicsDeleted{[]Topic{{topic, topicID(m.pick("id", "", "new"))}}}
	}
	return FetchOffsets{Req: &kmsg.OffsetFetchRequestGroup{Group: id}}
}

func (m *model) join() {
	id := m.pick("group", groupIDs...)
	member := m.memberOf(id)
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.InstanceID = id, member, m.instanceOf(id, member)
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10000, 60000
	req.ProtocolType = "consumer"
	for _, name := range rapid.SampledFrom([][]string{{"range"}, {"range", "sticky"}, {"sticky", "range"}, {"other"}}).Draw(m.r, "protocols") {
		req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: consumerMetadata(m.pick("topic", "t", "u"))})
	}
	m.ask(Join{Context{ClientID: "c", Version: int16(rapid.SampledFrom([]int{3, 4, 9}).Draw(m.r, "version"))}, req, m.memory()})
}

func (m *model) memory() Memory {
	return rapid.SampledFrom([]Memory{Roomy, Roomy, Roomy, NoMembers, NoMore}).Draw(m.r, "memory")
}

func (m *model) sync() {
	id := m.pick("group", groupIDs...)
	member := m.memberOf(id)
	generation := m.generationOf(id)
	req := m.syncOf(m.m.groups[id], member, generation)
	req.Group, req.InstanceID = id, m.instanceOf(id, member)
	m.ask(Sync{Req: req, Memory: m.memory()})
}

// syncOf is a member's sync, with assignments if it leads.
func (m *model) syncOf(g *group, member string, generation int32) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.MemberID, req.Generation = member, generation
	if g == nil {
		return req
	}
	req.Group = g.id
	if mm := g.members.get(member); mm != nil {
		req.InstanceID = mm.instance
	}
	if g.leader == member {
		for _, mm := range g.members.all() {
			if rapid.IntRange(0, 4).Draw(m.r, "left out") == 4 {
				continue
			}
			req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
				MemberID: mm.id, MemberAssignment: fmt.Appendf(nil, "%s in %d", mm.id, generation)})
		}
	}
	return req
}

// cooperate lets the members of a group do what the group waits for, which blind
// chance seldom does: all of them, or only some.
func (m *model) cooperate(id string, everybody bool) {
	g := m.m.groups[id]
	if g == nil {
		return
	}
	for _, mm := range slices.Clone(g.members.all()) {
		if g.members.get(mm.id) != mm || !everybody && rapid.Bool().Draw(m.r, "stays out") {
			continue
		}
		switch {
		case g.state == preparing && mm.joining == 0:
			req := kmsg.NewPtrJoinGroupRequest()
			req.Group, req.MemberID, req.InstanceID, req.ProtocolType = id, mm.id, mm.instance, "consumer"
			req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = mm.sessionTimeout, mm.rebalanceTimeout
			for _, p := range mm.protocols {
				req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: p.name, Metadata: p.metadata})
			}
			m.ask(Join{Context: Context{ClientID: "c", Version: 9}, Req: req})
		case g.state == completing && mm.syncing == 0 && (!g.isLeader(mm) || everybody && rapid.Bool().Draw(m.r, "leader too")):
			m.ask(Sync{Req: m.syncOf(g, mm.id, g.generation)})
		}
		m.check()
	}
}

func (m *model) ask(req any) {
	m.asked[m.token+1] = req
	m.submit(req)
}

// written checks that a record is readable. A group that is gone begins anew.
func (m *model) written(rec machine.Record) {
	s := showRecord(rec)
	if !strings.HasPrefix(s, "group ") && !strings.HasPrefix(s, "offset ") {
		m.r.Fatalf("a record that cannot be read: %s", s)
	}
	if id, gone := strings.CutSuffix(strings.TrimPrefix(s, "group "), " is gone"); gone {
		delete(m.generation, id)
		maps.DeleteFunc(m.leaders, func(key, _ string) bool { return strings.HasPrefix(key, id+" in ") })
	}
}

// answered checks an answer against what was asked and told before.
func (m *model) answered(token machine.Token, body any) {
	asked := m.asked[token]
	delete(m.asked, token)
	switch resp := body.(type) {
	case *kmsg.JoinGroupResponse:
		id := asked.(Join).Req.Group
		if resp.MemberID != "" {
			m.known[id] = append(m.known[id], resp.MemberID)
		}
		if resp.ErrorCode != 0 {
			return
		}
		if resp.Generation < m.generation[id] {
			m.r.Fatalf("generation of %s fell from %d to %d", id, m.generation[id], resp.Generation)
		}
		m.generation[id] = resp.Generation
		if resp.LeaderID == resp.MemberID && !resp.SkipAssignment {
			key := fmt.Sprintf("%s in %d", id, resp.Generation)
			if other, ok := m.leaders[key]; ok && other != resp.MemberID {
				m.r.Fatalf("%s: %s leads and %s too", key, other, resp.MemberID)
			}
			m.leaders[key] = resp.MemberID
		}
		for _, member := range resp.Members {
			if len(member.ProtocolMetadata) == 0 {
				m.r.Fatalf("the leader is not told the metadata of %s", member.MemberID)
			}
		}
	case *kmsg.SyncGroupResponse:
		req := asked.(Sync).Req
		if resp.ErrorCode != 0 || len(resp.MemberAssignment) == 0 {
			return
		}
		// A static member gets, under its new id, what was meant for its old one.
		if want := fmt.Sprintf("%s in %d", req.MemberID, req.Generation); string(resp.MemberAssignment) != want && strings.HasPrefix(req.MemberID, "c-") {
			m.r.Fatalf("%s got %q", want, resp.MemberAssignment)
		}
	}
}

// check holds the coordinator's own books together.
func (m *model) check() {
	for _, g := range m.m.sorted() {
		if err := m.audit(g); err != nil {
			m.r.Fatalf("group %s: %v", g.id, err)
		}
	}
	if held := recount(m.m); held != m.held {
		m.r.Fatalf("members hold %d bytes, the machine told %d", held, m.held)
	}
	fresh := New(m.opts)
	for i, rec := range m.log {
		if err := fresh.Apply(int64(i), rec.ts, rec.Record); err != nil {
			m.r.Fatal(err)
		}
	}
	if a, b := durable(fresh), durable(m.m); a != b {
		m.r.Fatalf("the log says\n%s\nthe state\n%s", a, b)
	}
}

// recount adds up what all members and pending members hold.
func recount(m *Machine) (n int64) {
	for _, g := range m.sorted() {
		for _, mm := range g.members.all() {
			n += int64(mm.size() + len(g.id))
		}
		for id := range g.pending.byID {
			n += int64(pendingSize(id) + len(g.id))
		}
	}
	return n
}

func (m *model) audit(g *group) error {
	joining, unsynced := 0, 0
	supported, static := map[string]int{}, map[string]string{}
	for _, mm := range g.members.all() {
		if mm.joining != 0 {
			joining++
		}
		if mm.unsynced {
			unsynced++
		}
		for _, p := range mm.protocols {
			supported[p.name]++
		}
		if mm.instance != nil {
			static[*mm.instance] = mm.id
		}
		_, timed := m.timers[sessionKey(g, mm.id)]
		switch {
		case mm.joining != 0 && g.state != preparing:
			return fmt.Errorf("%s waits to join in %v", mm.id, g.state)
		case mm.syncing != 0 && g.state != completing:
			return fmt.Errorf("%s waits to sync in %v", mm.id, g.state)
		case !timed && (mm.fresh || mm.joining == 0 && mm.syncing == 0):
			return fmt.Errorf("%s has no session", mm.id)
		case g.members.get(mm.id) != mm:
			return fmt.Errorf("%s is not in the index", mm.id)
		}
	}
	leader := g.members.get(g.leader)
	_, joinTimed := m.timers[joinKey(g)]
	_, syncTimed := m.timers[syncKey(g)]
	switch {
	case joining != g.members.joining, unsynced != g.unsynced, len(g.members.byID) != g.members.len():
		return fmt.Errorf("counts: %d joining, %d unsynced; the books say %d, %d", joining, unsynced, g.members.joining, g.unsynced)
	case !maps.Equal(supported, g.members.supported) && g.members.len() > 0:
		return fmt.Errorf("supported: %v; the books say %v", supported, g.members.supported)
	case !maps.Equal(static, g.members.static) && g.members.len() > 0:
		return fmt.Errorf("static: %v; the books say %v", static, g.members.static)
	case g.members.len() > 0 && leader == nil:
		return fmt.Errorf("leader %q is no member", g.leader)
	case g.state == empty && g.members.len() > 0:
		return fmt.Errorf("Empty with %d members", g.members.len())
	case (g.state == completing || g.state == stable) && (g.members.len() == 0 || g.protocol == nil):
		return fmt.Errorf("%v without members or protocol", g.state)
	case g.state == preparing && !joinTimed:
		return fmt.Errorf("nothing ends the join phase")
	case g.unsynced > 0 && !syncTimed:
		return fmt.Errorf("nothing ends the sync phase")
	case m.m.opts.MaxPending < g.pending.len() || g.pending.len() != g.pending.order.Len():
		return fmt.Errorf("%d pending", g.pending.len())
	}
	for id := range g.pending.byID {
		if _, ok := m.timers[sessionKey(g, id)]; !ok {
			return fmt.Errorf("pending %s never expires", id)
		}
	}
	return nil
}

// drain lets so much time pass that every session has ended: every request is
// answered, and no group or offset is left.
func (m *model) drain() {
	m.advance(2 * time.Hour)
	m.check()
	if len(m.open) > 0 {
		m.r.Fatalf("never answered: %v", slices.Sorted(maps.Keys(m.open)))
	}
	for _, g := range m.m.sorted() {
		if g.state != empty {
			m.r.Fatalf("group %s is still %v", g.id, g.state)
		}
	}
	m.advance(8 * 24 * time.Hour)
	if m.held != 0 {
		m.r.Fatalf("%d bytes are held by nobody", m.held)
	}
	if n := len(m.m.groups); n != 0 {
		m.r.Fatalf("%d groups are left", n)
	}
	for _, rec := range compact(m.log) {
		if rec.Value != nil {
			m.r.Fatalf("a record is left: %s", showRecord(rec))
		}
	}
	for key := range m.timers {
		if key[0] != timerExpire {
			m.r.Fatalf("timer %q is left", key)
		}
	}
}

// compact keeps the last record of every key.
func compact(log []logged) map[string]machine.Record {
	last := make(map[string]machine.Record)
	for _, r := range log {
		last[string(r.Key)] = r.Record
	}
	return last
}
