package metadata

import (
	"slices"

	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/schema"
)

// election decides the next state of one partition: who leads, who is in sync,
// who else may lead later. It is the only place where leaders are chosen.
//
// A leader must be acceptable (alive, its log directory online) and, in order of
// preference, the current leader, or the first of the replicas, that is
//   - a member of the ISR;
//   - when the ISR is empty, an eligible leader replica (KIP-966): out of the ISR,
//     but the high watermark stood still since it left, so it has all of it;
//   - when both are empty, the last known leader (KIP-966's balanced recovery);
//   - where the topic allows it, any replica.
//
// The last two may lose records: the ISR becomes the leader alone and the
// partition is marked as recovering until its leader has recovered.
type election struct {
	topic [16]byte
	p     *Partition
	// isr is the ISR to have, before the election.
	isr        []int32
	acceptable func(broker int32) bool
	// minISR is Image.MinISR of the topic.
	minISR int
	// elr tells whether eligible leader replicas are kept.
	elr bool
	// unclean allows any replica.
	unclean bool
	// preferred moves leadership to the first replica where that can lead.
	preferred bool
	// lost is a replica that can no longer be believed to hold its records, or NoLeader.
	lost int32
	// bump makes a new leader epoch also when the leader stays the same.
	bump bool
	// recovered is set when the leader says that it has recovered.
	recovered bool
	// assign replaces the assignment; nil leaves it.
	assign *assignment
	// directory is the log directory that a broker puts a new replica in, zero when it
	// is not known; nil is not known for all.
	directory func(broker int32) [16]byte
}

// next is the state that an election comes to.
type next struct {
	leader                     int32
	isr, elr                   []int32
	lastKnown                  []int32
	replicas, adding, removing []int32
	recovering                 bool
}

// decide returns the change that brings the partition there, or nil when there is none.
func (e *election) decide() *schema.PartitionChange {
	p := e.p
	n := next{
		isr: e.isr, replicas: p.Replicas, adding: p.Adding(), removing: p.Removing(),
		lastKnown: p.LastKnownELR(), recovering: p.Recovering() && !e.recovered,
	}
	if a := e.assign; a != nil {
		n.replicas, n.adding, n.removing = a.replicas, a.adding, a.removing
	}
	n.completeReassignment()
	n.isr, n.lastKnown = within(n.isr, n.replicas), within(n.lastKnown, n.replicas)
	n.elr = e.eligible(&n)
	e.elect(&n)
	if len(n.isr) == 0 && !e.elr {
		// Without eligible leader replicas the last ISR says who may lead later.
		n.isr = within(without(p.ISR, e.lost), n.replicas)
	}
	switch {
	case n.leader != NoLeader:
		n.lastKnown = nil
	case len(n.isr) == 0 && slices.Contains(n.replicas, p.Leader):
		n.lastKnown = []int32{p.Leader}
	case len(n.isr) == 0 && len(n.lastKnown) == 0 && slices.Contains(n.replicas, e.lost):
		n.lastKnown = []int32{e.lost}
	}
	return e.change(&n)
}

// completeReassignment drops the replicas that are to be removed once all that
// are to stay are in sync (KIP-455).
func (n *next) completeReassignment() {
	if len(n.adding) == 0 && len(n.removing) == 0 {
		return
	}
	isr, target := without(n.isr, n.removing...), without(n.replicas, n.removing...)
	for _, r := range target {
		if !slices.Contains(isr, r) && !mutant.On("metadata/reassigned-early") {
			return
		}
	}
	if len(target) > 0 {
		n.isr, n.replicas, n.adding, n.removing = isr, target, nil, nil
	}
}

// eligible is the ELR that goes with the target ISR: who left it, or was
// eligible before, while it is too small for the high watermark to move.
func (e *election) eligible(n *next) []int32 {
	if !e.elr || e.enough(n) && !mutant.On("metadata/elr-never-ends") {
		return nil
	}
	var elr []int32
	for _, r := range n.replicas {
		was := slices.Contains(e.p.ISR, r) || slices.Contains(e.p.ELR(), r)
		if was && (r != e.lost || mutant.On("metadata/lost-stays-eligible")) && !slices.Contains(n.isr, r) {
			elr = append(elr, r)
		}
	}
	return elr
}

// enough tells whether the high watermark moves with such an ISR.
func (e *election) enough(n *next) bool { return len(n.isr) >= min(e.minISR, len(n.replicas)) }

