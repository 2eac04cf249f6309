package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/sim/history"
)

// producer writes records to some partitions, as Kafka's clients do: idempotent with
// acks=all, several batches under way, retries in order, a new epoch after a batch was
// given up; or plain.
type producer struct {
	*Client
	parts    []tp
	acks     int16
	id       int64 // -1: not idempotent, or not known yet
	epoch    int16
	lines    map[tp]*line
	number   int64
	pace     time.Duration
	delivery time.Duration
	inFlight int
	padding  int
	bump     bool // a batch was given up: all sequences begin anew
	asking   bool // for an id
	pausing  bool // before a retry: what failed waits for it
	idem     bool

	eager     bool          // sends as the Java client does; see sendEagerly
	favourite tp            // gets half of what an eager one sends
	flying    map[int32]int // batches under way, by broker
	// anyStart: a log takes its first batch at any sequence.
	anyStart bool
}

// line is what a producer has for one partition, in order.
type line struct {
	tp       tp
	sequence int32
	batches  []*pending
	made     int
	waiting  int   // under way,
	at       int32 // to this broker
	failed   bool  // send nothing until all that is under way is back
	known    int   // the first of the batches that were acknowledged; 0 before
}

type pending struct {
	values   []string
	order    int   // in the line
	ops      []int // in the history
	sequence int32
	sent     bool
	by       time.Duration // when it is given up
	tried    bool          // it may have been carried out
}

func newProducer(c *Client, parts []tp, acks int16, idempotent bool) *producer {
	p := &producer{
		Client: c, parts: parts, acks: acks, id: -1, epoch: -1, idem: idempotent, lines: map[tp]*line{},
		pace: 20*time.Millisecond + c.upTo(150*time.Millisecond), delivery: 20*time.Second + c.upTo(60*time.Second),
		inFlight: 1, padding: c.rng.IntN(300), flying: map[int32]int{},
	}
	if c.rng.IntN(3) == 0 { // gives batches up in the middle of a fault
		p.delivery = 2*time.Second + c.upTo(10*time.Second)
	}
	if idempotent {
		p.inFlight = 1 + c.rng.IntN(5)
	}
	for _, t := range parts {
		p.lines[t] = &line{tp: t}
	}
	return p
}

// hurry makes an eager one of it.
func (p *producer) hurry() {
	p.eager, p.pace, p.inFlight = true, p.pace/4, 5
	p.favourite = p.parts[p.rng.IntN(len(p.parts))]
}

func (p *producer) topics() (names []string) {
	seen := map[string]bool{}
	for _, t := range p.parts {
		if !seen[t.topic] {
			seen[t.topic] = true
			names = append(names, t.topic)
		}
	}
	return names
}

func (p *producer) start() {
	p.refresh(p.topics(), func(bool) { p.produce() })
	if p.eager {
		p.lookout()
	}
}

// produce makes a batch now and then.
func (p *producer) produce() {
	if p.stopped {
		return
	}
	to := p.parts[p.rng.IntN(len(p.parts))]
	if p.eager && p.rng.IntN(2) == 0 {
		to = p.favourite
	}
	if l := p.lines[to]; len(l.batches) < 10 {
		p.make(l)
	}
	p.send()
	p.after(p.upTo(2*p.pace)+1, p.produce)
}

// each makes a batch for every partition, and no more.
func (p *producer) each() {
	for _, t := range p.parts {
		p.make(p.lines[t])
	}
	p.refresh(p.topics(), func(bool) { p.drain() })
}

// drain sends what is left, without making more.
func (p *producer) drain() {
	if !p.idle() {
		p.send()
		p.after(p.pace, p.drain)
	}
}

func (p *producer) make(l *line) {
	l.made++
	b := &pending{order: l.made, by: p.w.Now() + p.delivery}
	for range 1 + p.rng.IntN(4) {
		p.number++
		v := fmt.Sprintf("%s-%d", p.h.Name, p.number)
		b.values = append(b.values, v)
		b.ops = append(b.ops, len(p.rec.Produces))
		p.rec.Produces = append(p.rec.Produces, history.Produce{
			Producer: p.h.Name, Number: p.number, Partition: l.tp.history(), Value: v, Begin: p.now(),
			End: history.Never, Offset: -1, Promised: p.acks == -1, Idempotent: p.idem,
		})
	}
	l.batches = append(l.batches, b)
}

// idle tells whether everything given was answered.
func (p *producer) idle() bool {
	for _, l := range p.lines {
		if len(l.batches) > 0 {
			return false
		}
	}
	return true
}

func (p *producer) underWay() (n int) {
	for _, l := range p.lines {
		n += l.waiting
	}
	return n
}

// send sends what may be sent.
func (p *producer) send() {
	if p.bump && p.underWay() == 0 {
		p.bumped()
	}
	if p.idem && p.id < 0 {
		p.askID()
		return
	}
	for _, t := range p.parts {
		l := p.lines[t]
		if p.eager {
			p.sendEagerly(l)
			continue
		}
		if l.waiting == 0 && !p.pausing {
			l.failed = false
		}
		lead, _ := p.leader(l.tp)
		if l.waiting > 0 && lead.node != l.at {
			continue // one leader must have answered before another is asked
		}
		l.at = lead.node
		for _, b := range l.batches {
			// The leader knows the last five batches: none is sent that far ahead of one
			// that has no answer.
			if l.failed || b.order-l.batches[0].order >= p.inFlight || p.bump && !b.tried {
				break
			}
			if !b.sent && !p.transmit(l, b) {
				break
			}
		}
	}
}

