package cluster

import (
	"cmp"
	"fmt"
	"slices"
)

// The planner is pure: from where replicas are to where they should be, one move after
// the other, each of which makes the whole better. It ends since the imbalance falls by
// a least step with every move, and is bounded besides.

// planNode is a broker that may hold replicas.
type planNode struct {
	id   int32
	rack string
	// leaving gets nothing and keeps nothing: the node is to be drained.
	leaving bool
	// down gets nothing, and keeps what it has.
	down bool
	// gone is registered no more: in which rack it was is not known, and it is in none now.
	gone bool
	// total is how many bytes its disks have, 0 when it does not tell; free is how many of
	// them can still be used, those that are on their way taken off.
	total, free int64
}

// planPartition is one partition; the first replica is the preferred leader.
type planPartition struct {
	topic    string
	id       [16]byte // of the topic
	index    int32
	replicas []int32
	bytes    int64 // of one replica
	fixed    bool  // it cannot be moved now
	moving   bool  // since it is being moved already
}

// move is a partition's new replicas.
type move struct {
	topic    string
	id       [16]byte // of the topic
	index    int32
	from, to []int32
	bytes    int64 // to be copied
}

// added are the replicas that a move brings in.
func (m *move) added() []int32 {
	return slices.DeleteFunc(slices.Clone(m.to), func(id int32) bool { return slices.Contains(m.from, id) })
}

// planLimits bound a plan.
type planLimits struct {
	moves int   // partitions whose replicas move; 0 is any number
	bytes int64 // to be copied; 0 is any number
	// tolerance is the difference of load between two nodes that is left alone, as a
	// part of the average.
	tolerance float64
	// reserve is the part of a node's disks that moves leave free.
	reserve float64
	// evacuate says that nothing is moved but what leaves.
	evacuate bool
}

// plan is where replicas go, and which nodes have no room for all that would be theirs.
func plan(nodes []planNode, parts []planPartition, lim planLimits) (moves []move, crowded []int32) {
	p := newPlanner(nodes, parts, lim)
	p.leave()
	if !lim.evacuate {
		p.balance()
		p.leaders()
	}
	for _, n := range p.order {
		if n.crowded {
			crowded = append(crowded, n.id)
		}
	}
	return p.moves(), crowded
}

// planner holds the state of a plan in the making.
type planner struct {
	lim   planLimits
	nodes map[int32]*nodeLoad
	order []*nodeLoad // by id
	parts []planPartition
	to    [][]int32 // the new replicas of each partition
	// A replica's load is its share of the bytes and of the number of replicas that an
	// average node holds.
	perByte, perReplica float64
	moved               int
	copied              int64
}

type nodeLoad struct {
	planNode
	// share is how much of the whole a node is to hold, 1 for an average one: by the size of
	// its disks. Replicas follow bytes, since partitions of a size are half the bytes where they
	// are half as many; leaders, who make the work, do not.
	share    float64
	weight   float64 // of what it holds
	leads    int
	holds    map[int]bool // partitions, by their place in parts
	blocked  bool         // no more can be moved off it
	incoming int64        // bytes that are to be copied to it
	crowded  bool         // it has been passed over for want of room
}

// load is what a node holds, by its share: equal where all are in balance.
func (n *nodeLoad) load() float64 { return n.weight / n.share }

func newPlanner(nodes []planNode, parts []planPartition, lim planLimits) *planner {
	p := &planner{lim: lim, nodes: map[int32]*nodeLoad{}, parts: parts, to: make([][]int32, len(parts))}
	takers := 0
	for _, n := range nodes {
		l := &nodeLoad{planNode: n, share: 1, holds: map[int]bool{}}
		p.nodes[n.id] = l
		p.order = append(p.order, l)
		if l.takes() {
			takers++
		}
	}
	slices.SortFunc(p.order, func(a, b *nodeLoad) int { return cmp.Compare(a.id, b.id) })
	p.shares()
	var bytes, replicas float64
	for i := range parts {
		bytes += float64(parts[i].bytes) * float64(len(parts[i].replicas))
		replicas += float64(len(parts[i].replicas))
	}
	if bytes > 0 {
		p.perByte = float64(takers) / bytes
	}
	if replicas > 0 {
		p.perReplica = float64(takers) / replicas
	}
	for i := range parts {
		p.to[i] = slices.Clone(parts[i].replicas)
		for j, id := range p.to[i] {
			if n := p.nodes[id]; n != nil {
				n.holds[i] = true
				n.weight += p.weight(i)
				if j == 0 {
					n.leads++
				}
			}
		}
	}
	return p
}

