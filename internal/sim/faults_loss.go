package sim

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/replica"
)

// lossy is the only host of a run whose disk loses what it had: what is lost on all is lost.
func (f *faults) lossy() *Host { return f.c.brokers()[int(f.c.Seed)%f.c.Settings.Nodes] }

// lostLogs is the fault of a machine that comes back without some of its partitions,
// while another replica of theirs is out of sync, so that it is missed: in sync with too
// few, or eligible.
func (f *faults) lostLogs() fault {
	return fault{"lost logs", 2, 0, func(*Host) func() {
		h := f.lossy()
		if f.c.Settings.OffsetsRF < 3 || !f.c.Settings.PowerCuts || !h.Serving {
			return nil
		}
		third := f.c.brokers()[f.rng.IntN(f.c.Settings.Nodes)]
		if third == h || !third.Up() {
			return nil
		}
		f.down(third, 2*time.Second+time.Duration(f.rng.Int64N(int64(4*time.Second))))
		f.c.Clock.AfterFunc(500*time.Millisecond+time.Duration(f.rng.Int64N(int64(2*time.Second))), func() {
			if f.ended || !h.Serving {
				return
			}
			gone := f.spared(h)
			h.Crash()
			for _, id := range gone {
				if f.rng.IntN(2) > 0 {
					continue
				}
				dir := "/data/" + id.String()
				if err := h.Disk.RemoveAll(dir); err != nil {
					f.c.Failf("removing %s at %s: %w", dir, h.Name, err)
				}
				f.c.Count["log lost"]++
				f.c.inv.vanishes(h.Node, id)
				f.c.Tracef("%s is gone at %s", dir, h.Name)
			}
			if err := h.Disk.SyncDir("/data"); err != nil {
				f.c.Failf("syncing names at %s: %w", h.Name, err)
			}
			f.c.Clock.AfterFunc(time.Duration(f.rng.Int64N(int64(300*time.Millisecond)))+1, h.startIfDown)
		})
		return nil
	}}
}

// spared are the partitions of a host that are whole elsewhere: another replica is in
// sync or eligible, and stays so whatever else happens, since two have to be in sync for
// anything to be acknowledged.
func (f *faults) spared(h *Host) (ids []log.LogID) {
	others := func(p *metadata.Partition) bool {
		counts := slices.Concat(p.ISR, p.ELR())
		return !p.Recovering() && slices.ContainsFunc(counts, func(id int32) bool { return id != h.Node && !f.departing(id) })
	}
	own := h.Process.(insides).Image()
	h.Process.(insides).Replicas().Each(func(r *replica.Partition) {
		id := r.ID()
		if r.Standing().MinISR < 2 || !r.Durable() || r.Log().RecordedPoint() <= 0 {
			return // the last: nothing on the disk says that it had records
		}
		for _, img := range []*metadata.Image{own, f.c.inv.newest} {
			t := img.TopicByID(id.TopicID)
			if t == nil || t.Partition(id.Partition) == nil || !others(t.Partition(id.Partition)) {
				return
			}
		}
		ids = append(ids, id)
	})
	return ids
}

// garbled is the fault of a node whose memory or network changes what it sends to those
// who follow it: some batches do not have their checksum.
func (f *faults) garbled() fault {
	return fault{"garbled batches", 2, 3 * time.Second, func(h *Host) func() {
		h.garbles = 0.3 * f.rng.Float64()
		return func() { h.garbles = 0 }
	}}
}

// garble changes, perhaps, one bit of what a batch's checksum covers in records that are
// sent to another node.
func (h *Host) garble(to *Host, records []byte) {
	const covered = 21 // from here on
	if h.garbles == 0 || to.Node < 0 || len(records) < 61 || h.w.network.Float64() >= h.garbles {
		return
	}
	size := min(len(records), int(binary.BigEndian.Uint32(records[8:]))+12)
	at := covered + h.w.network.IntN(size-covered)
	records[at] ^= 1 << h.w.network.IntN(8)
	h.w.Count["batch garbled"]++
}
