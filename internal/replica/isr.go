package replica

import (
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/mutant"
)

// change is a wish for another in-sync set, from the moment that the leader has it
// until it is settled: the metadata has gone on, or the controller has refused it for
// sure. Until then the high watermark runs over both sets, since either may be the one
// from which the next leader is elected. Partition.mu guards it.
type change struct {
	isr            []int32
	epochs         []int64 // the members' broker epochs, as far as they are known
	leaderEpoch    int32
	partitionEpoch int32    // of the state that it would follow
	yield          bool     // another leader is asked for; the set is the one that there is
	before         *yielded // how it was given up the time before; nil never
	// answered: the controller knows a later state, and the metadata will tell it.
	answered bool
	// doubt is when it was last sent without an answer; zero when it never was. Until
	// doubtTime later a delayed request may yet be carried out.
	doubt time.Time
}

const (
	// isrPause is how long a failed AlterPartition waits before it is sent again.
	isrPause = 50 * time.Millisecond
	// isrRefused is how long no other change is asked for after a refusal.
	isrRefused = 500 * time.Millisecond
	// doubtTime bounds how late a request may be carried out whose answer was lost. It
	// is well above the time for which a connection may hold it back.
	doubtTime = 60 * time.Second
	// maxChanges bounds the partitions of one AlterPartition request.
	maxChanges = 5000
)

// expand wishes a follower into the in-sync set that has all there is to have, and nothing
// that was deleted; mu is held.
func (p *Partition) expand(r *role, id int32, wake *wakeups) {
	t := p.tenure
	f := t.follower(id)
	if t.change != nil || slices.Contains(r.isr, id) || f.end < p.hw.Load() && !mutant.On("replica/expand-behind") ||
		f.end < r.epochStart && !mutant.On("replica/expand-behind") && !mutant.On("replica/expand-below-epoch-start") {
		return
	}
	if f.start < p.log.StartOffset() && !mutant.On("replica/expand-below-start") {
		return // elected, it would show again what is deleted
	}
	if f.full || p.m.now().Sub(f.fullAt) < roomCalm {
		return
	}
	b := p.m.image().Broker(id)
	if !b.Active() || b.Epoch != f.brokerEpoch || p.m.now().Sub(t.refused) < isrRefused {
		return
	}
	p.propose(r, append(slices.Clone(r.isr), id), wake)
}

// shrink wishes those out of the in-sync set that have not caught up for too long; mu
// is held.
func (p *Partition) shrink(r *role, lag time.Duration, wake *wakeups) {
	if len(r.isr) < 2 || p.tenure.change != nil {
		return
	}
	now, end := p.m.now(), p.log.EndOffset()
	var in []int32
	for _, id := range r.isr {
		f := p.tenure.follower(id)
		if id == p.m.opt.NodeID || f.end >= end || now.Sub(f.caughtUp) <= lag {
			in = append(in, id)
		}
	}
	if len(in) < len(r.isr) && now.Sub(p.tenure.refused) >= isrRefused {
		p.propose(r, in, wake)
	}
}

// recovered tells the controller that a leader that was elected uncleanly goes on with
// what it has; mu is held.
func (p *Partition) recovered(r *role, wake *wakeups) {
	if r.recovering && p.tenure.change == nil {
		p.propose(r, slices.Clone(r.isr), wake)
	}
}

// propose makes a wish of a set; mu is held.
func (p *Partition) propose(r *role, isr []int32, wake *wakeups) {
	if p.m.opt.AlterISR == nil {
		return
	}
	c := &change{isr: isr, epochs: make([]int64, len(isr)), leaderEpoch: r.leaderEpoch, partitionEpoch: r.partitionEpoch}
	for i, id := range isr {
		c.epochs[i] = -1
		if id == p.m.opt.NodeID {
			c.epochs[i] = p.m.opt.BrokerEpoch()
		} else if f := p.tenure.follower(id); f.brokerEpoch >= 0 {
			c.epochs[i] = f.brokerEpoch
		} else if b := p.m.image().Broker(id); b != nil {
			c.epochs[i] = b.Epoch
		}
	}
	p.tenure.change = c
	p.m.changes.add(p)
	wake.propose = p.m
}

