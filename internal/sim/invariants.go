package sim

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/nodewire"
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
	leaders map[epochOf]reign
	watched map[*Host]*watched

	newest    *metadata.Image
	committed map[log.LogID]int64 // the highest high watermark of any replica
	wishes    map[wishOf][]replica.Wish
	promises  map[uint64]*promise // of members of the metadata quorum, by Raft id
	reigns    map[uint64]uint64   // who led the metadata, by term
	voters    map[*Host]int       // the life in which a host's metadata log was looked at
	deleted   map[log.LogID]int64 // up to where clients were told that it is
	lost      map[lossOf]bool     // what brokers told
	returned  map[returnedWithout]bool
	vanished  []vanished     // replicas whose files are gone
	left      map[int32]bool // brokers that were registered, and are not
}

// watched is what there is to check of a host's process, so that an event costs only
// what it changed.
type watched struct {
	replicas *replica.Manager
	moves    uint64 // when the replicas were listed
	all      []*watch
}

// watch is what was seen of a replica since it was opened.
type watch struct {
	r       *replica.Partition
	id      log.LogID
	as      seen
	mark    int64 // its high watermark
	settled bool  // its synced end is known

	standing replica.Standing // when it was as
	led      int32            // the leader epoch in which it led last; -1 none
	wish     replica.Wish     // the newest of this leader
	known    []replica.FollowerInfo
	knownIn  int32 // the leader epoch of known
}

// seen is everything that the invariants of one replica depend on, but for what is
// committed: when that rises, all members are looked at.
type seen struct {
	leadership      replica.Leadership
	leading         bool
	durable         bool
	hw, end, synced int64
	start           int64
	own, newest     *metadata.Image
}

// reign is one node's leadership in one life.
type reign struct {
	node int32
	life int
}

// lossOf is a replica that lacks records, as an incarnation of its broker told.
type lossOf struct {
	node  int32
	epoch int64
	topic [16]byte
	part  int32
}

func (v *invariants) tellsLoss(req *nodewire.LostRequest) {
	for _, r := range req.Replicas {
		v.lost[lossOf{req.NodeID, req.BrokerEpoch, r.TopicID, r.Partition}] = true
	}
}

// returnedWithout is a replica that lacks records, as its broker told when it registered.
type returnedWithout struct {
	incarnation [16]byte
	replica     metadata.TopicPartition
}

func (v *invariants) returns(req *kmsg.BrokerRegistrationRequest) {
	reg, err := api.UnpackRegistration(req)
	if err != nil {
		v.c.Failf("a registration: %w", err)
		return
	}
	for _, tp := range reg.Lost {
		v.returned[returnedWithout{req.IncarnationID, tp}] = true
	}
}

type epochOf struct {
	id    log.LogID
	epoch int32
}

func newInvariants(c *Cluster) *invariants {
	return &invariants{c: c, images: map[int64]*metadata.Image{}, seen: map[*Host]*metadata.Image{}, leaders: map[epochOf]reign{},
		watched: map[*Host]*watched{}, committed: map[log.LogID]int64{}, wishes: map[wishOf][]replica.Wish{},
		promises: map[uint64]*promise{}, reigns: map[uint64]uint64{}, voters: map[*Host]int{}, deleted: map[log.LogID]int64{}, lost: map[lossOf]bool{}, returned: map[returnedWithout]bool{}, left: map[int32]bool{}}
}

func (v *invariants) check(h *Host) {
	if h == nil {
		return
	}
	p, ok := h.Process.(insides)
	if !ok {
		return
	}
	if v.voters[h] != h.life {
		v.keepsPromises(h)
	}
	fetched := v.c.fetchedFrom == h
	v.c.fetchedFrom = nil
	img := p.Image()
	if v.c.anew != nil {
		v.c.anew.look(img)
	}
	if h.Serving {
		v.imagesEqual(h, img)
	}
	for _, w := range v.replicas(h, p) {
		r := w.r
		if r.Leading() {
			v.wished(w)
			v.oneLeader(h, w)
		}
		if !h.Serving {
			continue
		}
		if fetched {
			v.ofThisIncarnation(h, w)
		}
		now := seen{
			leadership: r.Leadership(), leading: r.Leading(), durable: r.Durable(), hw: r.HighWatermark(),
			end: r.Log().EndOffset(), synced: r.Log().SyncedOffset(), start: r.Log().StartOffset(), own: img, newest: v.newest,
		}
		if now == w.as {
			continue
		}
		w.as = now
		if v.markRises(h, w) {
			v.onEveryMember(w.id)
		} else {
			v.onMember(h, w)
		}
		w.standing = r.Standing()
		v.damageStays(h, w)
	}
}

