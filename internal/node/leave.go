package node

import (
	"context"
	"time"
)

// Leave hands over what the node leads, so that a stop costs no client an error; it
// returns when others lead it, when nobody else is there, or when ctx ends. The node
// serves on meanwhile.
func (n *Node) Leave(ctx context.Context) {
	left := make(chan struct{})
	n.HandOver(func() { close(left) })
	select {
	case <-left:
	case <-ctx.Done():
		n.log.Warn("stopping before others lead everything that this broker leads", "why", context.Cause(ctx))
	}
}

// HandOver is Leave without waiting: done is told once nobody depends on this node any
// more, or never.
func (n *Node) HandOver(done func()) {
	n.tasks.post(func() { n.meta.leave(done) })
}

// leave asks the controller for a controlled shutdown, then hands over the metadata;
// done is told once both are granted.
func (m *metadataLog) leave(done func()) {
	if m.phase != phaseServing || m.left != nil || !m.others() {
		m.handOver(done)
		return
	}
	m.left, m.leaving = func() { m.handOver(done) }, m.n.clock.Now()
	m.beat()
}

// inVain tells that a controlled shutdown waits for a controller that is not there: most
// of the voters are down, or stopped before this node.
func (m *metadataLog) inVain() bool {
	_, led := m.leader()
	return !led && m.n.clock.Now().Sub(m.leaving) > leavePatience
}

// leavePatience is how long a stop looks for a controller.
const leavePatience = 2 * time.Second

// handOver lets another voter lead the metadata, if this node does.
func (m *metadataLog) handOver(done func()) {
	l := m.log.Load()
	if l == nil || !m.leads() || len(l.Node().Status().Voters) < 2 {
		done()
		return
	}
	l.Node().TransferLeadership(0, func(err error) {
		if err != nil {
			m.n.log.Warn("leadership of the metadata not handed over", "why", err)
		}
		done()
	})
}

// others tells whether another broker is there to take over.
func (m *metadataLog) others() bool {
	for _, b := range m.image().Brokers() {
		if b.ID != m.n.id && b.Active() {
			return true
		}
	}
	return false
}