// shares sets the share of each node whose disks are known; one that does not tell is taken
// for an average one.
func (p *planner) shares() {
	var sum float64
	told := 0
	for _, n := range p.order {
		if n.takes() && n.total > 0 {
			sum += float64(n.total)
			told++
		}
	}
	for _, n := range p.order {
		if told > 0 && n.total > 0 {
			n.share = float64(n.total) * float64(told) / sum
		}
	}
}

func (n *nodeLoad) takes() bool { return !n.leaving && !n.down }

// hasRoom says whether so many bytes more may be copied to a node. What it is relieved of
// does not count: it goes only when the move that takes it away has ended.
func (n *nodeLoad) hasRoom(bytes int64, reserve float64) bool {
	return bytes == 0 || n.total <= 0 || float64(n.incoming)+float64(bytes) <= float64(n.free)-reserve*float64(n.total)
}

// weight is what one replica of a partition adds to a node's load.
func (p *planner) weight(i int) float64 { return float64(p.parts[i].bytes)*p.perByte + p.perReplica }

// racks counts the racks of a set of replicas; nodes without one are each their own.
func (p *planner) racks(ids []int32) int {
	seen := map[string]bool{}
	alone := 0
	for _, id := range ids {
		n := p.nodes[id]
		if n != nil && n.gone {
			continue
		}
		if n == nil || n.rack == "" {
			alone++
			continue
		}
		seen[n.rack] = true
	}
	return len(seen) + alone
}

// may says whether a partition's replica can go from one node to another: it has none
// there, its replicas do not stand in fewer racks than before, and there is room.
func (p *planner) may(i int, from, to *nodeLoad) bool {
	if p.parts[i].fixed || !to.takes() || to.holds[i] {
		return false
	}
	if p.untouched(i) && p.lim.moves > 0 && p.moved >= p.lim.moves {
		return false
	}
	if p.lim.bytes > 0 && p.copied+p.parts[i].bytes > p.lim.bytes {
		return false
	}
	if p.racks(replaced(p.to[i], from.id, to.id)) < p.racks(p.to[i]) {
		return false
	}
	if p.brings(i, to) && !to.hasRoom(p.parts[i].bytes, p.lim.reserve) {
		to.crowded = true
		return false
	}
	return true
}

// brings says whether a node has to copy a partition to have a replica of it.
func (p *planner) brings(i int, n *nodeLoad) bool { return !slices.Contains(p.parts[i].replicas, n.id) }

func (p *planner) untouched(i int) bool { return slices.Equal(p.to[i], p.parts[i].replicas) }

func replaced(ids []int32, from, to int32) []int32 {
	out := slices.Clone(ids)
	out[slices.Index(out, from)] = to
	return out
}

// shift moves a replica.
func (p *planner) shift(i int, from, to *nodeLoad) {
	if p.untouched(i) {
		p.moved++
	}
	if p.brings(i, to) {
		p.copied += p.parts[i].bytes
		to.incoming += p.parts[i].bytes
	}
	if p.brings(i, from) {
		p.copied -= p.parts[i].bytes
		from.incoming -= p.parts[i].bytes
	}
	if p.to[i][0] == from.id {
		from.leads--
		to.leads++
	}
	p.to[i] = replaced(p.to[i], from.id, to.id)
	delete(from.holds, i)
	to.holds[i] = true
	from.weight -= p.weight(i)
	to.weight += p.weight(i)
}

// leave moves everything off the nodes that are leaving, each replica to the node with
// the least load, once it has it, that may have it, large ones first.
func (p *planner) leave() {
	for _, from := range p.order {
		if !from.leaving {
			continue
		}
		for _, i := range p.held(from) {
			var best *nodeLoad
			least := 0.0
			for _, to := range p.order {
				if load := (to.weight + p.weight(i)) / to.share; p.may(i, from, to) && (best == nil || load < least) {
					best, least = to, load
				}
			}
			if best != nil {
				p.shift(i, from, best)
			}
		}
	}
}

// held are the partitions of a node, large ones first.
func (p *planner) held(n *nodeLoad) []int {
	all := make([]int, 0, len(n.holds))
	for i := range n.holds {
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b int) int {
		return cmp.Or(cmp.Compare(p.parts[b].bytes, p.parts[a].bytes), cmp.Compare(a, b))
	})
	return all
}

// balance moves replicas from the node with the most load to those with the least,
// as long as it helps.
func (p *planner) balance() {
	for {
		from := p.heaviest()
		if from == nil {
			return
		}
		if !p.relieve(from) {
			from.blocked = true
		}
	}
}