// elect chooses the leader and settles ISR and ELR by it.
func (e *election) elect(n *next) {
	if r, ok := e.cleanLeader(n); ok {
		n.leader = r
		if !slices.Contains(n.isr, r) {
			n.isr, n.elr = []int32{r}, without(n.elr, r)
			if e.enough(n) {
				n.elr = nil
			}
		}
		return
	}
	last := e.p.LastKnownELR()
	switch {
	case len(n.isr) == 0 && len(n.elr) == 0 && len(last) == 1 && slices.Contains(n.replicas, last[0]) && e.acceptable(last[0]):
		n.leader = last[0]
	case e.unclean || mutant.On("metadata/unclean-unasked"):
		i := slices.IndexFunc(n.replicas, e.acceptable)
		if i < 0 {
			n.leader = NoLeader
			return
		}
		n.leader = n.replicas[i]
	default:
		n.leader = NoLeader
		return
	}
	n.isr, n.elr, n.recovering = []int32{n.leader}, nil, true
}

// cleanLeader is who can lead without a loss.
func (e *election) cleanLeader(n *next) (int32, bool) {
	ok := func(r int32) bool {
		in := n.isr
		if len(in) == 0 {
			in = n.elr
		}
		return slices.Contains(in, r) && slices.Contains(n.replicas, r) && e.acceptable(r)
	}
	if e.preferred && mutant.On("metadata/prefers-out-of-sync") && e.acceptable(n.replicas[0]) {
		return n.replicas[0], true
	}
	if !(e.preferred && ok(n.replicas[0])) && ok(e.p.Leader) {
		return e.p.Leader, true
	}
	i := slices.IndexFunc(n.replicas, ok)
	if i < 0 {
		return NoLeader, false
	}
	return n.replicas[i], true
}

// change is the record that leads from the partition to n, or nil.
func (e *election) change(n *next) *schema.PartitionChange {
	p, r := e.p, schema.NewPartitionChange()
	changed := false
	set := func(dst *[]int32, from, to []int32) {
		if !slices.Equal(from, to) {
			*dst = append([]int32{}, to...) // never nil, which is no change
			changed = true
		}
	}
	set(&r.ISR, p.ISR, n.isr)
	set(&r.ELR, p.ELR(), n.elr)
	set(&r.LastKnownELR, p.LastKnownELR(), n.lastKnown)
	set(&r.Replicas, p.Replicas, n.replicas)
	set(&r.Adding, p.Adding(), n.adding)
	set(&r.Removing, p.Removing(), n.removing)
	if r.Directories = e.directories(n); r.Directories != nil {
		changed = true
	}
	// A replica that is no longer one must not be taken for a follower of this
	// epoch, so its removal makes a new one.
	removed := slices.ContainsFunc(p.Replicas, func(id int32) bool { return !slices.Contains(n.replicas, id) })
	if n.leader != p.Leader || removed || e.bump {
		r.Leader, changed = n.leader, true
	}
	if n.recovering != p.Recovering() {
		changed = true
		if r.Recovering = -1; n.recovering {
			r.Recovering = 1
		}
	}
	if !changed {
		return nil
	}
	r.TopicID, r.Index = e.topic, p.Index
	return r
}

// directories are those that go with n's replicas, nil when they stay as they are.
// A replica keeps its directory while it counts as one that holds records; a new one,
// and one that has held nothing that counts, is where its broker puts it now.
func (e *election) directories(n *next) [][16]byte {
	p := e.p
	var out [][16]byte
	if p.Directories != nil && len(p.Directories) != len(n.replicas) {
		out = make([][16]byte, len(n.replicas))
	}
	for i, id := range n.replicas {
		var was [16]byte
		if i < len(p.Directories) {
			was = p.Directories[i]
		}
		dir := p.Directory(id)
		if e.directory != nil && (!slices.Contains(p.Replicas, id) || dir != [16]byte{} && !e.counts(id, n)) {
			if at := e.directory(id); at != [16]byte{} {
				dir = at
			}
		}
		if out == nil && dir == was {
			continue
		}
		if out == nil {
			out = make([][16]byte, len(n.replicas))
			copy(out[:i], p.Directories)
		}
		out[i] = dir
	}
	return out
}

// counts tells whether a replica is taken to hold records, before and after.
func (e *election) counts(id int32, n *next) bool {
	return e.p.counted(id) && (slices.Contains(n.isr, id) || slices.Contains(n.elr, id) || slices.Contains(n.lastKnown, id))
}

// counted tells whether a replica is in any list of those that hold records.
func (p *Partition) counted(id int32) bool {
	return slices.Contains(p.ISR, id) || slices.Contains(p.ELR(), id) || slices.Contains(p.LastKnownELR(), id)
}

// without is a copy of list without some members.
func without(list []int32, members ...int32) []int32 {
	out := make([]int32, 0, len(list))
	for _, r := range list {
		if !slices.Contains(members, r) {
			out = append(out, r)
		}
	}
	return out
}

// within is what a list has of members; the list itself when that is all of it.
func within(list, members []int32) []int32 {
	if !slices.ContainsFunc(list, func(r int32) bool { return !slices.Contains(members, r) }) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(r int32) bool { return !slices.Contains(members, r) })
}
