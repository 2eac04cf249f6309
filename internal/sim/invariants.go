package sim

import (
	"slices"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/replica"
)

// insides is what of a node the invariants look at.
type insides interface {
	Image() *metadata.Image
	Replicas() *replica.Manager
}

// invariants hold after every event. Each is a function named after what it finds.
type invariants struct {
	c *Cluster

	images  map[int64]*metadata.Image // by index: what the first node had
	seen    map[*Host]*metadata.Image
	leaders map[epochOf]int32
	marks   map[*replica.Partition]int64

	newest    *metadata.Image
	committed map[log.LogID]int64         // the highest high watermark of any replica
	settled   map[*replica.Partition]bool // its synced end is known since it was opened
}

type epochOf struct {
	id    log.LogID
	epoch int32
}

func newInvariants(c *Cluster) *invariants {
	return &invariants{c: c, images: map[int64]*metadata.Image{}, seen: map[*Host]*metadata.Image{}, leaders: map[epochOf]int32{}, marks: map[*replica.Partition]int64{},
		committed: map[log.LogID]int64{}, settled: map[*replica.Partition]bool{}}
}

func (v *invariants) check(h *Host) {
	if h == nil || !h.Serving {
		return
	}
	p, ok := h.Process.(insides)
	if !ok {
		return
	}
	v.imagesEqual(h, p.Image())
	p.Replicas().Each(func(r *replica.Partition) {
		v.oneLeader(h, r)
		if v.markRises(h, r) {
			v.onEveryMember(r.ID())
		} else {
			v.onMember(h, r)
		}
	})
}

// keptImages bounds the images that are kept to compare with.
const keptImages = 2000

// imagesEqual: nodes at the same index of the metadata have the same image.
func (v *invariants) imagesEqual(h *Host, img *metadata.Image) {
	if v.seen[h] == img {
		return
	}
	v.seen[h] = img
	at := img.Index()
	if v.newest == nil || at > v.newest.Index() {
		v.changes(v.newest, img)
		v.newest = img
	}
	if first := v.images[at]; first != nil {
		if !first.Equal(img) {
			v.c.Failf("%s has another image at index %d than a node before it", h.Name, at)
		}
		return
	}
	v.images[at] = img
	delete(v.images, at-keptImages)
}

// oneLeader: at most one node leads a partition in one epoch.
func (v *invariants) oneLeader(h *Host, r *replica.Partition) {
	l := r.Leadership()
	if !r.Leading() {
		return
	}
	key := epochOf{r.ID(), l.LeaderEpoch}
	if was, ok := v.leaders[key]; ok && was != h.Node {
		v.c.Failf("both node %d and node %d lead %v in epoch %d", was, h.Node, r.ID(), l.LeaderEpoch)
	}
	if was, ok := v.leaders[key]; !ok || was != h.Node {
		v.c.Tracef("%s leads %v in epoch %d", h.Name, r.ID(), l.LeaderEpoch)
	}
	v.leaders[key] = h.Node
}

// markRises: the high watermark of a replica never goes back while it is open. It tells
// whether more is committed than before.
func (v *invariants) markRises(h *Host, r *replica.Partition) bool {
	hw, was := r.HighWatermark(), v.marks[r]
	if hw == was {
		return false
	}
	switch {
	case hw < was && h.flipped && !v.counted(h, r.ID()):
		v.c.Count["damaged replica cut back"]++ // it is on its way to be mended, and nobody counts on it
	case hw < was:
		v.c.Failf("the high watermark of %v at %s went back from %d to %d", r.ID(), h.Name, was, hw)
	}
	v.marks[r] = hw
	if hw <= v.committed[r.ID()] {
		return false
	}
	v.committed[r.ID()] = hw
	return true
}

// counted tells whether a node is in sync for a partition or eligible to lead it.
func (v *invariants) counted(h *Host, id log.LogID) bool {
	if t := v.newest.TopicByID(id.TopicID); t != nil {
		if p := t.Partition(id.Partition); p != nil {
			return slices.Contains(p.ISR, h.Node) || slices.Contains(p.ELR(), h.Node)
		}
	}
	return false
}

// onEveryMember holds all members of a partition against onMember.
func (v *invariants) onEveryMember(id log.LogID) {
	for _, h := range v.c.Nodes {
		p, ok := h.Process.(insides)
		if !ok || !h.Serving {
			continue
		}
		if r, err := p.Replicas().Find(replica.Ref{TopicID: id.TopicID, Index: id.Partition}); err == nil {
			v.onMember(h, r)
		}
	}
}

// onMember: what is committed is on every member of the in-sync set, and synced there
// where the partition is durable.
func (v *invariants) onMember(h *Host, r *replica.Partition) {
	t := v.newest.TopicByID(r.ID().TopicID)
	if t == nil || h.Process.(insides).Image() != v.newest && h.Process.(insides).Image().Index() < v.newest.Index() {
		return // it is not told yet what it is
	}
	part := t.Partition(r.ID().Partition)
	if part == nil || !slices.Contains(part.ISR, h.Node) || part.Recovering() {
		return
	}
	end, synced := r.Log().EndOffset(), r.Log().SyncedOffset()
	if synced >= end {
		v.settled[r] = true
	}
	if r.Durable() && v.settled[r] {
		end = synced
	}
	if want := v.committed[r.ID()]; end < want {
		v.c.Failf("%s is in sync for %v and has %d, of which %d is synced; committed is %d",
			h.Name, r.ID(), r.Log().EndOffset(), synced, want)
	}
}

// changes counts what rare things the metadata tells.
func (v *invariants) changes(old, img *metadata.Image) {
	if old == nil {
		return
	}
	for t := range img.Topics() {
		was := old.TopicByID(t.ID)
		if was == nil || was == t {
			continue
		}
		for _, p := range t.Partitions {
			o := was.Partition(p.Index)
			if o == nil || o == p {
				continue
			}
			v.changed(o, p)
		}
	}
}

func (v *invariants) changed(o, p *metadata.Partition) {
	if p.LeaderEpoch > o.LeaderEpoch {
		v.c.Count["leader epoch bump"]++
	}
	if len(p.ISR) < len(o.ISR) {
		v.c.Count["ISR shrink"]++
	}
	if len(p.ISR) > len(o.ISR) {
		v.c.Count["ISR expand"]++
	}
	if p.Leader >= 0 && p.Leader != o.Leader && !slices.Contains(o.ISR, p.Leader) {
		if slices.Contains(o.ELR(), p.Leader) {
			v.c.Count["election from the eligible replicas"]++
		} else {
			v.c.Count["election from elsewhere"]++
		}
	}
}
