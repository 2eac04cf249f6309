package crashtest

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/record"
)

// eachRecord calls fn for the records of batches.
func eachRecord(list []batch, fn func(offset int64, kv keyValue)) error {
	for _, item := range list {
		b := record.Batch(item.bytes)
		if b.Count() == 0 {
			continue
		}
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				return err
			}
			fn(r.Offset, keyValue{string(r.Key), string(r.Value)})
		}
	}
	return nil
}

// addRecords notes records that may be found from now on, mustHave those that must.
func (p *partition) addRecords(list []batch) {
	if p.records == nil {
		return
	}
	if err := eachRecord(list, func(offset int64, kv keyValue) { p.records[offset] = kv }); err != nil {
		panic(err) // the test's own batches
	}
}

func (p *partition) mustHave(list []batch) {
	if p.records == nil {
		return
	}
	if err := eachRecord(list, func(offset int64, kv keyValue) { p.must[offset] = true }); err != nil {
		panic(err)
	}
}

// dropRecords forgets that records from an offset on must be found; gone: that they may.
func (p *partition) dropRecords(from int64, gone bool) {
	for offset := range p.records {
		if offset >= from {
			delete(p.must, offset)
			if gone {
				delete(p.records, offset)
			}
		}
	}
}

// matchesRecords is matches for a compacted partition.
func (p *partition) matchesRecords(got []batch, start, end int64) error {
	found := map[int64]bool{}
	var wrong error
	err := eachRecord(got, func(offset int64, kv keyValue) {
		found[offset] = true
		if want, ok := p.records[offset]; wrong == nil && (!ok || want != kv) {
			wrong = fmt.Errorf("%v: record %d was invented, or is another (known: %v)", p.id, offset, ok)
		}
	})
	if err != nil || wrong != nil {
		return errors.Join(err, wrong)
	}
	for offset := range p.must {
		if offset >= start && offset < max(end, p.acked) && !found[offset] {
			return fmt.Errorf("%v: record %d is lost: recovered %d to %d, acknowledged to %d", p.id, offset, start, end, p.acked)
		}
	}
	want := max(start, p.recordsEnd())
	if n := len(got); n > 0 {
		want = max(start, got[n-1].next)
	}
	if len(got) > 0 && (end < want || end > max(want, p.cut, p.cutting)) {
		return fmt.Errorf("%v: ends at %d, its batches at %d", p.id, end, want)
	}
	return nil
}

// compact lets the log's compaction run. Until it is done, of each key only the last
// record below the active segment is sure to be found.
func (w *world) compact(p *partition) error {
	if !p.cfg.Compact {
		return nil
	}
	p.log.SetHighWatermark(p.log.SyncedOffset())
	segments, err := p.log.Segments()
	if err != nil {
		return err
	}
	w.note("%v compact %d segments", p.id, len(segments))
	if len(segments) == 0 {
		return nil
	}
	p.firm = nil
	active := segments[len(segments)-1].Base
	last := map[string]int64{}
	for offset := range p.must {
		if offset < active && offset >= p.start {
			last[p.records[offset].key] = max(last[p.records[offset].key], offset)
		}
	}
	for offset := range p.must {
		if offset < active && last[p.records[offset].key] != offset {
			delete(p.must, offset)
		}
	}
	res, err := p.log.Compact(log.CompactOptions{Now: w.clock.Now(), BufferBytes: 1 << 16})
	if err != nil {
		return w.tolerate(err)
	}
	if res.Removed > 0 {
		w.seen.compacted++
	}
	got, err := readAll(p.log)
	if err != nil {
		return err
	}
	if err := p.matchesRecords(got, p.log.StartOffset(), p.log.EndOffset()); err != nil {
		return err
	}
	end := p.end()
	p.mustHave(got)
	p.batches = got
	if p.end() < end {
		p.cut = end
	}
	return w.agree(p)
}

// tolerate is nil for errors that a full disk explains.
func (w *world) tolerate(err error) error {
	if w.full && errors.Is(err, syscall.ENOSPC) && !w.disk.Crashed() {
		w.note("full: %v", err)
		w.seen.full++
		return nil
	}
	return err
}

// failedAppend takes in an append that was refused: nothing of it is in the log, but
// for the first parts of a replicated run.
func (w *world) failedAppend(p *partition, parts []batch, undo func(), err error) error {
	if !errors.Is(err, log.ErrStorage) {
		return err
	}
	end := p.log.EndOffset()
	n := 0
	for p.follower && n < len(parts) && parts[n].next <= end {
		n++
	}
	p.batches, p.maybe = append(p.batches, parts[:n]...), nil
	if n > 0 {
		p.cut = 0
	}
	p.mustHave(parts[:n])
	p.dropRecords(p.end(), true)
	if undo != nil {
		undo()
	}
	return w.agree(p)
}

// fillDisk lets the disk be full for a while: appends may be refused, nothing else
// happens, and all is well when there is space again.
func (w *world) fillDisk() error {
	free := w.rng.Int64N(2000)
	w.note("disk has %d bytes left", free)
	w.disk.SetFree(free)
	w.full = true
	var err error
	for n := w.rng.IntN(12); err == nil && n > 0; n-- {
		p := w.logs[w.rng.IntN(len(w.logs))]
		switch w.rng.IntN(6) {
		case 0:
			err = w.round()
		case 1:
			err = w.tolerate(w.dir.Checkpoint())
		case 2:
			err = w.tolerate(w.dir.Tick(w.clock.Now()))
		default:
			err = w.append(p)
		}
	}
	w.full = false
	w.disk.SetFree(-1)
	w.note("disk has space again")
	if err != nil {
		return err
	}
	if err := w.dir.Failed(); err != nil {
		return fmt.Errorf("a full disk put the directory offline: %w", err)
	}
	if err := w.round(); err != nil {
		return err
	}
	for _, p := range w.logs {
		if err := w.append(p); err != nil {
			return err
		}
	}
	return nil
}

// failSyncs ends a life with a disk that fails its syncs: nothing is acknowledged any
// more, appends are refused, and what was acknowledged can be read.
func (w *world) failSyncs() error {
	w.note("syncs fail")
	w.disk.FailSyncs(syscall.EIO)
	w.seen.failed++
	p := w.logs[w.rng.IntN(len(w.logs))]
	if err := w.append(p); err != nil && !errors.Is(err, syscall.EIO) {
		return err
	}
	if _, err := w.dir.SyncRound(); err == nil {
		return nil // nothing was dirty
	}
	w.disk.FailSyncs(nil)
	if w.disk.Crashed() {
		return nil
	}
	if w.dir.Failed() == nil {
		return errors.New("a failed sync left the directory online")
	}
	if _, err := w.dir.SyncRound(); err == nil {
		return errors.New("a sync round after a failed one succeeded")
	}
	for _, p := range w.logs {
		if err := w.append(p); err == nil || !errors.Is(err, log.ErrStorage) {
			return fmt.Errorf("append to a directory that is offline: %v", err)
		}
		p.maybe = nil
		if _, err := readAll(p.log); err != nil {
			return err
		}
	}
	return nil
}
