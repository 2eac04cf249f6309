package sim

import (
	"bytes"
	"errors"
	"io"

	"github.com/leat-stream/leat/internal/record"
	"github.com/leat-stream/leat/internal/replica"
)

// contents are the bytes of a replica between two offsets, in whole batches.
func contents(r *replica.Partition, from, to int64) ([]byte, error) {
	var all []byte
	for at := from; at < to; {
		run, err := r.Log().Read(at, 1<<20, to, true)
		if err != nil {
			return nil, err
		}
		buf := make([]byte, run.Len())
		_, err = run.ReadAt(buf, 0)
		at = max(run.NextOffset(), at+1)
		run.Release()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		all = append(all, buf...)
	}
	return all, nil
}

// replicasAgree: when all is healed the replicas of a partition hold the same bytes up to
// where all of them know that it is committed, and each batch has its checksum; but for
// those whose disk was damaged.
func (c *Cluster) replicasAgree(t tp) {
	var all []*replica.Partition
	from, to := int64(0), int64(-1)
	p := c.inv.newest.Partition(t.topic, t.part)
	if p == nil {
		return
	}
	for _, id := range p.ISR {
		h := c.Nodes[id-1]
		if !h.Serving {
			continue
		}
		r, err := h.Process.(insides).Replicas().Find(replica.Ref{Topic: t.topic, Index: t.part})
		if err != nil || h.flipped { // it may not have been looked through since
			continue
		}
		all = append(all, r)
		if from = max(from, r.Log().StartOffset()); to < 0 || r.HighWatermark() < to {
			to = r.HighWatermark()
		}
	}
	var first []byte
	for i, r := range all {
		got, err := contents(r, from, to)
		if err != nil {
			c.Failf("replica %d of %v cannot be read: %w", p.ISR[i], t, err)
			return
		}
		if i == 0 {
			first = got
		}
		if !bytes.Equal(got, first) {
			c.Failf("replicas of %v hold other bytes between %d and %d: %d of them, and %d", t, from, to, len(first), len(got))
			return
		}
	}
	for b, err := range record.Split(first) {
		if err != nil || !b.CheckCRC() {
			c.Failf("all replicas of %v hold a damaged batch", t)
			return
		}
	}
}
