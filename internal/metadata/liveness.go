package metadata

import (
	"math"
	"slices"

	"github.com/leat-stream/leat/internal/schema"
)

// This file turns the coming and going of brokers into changes of partitions.
// Each walk looks at every partition: about 20 ns each, and brokers come and go
// rarely, which costs less than an index that every ISR change would keep up.

// leaving says what leaves the ISRs, and why.
type leaving struct {
	broker int32
	// directories limits it to replicas in these log directories; nil is all.
	directories [][16]byte
	// lost says that the replicas can no longer be believed to hold their records.
	lost bool
	// keepSole leaves a partition alone that has no other replica: nobody else
	// could lead it, so it keeps leader and epoch until the broker is back.
	keepSole bool
}

// leave takes a broker, or what it has in some directories, out of every ISR and
// elects leaders anew where it led.
func (c *Controller) leave(l leaving) []schema.Record {
	recs, _ := c.elections(math.MaxInt, func(_ *Topic, p *Partition) (election, bool) {
		switch {
		case !slices.Contains(p.Replicas, l.broker),
			l.directories != nil && !slices.Contains(l.directories, p.Directory(l.broker)),
			l.keepSole && len(p.Replicas) == 1:
			return election{}, false
		}
		return c.withoutReplica(p, l.broker, l.lost)
	})
	return recs
}

// withoutReplica is the election that takes a broker out of a partition's ISR,
// and out of its ELR when its replica is lost; false when it is in neither.
func (c *Controller) withoutReplica(p *Partition, broker int32, lost bool) (election, bool) {
	e := election{isr: without(p.ISR, broker), lost: NoLeader, acceptable: func(r int32) bool { return r != broker && c.canLead(p, r) }}
	if lost {
		e.lost = broker
	}
	return e, slices.Contains(p.ISR, broker) || lost && slices.Contains(p.ELR(), broker)
}

// restarted takes a broker's earlier incarnation out of every ISR; rec registers
// the new one. A partition without other replicas stays with the broker in a new
// leader epoch, so that nothing of the earlier incarnation is taken for the new one.
func (c *Controller) restarted(rec *schema.RegisterBroker, lost map[TopicPartition]bool) []schema.Record {
	id, b := rec.BrokerID, Broker{Directories: rec.Directories}
	old := c.View().Broker(id)
	moved := old != nil && !slices.ContainsFunc(rec.Directories, func(d [16]byte) bool { return slices.Contains(old.Directories, d) })
	directory := func(r int32) [16]byte {
		switch {
		case r != id:
			return c.directoryOfNew(r)
		case len(rec.Directories) == 1:
			return rec.Directories[0]
		}
		return [16]byte{}
	}
	recs, _ := c.elections(math.MaxInt, func(t *Topic, p *Partition) (election, bool) {
		if !slices.Contains(p.Replicas, id) {
			return election{}, false
		}
		// A replica whose directory nobody knew was in one that is gone.
		gone := lost[TopicPartition{t.ID, p.Index}] || moved && p.Directory(id) == [16]byte{}
		if len(p.Replicas) == 1 && !gone && b.HasDirectory(p.Directory(id)) {
			return election{isr: p.ISR, lost: NoLeader, bump: true, acceptable: func(r int32) bool { return r == id }}, p.Leader == id
		}
		if !b.HasDirectory(p.Directory(id)) && len(rec.Directories) == 1 && heldElsewhere(p, id) {
			// Another disk, and others have what was on the old one: it begins anew. Where
			// nobody has, the old disk is waited for.
			gone = true
		}
		e, ok := c.withoutReplica(p, id, gone)
		e.directory = directory
		return e, ok
	})
	return recs
}

// heldElsewhere tells whether others than a broker have all records of a partition.
func heldElsewhere(p *Partition, broker int32) bool {
	return len(without(p.ISR, broker)) > 0 || len(without(p.ELR(), broker)) > 0
}

// join elects leaders for the partitions that have none and that a broker which
// has come back can lead.
func (c *Controller) join(b *Broker) []schema.Record {
	recs, _ := c.elections(math.MaxInt, func(_ *Topic, p *Partition) (election, bool) {
		if p.Leader != NoLeader || !slices.Contains(p.Replicas, b.ID) {
			return election{}, false
		}
		return election{isr: p.ISR, lost: NoLeader, acceptable: func(r int32) bool {
			if r == b.ID {
				return b.HasDirectory(p.Directory(r))
			}
			return c.canLead(p, r)
		}}, true
	})
	return recs
}

// elections decides anew about every partition that ask names, up to a limit of
// changes; ask fills what is particular, the rest is added.
func (c *Controller) elections(limit int, ask func(*Topic, *Partition) (election, bool)) (recs []schema.Record, more bool) {
	elr := c.elrEnabled()
	for t := range c.View().Topics() {
		minISR, unclean := 0, false
		for _, p := range t.Partitions {
			e, ok := ask(t, p)
			if !ok {
				continue
			}
			if minISR == 0 {
				minISR, unclean = c.View().MinISR(t.Name), c.unclean(t.Name)
			}
			e.topic, e.p, e.minISR, e.unclean, e.elr = t.ID, p, minISR, unclean, elr
			if e.directory == nil {
				e.directory = c.directoryOfNew
			}
			if r := e.decide(); r != nil {
				if recs = append(recs, r); len(recs) >= limit {
					return recs, true
				}
			}
		}
	}
	return recs, false
}

// canLead tells whether a broker is alive and has the partition's log directory online.
func (c *Controller) canLead(p *Partition, broker int32) bool {
	b := c.View().Broker(broker)
	return b.Active() && b.HasDirectory(p.Directory(broker))
}

// leadsMovable tells whether a broker leads a partition that has other replicas.
func (c *Controller) leadsMovable(broker int32) bool {
	for t := range c.View().Topics() {
		for _, p := range t.Partitions {
			if p.Leader == broker && len(p.Replicas) > 1 {
				return true
			}
		}
	}
	return false
}
