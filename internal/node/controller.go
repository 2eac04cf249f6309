package node

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
)

// calls are the requests of this node, and of its clients, to the active controller,
// wherever it is. While there is none, or it moves, a request is asked again until its
// deadline (KIP-590), but for those that are asked once; what was sent to a controller
// that did not answer may have been carried out, as with Kafka.
type calls struct {
	m *metadataLog

	mu     sync.Mutex
	closed bool
	next   uint64
	open   map[uint64]*call
}

// call is one request under way.
type call struct {
	calls    *calls
	id       uint64
	attempt  int   // calls.mu guards it: answers to earlier ones are void
	asked    int32 // the node that was asked last, -1 while none is; calls.mu guards it
	req      any
	done     func(body any, err error)
	deadline time.Time
	finished sync.Once
}

const (
	// controllerPatience is how long a request may look for a controller that decides it.
	controllerPatience = 15 * time.Second
	// controllerPause is the wait before it is asked again.
	controllerPause = 50 * time.Millisecond
)

// submit hands a request to the active controller; done is called once.
func (m *metadataLog) submit(req any, done func(body any, err error)) {
	m.submitFor(controllerPatience, req, done)
}

func (m *metadataLog) submitFor(patience time.Duration, req any, done func(body any, err error)) {
	c := &call{calls: &m.calls, asked: -1, req: req, done: done, deadline: m.n.clock.Now().Add(patience)}
	m.calls.mu.Lock()
	if m.calls.closed {
		m.calls.mu.Unlock()
		done(nil, machine.ErrClosed)
		return
	}
	if m.calls.open == nil {
		m.calls.open = map[uint64]*call{}
	}
	m.calls.next++
	c.id = m.calls.next
	m.calls.open[c.id] = c
	m.calls.mu.Unlock()
	c.try()
}

// here hands a request to the controller of this node and to no other.
func (m *metadataLog) here(req any, done func(body any, err error)) {
	m.runtime.Submit(controllerShard, req, done)
}

// close fails what is under way.
func (cs *calls) close() {
	cs.mu.Lock()
	open := cs.open
	cs.closed, cs.open = true, nil
	cs.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(open)) {
		open[id].finish(nil, machine.ErrClosed)
	}
}

// moved asks again what was asked of a node that leads no more: it may never answer.
func (cs *calls) moved() {
	leader, known := cs.m.leader()
	if !known {
		return
	}
	var again []*call
	cs.mu.Lock()
	for _, id := range slices.Sorted(maps.Keys(cs.open)) {
		if c := cs.open[id]; c.asked >= 0 && c.asked != leader {
			c.attempt++
			c.asked = -1
			again = append(again, c)
		}
	}
	cs.mu.Unlock()
	for _, c := range again {
		if c.once() {
			c.finish(nil, errUnanswered)
			continue
		}
		c.try()
	}
}

// errUnanswered: a controller was asked, and may yet do it.
var errUnanswered = errors.New("no answer from the controller, which is another now")

// once tells of a request that is not asked again here when there was no answer: who asks
// must know that it may yet be carried out, whatever is answered to a later one. A wish
// for another in-sync set holds the high watermark back until it is settled for sure.
func (c *call) once() bool {
	r, ok := c.req.(*metadata.Request)
	if !ok {
		return false
	}
	_, ok = r.Req.(*kmsg.AlterPartitionRequest)
	return ok
}

// attempted counts a try at a node, and gives what tells, once, whether its outcome is
// still waited for.
func (c *call) attempted(asked int32) func() bool {
	c.calls.mu.Lock()
	defer c.calls.mu.Unlock()
	c.attempt++
	c.asked = asked
	n := c.attempt
	return func() bool {
		c.calls.mu.Lock()
		defer c.calls.mu.Unlock()
		if c.attempt != n {
			return false
		}
		c.asked = -1
		return true
	}
}

func (c *call) finish(body any, err error) {
	c.finished.Do(func() {
		c.calls.mu.Lock()
		delete(c.calls.open, c.id)
		c.calls.mu.Unlock()
		c.done(body, err)
	})
}

// try asks the controller as far as this node knows it.
func (c *call) try() {
	m := c.calls.m
	if m.term.Load() != 0 || m.n.opt.Caller == nil {
		m.here(c.req, c.answered)
		return
	}
	leader, known := m.leader()
	if !known || leader == m.n.id {
		c.later(machine.ErrNotLeader)
		return
	}
	req, decode, err := m.onWire(c.req)
	if err != nil {
		c.finish(nil, err)
		return
	}
	left := c.deadline.Sub(m.n.clock.Now())
	if left <= 0 {
		c.finish(nil, machine.ErrTimeout)
		return
	}
	mine := c.attempted(leader)
	m.n.opt.Caller.Call(peer.Target{Node: leader}, laneOf(req), req, left, func(resp kmsg.Response, err error) {
		if !mine() {
			return
		}
		if err != nil && c.once() {
			c.finish(nil, err)
			return
		}
		if err != nil {
			c.answered(nil, fmt.Errorf("%w: %w", machine.ErrNotLeader, err))
			return
		}
		body, err := decode(resp)
		if outer, ok := resp.(*kmsg.EnvelopeResponse); ok && err == nil {
			m.awaitImage(api.ImageIndex(outer), func() { c.answered(body, nil) })
			return
		}
		c.answered(body, err)
	})
}

