package sim

import (
	"errors"
	"io"
	"math"
	"os"
	"path"
	"strings"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
	"github.com/leat-stream/leat/internal/replica"
)

// flip changes bits in what a disk keeps of a partition, below the high watermark. Only one
// host of a run has such a disk: what is damaged on all is lost, and what is not committed
// yet may become so with this host alone in sync. Where one replica in sync is enough, that
// may be this one before anybody has noticed, and the others lack what is damaged for good:
// no bit flips there.
func (f *faults) flip() {
	h := f.lossy()
	if f.c.Settings.OffsetsRF < 3 || !h.Serving {
		return
	}
	var all []*replica.Partition
	h.Process.(insides).Replicas().Each(func(r *replica.Partition) {
		if r.Standing().MinISR >= 2 && r.Durable() && r.Log().SyncedOffset() > 0 {
			all = append(all, r)
		}
	})
	if len(all) == 0 {
		return
	}
	r := all[f.rng.IntN(len(all))]
	id := r.ID()
	if p := f.c.inv.newest.Partition(id.Topic, id.Partition); p == nil || len(without(p.ISR, []int32{h.Node})) == 0 {
		return // nobody else is sure to have all of it
	}
	name := sealedIn(h.Disk, "/data/"+id.String(), f.rng.IntN(2) == 0)
	size := int64(0)
	if st, err := h.Disk.Stat(name); err == nil {
		size = st.Size()
	}
	if size == 0 {
		return
	}
	at := f.rng.Int64N(size)
	end := r.HighWatermark()
	if f.c.Settings.PowerCuts {
		// After a power cut nobody can tell damage above the recorded synced end from a write
		// that was never finished (decision D6).
		end = min(end, r.Log().RecordedPoint())
	}
	if nextOffset(h.Disk, name, at) > end {
		return
	}
	if err := h.Disk.FlipBit(name, at); err == nil {
		h.flipped = true
		f.c.Count["bit flipped"]++
		f.c.Tracef("a bit of %s flips at %s", name, h.Name)
	}
}

// nextOffset is the offset behind the batch that has a byte of a segment file; the highest
// there is when that cannot be told.
func nextOffset(d *env.Disk, name string, at int64) int64 {
	f, err := d.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return math.MaxInt64
	}
	defer f.Close()
	all := make([]byte, at+1<<20)
	n, err := f.ReadAt(all, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return math.MaxInt64
	}
	pos := int64(0)
	for b, err := range record.Split(all[:n]) {
		if pos += int64(len(b)); err == nil && pos > at {
			return b.NextOffset()
		}
	}
	return math.MaxInt64
}

// sealedIn is a segment file of a partition: the first, or the last.
func sealedIn(d *env.Disk, dir string, first bool) (name string) {
	list, err := d.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".log") && (name == "" || !first) {
			name = path.Join(dir, e.Name())
		}
	}
	return name
}

// handOverFor is how long a controlled shutdown is waited for.
const handOverFor = 20 * time.Second

// handOver restarts a node as a rolling restart does: after others have taken over, and the
// process has stayed on for a while.
func (f *faults) handOver(h *Host, stays time.Duration) {
	p, ok := h.Process.(interface{ HandOver(done func()) })
	if !ok || !h.Serving {
		return
	}
	life, over := h.life, false
	end := func(how string) {
		if h.life != life || over { // also when all is healed: who has left does not come back by itself
			return
		}
		over = true
		f.c.Count["restart "+how]++
		h.Exec.Go("end", func() {
			h.Kill()
			f.c.Clock.AfterFunc(h.restartAfter(), h.startIfDown)
		})
	}
	h.Exec.Go("hand over", func() { p.HandOver(func() { f.c.Clock.AfterFunc(stays, func() { end("after handing over") }) }) })
	f.c.Clock.AfterFunc(handOverFor, func() { end("in the middle of handing over") })
}
