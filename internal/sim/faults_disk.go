package sim

import (
	"hash/fnv"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// failingReads is the fault of a disk that does not give back what is in some of its
// files.
func (f *faults) failingReads() fault {
	return fault{"failing reads", 2, 8 * time.Second, func(h *Host) func() {
		salt, part := f.rng.Uint64(), 1+f.rng.Uint64N(4)
		disk := h.Disk
		h.unreadable = true
		disk.FailReads(func(name string, _ int64, _ int) error {
			sum := fnv.New64a()
			io.WriteString(sum, name)
			if (sum.Sum64()^salt)>>8%4 >= part {
				return nil
			}
			f.c.Count["read failed"]++
			if strings.Contains(name, "/metadata/") {
				f.c.Count["read of the metadata log failed"]++
			}
			return errDisk
		})
		return func() { disk.FailReads(nil) }
	}}
}

// How an operator replaces a disk: the node stays down until the cluster has noticed, and
// it is looked whether all that the disk had is elsewhere.
const (
	noticed     = 4 * time.Second // more than a leader of the quorum takes to know that a voter is gone
	replaceIn   = 20 * time.Second
	replaceLook = 200 * time.Millisecond
)

// wipe is the fault of a disk that is lost and replaced by an empty one, under the old
// node id. It happens only when the cluster can survive it: one voter at a time, and when
// each partition of the node has others in sync, among them one whose disk is good.
func (f *faults) wipe() fault {
	return fault{"disk replaced", 4, 0, func(h *Host) func() {
		if f.replacing != nil || f.leaving != nil || len(f.c.Nodes) < 3 || !h.Serving {
			return nil
		}
		f.replacing, h.out = h, true
		h.Kill()
		f.replace(h, func() {})
		return nil
	}}
}

// replace gives a node that has just died an empty disk, when that is safe; otherwise the
// one that it had was good after all, which mend makes true.
func (f *faults) replace(h *Host, mend func()) {
	f.mend = mend
	died := f.c.Now()
	var look func()
	look = func() {
		switch {
		case f.replacing != h:
			return
		case f.c.Now()-died > replaceIn:
			f.putBack()
			return
		case f.c.Now()-died < noticed || !f.spare(h, died):
			f.c.Clock.AfterFunc(replaceLook, look)
			return
		}
		f.newDisk(h)
		f.mend = nil
		f.putBack()
	}
	look()
}

// newDisk replaces the disk of a node that is down by an empty one.
func (f *faults) newDisk(h *Host) {
	f.c.Count["disk wiped"]++
	f.c.Tracef("the disk of %s is replaced", h.Name)
	for _, m := range f.c.operator.voters {
		if m.node == h.Node {
			f.c.operator.gone = append(f.c.operator.gone, m.directory)
			f.c.Count["disk of a voter wiped"]++
		}
	}
	h.Disk = env.NewDisk(h.Rand.Uint64())
	h.Disk.SetClock(h.Clock)
	h.flipped, h.wiped = false, true
}

// putBack ends a replacement; the node starts with the disk that it has now.
func (f *faults) putBack() {
	h := f.replacing
	if h == nil {
		return
	}
	f.notReplaced()
	f.c.Clock.AfterFunc(h.restartAfter(), h.startIfDown)
}

// notReplaced ends it at once.
func (f *faults) notReplaced() {
	if f.mend != nil {
		f.mend()
	}
	f.replacing.out, f.replacing, f.mend = false, nil, nil
}

// spare tells whether the cluster can do without the disk of a node that has been down
// since.
func (f *faults) spare(h *Host, since time.Duration) bool {
	if !f.spareVote(h, since) {
		return false
	}
	if b := f.c.inv.newest.Broker(h.Node); f.c.Settings.serves(int(h.Node)) && (b == nil || !b.Fenced) {
		return false
	}
	return f.spareReplicas(h)
}

// spareVote tells whether the metadata quorum can do without the disk of a node.
func (f *faults) spareVote(h *Host, since time.Duration) bool {
	o := f.c.operator
	if o.busy || !o.whole(since+noticed/2) {
		return false
	}
	votes := slices.ContainsFunc(o.voters, func(m quorumMember) bool { return m.node == h.Node })
	return !votes || len(o.voters) >= 3
}

// spareReplicas tells whether others have all that a broker has, and nobody counts on it.
func (f *faults) spareReplicas(h *Host) bool {
	for t := range f.c.inv.newest.Topics() {
		for _, p := range t.Partitions {
			if !slices.Contains(p.Replicas, h.Node) {
				continue
			}
			good := slices.ContainsFunc(p.ISR, func(id int32) bool { return !f.c.Nodes[id-1].flipped })
			if p.Counts(h.Node) || p.Recovering() || !good {
				return false
			}
		}
	}
	return true
}
