package crashtest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/record"
)

// verify compares what was recovered with the model, log by log, and makes the model
// go on from there.
func (w *world) verify() error {
	found := w.dir.Logs()
	for _, p := range slices.Clone(w.logs) {
		i := slices.IndexFunc(found, func(id log.LogID) bool { return id.String() == p.id.String() })
		if i < 0 {
			if p.durable && !p.doomed {
				return fmt.Errorf("%v is gone", p.id)
			}
			w.logs = slices.DeleteFunc(w.logs, func(q *partition) bool { return q == p })
			continue
		}
		found = slices.Delete(found, i, i+1)
		if err := w.attach(p); err != nil {
			return err
		}
		if err := w.verifyLog(p); err != nil {
			return err
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("logs that were deleted or never created: %v", found)
	}
	return w.alarm
}

func (w *world) verifyLog(p *partition) error {
	l := p.log
	got, err := readAll(l)
	if err != nil {
		return fmt.Errorf("%v: %w", p.id, err)
	}
	start, end, synced := l.StartOffset(), l.EndOffset(), l.SyncedOffset()
	w.note("%v recovered: %d to %d, synced %d; model %d to %d, acknowledged %d", p.id, start, end, synced, p.start, p.end(), p.acked)
	if synced > end {
		return fmt.Errorf("%v: synced to %d, ends at %d", p.id, synced, end)
	}
	if r := l.Recovered(); !r.Kept {
		return fmt.Errorf("%v: says that it lost synced data: %+v", p.id, r)
	}
	if err := errors.Join(w.verifyKept(p), p.findSegments()); err != nil {
		return err
	}
	if p.emptied >= 0 && start == p.emptied && end == start {
		p.batches, p.maybe, p.startLow, p.acked = nil, nil, start, start
		p.dropRecords(0, true)
	} else if err := p.matches(got, start, end); err != nil {
		return err
	}
	p.dropRecords(end, true)
	p.mustHave(got)
	p.batches = got
	p.start, p.maybe, p.emptied, p.doomed, p.cut, p.cutting = start, nil, -1, false, end, -1
	p.acked = max(min(p.acked, end), synced)
	if err := p.verifyDerived(got); err != nil {
		return err
	}
	if err := w.verifyLookups(p, got); err != nil {
		return err
	}
	return w.verifyDuplicates(p, got)
}

// matches tells whether the recovered batches are a state that the model allows: in
// order, byte for byte, none invented, all acknowledged ones there.
func (p *partition) matches(got []batch, start, end int64) error {
	if start < p.startLow || start > max(p.start, p.startLow) && !(p.emptied >= 0 && start == p.emptied) {
		return fmt.Errorf("%v: starts at %d, allowed is %d to %d", p.id, start, p.startLow, p.start)
	}
	if p.cfg.Compact {
		return p.matchesRecords(got, start, end)
	}
	all := slices.Concat(p.batches, p.maybe)
	for len(all) > 0 && all[0].next <= start {
		all = all[1:]
	}
	for i, b := range got {
		if i < len(all) && all[i].base == b.base && bytes.Equal(all[i].bytes, b.bytes) {
			continue
		}
		if i >= len(all) {
			return fmt.Errorf("%v: batch %d to %d was invented", p.id, b.base, b.next-1)
		}
		return fmt.Errorf("%v: batch %d to %d is there instead of %d to %d (equal bytes: %v)",
			p.id, b.base, b.next-1, all[i].base, all[i].next-1, bytes.Equal(all[i].bytes, b.bytes))
	}
	want := start
	if n := len(got); n > 0 {
		want = max(want, got[n-1].next)
	}
	if end < want || end > max(want, p.cut, p.cutting) {
		return fmt.Errorf("%v: ends at %d, its batches at %d", p.id, end, want)
	}
	if len(got) < len(all) && all[len(got)].base < p.acked {
		return fmt.Errorf("%v: acknowledged records are lost: acknowledged to %d, recovered to %d", p.id, p.acked, end)
	}
	return nil
}

// readAll reads all batches from the start on.
func readAll(l *log.Log) ([]batch, error) {
	var list []batch
	for at := l.StartOffset(); at < l.EndOffset(); {
		run, err := l.Read(at, 500, math.MaxInt64, true)
		if err != nil {
			return nil, fmt.Errorf("read at %d: %w", at, err)
		}
		p := make([]byte, run.Len())
		_, err = run.ReadAt(p, 0)
		next := run.NextOffset()
		run.Release()
		if len(p) == 0 { // compaction removed what was between the last batch and the end
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read at %d: %w", at, err)
		}
		if next <= at {
			return nil, fmt.Errorf("read at %d of %d to %d gives nothing", at, l.StartOffset(), l.EndOffset())
		}
		for b, err := range record.Split(p) {
			if err != nil {
				return nil, fmt.Errorf("read at %d: %w", at, err)
			}
			if !b.CheckCRC() {
				return nil, fmt.Errorf("batch %d: checksum", b.BaseOffset())
			}
			list = append(list, batch{b.BaseOffset(), b.NextOffset(), bytes.Clone(b)})
		}
		at = next
	}
	for i := 1; i < len(list); i++ {
		if list[i].base < list[i-1].next {
			return nil, fmt.Errorf("batch %d follows one that ends at %d", list[i].base, list[i-1].next)
		}
	}
	return list, nil
}

// verifyKept looks for the files that recovery said it had put aside.
func (w *world) verifyKept(p *partition) error {
	dir := dataDir + "/" + p.id.String()
	entries, err := w.disk.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // nothing was ever written to it
		return err
	}
	now := map[string][]byte{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".corrupt") {
			continue
		}
		if now[e.Name()], err = w.content(dir + "/" + e.Name()); err != nil {
			return err
		}
	}
	for name, b := range p.kept {
		if !bytes.Equal(now[name], b) && !w.keptAgain(name) {
			return fmt.Errorf("%v: %s was put aside and is gone", p.id, name)
		}
	}
	p.kept = now
	return nil
}

