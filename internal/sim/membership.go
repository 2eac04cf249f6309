package sim

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// operator changes who votes in the metadata quorum, through the requests that an
// operator's tools send, and knows when a disk may be replaced.
type operator struct {
	*Client
	c                 *Cluster
	voters, observers []quorumMember
	asOf              time.Duration // when the question was asked that has told them; 0: never
	busy              bool          // a change is under way
	// gone are the directories of members whose disks were replaced.
	gone [][16]byte
}

type quorumMember struct {
	node      int32
	directory [16]byte
}

func newOperator(c *Cluster) *operator {
	return &operator{Client: newClient(c.World, "operator", c.brokers(), &c.Rec), c: c}
}

func (o *operator) start() {
	o.refresh(nil, func(bool) { o.work() })
}

// work looks at the quorum, and changes it now and then.
func (o *operator) work() {
	o.describe(func() {
		if !o.stopped && o.c.Settings.VoterChanges && o.rng.IntN(3) == 0 {
			o.change()
		}
		o.after(300*time.Millisecond+o.upTo(2*time.Second), o.work)
	})
}

// describe asks who the members are.
func (o *operator) describe(done func()) {
	asked := o.w.Now()
	req := kmsg.NewPtrDescribeQuorumRequest()
	rt, rp := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
	rt.Topic = "__cluster_metadata"
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	o.callHost(o.any(), req, requestTimeout, func(r kmsg.Response) {
		defer done()
		resp, ok := r.(*kmsg.DescribeQuorumResponse)
		if !ok || o.noted("DescribeQuorum", resp.ErrorCode) != nil || len(resp.Topics) != 1 {
			return
		}
		p := resp.Topics[0].Partitions[0]
		if o.noted("DescribeQuorum", p.ErrorCode) != nil {
			return
		}
		was := o.voters
		o.voters, o.observers, o.asOf = members(p.CurrentVoters), members(p.Observers), asked
		o.w.Tracef("voters %v, observers %v", o.voters, o.observers)
		if len(o.replaced(was)) > len(o.replaced(o.voters)) {
			o.w.Count["voter with a new disk"]++
		}
	})
}

func members(in []kmsg.DescribeQuorumResponseTopicPartitionReplicaState) (out []quorumMember) {
	for _, m := range in {
		out = append(out, quorumMember{m.ReplicaID, m.ReplicaDirectoryID})
	}
	return out
}

// replaced are the members among some whose disks are no more.
func (o *operator) replaced(in []quorumMember) (out []quorumMember) {
	for _, m := range in {
		if slices.Contains(o.gone, m.directory) {
			out = append(out, m)
		}
	}
	return out
}

// change adds an observer to the voters, or removes a voter. Nobody is removed while a
// voter is dead for good.
func (o *operator) change() {
	if o.busy || o.c.faults.replacing != nil {
		return
	}
	add := o.rng.IntN(2) == 0
	from := o.voters
	if add {
		from = slices.DeleteFunc(slices.Clone(o.observers), func(m quorumMember) bool { return !o.c.Settings.votes(int(m.node)) })
	}
	if len(from) == 0 || !add && (len(from) == 1 || len(o.replaced(from)) > 0) {
		return
	}
	m := from[o.rng.IntN(len(from))]
	if int(m.node) > len(o.c.Nodes) {
		o.w.Failf("node %d is a member of the quorum", m.node)
		return
	}
	o.busy = true
	end := func(what string, code int16, answered bool) {
		o.busy = false
		if answered && o.noted(what, code) == nil {
			o.w.Count[what+": done"]++
		}
	}
	if add {
		req := kmsg.NewPtrAddRaftVoterRequest()
		req.TimeoutMillis, req.AckWhenCommitted = 8000, true
		req.VoterID, req.VoterDirectoryID = m.node, m.directory
		l := kmsg.NewAddRaftVoterRequestListener()
		l.Name, l.Host, l.Port = ControllerDoor, o.c.Nodes[m.node-1].Name, 9093
		req.Listeners = append(req.Listeners, l)
		o.callHost(o.any(), req, 2*requestTimeout, func(r kmsg.Response) {
			resp, ok := r.(*kmsg.AddRaftVoterResponse)
			if !ok {
				resp = kmsg.NewPtrAddRaftVoterResponse()
			}
			end("AddRaftVoter", resp.ErrorCode, ok)
		})
		return
	}
	req := kmsg.NewPtrRemoveRaftVoterRequest()
	req.VoterID, req.VoterDirectoryID = m.node, m.directory
	o.callHost(o.any(), req, 2*requestTimeout, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.RemoveRaftVoterResponse)
		if !ok {
			resp = kmsg.NewPtrRemoveRaftVoterResponse()
		}
		end("RemoveRaftVoter", resp.ErrorCode, ok)
	})
}

// whole tells whether the quorum, as it was seen since, has no voter that is dead for good.
func (o *operator) whole(since time.Duration) bool {
	return o.asOf > since && len(o.voters) > 0 && len(o.replaced(o.voters)) == 0
}