// changes sends the wishes of all partitions, in batches and one request at a time.
type changes struct {
	m *Manager

	mu      sync.Mutex
	queue   []*Partition
	sending bool
	paused  env.Timer // set while a failure is waited out
}

func (c *changes) add(p *Partition) {
	c.mu.Lock()
	c.queue = append(c.queue, p)
	c.mu.Unlock()
}

// sent is one partition of a request.
type sent struct {
	p *Partition
	c *change
}

// send sends what is queued, unless a request is under way.
func (c *changes) send() {
	c.mu.Lock()
	if c.sending || c.paused != nil || len(c.queue) == 0 || c.m.stopping.Load() {
		c.mu.Unlock()
		return
	}
	n := min(len(c.queue), maxChanges)
	list := slices.Clone(c.queue[:n])
	c.queue = slices.Delete(c.queue, 0, n)
	c.sending = true
	c.mu.Unlock()
	req, parts := c.request(list)
	if len(parts) == 0 {
		c.done(false)
		return
	}
	c.m.opt.AlterISR(req, func(resp *kmsg.AlterPartitionResponse, err error) { c.done(c.settle(parts, resp, err)) })
}

// done ends a request; again: some of it has to be sent once more, after a pause.
func (c *changes) done(again bool) {
	c.mu.Lock()
	c.sending = false
	if again && c.paused == nil {
		c.paused = c.m.opt.Clock.AfterFunc(isrPause, func() {
			c.mu.Lock()
			c.paused = nil
			c.mu.Unlock()
			c.send()
		})
	}
	c.mu.Unlock()
	c.send()
}

// request is AlterPartition for the partitions that still have a wish, each once: one whose
// wish failed is queued again, and may have another wish by now, which queued it as well.
func (c *changes) request(list []*Partition) (*kmsg.AlterPartitionRequest, []sent) {
	req := kmsg.NewPtrAlterPartitionRequest()
	req.Version = 3
	req.BrokerID, req.BrokerEpoch = c.m.opt.NodeID, c.m.opt.BrokerEpoch()
	var parts []sent
	topics := map[[16]byte]int{}
	seen := make(map[*Partition]struct{}, len(list))
	for _, p := range list {
		if _, twice := seen[p]; twice && !mutant.On("replica/wishes-twice") {
			continue
		}
		seen[p] = struct{}{}
		p.mu.Lock()
		if p.tenure == nil || p.tenure.change == nil || p.tenure.change.answered {
			p.mu.Unlock()
			continue
		}
		w := p.tenure.change
		p.mu.Unlock()
		parts = append(parts, sent{p, w})
		ask := kmsg.NewAlterPartitionRequestTopicPartition()
		ask.Partition, ask.LeaderEpoch, ask.PartitionEpoch = p.id.Partition, w.leaderEpoch, w.partitionEpoch
		for i, id := range w.isr {
			m := kmsg.NewAlterPartitionRequestTopicPartitionNewEpochISR()
			m.BrokerID, m.BrokerEpoch = id, w.epochs[i]
			ask.NewEpochISR = append(ask.NewEpochISR, m)
		}
		if w.yield {
			metadata.SetHandOver(&ask)
		}
		at, ok := topics[p.id.TopicID]
		if !ok {
			t := kmsg.NewAlterPartitionRequestTopic()
			t.Topic, t.TopicID = p.id.Topic, p.id.TopicID
			at = len(req.Topics)
			topics[p.id.TopicID] = at
			req.Topics = append(req.Topics, t)
		}
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, ask)
	}
	return req, parts
}

// settle takes an answer, and tells whether something has to be sent again.
func (c *changes) settle(parts []sent, resp *kmsg.AlterPartitionResponse, err error) (again bool) {
	got := map[Ref]*kmsg.AlterPartitionResponseTopicPartition{}
	code := int16(0)
	if err == nil {
		code = resp.ErrorCode
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				a := &resp.Topics[i].Partitions[j]
				got[Ref{TopicID: resp.Topics[i].TopidID, Index: a.Partition}] = a
			}
		}
	}
	for _, s := range parts {
		var wake wakeups
		s.p.mu.Lock()
		if t := s.p.tenure; t != nil && t.change == s.c {
			a := got[Ref{TopicID: s.p.id.TopicID, Index: s.p.id.Partition}]
			if s.p.outcome(t, a, code, err) {
				again = true
				c.add(s.p)
			} else if r := s.p.st.Load(); t.change == nil && r.leading {
				wake = s.p.advance(r)
			}
		}
		s.p.mu.Unlock()
		wake.run()
	}
	return again
}