// replicas are those of a host's process.
func (v *invariants) replicas(h *Host, p insides) []*watch {
	m := p.Replicas()
	all := v.watched[h]
	if all == nil || all.replicas != m {
		all = &watched{replicas: m, moves: m.Moves() - 1}
		v.watched[h] = all
	}
	if all.moves == m.Moves() {
		return all.all
	}
	known := map[*replica.Partition]*watch{}
	for _, w := range all.all {
		known[w.r] = w
	}
	all.moves, all.all = m.Moves(), nil
	m.Each(func(r *replica.Partition) {
		w := known[r]
		if w == nil {
			w = &watch{r: r, id: r.ID(), led: -1}
		}
		all.all = append(all.all, w)
	})
	return all.all
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
		v.lossLeaves(img)
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

// oneLeader: at most one node leads a partition in one epoch, and it does so in one life:
// nobody goes on to lead after a restart.
func (v *invariants) oneLeader(h *Host, w *watch) {
	key, now := epochOf{w.id, w.r.Leadership().LeaderEpoch}, reign{h.Node, h.life}
	if w.led == key.epoch {
		return
	}
	w.led = key.epoch
	switch was, ok := v.leaders[key]; {
	case !ok:
		v.c.Tracef("%s leads %v in epoch %d", h.Name, w.id, key.epoch)
	case was.node != h.Node:
		v.c.Failf("both node %d and node %d lead %v in epoch %d", was.node, h.Node, w.id, key.epoch)
	case was != now:
		v.c.Failf("node %d leads %v in epoch %d after a restart, as before it", h.Node, w.id, key.epoch)
	}
	v.leaders[key] = now
}

// markRises: the high watermark of a replica never goes back while it is open. It tells
// whether more is committed than before.
func (v *invariants) markRises(h *Host, w *watch) bool {
	hw, was := w.as.hw, w.mark
	if hw > was {
		v.marksRight(h, w)
		if v.c.acked != nil && w.as.leading {
			v.c.acked(h)
		}
	}
	if hw == was {
		return false
	}
	switch {
	case hw < was && h.flipped && !v.counted(h, w.id):
		v.c.Count["damaged replica cut back"]++ // it is on its way to be mended, and nobody counts on it
	case hw < was:
		v.c.Failf("the high watermark of %v at %s went back from %d to %d", w.id, h.Name, was, hw)
	}
	w.mark = hw
	if hw <= v.committed[w.id] {
		return false
	}
	v.committed[w.id] = hw
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
		for _, w := range v.replicas(h, p) {
			if w.id == id {
				v.onMember(h, w)
			}
		}
	}
}

// onMember: what is committed is on every member of the in-sync set and on every eligible
// replica, and synced there where the partition is durable.
func (v *invariants) onMember(h *Host, w *watch) {
	t := v.newest.TopicByID(w.id.TopicID)
	if own := h.Process.(insides).Image(); t == nil || own != v.newest && own.Index() < v.newest.Index() {
		return // it is not told yet what it is
	}
	part := t.Partition(w.id.Partition)
	if start := w.r.Log().StartOffset(); part != nil && start < v.deleted[w.id] && (slices.Contains(part.ISR, h.Node) || slices.Contains(part.ELR(), h.Node)) {
		v.c.Failf("%s may lead %v and starts at %d; clients were told that all below %d is deleted", h.Name, w.id, start, v.deleted[w.id])
	}
	if part == nil || !slices.Contains(part.ISR, h.Node) && !slices.Contains(part.ELR(), h.Node) || part.Recovering() {
		return
	}
	whole, synced := w.r.Log().EndOffset(), w.r.Log().SyncedOffset()
	if synced >= whole {
		w.settled = true
	}
	end := whole
	if w.r.Durable() && w.settled {
		end = synced
	}
	if want := v.committed[w.id]; end < want {
		v.c.Failf("%s is in sync or eligible for %v and has %d, of which %d is synced; committed is %d", h.Name, w.id, whole, synced, want)
	}
}

