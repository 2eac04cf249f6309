package log

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/leat-stream/leat/internal/record"
)

// startProducers builds the producer state as it is where the scan begins.
func (r *recovery) startProducers(b begin) error {
	if r.saved != nil && r.saved.noProducers && b.offset == r.saved.point {
		r.prod.reset(b.offset)
		return nil
	}
	if len(r.segs) == 0 { // it was about to begin where the snapshot is, or behind that
		return r.producersAt(r.end)
	}
	return r.producersAt(b.offset)
}

// rebuildProducers is the producer state of a loaded log at offset end; w is held. A log
// that knows no producer had none there that it would still know. It has no snapshots
// either: it would be read from its last segment's start.
func rebuildProducers(l *Log, segs []*segment, end int64) (producers, error) {
	r := &recovery{l: l, dir: *l.path.Load(), segs: segs, snapshots: l.snapshots}
	r.prod.max = l.cfg.Load().MaxProducers
	l.mu.Lock()
	none := len(l.producers.m) == 0 && len(l.producers.done) == 0
	l.mu.Unlock()
	if none || len(segs) == 0 {
		return producers{end: end, max: r.prod.max}, nil
	}
	err := r.producersAt(end)
	l.snapshots = r.snapshots
	r.prod.end = end
	hw := l.hw.Load()
	r.prod.passed(hw)
	if hw < 0 {
		r.prod.done = nil
	}
	return r.prod, err
}

// producersAt builds the producer state at offset until: from the latest good snapshot
// at or below it and the batches between.
func (r *recovery) producersAt(until int64) error {
	first := until
	if len(r.segs) > 0 {
		first = r.segs[0].base
	}
	r.prod.reset(first)
	for i, n := range slices.Backward(r.snapshots) {
		if n > until {
			continue
		}
		name := segmentName(n, snapshotSuffix)
		p, err := readSmall(r.l.d.fs, r.dir+"/"+name, maxSnapshotBytes)
		var s producers
		if err == nil {
			s, err = decodeSnapshot(p, n)
		}
		if err == nil {
			s.max = r.prod.max
			r.prod, r.loaded = s, n
			break
		}
		if errors.Is(err, ErrCorrupt) {
			if i == 0 && first > 0 { // what is built again lacks what was before the first batch
				r.l.d.event(ProducersForgotten{Log: r.l.ID(), Below: first, File: name, Err: err})
			} else {
				r.l.d.event(IndexRebuilt{Log: r.l.ID(), File: name, Err: err})
			}
			err = removeIfThere(r.l.d.fs, r.dir+"/"+name)
		} else if errors.Is(err, fs.ErrNotExist) {
			err = nil // it went with its segment
		}
		if err != nil {
			return err
		}
		r.snapshots = slices.Delete(r.snapshots, i, i+1)
		r.changed = true
	}
	return r.eachHeader(func(_ *segment, h header, b record.Batch) {
		r.replayed += h.size
		if h.base >= r.prod.end {
			r.prod.apply(b, true)
		}
	}, r.prod.end, until)
}
