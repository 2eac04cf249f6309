package metadata

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/schema"
)

// A reassignment (KIP-455) adds the new replicas to those that a partition has,
// and drops the ones to be removed once all others are in sync (elect.go). While
// it is on its way, Replicas are the target followed by Removing.

// assignment is what a reassignment makes of a partition's replicas.
type assignment struct{ replicas, adding, removing []int32 }

// original are the replicas that a partition had before its reassignment.
func (p *Partition) original() []int32 { return without(p.Replicas, p.Adding()...) }

// target are the replicas that a partition will have after it.
func (p *Partition) target() []int32 { return without(p.Replicas, p.Removing()...) }

// reassigning tells whether a reassignment is on its way.
func (p *Partition) reassigning() bool { return len(p.Adding()) > 0 || len(p.Removing()) > 0 }

// alterReassignments answers AlterPartitionReassignments (versions 0 and 1). Each
// partition succeeds or fails by itself; all that succeed are one batch.
func (c *Controller) alterReassignments(req *kmsg.AlterPartitionAssignmentsRequest) outcome {
	resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	grow := req.AllowReplicationFactorChange || req.Version < 1
	resp.AllowReplicationFactorChange = grow
	total := 0
	for i := range req.Topics {
		total += len(req.Topics[i].Partitions)
	}
	var recs []schema.Record
	seen := map[TopicPartition]bool{}
	for i := range req.Topics {
		ask := &req.Topics[i]
		out := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		out.Topic = ask.Topic
		t := c.View().Topic(ask.Topic)
		for j := range ask.Partitions {
			p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			p.Partition = ask.Partitions[j].Partition
			var err error
			switch {
			case total > maxRecords:
				err = refuse(kerr.PolicyViolation, "Unable to perform excessively large batch operation.")
			case t == nil:
				err = refuse(kerr.UnknownTopicOrPartition, "Unable to find a topic named %.300s.", ask.Topic)
			case seen[TopicPartition{t.ID, p.Partition}]:
				err = refuse(kerr.InvalidRequest, "The partition appears twice.")
			default:
				seen[TopicPartition{t.ID, p.Partition}] = true
				var rec *schema.PartitionChange
				if rec, err = c.alterReassignment(t, &ask.Partitions[j], grow); rec != nil {
					recs = append(recs, rec)
				}
			}
			p.ErrorCode, p.ErrorMessage = code(err)
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return outcome{body: resp, recs: recs}
}

// alterReassignment decides one partition; without replicas it is a cancellation.
func (c *Controller) alterReassignment(t *Topic, ask *kmsg.AlterPartitionAssignmentsRequestTopicPartition, grow bool) (*schema.PartitionChange, error) {
	p := t.Partition(ask.Partition)
	if p == nil {
		return nil, refuse(kerr.UnknownTopicOrPartition, "Unable to find partition %s:%d.", t.Name, ask.Partition)
	}
	if ask.Replicas == nil {
		return c.cancelReassignment(t, p)
	}
	if err := c.checkReplicas(ask.Replicas); err != nil {
		return nil, err
	}
	if have := len(p.target()); !grow && have != len(ask.Replicas) {
		return nil, refuse(kerr.InvalidReplicationFactor, "The replication factor is changed from %d to %d", have, len(ask.Replicas))
	}
	return c.reassign(t, p, ask.Replicas), nil
}

// reassign leads a partition to other replicas; nil when it is on its way there or has them.
func (c *Controller) reassign(t *Topic, p *Partition, target []int32) *schema.PartitionChange {
	e := c.electionOf(t, p)
	a := newAssignment(p, target, e.minISR)
	e.assign = &a
	return e.decide()
}

// newAssignment leads from a partition's assignment to a target. What an earlier
// reassignment was adding and this one does not want is dropped at once, unless nobody
// else could lead, or too few would be left in sync: then it stays until the others are.
func newAssignment(p *Partition, target []int32, minISR int) assignment {
	original := p.original()
	dropped := without(p.Adding(), target...)
	left := len(without(p.ISR, dropped...))
	if tooFew(left, p, minISR) || left == 0 && (p.Leader != NoLeader || len(without(p.ELR(), dropped...)) == 0) {
		whole := slices.DeleteFunc(slices.Clone(dropped), func(r int32) bool { return !p.Counts(r) })
		if len(whole) == 0 {
			whole = dropped
		}
		original = append(original, whole...)
	}
	a := assignment{adding: without(target, original...), removing: without(original, target...)}
	slices.Sort(a.adding)
	slices.Sort(a.removing)
	a.replicas = append(slices.Clone(target), a.removing...)
	return a
}

// tooFew tells whether it would cost a partition copies that it is to have, if so many
// stayed in sync: those in sync hold what is committed, each of them alone perhaps.
func tooFew(left int, p *Partition, minISR int) bool {
	return left < min(minISR, len(p.ISR))
}

// cancelReassignment takes a partition back to the replicas it had. It is refused
// where that would leave nobody with all records, unless the topic allows such an
// election and somebody can win it, and where fewer would be left in sync than the topic wants.
func (c *Controller) cancelReassignment(t *Topic, p *Partition) (*schema.PartitionChange, error) {
	if !p.reassigning() {
		return nil, refuse(kerr.NoReassignmentInProgress, "")
	}
	e := c.electionOf(t, p)
	e.assign = &assignment{replicas: p.original()}
	e.isr = without(e.isr, p.Adding()...)
	r := e.decide()
	after := merge(p, r)
	clean := len(without(p.ISR, p.Adding()...)) > 0 || len(without(p.ELR(), p.Adding()...)) > 0
	if !clean && !(e.unclean && after.Leader != NoLeader) || p.Leader != NoLeader && after.Leader == NoLeader {
		return nil, refuse(kerr.InvalidReplicaAssignment,
			"Unable to revert partition assignment for %s:%d because it would require an unclean leader election.", t.Name, p.Index)
	}
	if tooFew(len(after.ISR), p, e.minISR) {
		return nil, refuse(kerr.InvalidReplicaAssignment,
			"Unable to revert partition assignment for %s:%d because only %d replicas would be in sync, and min.insync.replicas is %d. Wait until the replicas that it had are in sync.",
			t.Name, p.Index, len(after.ISR), e.minISR)
	}
	return r, nil
}

// electionOf is an election of a partition as it is, of which the caller changes
// what it came for.
func (c *Controller) electionOf(t *Topic, p *Partition) election {
	canLead := func(r int32) bool { return c.canLead(p, r) }
	isr := p.ISR
	if len(p.Replicas) == 1 && !canLead(p.Replicas[0]) {
		isr = nil // a sole replica stays in sync while it is away, until it gets company
	}
	return election{
		topic: t.ID, p: p, isr: isr, elr: c.elrEnabled(), minISR: c.View().MinISR(t.Name), unclean: c.unclean(t.Name),
		lost: NoLeader, acceptable: canLead, directory: c.directoryOfNew,
	}
}

// Reassignments answers ListPartitionReassignments (version 0) from an image:
// null topics ask for all.
func (img *Image) Reassignments(req *kmsg.ListPartitionReassignmentsRequest) *kmsg.ListPartitionReassignmentsResponse {
	resp := req.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
	if req.Topics == nil {
		for t := range img.Topics() {
			var all []int32
			for _, p := range t.Partitions {
				if p.reassigning() {
					all = append(all, p.Index)
				}
			}
			addReassignments(resp, t, all)
		}
	}
	for i := range req.Topics {
		addReassignments(resp, img.Topic(req.Topics[i].Topic), req.Topics[i].Partitions)
	}
	return resp
}

func addReassignments(resp *kmsg.ListPartitionReassignmentsResponse, t *Topic, partitions []int32) {
	if t == nil {
		return
	}
	out := kmsg.NewListPartitionReassignmentsResponseTopic()
	out.Topic = t.Name
	for _, index := range partitions {
		p := t.Partition(index)
		if p == nil || !p.reassigning() {
			continue
		}
		k := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
		k.Partition, k.Replicas, k.AddingReplicas, k.RemovingReplicas = index, p.Replicas, p.Adding(), p.Removing()
		out.Partitions = append(out.Partitions, k)
	}
	if len(out.Partitions) > 0 {
		resp.Topics = append(resp.Topics, out)
	}
}
