package log

import (
	"errors"
	"io/fs"
	"math"

	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/record"
)

// scan reads and checks everything from b on, to the end of the log.
func (r *recovery) scan(b begin) error {
	for i := b.at; i < len(r.segs); i++ {
		s := r.segs[i]
		if i > b.at {
			if s.base < r.end {
				return r.dropFrom(i, damaged("segment %d begins before offset %d", s.base, r.end))
			}
			if s.base > max(r.end, r.point) { // what was between was never durable
				return r.dropFrom(i, damaged("offsets %d to %d are missing", r.end, s.base-1))
			}
			b = begin{at: i, offset: max(r.end, s.base)}
		}
		r.end = b.offset
		r.dropEpochs(b.offset)
		if err := r.prepareScan(s, b); err != nil {
			return err
		}
		bad, err := r.scanSegment(s, b.pos)
		if err != nil {
			return err
		}
		more := true
		if bad != nil {
			if more, err = r.repair(i, bad); err != nil {
				return err
			}
		}
		if i < len(r.segs)-1 {
			if err := s.seal(); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
	return nil
}

// dropEpochs forgets the epochs from offset on: the batches there tell, and the file
// may be older than they.
func (r *recovery) dropEpochs(offset int64) {
	for n := len(r.epochs.list); n > 0 && r.epochs.list[n-1].start >= offset; n-- {
		r.epochs.list = r.epochs.list[:n-1]
	}
}

// prepareScan drops the index entries that the scan will make again.
func (r *recovery) prepareScan(s *segment, b begin) error {
	if s.offsets.inFile < 0 {
		if err := r.openIndexes(s); err != nil {
			return err
		}
	}
	aborted := 0
	if b.exact {
		aborted = max(s.txns.inFile, 0)
	}
	if b.pos == 0 {
		s.maxTs, s.maxTsAt = -1, s.base
	}
	s.sinceIndex = 0
	s.txns = txnIndex{}
	if err := s.offsets.truncateTo(b.pos, (*index).value); err != nil {
		return err
	}
	if err := s.times.truncateTo(b.offset-s.base, (*index).value); err != nil {
		return err
	}
	if b.exact {
		if err := s.fill(b.pos); err != nil {
			return err
		}
	}
	s.offsets.want, s.times.want = 0, 0
	return r.keepTxns(s, b.offset, aborted)
}

// keepTxns keeps the aborted transactions that ended below offset, of which there must
// be want.
func (r *recovery) keepTxns(s *segment, offset int64, want int) error {
	p, err := readSmall(r.l.d.fs, s.path(txnIndexSuffix), maxTxnIndexBytes)
	if errors.Is(err, fs.ErrNotExist) {
		if want == 0 {
			return nil
		}
		err = nil // none of so many
	}
	if err != nil {
		return err
	}
	list, err := parseTxnEntries(p, s.base)
	for _, t := range list {
		if t.LastOffset >= offset {
			break
		}
		s.txns.inFile++
	}
	if err == nil && s.txns.inFile < want {
		err = missingEntries(s.txns.inFile, want)
	}
	if err != nil { // torn behind offset or damaged before it: the log tells
		if list, err = r.abortedIn(s, offset, err); err == nil {
			s.txns.inFile = len(list)
			err = r.l.d.fatal(r.writeTxns(s, list))
		}
		return err
	}
	if len(p) == s.txns.inFile*txnEntrySize {
		return nil
	}
	r.changed = true
	return cutTxns(r.l.d.fs, s.path(txnIndexSuffix), s.txns.inFile)
}

// bad is where a scan met damage.
type bad struct {
	pos    int64
	offset int64 // of the first record that is missing
	err    error
}

func (r *recovery) withFile(s *segment, fn func(*scanner) error) (*bad, error) {
	f, err := s.file.acquire()
	if err != nil {
		return nil, err
	}
	defer s.file.release()
	return nil, fn(newScanner(f, s.size.Load()))
}

// scanSegment checks the batches of one segment and takes them into indexes, epochs
// and producer state.
func (r *recovery) scanSegment(s *segment, pos int64) (*bad, error) {
	var found *bad
	if pos == s.size.Load() {
		return nil, nil
	}
	_, err := r.withFile(s, func(sc *scanner) error {
		for least := r.leastAt(s); pos < sc.limit; least = r.end {
			if h, ok := s.passed().over(pos, sc.limit); ok {
				pos, r.end = h.to, max(r.end, h.next)
				continue
			}
			h, b, err := sc.batch(pos, least)
			if b != nil && mutant.On("log/recovery-takes-damage") {
				err = nil
			}
			if err == nil && h.last < r.end {
				err = damaged("offset %d at position %d, expected %d or more", h.last, pos, r.end)
			}
			if err == nil && h.last-s.base > math.MaxInt32 {
				err = damaged("offset %d in segment %d", h.last, s.base)
			}
			if err == nil && h.base > least { // its offset is under no checksum
				if err = sc.overlap(h); err == nil {
					_, b, err = sc.batch(pos, least) // b was a view
				}
			}
			if errors.Is(err, ErrCorrupt) {
				found = &bad{pos, r.end, err}
				return nil
			}
			if err != nil {
				return err
			}
			if err := r.rewrite(sc, pos, h.size); err != nil {
				return err
			}
			r.take(s, h, b)
			pos += h.size
			r.res.ScannedBytes += h.size
		}
		return nil
	})
	return found, err
}

// leastAt is the least offset at which the first batch to scan may begin. The one that
// holds the log's start may begin below it: a truncation to the start records that as the
// recovery point, and may not have come to cut the batch off.
func (r *recovery) leastAt(s *segment) int64 {
	if r.end == r.l.start.Load() {
		return s.base
	}
	return r.end
}

// rewrite writes a batch once more where it stands, when the page cache is that of
// a process before. If a sync failed then, the kernel takes the bytes in it for
// written; only so are they written at all.
func (r *recovery) rewrite(sc *scanner, pos, size int64) error {
	if !r.l.d.again {
		return nil
	}
	for size > 0 {
		n := min(size, int64(len(sc.buf)))
		p, err := sc.bytes(pos, n)
		if err != nil {
			return err
		}
		if _, err := sc.f.WriteAt(p, pos); err != nil {
			return err
		}
		pos, size = pos+n, size-n
	}
	return nil
}

// take adds a good batch to what is built again.
func (r *recovery) take(s *segment, h header, b record.Batch) {
	s.appended(h, r.cfg.IndexIntervalBytes)
	r.end = h.last + 1
	if b.LeaderEpoch() > r.epochs.latest() {
		r.epochs.assign(b.LeaderEpoch(), h.base)
	}
	if h.base < r.prod.end {
		return // the snapshot has it
	}
	if done, ended := r.prod.apply(b, true); ended && done.aborted {
		s.txns.tail = append(s.txns.tail, r.prod.abortedTxn(done))
	}
}
