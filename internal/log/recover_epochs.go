package log

import (
	"errors"
	"io/fs"
	"math"
	"slices"

	"github.com/leat-stream/leat/internal/record"
)

// readEpochs reads the leader epochs. A file that is damaged, or missing though it was
// synced, is built again from the headers of all batches.
func (r *recovery) readEpochs() error {
	p, err := readSmall(r.l.d.fs, r.dir+"/"+epochFile, maxCheckpointBytes)
	if err == nil {
		r.epochs.list, err = parseEpochs(p)
	}
	if errors.Is(err, fs.ErrNotExist) && len(r.segs) > 0 && r.point > r.segs[0].base {
		err = damagedFile("it is missing")
	}
	switch {
	case errors.Is(err, ErrCorrupt):
		r.l.d.event(IndexRebuilt{Log: r.l.ID(), File: epochFile, Err: err})
		return r.rebuildEpochs(math.MaxInt64)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

// rebuildEpochs takes the epochs from the headers of all batches below to that are not
// refused. They are under no checksum: one above those of the two batches behind is wrong.
func (r *recovery) rebuildEpochs(to int64) error {
	r.epochs = epochs{dirty: true}
	var last []epochEntry // of the batches before, two at most
	take := func() {
		e := last[0]
		last = last[1:]
		holds := len(last) == 0 || slices.ContainsFunc(last, func(o epochEntry) bool { return o.epoch >= e.epoch })
		if holds && e.epoch > r.epochs.latest() {
			r.epochs.assign(e.epoch, e.start)
		}
	}
	err := r.eachHeader(func(_ *segment, h header, b record.Batch) {
		if r.refused(h.base) {
			return
		}
		if last = append(last, epochEntry{b.LeaderEpoch(), h.base}); len(last) > 2 {
			take()
		}
	}, 0, to)
	for len(last) > 0 {
		take()
	}
	return err
}

// refused tells whether an offset is refused for damage.
func (r *recovery) refused(offset int64) bool {
	return slices.ContainsFunc(r.damage, func(d damagedRange) bool { return offset >= d.from && offset < d.to })
}

// checkedEpochs is how many of the last epochs are held against the batches.
const checkedEpochs = 16

// checkEpochs holds the last epochs of the file, which has no checksum, against the
// batches, and builds the list again if they contradict. An epoch that begins at the
// end or later has no batch to tell, and is not needed: the next leader's is larger.
func (r *recovery) checkEpochs() error {
	list := r.epochs.list
	for n := len(list); n > 0 && list[n-1].start >= r.end; n-- {
		list = list[:n-1]
	}
	r.epochs.list = list
	for _, e := range list[max(len(list)-checkedEpochs, 0):] {
		ok, err := r.epochHolds(e)
		if err != nil {
			return err
		}
		if !ok {
			r.l.d.event(IndexRebuilt{Log: r.l.ID(), File: epochFile, Err: damagedFile("epoch %d from offset %d on", e.epoch, e.start)})
			return r.rebuildEpochs(r.end)
		}
	}
	return nil
}

// epochHolds tells whether the first batch at or behind an epoch's start can be of it. Where
// the header of that batch cannot be believed, it tells nothing: those who read there meet the
// damage. So it is if its epoch is above that of the batch behind, or if the epoch begins at this
// very batch, as the one behind says too: then the batch is what is wrong, and is refused.
func (r *recovery) epochHolds(e epochEntry) (ok bool, err error) {
	if len(r.segs) == 0 {
		return true, nil
	}
	i := max(find(r.segs, e.start), 0)
	s, end := r.segs[i], r.end
	if i+1 < len(r.segs) {
		end = r.segs[i+1].base
	}
	ok = true
	_, err = r.withFile(s, func(sc *scanner) error {
		pos, err := s.position(sc.f, e.start, sc.limit)
		if err != nil || sc.limit-pos < headerRead {
			return err
		}
		h, _, err := sc.batch(pos, s.base)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
		w := walk{sc: sc, over: s.passed(), pos: pos, least: s.base, end: end}
		if !w.fits(h, err == nil) {
			return nil
		}
		if ok = h.epoch >= e.epoch && (h.base != e.start || h.epoch == e.epoch) || r.refused(h.base); ok || pos+h.size >= sc.limit {
			return nil
		}
		n, err := sc.header(pos + h.size)
		if ok = err == nil && (n.epoch < h.epoch || h.epoch < e.epoch && h.base == e.start && n.epoch >= e.epoch); errors.Is(err, ErrCorrupt) {
			err = nil
		}
		return err
	})
	if errors.Is(err, ErrCorrupt) {
		return true, nil
	}
	return ok, err
}