func (w *world) content(name string) ([]byte, error) {
	f, err := w.disk.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	b := make([]byte, size)
	if err == nil && size > 0 {
		_, err = f.ReadAt(b, 0)
	}
	return b, errors.Join(err, f.Close())
}

// keptAgain tells whether the latest start put bytes aside under that name.
func (w *world) keptAgain(name string) bool {
	for _, line := range slices.Backward(w.trace) {
		if line == "open" {
			break
		}
		if strings.HasSuffix(line, "the bytes are in "+name) {
			return true
		}
	}
	return false
}

// verifyLookups reads from some offsets, and looks some times up, as the indexes lead.
func (w *world) verifyLookups(p *partition, got []batch) error {
	for range min(len(got), 10) {
		b := got[w.rng.IntN(len(got))]
		at := max(b.base+w.rng.Int64N(b.next-b.base), p.start)
		run, err := p.log.Read(at, 1, math.MaxInt64, true)
		if err != nil {
			return fmt.Errorf("%v: read at %d: %w", p.id, at, err)
		}
		first := make([]byte, run.Len())
		_, err = run.ReadAt(first, 0)
		run.Release()
		if err != nil {
			return fmt.Errorf("%v: read at %d: %w", p.id, at, err)
		}
		if !bytes.Equal(first, b.bytes) {
			return fmt.Errorf("%v: read at %d does not give the batch %d to %d", p.id, at, b.base, b.next-1)
		}
		if p.txns || p.cfg.Compact {
			continue
		}
		ts := record.Batch(b.bytes).MaxTimestamp() // all records of a batch have the same
		i := slices.IndexFunc(got, func(b batch) bool { return record.Batch(b.bytes).MaxTimestamp() >= ts })
		want := max(got[i].base, p.start)
		have, ok, err := p.log.OffsetForTime(ts, math.MaxInt64)
		if err != nil || !ok || have.Offset != want {
			return fmt.Errorf("%v: offset for time %d is %+v, %v, %v; want %d", p.id, ts, have, ok, err, want)
		}
	}
	return nil
}

