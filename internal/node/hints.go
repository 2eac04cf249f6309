package node

import (
	"time"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/metadata"
)

// hints are what connections that break say of other nodes. One that broke proves
// nothing; one that broke, with nobody listening at the other end any more, is the end of
// a process, and is known within milliseconds. What is merely silent is judged by
// timeouts alone. All of it belongs to the node's tasks.
type hints struct {
	broke map[int32]brokenNode
}

// brokenNode is a node whose connection broke.
type brokenNode struct {
	at    time.Time
	epoch int64 // of the broker, as it was known then; -1: it is none
	gone  bool
}

// Broke is told that a connection with another node broke: one to it, or one by which it
// sent heartbeats.
func (n *Node) Broke(node int32) {
	n.tasks.post(func() { n.broke(node) })
}

// Refused is told that nobody listens at the address of another node.
func (n *Node) Refused(node int32) {
	n.tasks.post(func() { n.refused(node) })
}

func (n *Node) broke(node int32) {
	if node == n.id || n.ctx.Err() != nil {
		return
	}
	if n.hints.broke == nil {
		n.hints.broke = map[int32]brokenNode{}
	}
	h := brokenNode{at: n.clock.Now(), epoch: -1}
	if b := n.Image().Broker(node); b != nil {
		h.epoch = b.Epoch
	}
	n.hints.broke[node] = h
	n.meta.doubt(node, h)
	if leader, known := n.meta.leader(); known && leader == node {
		n.meta.beat() // it may be the connection only
	}
}

func (n *Node) refused(node int32) {
	h, ok := n.hints.broke[node]
	if !ok || n.clock.Now().Sub(h.at) > n.hintAge() {
		return
	}
	h.gone = true
	n.hints.broke[node] = h
	n.meta.doubt(node, h)
	n.meta.leaderGone(node)
}

// hintAge is how long a hint says anything: silence speaks then.
func (n *Node) hintAge() time.Duration {
	return config.Millis(n.Config(), config.BrokerSessionTimeoutMs)
}

// doubt tells the controller of a hint, if it is this node's.
func (m *metadataLog) doubt(node int32, h brokenNode) {
	b := m.image().Broker(node)
	if m.term.Load() == 0 || b == nil || b.Fenced || b.Epoch != h.epoch {
		return
	}
	m.here(&metadata.BrokerHint{BrokerID: node, Epoch: h.epoch}, func(any, error) {})
	if h.gone {
		m.here(&metadata.BrokerHint{BrokerID: node, Epoch: h.epoch, Gone: true}, func(any, error) {})
	}
}

// doubts tells a new controller what was learnt before it led.
func (m *metadataLog) doubts() {
	now := m.n.clock.Now()
	for _, b := range m.image().Brokers() {
		if h, ok := m.n.hints.broke[b.ID]; ok && now.Sub(h.at) <= m.n.hintAge() {
			m.doubt(b.ID, h)
		}
	}
}

// leaderGone makes the quorum elect a leader when the one it has is gone.
func (m *metadataLog) leaderGone(node int32) {
	l := m.log.Load()
	if l == nil {
		return
	}
	if st := l.Node().Status(); st.LeaderMember != nil && st.LeaderMember.NodeID == node {
		l.Node().LeaderGone(st.Leader)
	}
}

// moved follows a change of the metadata's leader: what was asked of the old one is asked
// again, and the new one hears that this broker is alive.
func (m *metadataLog) moved() {
	m.calls.moved()
	m.beat()
}