// laneOf is the lane of a request: what keeps brokers and partitions alive does not wait
// behind what clients ask for.
func laneOf(req kmsg.Request) peer.Lane {
	switch req.(type) {
	case *kmsg.BrokerHeartbeatRequest, *kmsg.AlterPartitionRequest:
		return peer.Beat
	}
	return peer.Control
}

// answered takes the controller's answer, unless it says that it is none.
func (c *call) answered(body any, err error) {
	if err == nil {
		switch resp := body.(type) {
		case kmsg.Response:
			if notController(resp) {
				err = kerr.NotController
			}
		case *metadata.ReplicasLostReply:
			if resp.ErrorCode == kerr.NotController.Code {
				err = kerr.NotController
			}
		}
	}
	if errors.Is(err, machine.ErrNotLeader) || errors.Is(err, machine.ErrLoading) || errors.Is(err, kerr.NotController) ||
		errors.Is(err, metadata.ErrNotBootstrapped) {
		c.later(err)
		return
	}
	c.finish(body, err)
}

// later asks again, while there is time.
func (c *call) later(why error) {
	m := c.calls.m
	if !m.n.clock.Now().Add(controllerPause).Before(c.deadline) || m.n.opt.Caller == nil && errors.Is(why, machine.ErrClosed) {
		c.finish(nil, why)
		return
	}
	m.n.jobs.after(controllerPause, c.try)
}

// notController tells of an answer by which a node says that it is not the active
// controller.
func notController(resp kmsg.Response) bool {
	code := kerr.NotController.Code
	switch r := resp.(type) {
	case *kmsg.EnvelopeResponse:
		return r.ErrorCode == code
	case *kmsg.BrokerRegistrationResponse:
		return r.ErrorCode == code
	case *kmsg.BrokerHeartbeatResponse:
		return r.ErrorCode == code
	case *kmsg.AlterPartitionResponse:
		return r.ErrorCode == code
	case *kmsg.AllocateProducerIDsResponse:
		return r.ErrorCode == code
	case *kmsg.AssignReplicasToDirsResponse:
		return r.ErrorCode == code
	}
	return false
}

// onWire is a request as another node's controller takes it, and how its answer is read.
func (m *metadataLog) onWire(req any) (kmsg.Request, func(kmsg.Response) (any, error), error) {
	switch r := req.(type) {
	case *metadata.Request:
		if r.Principal != "" {
			return forward(r)
		}
		return r.Req, func(resp kmsg.Response) (any, error) { return resp, nil }, nil
	case *metadata.AutoCreateTopics:
		return forward(r)
	case *metadata.RegisterBroker:
		return api.PackRegistration(r), func(resp kmsg.Response) (any, error) { return resp, nil }, nil
	case *metadata.ReplicasLost:
		wire := &nodewire.LostRequest{ClusterID: m.image().ClusterID(), NodeID: r.BrokerID, BrokerEpoch: r.BrokerEpoch}
		for _, tp := range r.Partitions {
			wire.Replicas = append(wire.Replicas, nodewire.LostReplica{TopicID: tp.TopicID, Partition: tp.Partition})
		}
		return wire, func(resp kmsg.Response) (any, error) {
			lost, ok := resp.(*nodewire.LostResponse)
			if !ok {
				return nil, fmt.Errorf("answered with %T", resp)
			}
			reply := &metadata.ReplicasLostReply{ErrorCode: lost.ErrorCode}
			for _, p := range lost.Kept {
				reply.Kept = append(reply.Kept, metadata.TopicPartition{TopicID: p.TopicID, Partition: p.Partition})
			}
			return reply, nil
		}, nil
	}
	return nil, nil, fmt.Errorf("%w: %T has no form on the wire", metadata.ErrUnsupported, req)
}

// forward packs a client's request together with who the client is (KIP-590).
func forward(req any) (kmsg.Request, func(kmsg.Response) (any, error), error) {
	f, err := api.Forward(req)
	if err != nil {
		return nil, nil, err
	}
	return f.Envelope, func(resp kmsg.Response) (any, error) {
		outer, ok := resp.(*kmsg.EnvelopeResponse)
		if !ok {
			return nil, fmt.Errorf("answered with %T", resp)
		}
		inner, err := f.Answer(outer)
		if err != nil {
			return nil, err
		}
		return inner, nil
	}, nil
}
