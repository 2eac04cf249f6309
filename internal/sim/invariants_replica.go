package sim

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/replica"
)

// marksRight looks at a high watermark that has just risen at a leader.
//
//   - It is not above what any member of the in-sync set has told, nor above what any
//     member has told of the set that the leader wishes for, nor of one that it wished for
//     and was not answered about: each may be the set from which the next leader comes.
//   - It is not above what is synced here, where the partition is durable.
//   - It stands still while the in-sync set is smaller than min.insync.replicas.
//
// Only what happened within one leader epoch says so: a leader begins with the high
// watermark that it had, and knows nothing of its followers.
func (v *invariants) marksRight(h *Host, w *watch) {
	r, hw := w.r, w.as.hw
	st := r.Standing()
	if !st.Leading || !w.standing.Leading || st.LeaderEpoch != w.standing.LeaderEpoch {
		return
	}
	if len(st.ISR) < st.MinISR && st.PartitionEpoch <= w.standing.PartitionEpoch+1 && !w.roseBefore(hw) {
		v.c.Failf("the high watermark of %v rises from %d to %d at %s with %v in sync, fewer than %d", w.id, w.mark, hw, h.Name, st.ISR, st.MinISR)
	}
	if synced := r.Log().SyncedOffset(); r.Durable() && synced < hw {
		v.c.Failf("the high watermark of %v rises to %d at %s, which has synced %d", w.id, hw, h.Name, synced)
	}
	doubted := v.c.doubted(w.id, st, h.Process.(insides).Image())
	for _, f := range r.Followers() {
		in := f.InSync || f.Wished || slices.Contains(doubted, f.ID)
		if in && f.End < hw {
			v.c.Failf("the high watermark of %v rises to %d at %s, and %d has told %d (in sync: %v, wished for: %v)", w.id, hw, h.Name, f.ID, f.End, f.InSync, f.Wished)
		}
	}
}

// roseBefore tells whether a high watermark was right in the state that the same event ended:
// an event may sync the log, and then take over a change of the in-sync set.
func (w *watch) roseBefore(hw int64) bool {
	old := w.standing
	return old.PartitionEpoch != w.r.Standing().PartitionEpoch && len(old.ISR) >= old.MinISR &&
		!slices.ContainsFunc(w.r.Followers(), func(f replica.FollowerInfo) bool { return slices.Contains(old.ISR, f.ID) && f.End < hw })
}

// wishOf is a state of a partition that a wish of its leader follows.
type wishOf struct {
	id                          log.LogID
	leaderEpoch, partitionEpoch int32
}

// wished looks at a leader's wish for another in-sync set, once: who is to join has
// everything that may be committed, up to the high watermark and to where the leader's
// epoch began, and nothing that is deleted.
func (v *invariants) wished(w *watch) {
	r := w.r
	wish, ok := r.Wish()
	if !ok || wish.LeaderEpoch == w.wish.LeaderEpoch && wish.PartitionEpoch == w.wish.PartitionEpoch && slices.Equal(wish.ISR, w.wish.ISR) && slices.Equal(wish.Epochs, w.wish.Epochs) {
		return
	}
	w.wish = wish
	key := wishOf{w.id, wish.LeaderEpoch, wish.PartitionEpoch}
	v.wishes[key] = append(v.wishes[key], wish)
	st := r.Standing()
	if !st.Leading || st.LeaderEpoch != wish.LeaderEpoch || st.PartitionEpoch != wish.PartitionEpoch {
		return
	}
	for _, f := range r.Followers() {
		if f.Wished && !f.InSync && f.End < max(r.HighWatermark(), st.EpochStart) {
			v.c.Failf("%d is to join the in-sync set of %v with %d; the high watermark is %d, the epoch began at %d",
				f.ID, w.id, f.End, r.HighWatermark(), st.EpochStart)
		}
		if f.Wished && !f.InSync && f.Start < r.Log().StartOffset() {
			v.c.Failf("%d is to join the in-sync set of %v with records from %d on, which are deleted up to %d", f.ID, w.id, f.Start, r.Log().StartOffset())
		}
	}
}

