package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/sim/history"
)

// member is one consumer of a group: it joins, reads what it is assigned from the
// committed offsets on, commits now and then, and joins again when it is told to.
type member struct {
	*consumer
	all         []tp // of the subscription
	coordinator int32
	session     time.Duration
	round       int // counts the joins, so that what belongs to an earlier one ends
	commits     int
	earlier     generation // the one before this
	// deposed tells of a coordinator that has not heard of one that took commits after it.
	deposed func(node int32) bool
}

// generation is what a member was in a generation that is over.
type generation struct {
	number int32
	member string
	parts  map[tp]int64
}

func newMember(c *Client, group string, parts []tp, session time.Duration) *member {
	m := &member{consumer: newConsumer(c, nil), all: parts, coordinator: -1, session: session}
	m.group = group
	m.generation = -1
	return m
}

func (m *member) names() (names []string) {
	for _, t := range m.all {
		names = append(names, t.topic)
	}
	return slices.Compact(names)
}

func (m *member) start() {
	m.refresh(m.names(), func(bool) { m.join() })
}

// rejoin gives up what the member has and begins anew.
func (m *member) rejoin() {
	if m.generation >= 0 {
		m.earlier = generation{m.generation, m.member, map[tp]int64{}}
		for t, p := range m.parts {
			m.earlier.parts[t] = p.at
		}
	}
	m.parts = map[tp]*position{}
	m.generation = -1
	m.round++
	round := m.round
	m.after(m.backoff(), func() {
		if m.round == round {
			m.join()
		}
	})
}

// lost begins anew with another coordinator.
func (m *member) lost() {
	m.coordinator = -1
	m.rejoin()
}

func (m *member) find(done func()) {
	if m.coordinator >= 0 {
		done()
		return
	}
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKeys = []string{m.group}
	m.callHost(m.any(), req, requestTimeout, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.FindCoordinatorResponse)
		if !ok || len(resp.Coordinators) == 0 || m.noted("FindCoordinator", resp.Coordinators[0].ErrorCode) != nil {
			m.rejoin()
			return
		}
		c := resp.Coordinators[0]
		m.coordinator = c.NodeID
		m.brokers[c.NodeID] = c.Host
		done()
	})
}

func (m *member) join() {
	if m.stopped {
		return
	}
	round := m.round
	m.find(func() {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.MemberID, req.ProtocolType = m.group, m.member, "consumer"
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(m.session.Milliseconds()), int32(m.session.Milliseconds())
		meta := kmsg.NewConsumerMemberMetadata()
		meta.Topics = m.names()
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = "sim", meta.AppendTo(nil)
		req.Protocols = append(req.Protocols, p)
		m.call(m.coordinator, req, 2*m.session+requestTimeout, func(r kmsg.Response) {
			resp, ok := r.(*kmsg.JoinGroupResponse)
			if round != m.round {
				return
			}
			if !ok {
				m.lost()
				return
			}
			switch err := m.noted("JoinGroup", resp.ErrorCode); {
			case errors.Is(err, kerr.MemberIDRequired):
				m.member = resp.MemberID
				m.rejoin()
			case err != nil:
				m.failed(err)
			default:
				m.member, m.generation = resp.MemberID, resp.Generation
				m.sync(resp)
			}
		})
	})
}

// failed deals with an error of the coordinator.
func (m *member) failed(err error) {
	switch {
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.FencedMemberEpoch), errors.Is(err, kerr.FencedInstanceID):
		m.member = ""
		m.rejoin()
	case errors.Is(err, kerr.NotCoordinator), errors.Is(err, kerr.CoordinatorNotAvailable):
		m.lost()
	case errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.RebalanceInProgress), kerr.IsRetriable(err):
		m.rejoin()
	default:
		m.w.Failf("%s: the coordinator of %s answered %w", m.h.Name, m.group, err)
	}
}

// sync takes the assignment; the leader makes it.
func (m *member) sync(j *kmsg.JoinGroupResponse) {
	round := m.round
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.Generation, req.MemberID = m.group, m.generation, m.member
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("sim")
	if j.LeaderID == m.member {
		for i, o := range j.Members {
			a := kmsg.NewSyncGroupRequestGroupAssignment()
			a.MemberID = o.MemberID
			for k, t := range m.all {
				if k%len(j.Members) == i {
					a.MemberAssignment = kbin.AppendString(a.MemberAssignment, t.topic)
					a.MemberAssignment = kbin.AppendInt32(a.MemberAssignment, t.part)
				}
			}
			req.GroupAssignment = append(req.GroupAssignment, a)
		}
	}
	m.call(m.coordinator, req, m.session+requestTimeout, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.SyncGroupResponse)
		switch {
		case round != m.round:
		case !ok:
			m.lost()
		default:
			if err := m.noted("SyncGroup", resp.ErrorCode); err != nil {
				m.failed(err)
				return
			}
			b := kbin.Reader{Src: resp.MemberAssignment}
			var mine []tp
			for len(b.Src) > 0 && b.Ok() {
				mine = append(mine, tp{b.String(), b.Int32()})
			}
			m.w.Count["group generation"]++
			m.offsets(round, mine, func() {
				m.commitLate()
				m.heartbeat(round)
				m.reading(round)
				m.after(m.upTo(2*time.Second), func() { m.commit(round) })
			})
		}
	})
}

