package metadata

import (
	"slices"

	"github.com/leat-stream/leat/internal/schema"
)

// ReplicasLost is a broker's word that replicas of its own can no longer be believed
// to hold all that they acknowledged (a damaged range, records that a recovery did
// not find). They leave ISR and ELR and hand over leadership first; until it has
// repaired them the broker does not fetch, so that they cannot join again. Each report
// begins a new leader epoch where somebody else leads: what the replica said of itself
// before, in fetches or in a leader's AlterPartition that are still under way, is of an
// epoch that is over, so that in the new one it may drop what it has.
// The reply's body is a *ReplicasLostReply.
type ReplicasLost struct {
	BrokerID    int32
	BrokerEpoch int64
	Partitions  []TopicPartition
}

// ReplicasLostReply answers ReplicasLost.
type ReplicasLostReply struct {
	// ErrorCode is Kafka's: STALE_BROKER_EPOCH, or 0.
	ErrorCode int16
	// Kept are the partitions that the broker leads on, since nobody else has as much
	// as it does. They are marked as recovering, which its next AlterPartition ends.
	Kept []TopicPartition
}

// replicasLost takes replicas out of every list that says they are whole. What is
// unknown or no replica of the broker's is passed over.
func (c *Controller) replicasLost(r *ReplicasLost) outcome {
	reply := &ReplicasLostReply{}
	b, err := c.checkEpoch(r.BrokerID, r.BrokerEpoch)
	if err != nil {
		reply.ErrorCode, _ = code(err)
		return outcome{body: reply}
	}
	var recs []schema.Record
	seen := make(map[TopicPartition]bool, len(r.Partitions))
	for _, tp := range r.Partitions {
		t := c.View().TopicByID(tp.TopicID)
		p := t.Partition(tp.Partition)
		if p == nil || seen[tp] || !slices.Contains(p.Replicas, b.ID) {
			continue
		}
		seen[tp] = true
		rec, kept := c.replicaLost(b, t, p)
		if rec != nil {
			recs = append(recs, rec)
		}
		if kept {
			reply.Kept = append(reply.Kept, tp)
		}
	}
	return outcome{body: reply, recs: recs}
}

// replicaLost decides one partition. Where others are whole but away, they are waited
// for: led by the damaged replica they would be cut to what it has left.
func (c *Controller) replicaLost(b *Broker, t *Topic, p *Partition) (rec *schema.PartitionChange, kept bool) {
	if !heldElsewhere(p, b.ID) && p.Leader == b.ID && !b.Fenced {
		if p.Recovering() {
			return nil, true
		}
		rec = schema.NewPartitionChange()
		rec.TopicID, rec.Index, rec.Leader, rec.Recovering = t.ID, p.Index, b.ID, 1
		return rec, true
	}
	counted := slices.Contains(p.ISR, b.ID) || slices.Contains(p.ELR(), b.ID)
	if !counted && p.Leader == NoLeader {
		return nil, false // whoever leads next does so in a new epoch
	}
	e := c.electionOf(t, p)
	e.isr, e.lost, e.unclean, e.bump = without(e.isr, b.ID), b.ID, false, p.Leader != NoLeader
	e.acceptable = func(r int32) bool { return r != b.ID && c.canLead(p, r) }
	return e.decide(), false
}