// implied is the producer state that the batches alone imply.
func implied(list []batch) map[int64]log.ProducerInfo {
	m := map[int64]log.ProducerInfo{}
	for _, item := range list {
		b := record.Batch(item.bytes)
		if b.ProducerID() < 0 {
			continue
		}
		p, ok := m[b.ProducerID()]
		if !ok {
			p = log.ProducerInfo{ProducerID: b.ProducerID(), ProducerEpoch: -1, LastSequence: -1, CoordinatorEpoch: -1, TxnStartOffset: -1}
		}
		if p.ProducerEpoch != b.ProducerEpoch() {
			p.ProducerEpoch, p.LastSequence = b.ProducerEpoch(), -1
		}
		p.LastTimestamp = b.MaxTimestamp()
		if b.IsControl() {
			p.CoordinatorEpoch, p.TxnStartOffset = 1, -1
		} else {
			p.LastSequence = b.LastSequence()
			if b.IsTransactional() && p.TxnStartOffset < 0 {
				p.TxnStartOffset = b.BaseOffset()
			}
		}
		m[p.ProducerID] = p
	}
	return m
}

// verifyDerived checks producers, transactions and epochs against the batches.
func (p *partition) verifyDerived(got []batch) error {
	l := p.log
	whole := len(got) == 0 || got[0].base >= p.start
	want := implied(got)
	unstable := int64(math.MaxInt64)
	for _, have := range l.Producers() {
		if have.TxnStartOffset >= 0 {
			unstable = min(unstable, have.TxnStartOffset)
		}
		w, ok := want[have.ProducerID]
		if !ok && !p.wrote[have.ProducerID] {
			return fmt.Errorf("%v: producer state has %+v, who never wrote", p.id, have)
		}
		if !ok {
			continue // its batches are below the start
		}
		delete(want, have.ProducerID)
		if !whole || have.TxnStartOffset >= 0 && have.TxnStartOffset < p.start {
			have.TxnStartOffset, w.TxnStartOffset = 0, 0
		}
		if p.cfg.Compact {
			have.LastTimestamp = w.LastTimestamp // an empty batch has none
		}
		if w.LastSequence < 0 {
			have.LastSequence = -1 // the batch may be below the start
		}
		if w.CoordinatorEpoch < 0 {
			have.CoordinatorEpoch = -1 // the marker may be below the start
		}
		if have != w {
			return fmt.Errorf("%v: producer state %+v, the log implies %+v", p.id, have, w)
		}
	}
	for _, w := range want {
		return fmt.Errorf("%v: producer state lacks %+v", p.id, w)
	}
	l.SetHighWatermark(l.EndOffset())
	first, ok := l.FirstUnstableOffset()
	if !ok {
		first = math.MaxInt64
	}
	if first != unstable {
		return fmt.Errorf("%v: first unstable offset %d, open transactions start at %d", p.id, first, unstable)
	}
	if err := p.verifyAborted(got); err != nil {
		return err
	}
	return p.verifyEpochs(got)
}

// verifyAborted compares the transaction index with the markers in the log.
func (p *partition) verifyAborted(got []batch) error {
	var want []log.AbortedTxn
	open := map[int64]int64{}
	for _, item := range got {
		b := record.Batch(item.bytes)
		switch {
		case b.IsControl():
			first, ok := open[b.ProducerID()]
			delete(open, b.ProducerID())
			var abort bool
			for r, err := range b.Records(1 << 10) {
				if err != nil {
					return err
				}
				kind, err := record.ControlKey(r.Key)
				if err != nil {
					return err
				}
				abort = kind == record.ControlAbort
			}
			if ok && abort {
				want = append(want, log.AbortedTxn{ProducerID: b.ProducerID(), FirstOffset: first, LastOffset: b.BaseOffset()})
			}
		case b.IsTransactional():
			if _, ok := open[b.ProducerID()]; !ok {
				open[b.ProducerID()] = b.BaseOffset()
			}
		}
	}
	have, err := p.log.AbortedTxns(p.start, p.log.EndOffset())
	if err != nil {
		return err
	}
	for _, w := range want {
		if w.FirstOffset < p.start {
			continue
		}
		ok := slices.ContainsFunc(have, func(h log.AbortedTxn) bool {
			// A transaction that began below the start may have an earlier first offset.
			return h.ProducerID == w.ProducerID && h.FirstOffset <= w.FirstOffset && h.LastOffset == w.LastOffset
		})
		if !ok {
			return fmt.Errorf("%v: aborted transaction %+v is not among %+v", p.id, w, have)
		}
	}
	for _, h := range have {
		if h.LastOffset >= p.start && !slices.ContainsFunc(want, func(w log.AbortedTxn) bool { return w.LastOffset == h.LastOffset }) &&
			len(got) > 0 && h.FirstOffset >= got[0].base {
			return fmt.Errorf("%v: aborted transaction %+v was invented, the log has %+v", p.id, h, want)
		}
	}
	return nil
}

