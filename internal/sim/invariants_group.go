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
	took   map[string]int32 // the newest leader epoch in which a commit was taken, by group
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

// offsetsOf is a node's replica of the partition that coordinates a group.
func offsetsOf(h *Host, group string) *replica.Partition {
	p, ok := h.Process.(insides)
	if !ok {
		return nil
	}
	hash := int32(0) // of Java's strings
	for _, b := range []byte(group) {
		hash = 31*hash + int32(b)
	}
	r, _ := p.Replicas().Find(replica.Ref{Topic: "__consumer_offsets", Index: (hash & 0x7fffffff) % offsetsPartitions})
	return r
}

// deposed tells whether a node knows an older leader epoch of a group's partition than one in
// which a commit of the group was taken.
func (g *groups) deposed(node int32, group string) bool {
	for _, h := range g.c.Nodes {
		if r := offsetsOf(h, group); h.Node == node && r != nil {
			return r.Leadership().LeaderEpoch < g.took[group]
		}
	}
	return false
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
		if fine {
			if g.took == nil {
				g.took = map[string]int32{}
			}
			g.took[a.group] = max(g.took[a.group], a.epoch)
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
