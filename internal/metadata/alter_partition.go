package metadata

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/schema"
)

// alterPartition answers AlterPartition (versions 0 to 3): a leader's wish for
// another ISR (KIP-497), checked by leader epoch, partition epoch and, from
// version 3, each member's broker epoch (KIP-903).
func (c *Controller) alterPartition(req *kmsg.AlterPartitionRequest) outcome {
	resp := req.ResponseKind().(*kmsg.AlterPartitionResponse)
	if _, err := c.checkEpoch(req.BrokerID, req.BrokerEpoch); err != nil {
		resp.ErrorCode, _ = code(err)
		return outcome{body: resp}
	}
	var recs []schema.Record
	seen := map[TopicPartition]bool{}
	for i := range req.Topics {
		ask := &req.Topics[i]
		out := kmsg.NewAlterPartitionResponseTopic()
		out.Topic, out.TopidID = ask.Topic, ask.TopicID
		t, unknown := c.View().TopicByID(ask.TopicID), kerr.UnknownTopicID
		if req.Version < 2 {
			t, unknown = c.View().Topic(ask.Topic), kerr.UnknownTopicOrPartition
		}
		for j := range ask.Partitions {
			p := kmsg.NewAlterPartitionResponseTopicPartition()
			p.Partition = ask.Partitions[j].Partition
			err := refuse(unknown, "")
			if t != nil {
				tp := TopicPartition{t.ID, p.Partition}
				if err = refuse(kerr.InvalidRequest, "The partition appears twice."); !seen[tp] {
					var rec schema.Record
					if rec, err = c.alterOne(req, t, &ask.Partitions[j], &p); rec != nil {
						recs = append(recs, rec)
					}
				}
				seen[tp] = true
			}
			p.ErrorCode, _ = code(err)
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return outcome{body: resp, recs: recs}
}

// alterOne decides one partition and fills its answer.
func (c *Controller) alterOne(req *kmsg.AlterPartitionRequest, t *Topic, ask *kmsg.AlterPartitionRequestTopicPartition, out *kmsg.AlterPartitionResponseTopicPartition) (schema.Record, error) {
	members := ask.NewEpochISR
	if req.Version < 3 {
		members = nil
		for _, id := range ask.NewISR {
			m := kmsg.NewAlterPartitionRequestTopicPartitionNewEpochISR()
			m.BrokerID, m.BrokerEpoch = id, -1
			members = append(members, m)
		}
	}
	p := t.Partition(ask.Partition)
	if err := c.checkAlteration(req, p, ask, members); err != nil {
		return nil, err
	}
	isr := make([]int32, len(members))
	for i := range members {
		isr[i] = members[i].BrokerID
	}
	e := c.electionOf(t, p)
	e.isr, e.recovered = isr, ask.LeaderRecoveryState == 0
	e.acceptable = func(r int32) bool {
		// Who joins is where its broker is now, whatever directory it once had.
		joins := slices.Contains(isr, r) && !p.counted(r) && c.directoryOfNew(r) != [16]byte{}
		return c.canLead(p, r) || joins && c.View().Active(r)
	}
	if handsOver(ask) {
		if to := c.heir(p, isr); to != NoLeader {
			e.acceptable = func(r int32) bool { return r == to }
		}
	}
	after, change := p, e.decide()
	if change != nil {
		after = merge(p, change)
	}
	if change != nil && after.Leader != req.BrokerID {
		// The leader hands over, or the change completed a reassignment that removed it:
		// it is made, and the leader must learn of it from the metadata (KIP-841).
		if req.Version > 1 {
			return change, refuse(kerr.NewLeaderElected, "")
		}
		return change, refuse(kerr.FencedLeaderEpoch, "")
	}
	out.LeaderID, out.LeaderEpoch, out.PartitionEpoch, out.ISR = after.Leader, after.LeaderEpoch, after.PartitionEpoch, after.ISR
	if after.Recovering() {
		out.LeaderRecoveryState = 1
	}
	if change == nil {
		return nil, nil
	}
	return change, nil
}

// checkAlteration refuses what a leader may not ask for.
func (c *Controller) checkAlteration(req *kmsg.AlterPartitionRequest, p *Partition, ask *kmsg.AlterPartitionRequestTopicPartition, members []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR) error {
	has := func(id int32) bool {
		return slices.ContainsFunc(members, func(m kmsg.AlterPartitionRequestTopicPartitionNewEpochISR) bool { return m.BrokerID == id })
	}
	switch {
	case p == nil:
		return refuse(kerr.UnknownTopicOrPartition, "")
	case ask.LeaderEpoch > p.LeaderEpoch, ask.PartitionEpoch > p.PartitionEpoch:
		// The leader knows of changes that this node does not: it cannot be the controller.
		return refuse(kerr.NotController, "")
	case ask.LeaderEpoch < p.LeaderEpoch:
		return refuse(kerr.FencedLeaderEpoch, "")
	case req.BrokerID != p.Leader:
		return refuse(kerr.InvalidRequest, "Broker %d leads.", p.Leader)
	case ask.PartitionEpoch < p.PartitionEpoch && !mutant.On("metadata/stale-partition-epoch"):
		return refuse(kerr.InvalidUpdateVersion, "")
	case !has(p.Leader):
		return refuse(kerr.InvalidRequest, "The ISR lacks the leader.")
	case ask.LeaderRecoveryState < 0 || ask.LeaderRecoveryState > 1:
		return refuse(kerr.InvalidRequest, "The leader recovery state %d is unknown.", ask.LeaderRecoveryState)
	case ask.LeaderRecoveryState == 1 && len(members) > 1:
		return refuse(kerr.InvalidRequest, "A recovering leader is alone in the ISR.")
	case ask.LeaderRecoveryState == 1 && !p.Recovering():
		return refuse(kerr.InvalidRequest, "The leader has recovered already.")
	}
	for i, m := range members {
		if !slices.Contains(p.Replicas, m.BrokerID) || slices.ContainsFunc(members[:i], func(o kmsg.AlterPartitionRequestTopicPartitionNewEpochISR) bool {
			return o.BrokerID == m.BrokerID
		}) {
			return refuse(kerr.InvalidRequest, "Broker %d is no replica, or appears twice.", m.BrokerID)
		}
	}
	for _, m := range members {
		b := c.View().Broker(m.BrokerID)
		if b.Active() && (m.BrokerEpoch == -1 || m.BrokerEpoch == b.Epoch || mutant.On("metadata/stale-broker-epoch")) {
			continue
		}
		if req.Version > 1 {
			return refuse(kerr.IneligibleReplica, "Broker %d is not alive in epoch %d.", m.BrokerID, m.BrokerEpoch)
		}
		return refuse(kerr.OperationNotAttempted, "")
	}
	return nil
}