// bumped begins a new epoch once no batch that was tried under the old one is left.
func (p *producer) bumped() {
	for _, t := range p.parts {
		if l := p.lines[t]; len(l.batches) > 0 && l.batches[0].tried {
			return
		}
	}
	p.bump = false
	p.epoch++
	p.w.Count["producer epoch bump"]++
	for _, t := range p.parts {
		p.lines[t].sequence = 0
	}
}

func (p *producer) askID() {
	if p.asking {
		return
	}
	p.asking = true
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	p.callHost(p.any(), req, requestTimeout, func(r kmsg.Response) {
		again := func() { p.asking = false; p.send() }
		resp, ok := r.(*kmsg.InitProducerIDResponse)
		if !ok || p.noted("InitProducerID", resp.ErrorCode) != nil {
			p.after(p.backoff(), again)
			return
		}
		p.id, p.epoch = resp.ProducerID, resp.ProducerEpoch
		again()
	})
}

// transmit sends one batch; false when nobody leads.
func (p *producer) transmit(l *line, b *pending) bool {
	lead, ok := p.leader(l.tp)
	if !ok {
		l.failed = true
		p.retry()
		return false
	}
	if !b.tried {
		b.sequence = l.sequence
		l.sequence += int32(len(b.values))
	}
	b.sent, b.tried = true, true
	l.waiting++
	if p.w.traced {
		p.w.Tracef("%s sends %v sequence %d+%d epoch %d to %d, leader epoch %d", p.h.Name, l.tp, b.sequence, len(b.values), p.epoch, lead.node, lead.epoch)
	}
	seq := b.sequence
	if !p.idem {
		seq = -1
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = p.acks, 3000
	rt, rp := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	rt.Topic, rt.TopicID = l.tp.topic, p.Client.topics[l.tp.topic].id
	rp.Partition = l.tp.part
	rp.Records = batch(p.id, p.epoch, seq, p.h.Clock.Now().UnixMilli(), b.values, p.padding)
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	if p.acks == 0 {
		req.SetVersion(p.version(req.Key()))
		p.spoke(req)
		if h := p.w.byName[p.brokers[lead.node]]; h != nil {
			p.link(h).Send(req)
		}
		p.rec.Operations++
		l.waiting--
		p.settle(l, b, history.Unknown, -1)
		return true
	}
	p.flying[lead.node]++
	p.call(lead.node, req, 8*time.Second, func(r kmsg.Response) {
		l.waiting--
		p.flying[lead.node]--
		p.answered(l, b, r)
		p.send()
	})
	if h := p.w.byName[p.brokers[lead.node]]; h == nil || p.links[h.Name].Closed() {
		l.failed = true // no later batch goes over another connection before this one
	}
	return true
}

func (p *producer) answered(l *line, b *pending, r kmsg.Response) {
	resp, ok := r.(*kmsg.ProduceResponse)
	if !ok || len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
		p.again(l, b)
		return
	}
	rp := resp.Topics[0].Partitions[0]
	if p.w.traced {
		p.w.Tracef("%s was answered %v sequence %d: error %d offset %d", p.h.Name, l.tp, b.sequence, rp.ErrorCode, rp.BaseOffset)
	}
	for _, n := range resp.Brokers {
		p.brokers[n.NodeID] = n.Host
	}
	if lead := rp.CurrentLeader; lead.LeaderID >= 0 { // KIP-951
		if t := p.Client.topics[l.tp.topic]; t != nil && lead.LeaderEpoch > t.parts[l.tp.part].epoch {
			t.parts[l.tp.part] = leader{lead.LeaderID, lead.LeaderEpoch}
			p.w.Count["leader told in a refusal"]++
		}
	}
	err := p.noted("Produce", rp.ErrorCode)
	switch {
	case err == nil:
		p.settle(l, b, history.OK, rp.BaseOffset)
	case errors.Is(err, kerr.DuplicateSequenceNumber):
		p.settle(l, b, history.OK, -1)
	case errors.Is(err, kerr.OutOfOrderSequenceNumber) && p.idem:
		if p.bump { // it follows one that was given up
			p.settle(l, b, history.Unknown, -1)
			return
		}
		if l.batches[0] == b && !p.overtook(l, b) {
			p.w.Failf("%s: the first batch under way of %v (sequence %d, epoch %d) is out of order", p.h.Name, l.tp, b.sequence, p.epoch)
		}
		p.again(l, b)
	case kerr.IsRetriable(err):
		p.again(l, b)
	default:
		p.w.Failf("%s: produce to %v was answered %w", p.h.Name, l.tp, err)
	}
}

// again has a batch sent once more, until it is given up.
func (p *producer) again(l *line, b *pending) {
	b.sent, l.failed = false, true
	if p.w.Now() > b.by || !p.idem {
		p.settle(l, b, history.Unknown, -1)
		p.bump = p.idem
	}
	p.retry()
}

// retry asks for the metadata again after a while, for all lines at once.
func (p *producer) retry() {
	if p.pausing {
		return
	}
	p.pausing = true
	p.after(p.backoff(), func() {
		p.refresh(p.topics(), func(bool) {
			p.pausing = false
			p.send()
		})
	})
}

// settle ends a batch.
func (p *producer) settle(l *line, b *pending, o history.Outcome, base int64) {
	for i, at := range b.ops {
		op := &p.rec.Produces[at]
		op.Outcome = o
		if o == history.OK {
			op.End = p.now()
			if base >= 0 {
				op.Offset = base + int64(i)
			}
		}
	}
	if o == history.OK && (l.known == 0 || b.order < l.known) {
		l.known = b.order
	}
	for i, q := range l.batches {
		if q == b {
			l.batches = append(l.batches[:i:i], l.batches[i+1:]...)
			return
		}
	}
}