// wishesOnce: a request names a partition once. Asked twice, the controller carries out one
// wish and refuses the other, and the leader cannot tell which answer is whose.
func (v *invariants) wishesOnce(req *kmsg.AlterPartitionRequest) {
	for _, t := range req.Topics {
		seen := map[int32]bool{}
		for _, p := range t.Partitions {
			if seen[p.Partition] {
				v.c.Failf("broker %d wishes twice for %s-%d in one request", req.BrokerID, t.Topic, p.Partition)
			}
			seen[p.Partition] = true
		}
	}
}

// joinedByWish: a replica joins an in-sync set because the leader wished for it in exactly
// the state that the change follows, and as the incarnation that had caught up.
func (v *invariants) joinedByWish(id log.LogID, old, img *metadata.Image, o, p *metadata.Partition) {
	if o.LeaderEpoch != p.LeaderEpoch {
		return // another leader may have been elected, whom nobody wished for
	}
	for _, m := range p.ISR {
		was, now := old.Broker(m), img.Broker(m)
		if slices.Contains(o.ISR, m) || was == nil || now == nil || was.Epoch != now.Epoch {
			continue
		}
		ok := false
		for at := o.PartitionEpoch; at < p.PartitionEpoch; at++ {
			for _, wish := range v.wishes[wishOf{id, o.LeaderEpoch, at}] {
				i := slices.Index(wish.ISR, m)
				ok = ok || i >= 0 && (wish.Epochs[i] == now.Epoch || wish.Epochs[i] < 0)
			}
		}
		if !ok {
			v.c.Failf("%d joined the in-sync set of %v in epoch %d between its states %d and %d, as incarnation %d: the leader did not wish so",
				m, id, p.LeaderEpoch, o.PartitionEpoch, p.PartitionEpoch, now.Epoch)
		}
		v.epochsAgree(id, p.Leader, m)
	}
}

// epochsAgree: who joins the in-sync set knows the leader epochs of what is committed as
// the leader does.
func (v *invariants) epochsAgree(id log.LogID, leader, member int32) {
	a, b := v.replica(leader, id), v.replica(member, id)
	if a == nil || b == nil {
		return
	}
	la, lb := a.Log(), b.Log()
	from, to := max(la.StartOffset(), lb.StartOffset()), min(v.committed[id], la.EndOffset(), lb.EndOffset())
	for at := from; at < to; at++ {
		if ea, eb := la.EpochForOffset(at), lb.EpochForOffset(at); ea != eb {
			v.c.Failf("node %d takes offset %d of %v for one of epoch %d, node %d for one of epoch %d", leader, at, id, ea, member, eb)
			return
		}
	}
}

// replica is a node's replica of a partition; nil when there is none to be seen.
func (v *invariants) replica(node int32, id log.LogID) *replica.Partition {
	for _, h := range v.c.Nodes {
		if p, ok := h.Process.(insides); ok && h.Node == node && h.Serving {
			r, _ := p.Replicas().Find(replica.Ref{TopicID: id.TopicID, Index: id.Partition})
			return r
		}
	}
	return nil
}

// ofThisIncarnation: what an earlier incarnation of a broker told counts for nothing once
// the leader knows of the later one (KIP-903).
func (v *invariants) ofThisIncarnation(h *Host, w *watch) {
	r := w.r
	if !r.Leading() || w.as.own == nil {
		w.known = nil
		return
	}
	known := r.Followers()
	same := w.knownIn == r.Leadership().LeaderEpoch
	for _, f := range known {
		i := slices.IndexFunc(w.known, func(o replica.FollowerInfo) bool { return o.ID == f.ID })
		if i < 0 || !same {
			continue
		}
		if o := w.known[i]; o.BrokerEpoch > f.BrokerEpoch {
			v.c.Failf("%s lets incarnation %d of broker %d speak for %v, after %d", h.Name, f.BrokerEpoch, f.ID, w.id, o.BrokerEpoch)
		} else if b := w.as.own.Broker(f.ID); b != nil && f.BrokerEpoch < b.Epoch && o.End != f.End {
			v.c.Failf("%s lets incarnation %d of broker %d speak for %v, and knows %d", h.Name, f.BrokerEpoch, f.ID, w.id, b.Epoch)
		}
	}
	w.known, w.knownIn = known, r.Leadership().LeaderEpoch
}

// damageStays: what a disk changes is found there and nowhere else.
func (v *invariants) damageStays(h *Host, w *watch) {
	if !h.flipped && !h.unreadable && w.r.Mending() {
		v.c.Failf("%v is damaged at %s, whose disk is good", w.id, h.Name)
	}
}
