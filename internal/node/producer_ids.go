package node

import (
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
)

// maxIDWaiters bounds the requests that wait for a block of producer ids.
const maxIDWaiters = 10_000

var errBusy = errors.New("too many requests wait for producer ids")

// producerIDs hands out ids from blocks that the controller allocates: what is left
// of a block when the broker stops is never given to anybody.
type producerIDs struct {
	allocate func(done func(resp *kmsg.AllocateProducerIDsResponse, err error))

	mu       sync.Mutex
	next     int64
	end      int64
	waiters  []func(int64, error)
	fetching bool
}

// get gives one id to done, now or when a new block has come.
func (p *producerIDs) get(done func(int64, error)) {
	p.mu.Lock()
	if p.next < p.end {
		id := p.next
		p.next++
		p.mu.Unlock()
		done(id, nil)
		return
	}
	if len(p.waiters) >= maxIDWaiters {
		p.mu.Unlock()
		done(0, errBusy)
		return
	}
	p.waiters = append(p.waiters, done)
	if p.fetching {
		p.mu.Unlock()
		return
	}
	p.fetching = true
	p.mu.Unlock()
	p.allocate(p.arrived)
}

// arrived takes a new block over and serves those who wait; a failure is theirs.
func (p *producerIDs) arrived(resp *kmsg.AllocateProducerIDsResponse, err error) {
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	type gift struct {
		to func(int64, error)
		id int64
	}
	var gifts []gift
	p.mu.Lock()
	if err == nil {
		p.next, p.end = resp.ProducerIDStart, resp.ProducerIDStart+int64(resp.ProducerIDLen)
	}
	for len(p.waiters) > 0 && (err != nil || p.next < p.end) {
		gifts = append(gifts, gift{p.waiters[0], p.next})
		p.waiters = p.waiters[1:]
		if err == nil {
			p.next++
		}
	}
	again := len(p.waiters) > 0
	p.fetching = again
	p.mu.Unlock()
	for _, g := range gifts {
		g.to(g.id, err)
	}
	if again {
		p.allocate(p.arrived)
	}
}

// allocateIDs asks the controller for a block of producer ids.
func (m *metadataLog) allocateIDs(done func(resp *kmsg.AllocateProducerIDsResponse, err error)) {
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID, req.BrokerEpoch = m.n.id, m.epoch.Load()
	m.submit(&metadata.Request{Req: req}, func(body any, err error) {
		if resp, ok := body.(*kmsg.AllocateProducerIDsResponse); ok && err == nil {
			done(resp, nil)
			return
		}
		if why, ok := body.(error); ok && err == nil {
			err = why
		}
		done(nil, err)
	})
}