func (p *partition) verifyEpochs(got []batch) error {
	l := p.log
	for i, item := range got {
		if item.base < p.start {
			continue
		}
		b := record.Batch(item.bytes)
		if e := l.EpochForOffset(item.base); e != b.LeaderEpoch() {
			return fmt.Errorf("%v: epoch of offset %d is %d, the batch says %d", p.id, item.base, e, b.LeaderEpoch())
		}
		// The epoch ends where the next batch of a larger one begins.
		end := l.EndOffset()
		later := false
		for _, n := range got[i+1:] {
			if record.Batch(n.bytes).LeaderEpoch() > b.LeaderEpoch() {
				end, later = n.base, true
				break
			}
		}
		e, at := l.EndOffsetForEpoch(b.LeaderEpoch())
		if e != b.LeaderEpoch() || at > end || !later && at != end {
			return fmt.Errorf("%v: epoch %d ends at %d of epoch %d, should at %d", p.id, b.LeaderEpoch(), at, e, end)
		}
		p.epoch = max(p.epoch, b.LeaderEpoch())
	}
	p.epoch = max(p.epoch, l.LatestEpoch())
	return nil
}

// verifyDuplicates sends the last batches of each producer again: each must be
// answered with its own offset, and none appended.
func (w *world) verifyDuplicates(p *partition, got []batch) error {
	p.forgetClients()
	if p.follower || p.cfg.Compact {
		return nil
	}
	last := map[int64][]batch{}
	for _, item := range got {
		b := record.Batch(item.bytes)
		id := b.ProducerID()
		if id < 0 {
			continue
		}
		if list := last[id]; len(list) > 0 && record.Batch(list[0].bytes).ProducerEpoch() != b.ProducerEpoch() {
			last[id] = nil
		}
		if b.IsControl() {
			continue
		}
		last[id] = append(last[id], item)
		last[id] = last[id][max(0, len(last[id])-5):]
	}
	end := p.log.EndOffset()
	for id := int64(1); id <= 3; id++ {
		list := last[id]
		for _, item := range list {
			if w.rng.IntN(3) > 0 {
				continue
			}
			again := record.Batch(bytes.Clone(item.bytes))
			again.SetBaseOffset(0)
			info, err := p.log.Append(again, log.AppendOptions{LeaderEpoch: p.epoch, Now: w.clock.Now(), Origin: log.OriginClient})
			if err != nil {
				return fmt.Errorf("%v: producer %d repeats %d to %d: %w", p.id, id, item.base, item.next-1, err)
			}
			if !info.Duplicate || info.FirstOffset != item.base || info.LastOffset != item.next-1 {
				return fmt.Errorf("%v: producer %d repeats %d to %d and is answered %+v", p.id, id, item.base, item.next-1, info)
			}
		}
		if len(list) > 0 && w.rng.IntN(2) == 0 { // the client goes on where it was
			b := record.Batch(list[len(list)-1].bytes)
			p.producers[id] = &client{id: id, epoch: b.ProducerEpoch(), nextSeq: b.LastSequence() + 1, open: b.IsTransactional()}
		}
	}
	if e := p.log.EndOffset(); e != end {
		return fmt.Errorf("%v: repeated batches moved the end from %d to %d", p.id, end, e)
	}
	return nil
}
