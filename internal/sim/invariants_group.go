package sim

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/replica"
)

// groups are invariants of what coordinators answer.
//
//   - A node answers for a group only if it led the group's partition when it was asked,
//     or leads it since.
//   - Once a generation is told to a member, no commit of an earlier one is taken that
//     comes after that.
type groups struct {
	c      *Cluster
	synced map[string]int32 // the newest generation that a member was told, by group
}

// groupAsked is what is kept of a request until it is answered.
type groupAsked struct {
	req        kmsg.Request
	group      string
	generation int32 // of the member
	newest     int32 // that anybody was told by then
	leading    bool  // the node led the group's partition,
	epoch      int32 // or knew this leader epoch
}

// offsetsPartitions is how many partitions __consumer_offsets has.
const offsetsPartitions = 3

// coordinates is the partition that coordinates a group.
func coordinates(group string) replica.Ref {
	hash := int32(0) // of Java's strings
	for _, b := range []byte(group) {
		hash = 31*hash + int32(b)
	}
	return replica.Ref{Topic: "__consumer_offsets", Index: (hash & 0x7fffffff) % offsetsPartitions}
}

// offsetsOf is a node's replica of the partition that coordinates a group.
func offsetsOf(h *Host, group string) *replica.Partition {
	p, ok := h.Process.(insides)
	if !ok {
		return nil
	}
	r, _ := p.Replicas().Find(coordinates(group))
	return r
}

// standing is the leader epoch of a group's partition that a node knows, and the newest that
// any node knows; -1 is none.
func (c *Cluster) standing(node int32, group string) (known, newest int32) {
	known, newest = -1, -1
	ref := coordinates(group)
	for _, h := range c.Nodes {
		p, ok := h.Process.(insides)
		if !ok {
			continue
		}
		if part := p.Image().Partition(ref.Topic, ref.Index); part != nil {
			if newest = max(newest, part.LeaderEpoch); h.Node == node {
				known = part.LeaderEpoch
			}
		}
	}
	return known, newest
}

// asked notes a request that a node has just been given; nil for one of no interest.
func (g *groups) asked(h *Host, req *api.Request) *groupAsked {
	a := &groupAsked{req: req.Msg, epoch: -1}
	switch m := req.Msg.(type) {
	case *kmsg.HeartbeatRequest:
		a.group, a.generation = m.Group, m.Generation
	case *kmsg.SyncGroupRequest:
		a.group, a.generation = m.Group, m.Generation
	case *kmsg.OffsetCommitRequest:
		a.group, a.generation = m.Group, m.Generation
	default:
		return nil
	}
	a.group = string([]byte(a.group)) // the frame is cleared
	newest, ok := g.synced[a.group]
	if a.newest = newest; !ok {
		a.newest = -1
	}
	if r := offsetsOf(h, a.group); r != nil {
		a.leading, a.epoch = r.Leading(), r.Leadership().LeaderEpoch
	}
	return a
}

// answered looks at the answer to it.
func (g *groups) answered(h *Host, a *groupAsked, frame []byte) {
	resp, err := decode(a.req, frame)
	if err != nil {
		return // the client will say so
	}
	fine := false
	switch m := resp.(type) {
	case *kmsg.HeartbeatResponse:
		fine = m.ErrorCode == 0
	case *kmsg.SyncGroupResponse:
		if fine = m.ErrorCode == 0; fine {
			if g.synced == nil {
				g.synced = map[string]int32{}
			}
			g.synced[a.group] = max(g.synced[a.group], a.generation)
		}
	case *kmsg.OffsetCommitResponse:
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				fine = fine || p.ErrorCode == 0
			}
		}
		if fine && a.generation >= 0 && a.generation < a.newest {
			g.c.Failf("%s takes a commit of generation %d of group %s, after %d was told", h.Name, a.generation, a.group, a.newest)
		}
	}
	if !fine || a.leading {
		return
	}
	if r := offsetsOf(h, a.group); r == nil || !r.Leading() && r.Leadership().LeaderEpoch == a.epoch {
		g.c.Failf("%s answers for group %s, and led its partition neither when it was asked nor since", h.Name, a.group)
	}
}
