package node

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/forming"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
)

// Every node says hello to the leader of the metadata, again and again. The leader knows
// by that who could vote, where each node is reached and how far it has followed; the
// others learn who votes, and so does one that lost its vote while it was away.

// presence is what this node heard of another.
type presence struct {
	nodewire.Identity
	voter        bool // it could be one
	belongs      bool // the cluster knew it then
	applied      uint64
	at, caughtUp time.Time
	last         uint64 // what this node had committed then
}

type presences struct {
	mu sync.Mutex
	of map[int32]*presence
}

const (
	helloEvery = time.Second
	// presentFor is how long a node counts as there after a hello.
	presentFor = 3 * time.Second
	// rememberFor is how long a node that fell silent is shown as an observer, as in Kafka.
	rememberFor = 5 * time.Minute
	// leaderless is how long a voter without a leader waits before it asks others beside
	// its log: it may have lost its vote.
	leaderless = 3 * time.Second
)

// heard notes a hello that was not refused. commit is what this node has committed: who
// has reached what was committed at its last hello was caught up then.
//
// belongs tells whether the cluster knows the node: of others there are maxStrangers at most.
func (p *presences) heard(req *nodewire.HelloRequest, belongs bool, commit uint64, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[int32]*presence{}
	}
	maps.DeleteFunc(p.of, func(_ int32, e *presence) bool { return now.Sub(e.at) > rememberFor })
	e := p.of[req.From.NodeID]
	if e == nil && !belongs && p.strangers() >= maxStrangers {
		return
	}
	if e == nil || e.DirectoryID != req.From.DirectoryID {
		e = &presence{last: commit, belongs: belongs}
		p.of[req.From.NodeID] = e
	}
	switch {
	case req.Applied >= commit:
		e.caughtUp = now
	case req.Applied >= e.last && e.at.After(e.caughtUp):
		e.caughtUp = e.at
	}
	e.Identity, e.voter, e.applied, e.at, e.last, e.belongs = req.From, req.Voter, req.Applied, now, commit, belongs
}

// strangers are how many are kept that the cluster does not know; p.mu is held.
func (p *presences) strangers() (count int) {
	for _, e := range p.of {
		if !e.belongs {
			count++
		}
	}
	return count
}

// shown tells whether a node that has no vote is shown: one that fell silent, and that the
// cluster has forgotten, is not.
func (e presence) shown(img *metadata.Image, now time.Time) bool {
	return now.Sub(e.at) < presentFor || img.Broker(e.NodeID) != nil || img.ControllerNode(e.NodeID) != nil
}

// all are the nodes that were heard of, by id.
func (p *presences) all() []presence {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []presence
	for _, id := range slices.Sorted(maps.Keys(p.of)) {
		list = append(list, *p.of[id])
	}
	return list
}

// attend sees, about once a second, to the node's place in the cluster: whether it has to
// follow others, who the others are, and who is to vote.
func (n *Node) attend() {
	defer n.jobs.after(helloEvery, func() { n.tasks.post(n.attend) })
	m := n.meta
	now := n.clock.Now()
	if l := m.log.Load(); l != nil {
		for _, q := range l.Node().Status().Members {
			n.addresses.told(q.Identity())
		}
	}
	if st := m.observed(); st != nil {
		for _, q := range st.Members {
			n.addresses.told(q.Identity())
		}
	}
	if !m.inCluster() {
		return
	}
	if _, known := m.leader(); known {
		m.leaderless.Store(nil)
	} else if m.leaderless.Load() == nil {
		m.leaderless.Store(&now)
	}
	switch following := m.following(); {
	case following:
		m.lostLeader = time.Time{}
		if st := m.observed(); st != nil && m.applied() >= st.Applied {
			m.endObserving()
		}
	case m.lostLeader.IsZero():
		m.lostLeader = now
	case now.Sub(m.lostLeader) >= leaderless:
		m.observe()
		m.tellLeaderless(now)
	}
	n.greet()
	n.stepVoters()
	n.vetList()
	if err := n.remember(); err != nil {
		n.complaints.Warn("controllers", "addresses of the controllers not recorded", "why", err)
	}
}

// inCluster tells whether the node follows the metadata of a cluster.
func (m *metadataLog) inCluster() bool {
	return m.n.dir.ClusterID() != "" && (m.observer.Load() != nil || m.log.Load() != nil)
}

// following tells whether the node votes, as its own log says, under a leader.
func (m *metadataLog) following() bool {
	l := m.log.Load()
	if l == nil {
		return false
	}
	st := l.Node().Status()
	return st.LeaderMember != nil && slices.Contains(st.Voters, l.Node().ID())
}

// leads tells whether this node is the leader of the metadata.
func (m *metadataLog) leads() bool { return m.term.Load() != 0 }

// applied is the last entry that this node's own log has handed out.
func (m *metadataLog) applied() uint64 {
	if l := m.log.Load(); l != nil {
		return l.Node().Status().Applied
	}
	return 0
}

