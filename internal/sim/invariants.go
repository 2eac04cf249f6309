package sim

import (
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
}

type epochOf struct {
	id    log.LogID
	epoch int32
}

func newInvariants(c *Cluster) *invariants {
	return &invariants{c: c, images: map[int64]*metadata.Image{}, seen: map[*Host]*metadata.Image{}, leaders: map[epochOf]int32{}, marks: map[*replica.Partition]int64{}}
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
		v.markRises(h, r)
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

// markRises: the high watermark of a replica never goes back while it is open.
func (v *invariants) markRises(h *Host, r *replica.Partition) {
	hw := r.HighWatermark()
	if was := v.marks[r]; hw < was {
		v.c.Failf("the high watermark of %v at %s went back from %d to %d", r.ID(), h.Name, was, hw)
	}
	v.marks[r] = hw
}