// changes counts what rare things the metadata tells.
func (v *invariants) changes(old, img *metadata.Image) {
	if old == nil {
		return
	}
	v.unregistered(old, img)
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
			if what := v.changed(o, p, func(m int32) bool {
				b := img.Broker(m)
				return b != nil && (v.lost[lossOf{m, b.Epoch, t.ID, p.Index}] || v.returned[returnedWithout{b.IncarnationID, metadata.TopicPartition{TopicID: t.ID, Partition: p.Index}}])
			}); what != "" {
				v.throttled(img, t.Name, what)
			}
			v.joinedByWish(log.LogID{Topic: t.Name, TopicID: t.ID, Partition: p.Index}, old, img, o, p)
		}
	}
}

// changed counts what became of a partition, and tells what became of its reassignment;
// lost tells which brokers have told that they lack records of it.
func (v *invariants) changed(o, p *metadata.Partition, lost func(int32) bool) (moved string) {
	if p.LeaderEpoch > o.LeaderEpoch {
		v.c.Count["leader epoch bump"]++
	}
	if len(p.ISR) < len(o.ISR) {
		v.c.Count["ISR shrink"]++
	}
	if len(p.ISR) > len(o.ISR) {
		v.c.Count["ISR expand"]++
	}
	moving, moves := len(o.Adding())+len(o.Removing()) > 0, len(p.Adding())+len(p.Removing()) > 0
	switch {
	case moves && !moving:
		moved = "reassignment begun"
	case moving && !moves && sameSet(p.Replicas, without(o.Replicas, o.Removing())):
		moved = "reassignment completed"
	case moving && !moves:
		moved = "reassignment cancelled"
	}
	if ended := moved == "reassignment completed" || !moving && !moves && !sameSet(o.Replicas, p.Replicas); ended {
		if p.PartitionEpoch == o.PartitionEpoch+1 && len(without(p.Replicas, p.ISR)) > 0 {
			v.c.Failf("a move from %v to %v ended with %v in sync, after %v", o.Replicas, p.Replicas, p.ISR, o.ISR)
		}
	}
	if moved != "" {
		v.c.Count[moved]++
	}
	if p.Leader >= 0 && p.Leader != o.Leader && !slices.Contains(o.ISR, p.Leader) {
		v.elected(o, p, moving && !moves, lost)
	}
	return moved
}

// elected: a leader that was not in sync was eligible, or is the last one there was while
// nobody is, or has come in sync by the change that ended a move. The only eligible one may
// be so no more by the same change, when it has told that its log is lost.
func (v *invariants) elected(o, p *metadata.Partition, moved bool, lost func(int32) bool) {
	switch {
	case slices.Contains(o.ELR(), p.Leader):
		v.c.Count["election from the eligible replicas"]++
	case p.PartitionEpoch != o.PartitionEpoch+1:
		v.c.Count["election behind changes that were not seen"]++
	case moved && slices.Contains(p.ISR, p.Leader) && len(without(o.ISR, p.ISR)) < len(o.ISR):
		v.c.Count["election by the end of a move"]++
	case len(o.ISR)+len(o.ELR()) == 0 && slices.Contains(o.LastKnownELR(), p.Leader):
		v.c.Count["election of the last known leader"]++
	case len(o.ISR) == 0 && len(o.ELR()) == 1 && lost(o.ELR()[0]) && slices.Contains(o.LastKnownELR(), p.Leader) && p.Recovering():
		v.c.Count["election of the last known leader, as the eligible one is lost"]++
	default:
		v.c.Failf("node %d was elected from in sync %v, eligible %v, last known %v, for a partition with %+v",
			p.Leader, o.ISR, o.ELR(), o.LastKnownELR(), *p)
	}
}

func without(all, gone []int32) []int32 {
	return slices.DeleteFunc(slices.Clone(all), func(id int32) bool { return slices.Contains(gone, id) })
}

func sameSet(a, b []int32) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