// offsets fetches where the group is.
func (m *member) offsets(round int, mine []tp, done func()) {
	if len(mine) == 0 {
		done()
		return
	}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = m.group
	g.MemberEpoch = -1
	for _, t := range mine {
		i := slices.IndexFunc(g.Topics, func(rt kmsg.OffsetFetchRequestGroupTopic) bool { return rt.Topic == t.topic })
		if i < 0 {
			if m.topics[t.topic] == nil {
				m.rejoin() // its id is not known yet
				m.refresh(m.names(), func(bool) {})
				return
			}
			rt := kmsg.NewOffsetFetchRequestGroupTopic()
			rt.Topic, rt.TopicID = t.topic, m.topics[t.topic].id
			i = len(g.Topics)
			g.Topics = append(g.Topics, rt)
		}
		g.Topics[i].Partitions = append(g.Topics[i].Partitions, t.part)
	}
	begin, asked := m.now(), m.coordinator
	deposed := m.deposed(asked)
	m.call(asked, m.offsetRequest(g), requestTimeout, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.OffsetFetchResponse)
		if round != m.round {
			return
		}
		var got kmsg.OffsetFetchResponseGroup
		if ok {
			got, ok = m.offsetsOf(resp)
		}
		if !ok {
			m.lost()
			return
		}
		if err := m.noted("OffsetFetch", got.ErrorCode); err != nil {
			m.failed(err)
			return
		}
		for _, rt := range got.Topics {
			for _, rp := range rt.Partitions {
				name := rt.Topic
				if name == "" {
					name = m.name(rt.TopicID)
				}
				if err := m.noted("OffsetFetch", rp.ErrorCode); err != nil {
					m.failed(err)
					return
				}
				f := history.Fetched{Group: m.group, Generation: m.generation, Partition: history.Partition{Topic: name, Number: rp.Partition},
					Offset: rp.Offset, Begin: begin, End: m.now(), Deposed: deposed}
				if rp.Metadata != nil {
					f.ID = *rp.Metadata
				}
				m.rec.Fetches = append(m.rec.Fetches, f)
				m.parts[tp{name, rp.Partition}] = &position{at: max(0, rp.Offset), epoch: -1, checked: -1}
			}
		}
		done()
	})
}

func (m *member) reading(round int) {
	if round != m.round || m.stopped {
		return
	}
	if !m.pollOnce() {
		m.renew()
	}
	m.after(m.pace, func() { m.reading(round) })
}

func (m *member) heartbeat(round int) {
	if round != m.round || m.stopped {
		return
	}
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.Generation, req.MemberID = m.group, m.generation, m.member
	m.call(m.coordinator, req, requestTimeout, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.HeartbeatResponse)
		switch {
		case round != m.round:
		case !ok:
			m.lost()
		default:
			if err := m.noted("Heartbeat", resp.ErrorCode); err != nil {
				m.failed(err)
				return
			}
			m.after(m.session/4, func() { m.heartbeat(round) })
		}
	})
}

// commitLate commits, now and then, what was read in the generation before, as a member
// does that was stopped in the middle of it. It must be refused.
func (m *member) commitLate() {
	old := m.earlier
	m.earlier = generation{}
	if len(old.parts) == 0 || old.member != m.member || old.number >= m.generation || m.rng.IntN(2) == 0 {
		return
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.MemberID = m.group, old.number, m.member
	for _, t := range slices.SortedFunc(maps.Keys(old.parts), compareTP) {
		if m.topics[t.topic] == nil {
			continue
		}
		id := fmt.Sprintf("%s-late-%d", m.h.Name, old.number)
		rt, rp := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
		rt.Topic, rt.TopicID = t.topic, m.topics[t.topic].id
		rp.Partition, rp.Offset, rp.Metadata = t.part, old.parts[t], &id
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
	}
	m.w.Count["late commit"]++
	m.call(m.coordinator, req, requestTimeout, func(kmsg.Response) {})
}

// commit commits what was read; it goes on as long as the generation lasts.
func (m *member) commit(round int) {
	if round != m.round || m.stopped {
		return
	}
	again := func() { m.after(200*time.Millisecond+m.upTo(2*time.Second), func() { m.commit(round) }) }
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.MemberID = m.group, m.generation, m.member
	var ops []int
	at := map[tp]int{}
	for _, t := range slices.SortedFunc(maps.Keys(m.parts), compareTP) {
		p := m.parts[t]
		if p.at == 0 || m.topics[t.topic] == nil {
			continue
		}
		m.commits++
		id := fmt.Sprintf("%s-%d", m.h.Name, m.commits)
		rt, rp := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
		rt.Topic, rt.TopicID = t.topic, m.topics[t.topic].id
		rp.Partition, rp.Offset, rp.Metadata = t.part, p.at, &id
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		at[t] = len(m.rec.Commits)
		ops = append(ops, len(m.rec.Commits))
		m.rec.Commits = append(m.rec.Commits, history.Commit{
			Group: m.group, Generation: m.generation, Partition: t.history(), Offset: p.at, ID: id, Begin: m.now(), End: history.Never,
		})
	}
	if len(ops) == 0 {
		again()
		return
	}
	m.call(m.coordinator, req, requestTimeout, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.OffsetCommitResponse)
		var failure error
		if ok {
			for _, rt := range resp.Topics {
				name := rt.Topic
				if name == "" {
					name = m.name(rt.TopicID)
				}
				for _, rp := range rt.Partitions {
					err := m.noted("OffsetCommit", rp.ErrorCode)
					if err == nil {
						op := &m.rec.Commits[at[tp{name, rp.Partition}]]
						op.Outcome, op.End = history.OK, m.now()
						continue
					}
					failure = err
				}
			}
		}
		switch {
		case round != m.round:
		case !ok:
			m.lost()
		case failure != nil:
			m.failed(failure)
		default:
			again()
		}
	})
}