func (p *planner) heaviest() *nodeLoad {
	var most *nodeLoad
	for _, n := range p.order {
		if n.takes() && !n.blocked && (most == nil || n.load() > most.load()) {
			most = n
		}
	}
	return most
}

// relieve makes the one move off a node that helps most, to the node with the least
// load that it helps.
func (p *planner) relieve(from *nodeLoad) bool {
	targets := slices.Clone(p.order)
	slices.SortStableFunc(targets, func(a, b *nodeLoad) int { return cmp.Compare(a.load(), b.load()) })
	held := p.held(from)
	for _, to := range targets {
		gap, both := from.load()-to.load(), (1/from.share+1/to.share)/2
		if gap <= p.lim.tolerance || !to.takes() {
			continue
		}
		best, gain := -1, 0.0
		for _, i := range held {
			// The sum of the squares of the two loads, each times its share, falls by 2*w*(gap-w*both).
			w := p.weight(i)
			if over := gap - w*both; over > p.lim.tolerance/2 && w*over > gain && p.may(i, from, to) {
				best, gain = i, w*over
			}
		}
		if best >= 0 {
			p.shift(best, from, to)
			for _, n := range p.order {
				n.blocked = false
			}
			return true
		}
	}
	return false
}

// leaders chooses another of a partition's replicas to be preferred where a node leads
// more than it should. Nothing is copied.
func (p *planner) leaders() {
	for changed := true; changed; {
		changed = false
		for i := range p.parts {
			if p.parts[i].fixed || len(p.to[i]) == 0 {
				continue
			}
			lead := p.nodes[p.to[i][0]]
			if lead == nil {
				continue
			}
			best := -1
			for j, id := range p.to[i][1:] {
				n := p.nodes[id]
				if n != nil && n.takes() && n.leads+1 < lead.leads && (best < 0 || n.leads < p.nodes[p.to[i][best]].leads) {
					best = j + 1
				}
			}
			if best < 0 || p.untouched(i) && p.lim.moves > 0 && p.moved >= p.lim.moves {
				continue
			}
			if p.untouched(i) {
				p.moved++
			}
			lead.leads--
			p.nodes[p.to[i][best]].leads++
			p.to[i] = slices.Clone(p.to[i])
			p.to[i][0], p.to[i][best] = p.to[i][best], p.to[i][0]
			changed = true
		}
	}
}

// stay is a partition of which a node that leaves keeps its replica, and why.
type stay struct {
	topic string
	index int32
	why   string
}

// stays lists what a node cannot be relieved of by the moves.
func stays(nodes []planNode, parts []planPartition, moves []move, node int32) (all []stay) {
	to := map[string][]int32{}
	name := func(topic string, index int32) string { return fmt.Sprint(topic, "/", index) }
	for _, m := range moves {
		to[name(m.topic, m.index)] = m.to
	}
	for i := range parts {
		p := &parts[i]
		replicas, moved := to[name(p.topic, p.index)]
		if !moved {
			replicas = p.replicas
		}
		if slices.Contains(replicas, node) {
			all = append(all, stay{p.topic, p.index, whyItStays(nodes, p, replicas, node)})
		}
	}
	return all
}

// whyItStays tells why no other node takes a replica.
func whyItStays(nodes []planNode, p *planPartition, replicas []int32, node int32) string {
	down, free, fits := 0, 0, 0
	place := newPlanner(nodes, nil, planLimits{})
	for _, n := range nodes {
		switch {
		case slices.Contains(replicas, n.id), n.leaving:
		case n.down:
			down++
		default:
			free++
			if place.racks(replaced(replicas, node, n.id)) >= place.racks(replicas) {
				fits++
			}
		}
	}
	switch {
	case p.moving:
		return "it is being moved already"
	case p.fixed:
		return "it has no leader"
	case fits > 0: // and it did not get it
		return "no room: each disk that may take it would be left with less than --reserve"
	case free > 0:
		return "its replicas would stand in fewer racks"
	case down > 0:
		return "no node that is up is without a replica of it"
	}
	return "every other node has a replica of it"
}

// moves lists what changes, in the order of the partitions.
func (p *planner) moves() []move {
	var all []move
	for i := range p.parts {
		if p.untouched(i) {
			continue
		}
		m := move{topic: p.parts[i].topic, id: p.parts[i].id, index: p.parts[i].index, from: p.parts[i].replicas, to: p.to[i]}
		m.bytes = p.parts[i].bytes * int64(len(m.added()))
		all = append(all, m)
	}
	return all
}
