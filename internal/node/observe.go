package node

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
	"github.com/leat-stream/leat/internal/quorum"
)

// observation is how a node without a vote follows the metadata: it pulls from one
// member of the quorum, and turns to another when that one is of no use.
type observation struct {
	o    *quorum.Observer
	from int32 // the member that is asked; -1: none yet
	// leader is the one that was heard of last; -1 none.
	leader int32
}

const (
	// pullWait is the observer's long poll, and pullPatience how long its answer is waited
	// for: for so long may a node without a vote miss that things go on without it, when
	// the member that it asks falls silent.
	pullWait     = time.Second
	pullPatience = 2 * time.Second
	// snapshotPatience is how long the answer with a part of a snapshot (1 MiB) is waited
	// for: so long may a request that is lost without a word keep a learner from its voice.
	snapshotPatience = 10 * time.Second
)

// observe follows the committed metadata of the cluster without a vote.
func (m *metadataLog) observe() {
	n := m.n
	m.observing.Lock()
	defer m.observing.Unlock()
	if m.observer.Load() != nil || n.ctx.Err() != nil {
		return
	}
	obs := &observation{from: -1, leader: -1}
	m.observer.Store(obs)
	obs.o = quorum.OpenObserver(quorum.ObserverOptions{
		Clock: n.clock, Exec: n.opt.Exec, Rand: env.NewRand(n.opt.Seed()), NodeID: n.id, Logger: n.log, MaxWait: pullWait,
		Pull: func(req *nodewire.PullRequest, done func(*nodewire.PullResponse, error)) {
			req.ClusterID = n.dir.ClusterID()
			n.askMember(m.source(obs), peer.Pull, req, pullPatience, func(resp kmsg.Response, err error) {
				r, _ := resp.(*nodewire.PullResponse)
				done(r, err)
				m.observedLeader(obs, r)
			})
		},
		Snapshot: func(req *nodewire.SnapshotRequest, done func(*nodewire.SnapshotResponse, error)) {
			req.ClusterID = n.dir.ClusterID()
			n.askMember(m.source(obs), peer.Bulk, req, snapshotPatience, func(resp kmsg.Response, err error) {
				r, _ := resp.(*nodewire.SnapshotResponse)
				done(r, err)
			})
		},
		Another: func() { m.another(obs) },
		Failed:  m.logFailed,
	}, quorum.LogHooks{Restore: m.restore, Records: m.records})
}

// observedLeader takes note of which leader a member knows.
func (m *metadataLog) observedLeader(obs *observation, r *nodewire.PullResponse) {
	if r == nil || r.Leader.NodeID < 0 {
		return
	}
	m.observing.Lock()
	moved := obs.leader != r.Leader.NodeID
	obs.leader = r.Leader.NodeID
	m.observing.Unlock()
	if moved {
		m.n.tasks.post(m.moved)
	}
}

// source is the member that an observer asks.
func (m *metadataLog) source(obs *observation) int32 {
	m.observing.Lock()
	from := obs.from
	m.observing.Unlock()
	if from < 0 {
		m.another(obs)
		m.observing.Lock()
		from = obs.from
		m.observing.Unlock()
	}
	return from
}

// another makes an observer ask the next node: the members of the quorum by node id, then
// the others that were heard of.
func (m *metadataLog) another(obs *observation) {
	var ids []int32
	for _, q := range m.members() {
		if q.NodeID != m.n.id && q.Voter {
			ids = append(ids, q.NodeID)
		}
	}
	for _, id := range m.n.addresses.all() {
		if id.NodeID != m.n.id && !slices.Contains(ids, id.NodeID) {
			ids = append(ids, id.NodeID)
		}
	}
	m.observing.Lock()
	defer m.observing.Unlock()
	if len(ids) > 0 {
		obs.from = ids[(slices.Index(ids, obs.from)+1)%len(ids)]
	}
}

// observed is what the observer knows; nil while there is none.
func (m *metadataLog) observed() *quorum.ObserverStatus {
	obs := m.observer.Load()
	if obs == nil {
		return nil
	}
	m.observing.Lock()
	o := obs.o
	m.observing.Unlock()
	if o == nil {
		return nil
	}
	st := o.Status()
	return &st
}

// endObserving stops the observer: the node is a member of the quorum and has its own log.
func (m *metadataLog) endObserving() {
	m.observing.Lock()
	obs := m.observer.Swap(nil)
	m.observing.Unlock()
	if obs != nil {
		obs.o.Close()
	}
}

// askMember calls another node's CONTROLLER listener.
func (n *Node) askMember(node int32, lane peer.Lane, req kmsg.Request, patience time.Duration, done func(kmsg.Response, error)) {
	if node < 0 || n.opt.Caller == nil {
		done(nil, peer.ErrUnreachable)
		return
	}
	want := req.ResponseKind()
	n.opt.Caller.Call(peer.Target{Node: node}, lane, req, patience, func(resp kmsg.Response, err error) {
		if err == nil && fmt.Sprintf("%T", resp) != fmt.Sprintf("%T", want) {
			err = fmt.Errorf("answered with %T", resp)
		}
		done(resp, err)
	})
}

// pull answers an observer.
func (n *Node) pull(r *api.Request, req *nodewire.PullRequest) {
	l := n.meta.log.Load()
	if code := n.ours(req.ClusterID); code != 0 || l == nil {
		r.Reply(&nodewire.PullResponse{ErrorCode: cmp.Or(code, kerr.BrokerNotAvailable.Code), Leader: nodewire.Identity{NodeID: -1}})
		return
	}
	l.Node().Pull(req, func(resp *nodewire.PullResponse) { r.Reply(resp) })
}

// snapshot answers who lags far behind.
func (n *Node) snapshot(r *api.Request, req *nodewire.SnapshotRequest) {
	l := n.meta.log.Load()
	if code := n.ours(req.ClusterID); code != 0 || l == nil {
		r.Reply(&nodewire.SnapshotResponse{ErrorCode: cmp.Or(code, kerr.BrokerNotAvailable.Code)})
		return
	}
	r.Reply(l.Node().ReadSnapshot(req))
}

// fetchSnapshot asks a member, by its Raft id, for a part of a snapshot.
func (m *metadataLog) fetchSnapshot(from uint64, req *nodewire.SnapshotRequest, done func(*nodewire.SnapshotResponse, error)) {
	req.ClusterID = m.n.dir.ClusterID()
	node, ok := m.nodeOf(from)
	if !ok {
		done(nil, peer.ErrUnreachable)
		return
	}
	m.n.askMember(node, peer.Bulk, req, snapshotPatience, func(resp kmsg.Response, err error) {
		r, _ := resp.(*nodewire.SnapshotResponse)
		done(r, err)
	})
}
