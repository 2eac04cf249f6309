package sim

import (
	"slices"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/replica"
)

// vanished is a replica whose files a fault has taken, and the incarnation of its broker
// that had them.
type vanished struct {
	node  int32
	epoch int64
	id    log.LogID
}

// vanishes takes note of that, for lossLeaves.
func (v *invariants) vanishes(node int32, id log.LogID) {
	if b := v.newest.Broker(node); b != nil {
		v.vanished = append(v.vanished, vanished{node, b.Epoch, id})
	}
}

// lossLeaves: by the time that a broker is counted on again which came back without records,
// it is in no list of those that have them; but for one whom its leader has wished back
// since, and the last there is.
func (v *invariants) lossLeaves(img *metadata.Image) {
	v.vanished = slices.DeleteFunc(v.vanished, func(g vanished) bool {
		b, p := img.Broker(g.node), img.TopicByID(g.id.TopicID).Partition(g.id.Partition)
		switch {
		case p == nil, !slices.Contains(p.Replicas, g.node):
			return true
		case !b.Active() || b.Epoch == g.epoch:
			return false
		}
		v.c.Count["broker back without records"]++
		if p.Counts(g.node) && !p.Recovering() && !v.wishedBack(g, b.Epoch, p) {
			v.c.Failf("broker %d came back without %v and is counted on, with in sync %v, eligible %v, leader %d",
				g.node, g.id, p.ISR, p.ELR(), p.Leader)
		}
		return true
	})
}

// wishedBack tells whether a leader has wished for the incarnation before that state.
func (v *invariants) wishedBack(g vanished, epoch int64, p *metadata.Partition) bool {
	for at := max(0, p.PartitionEpoch-3); at < p.PartitionEpoch; at++ { // images are seen one by one, as a rule
		if slices.ContainsFunc(v.wishes[wishOf{g.id, p.LeaderEpoch, at}], func(w replica.Wish) bool {
			i := slices.Index(w.ISR, g.node)
			return i >= 0 && w.Epochs[i] == epoch
		}) {
			return true
		}
	}
	return false
}
