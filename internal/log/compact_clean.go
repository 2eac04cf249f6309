package log

import (
	"errors"
	"os"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

// cleanedSegment is the segment that takes the place of a group, while it is written.
type cleanedSegment struct {
	c         *compaction
	seg       *segment // base, indexes in memory, largest timestamp
	f         env.File
	size      int64
	buf       []byte
	aborted   []AbortedTxn
	scratch   []byte
	hasTxns   bool // there is a transaction index, if only to replace an old one
	committed bool // to be the new segment, whatever happens
}

// cleanBuffer is how much of the new segment is written at a time.
const cleanBuffer = 1 << 20

// clean writes what remains of a group of segments into ".cleaned" files, durably.
func (c *compaction) clean(group []*segment) (*cleanedSegment, error) {
	out := &cleanedSegment{c: c, seg: newSegment(c.l, group[0].base)}
	f, err := c.l.d.fs.OpenFile(out.path(logSuffix, cleanedSuffix), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	out.f = f
	for _, s := range group {
		if err = c.eachBatch(s, func(h header, b record.Batch) (bool, error) { return true, out.filter(b) }); err != nil {
			break
		}
		if err = out.keepTxns(s); err != nil {
			break
		}
	}
	if err == nil {
		err = out.finish()
	}
	return out, errors.Join(err, f.Close())
}

// keepTxns takes over the aborted transactions that ended where the map did not reach:
// their batches stay as they are.
func (o *cleanedSegment) keepTxns(s *segment) error {
	list, err := s.aborted()
	if err != nil {
		return err
	}
	for _, t := range list {
		if t.LastOffset >= o.c.keys.end {
			o.aborted = append(o.aborted, t)
		}
	}
	// Even an empty index must replace that of the first segment, whose name it takes: a
	// swap that is repeated could not tell an old index from the new one.
	o.hasTxns = o.hasTxns || len(list) > 0 || len(o.aborted) > 0
	return nil
}

func (o *cleanedSegment) path(suffix, state string) string { return o.seg.path(suffix) + state }

// filter takes over from a batch what remains of it:
//   - of a key's records the latest, wherever the map knows one; a tombstone until its
//     batch's delete horizon, which is set when the first compaction meets it (KIP-534);
//   - nothing of aborted transactions;
//   - markers, until nothing is left of their transaction and a horizon has passed;
//   - an empty batch where a remembered producer would lose its last sequence.
func (o *cleanedSegment) filter(b record.Batch) error {
	c := o.c
	now := c.o.Now.UnixMilli()
	horizon, hasHorizon := b.DeleteHorizon()
	var drop, marksNothing bool
	switch {
	case b.LastOffset() >= c.keys.end: // not in the map
	case b.IsControl():
		marksNothing = c.txns.marker(b, func(t AbortedTxn) { o.aborted = append(o.aborted, t) })
		drop = marksNothing && hasHorizon && horizon <= now
	default:
		drop = c.txns.aborted(b)
	}
	keepEmpty := o.lastOfProducer(b)
	kept, tombstones := 0, false
	if !drop {
		for r, err := range b.Records(maxLookup) {
			if err != nil {
				return err
			}
			if b.IsControl() || o.keeps(&r, hasHorizon, horizon, now) {
				kept++
				tombstones = tombstones || (r.Value == nil && !b.IsControl())
			}
		}
	}
	c.res.Removed += int64(b.Count()) - int64(kept)
	needsHorizon := kept > 0 && (tombstones || marksNothing) && !hasHorizon && b.LastOffset() < c.keys.end
	switch {
	case kept == int(b.Count()) && kept > 0 && !needsHorizon:
		return o.write(b)
	case kept == 0 && !keepEmpty:
		return nil
	}
	return o.rebuild(b, drop, needsHorizon, now)
}

// keeps tells whether a record remains.
func (o *cleanedSegment) keeps(r *record.Record, hasHorizon bool, horizon, now int64) bool {
	keys := o.c.keys
	if r.Offset >= keys.end {
		return true
	}
	if r.Key == nil || r.Offset < keys.get(r.Key) {
		return false
	}
	return r.Value != nil || !hasHorizon || now < horizon
}

func (o *cleanedSegment) lastOfProducer(b record.Batch) bool {
	if !b.HasProducerID() {
		return false
	}
	c := o.c
	last, ok := c.last[b.ProducerID()]
	if !ok {
		return false
	}
	if last.offset >= c.point { // a power cut may take it: the one before stays, too
		if b.IsControl() {
			return false
		}
		before, ok := c.dirty[b.ProducerID()]
		return !ok || b.LastOffset() == before
	}
	if last.offset >= 0 {
		return b.LastOffset() == last.offset
	}
	return b.IsControl() && b.ProducerEpoch() == last.epoch
}

// rebuild writes a batch with the records that remain, in the same offsets.
func (o *cleanedSegment) rebuild(b record.Batch, drop, setHorizon bool, now int64) error {
	c := o.c
	h := b.Header()
	if setHorizon {
		h.HasDeleteHorizon, h.DeleteHorizon = true, now+c.cfg.DeleteRetention
	}
	horizon, hasHorizon := b.DeleteHorizon()
	c.build.Reset(h, record.Compression{Codec: b.Codec()})
	if !drop {
		for r, err := range b.Records(maxLookup) {
			if err != nil {
				return err
			}
			if b.IsControl() || o.keeps(&r, hasHorizon, horizon, now) {
				if err := c.build.Add(&r); err != nil {
					return err
				}
			}
		}
	}
	if err := c.build.SetLastOffset(b.LastOffset()); err != nil {
		return err
	}
	p, err := c.build.Build(o.scratch[:0])
	if err != nil {
		return err
	}
	o.scratch = p
	return o.write(p)
}

func (o *cleanedSegment) write(b record.Batch) error {
	h := headerOf(b, o.size)
	o.seg.appended(h, o.c.cfg.IndexIntervalBytes)
	o.buf = append(o.buf, b...)
	o.size += int64(len(b))
	if len(o.buf) >= cleanBuffer {
		return o.flush()
	}
	return nil
}

func (o *cleanedSegment) flush() error {
	n := len(o.buf)
	if n == 0 {
		return nil
	}
	if _, err := o.f.WriteAt(o.buf, o.size-int64(n)); err != nil {
		return err
	}
	o.buf = o.buf[:0]
	o.c.res.WrittenBytes += int64(n)
	o.c.o.Throttle(n)
	return nil
}

// finish completes the files and makes them durable.
func (o *cleanedSegment) finish() error {
	if err := o.flush(); err != nil {
		return err
	}
	if err := o.f.Sync(); err != nil {
		return syncError{err}
	}
	o.seg.addTime()
	var txns []byte
	for _, t := range o.aborted {
		txns = appendTxnEntry(txns, t)
	}
	for _, part := range o.parts() {
		content := map[string][]byte{indexSuffix: o.seg.offsets.tail, timeIndexSuffix: o.seg.times.tail, txnIndexSuffix: txns}[part]
		if err := createSmall(o.c.l.d.fs, o.path(part, cleanedSuffix), content); err != nil {
			return err
		}
		if err := syncFile(o.c.l.d.fs, o.path(part, cleanedSuffix)); err != nil {
			return err
		}
	}
	s := o.seg
	s.size.Store(o.size)
	s.offsets.inFile, s.offsets.tail = len(s.offsets.tail)/offsetEntrySize, nil
	s.times.inFile, s.times.tail = len(s.times.tail)/timeEntrySize, nil
	s.txns.inFile = len(o.aborted)
	s.looked = true
	return nil
}

// parts are the suffixes of the files beside the log file.
func (o *cleanedSegment) parts() []string {
	if !o.hasTxns {
		return []string{indexSuffix, timeIndexSuffix}
	}
	return []string{indexSuffix, timeIndexSuffix, txnIndexSuffix}
}