// followed is the last entry that this node has taken in, by whatever way.
func (m *metadataLog) followed() uint64 {
	applied := m.applied()
	if st := m.observed(); st != nil {
		applied = max(applied, st.Applied)
	}
	return applied
}

// greet says hello to the leader; while none is known, to everybody who might know.
func (n *Node) greet() {
	m := n.meta
	if n.opt.Caller == nil || m.leads() {
		return
	}
	if leader, known := m.leader(); known && leader != n.id {
		n.greetOne(peer.Target{Node: leader}, false)
		if m.following() || m.observer.Load() != nil && n.clock.Now().Sub(m.greeted) < presentFor {
			return
		}
	}
	asked := map[string]bool{n.opt.Controllers: true}
	ask := func(address string, told bool) {
		if !asked[address] {
			asked[address] = true
			n.greetOne(peer.Target{Node: -1, Address: address}, told)
		}
	}
	for _, a := range n.former.told() {
		ask(a, true)
	}
	for _, id := range n.addresses.all() {
		ask(id.Address, false)
	}
}

// greetOne says hello. told says that the operator gave the address: a node of another
// cluster there means that this one was started wrong.
func (n *Node) greetOne(to peer.Target, told bool) {
	req := n.introduction()
	n.opt.Caller.Call(to, peer.Control, req, helloPatience, func(resp kmsg.Response, err error) {
		hello, ok := resp.(*nodewire.HelloResponse)
		if err != nil || !ok {
			return
		}
		n.tasks.post(func() { n.greeted(hello, told) })
	})
}

// introduction is a hello of a node that is in a cluster.
func (n *Node) introduction() *nodewire.HelloRequest {
	req := &nodewire.HelloRequest{From: n.self(), ClusterID: n.dir.ClusterID(), Voter: n.Config().Controller(), Applied: n.meta.followed()}
	listed, _ := n.listed()
	for _, l := range listed {
		req.Listed = append(req.Listed, l.Address)
	}
	slices.Sort(req.Listed)
	return req
}

func (n *Node) greeted(resp *nodewire.HelloResponse, told bool) {
	m := n.meta
	if r := forming.Denied(resp); r != nil {
		starting := m.started != nil
		switch {
		case r.Kind == forming.OtherCluster && told && starting, r.Kind == forming.IDTaken && starting && n.opening.fresh:
			m.fail(r)
		default:
			n.complaints.Warn("hello", "another node refuses this one", "node", resp.From.NodeID, "address", resp.From.Address, "why", r.Text)
		}
		return
	}
	if resp.ErrorCode != 0 || resp.ClusterID != n.dir.ClusterID() || !resp.HasLog {
		return
	}
	m.greeted = n.clock.Now()
	n.addresses.heard(resp.From)
	n.addresses.told(resp.Leader)
	for _, v := range resp.Voters {
		n.addresses.told(v)
	}
	if resp.Leader.NodeID >= 0 {
		m.hint.Store(&resp.Leader)
	}
}

// hello answers another node.
func (n *Node) hello(r *api.Request, req *nodewire.HelloRequest) {
	n.tasks.post(func() {
		f := n.former
		f.token++
		f.asked[f.token] = func(resp *nodewire.HelloResponse) { n.welcome(r, req, resp) }
		f.step(forming.Known{Standing: n.standing()})
		f.step(forming.Asked{Token: f.token, Req: req})
	})
}

// welcome takes note of who said hello, unless it is refused, and answers.
func (n *Node) welcome(r *api.Request, req *nodewire.HelloRequest, resp *nodewire.HelloResponse) {
	if resp.ErrorCode != 0 {
		r.Reply(resp)
		return
	}
	if req.From.NodeID >= 0 {
		heard := n.addresses.heard(req.From)
		if l := n.meta.log.Load(); heard && l != nil && req.ClusterID != "" && req.ClusterID == n.dir.ClusterID() {
			n.present.heard(req, n.belongs(req.From.NodeID), l.Node().Status().Commit, n.clock.Now())
		}
		r.Reply(resp)
		return
	}
	resp.FreeNodeID = -1
	if !n.meta.leads() || req.From.DirectoryID == [16]byte{} {
		r.Reply(resp)
		return
	}
	ask := &metadata.AllocateNodeID{DirectoryID: req.From.DirectoryID, MayVote: req.Voter, Taken: n.idsInUse()}
	n.meta.here(ask, func(body any, err error) {
		given, ok := body.(metadata.NodeIDReply)
		if ok && err == nil {
			resp.FreeNodeID = given.NodeID
		} else {
			resp.ErrorCode = cmp.Or(controlCode(body, err, ok), kerr.NotController.Code)
		}
		r.Reply(resp)
	})
}

// idsInUse are the ids of the nodes that the quorum knows, or that were heard of.
func (n *Node) idsInUse() []int32 {
	ids := []int32{n.id}
	for _, q := range n.meta.members() {
		ids = append(ids, q.NodeID)
	}
	for _, p := range n.present.all() {
		ids = append(ids, p.NodeID)
	}
	return ids
}
