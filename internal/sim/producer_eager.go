package sim

import "time"

// sendEagerly sends what the Java client would: its bound on batches under way is that of
// a connection, so that it goes on at a new leader while a batch is under way to the one
// before, which may come again behind any number of later ones. Only what has failed holds
// up the line: it is sent again one batch at a time, the first one first.
func (p *producer) sendEagerly(l *line) {
	for _, b := range l.batches {
		switch {
		case b.sent:
			continue
		case b.tried && (b != l.batches[0] || p.pausing), !b.tried && p.bump:
			return
		}
		lead, _ := p.leader(l.tp)
		if h := p.w.byName[p.brokers[lead.node]]; p.flying[lead.node] >= p.inFlight || h != nil && p.broken(h) {
			return
		}
		if !p.transmit(l, b) {
			return
		}
	}
}

// broken tells that the connection to a host has just broken, which is not known yet to
// all that was under way on it.
func (p *producer) broken(h *Host) bool {
	l := p.links[h.Name]
	return l != nil && l.Closed() && len(l.calls) > 0
}

// lookout asks for the metadata now and then, as a client that works with other topics too
// hears of new leaders.
func (p *producer) lookout() {
	if p.stopped {
		return
	}
	p.after(time.Second+p.upTo(2*time.Second), func() {
		p.refresh(p.topics(), func(bool) { p.send() })
		p.lookout()
	})
}

// overtook tells whether a later batch may have been taken before this one by a leader that
// knew nothing of the producer yet, and takes its first batch at any sequence, as it does
// with leat.unknown.producer.wait.ms=0.
func (p *producer) overtook(l *line, b *pending) bool {
	return p.anyStart && (l.known == 0 || l.known > b.order)
}