// outcome takes the answer to a wish, and tells whether it has to be sent again; mu is
// held.
func (p *Partition) outcome(t *tenure, a *kmsg.AlterPartitionResponseTopicPartition, code int16, err error) (again bool) {
	c, now := t.change, p.m.now()
	switch {
	case err != nil && mutant.On("replica/forget-doubt"):
		t.change = nil
		return false
	case err != nil:
		c.doubt = now
		return true
	case code != 0: // nothing was done: not the controller, or a broker epoch that it does not know
		return true
	case a == nil:
		c.doubt = now
		return true
	}
	switch e := kerr.TypedErrorForCode(a.ErrorCode); e {
	case nil:
		if a.PartitionEpoch > c.partitionEpoch || a.LeaderEpoch > c.leaderEpoch {
			c.answered = true
			return false
		}
		p.notGranted(c)
		t.change = nil // it is so already
	case kerr.FencedLeaderEpoch, kerr.InvalidUpdateVersion, kerr.NewLeaderElected, kerr.UnknownTopicID, kerr.UnknownTopicOrPartition:
		c.answered = true
	case kerr.IneligibleReplica, kerr.OperationNotAttempted, kerr.InvalidRequest:
		if !c.doubt.IsZero() && now.Sub(c.doubt) < doubtTime && !p.surpassed(c) {
			return true
		}
		p.notYielded(c)
		t.change, t.refused = nil, now
		p.m.counters.isrRefused.Add(1)
	case kerr.NotController:
		return true
	default:
		c.doubt = now
		return true
	}
	return false
}

// surpassed tells whether a wish can never be carried out any more, late as it may arrive: one
// of its members has registered as a later incarnation, in committed metadata where the
// partition is still as it was. What was decided before that registration would be before
// it in the log, and is not there; what is decided behind it is refused.
func (p *Partition) surpassed(c *change) bool {
	img := p.m.image()
	t := img.TopicByID(p.id.TopicID)
	if t == nil {
		return false
	}
	if s := t.Partition(p.id.Partition); s == nil || s.PartitionEpoch != c.partitionEpoch || s.LeaderEpoch != c.leaderEpoch {
		return false
	}
	for i, id := range c.isr {
		if b := img.Broker(id); b != nil && c.epochs[i] >= 0 && b.Epoch > c.epochs[i] {
			return true
		}
	}
	return false
}

// startTicks begins to look for followers that lag, once there is a cluster.
func (m *Manager) startTicks() {
	if m.opt.AlterISR == nil || m.ticking.Swap(true) {
		return
	}
	m.ticked.Store(m.now().UnixNano())
	m.opt.Clock.AfterFunc(m.tuning().LagMax/2, m.tick)
}

// tick takes lagging followers out of the in-sync sets. A tick that comes late says that
// this process stood still, which is no fault of theirs: it is left out.
func (m *Manager) tick() {
	if m.stopping.Load() {
		return
	}
	lag, now := m.tuning().LagMax, m.now()
	late := now.Sub(time.Unix(0, m.ticked.Swap(now.UnixNano()))) > lag
	m.opt.Clock.AfterFunc(lag/2, m.tick)
	if late {
		return
	}
	m.Each(func(p *Partition) {
		if r := p.st.Load(); !r.leading || len(r.replicas) < 2 && !r.recovering {
			return
		}
		var wake wakeups
		p.mu.Lock()
		if r := p.st.Load(); r.leading && p.tenure != nil {
			p.recovered(r, &wake)
			p.shrink(r, lag, &wake)
		}
		p.mu.Unlock()
		wake.propose = nil // sent at once, below
	})
	m.changes.send()
}
