package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

// AbortedTxn is one aborted transaction, as the transaction index holds it.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset int64
	LastOffset  int64 // of the marker
	// LastStableOffset is the first offset of what was unstable when it ended: only
	// readers below it need to look further for older transactions.
	LastStableOffset int64
}

// txnEntrySize is the width of an entry: version int16 = 0, producer id, first
// offset, last offset, last stable offset, int64 each.
const txnEntrySize = 34

func appendTxnEntry(dst []byte, t AbortedTxn) []byte {
	dst = binary.BigEndian.AppendUint16(dst, 0)
	for _, v := range [...]int64{t.ProducerID, t.FirstOffset, t.LastOffset, t.LastStableOffset} {
		dst = binary.BigEndian.AppendUint64(dst, uint64(v))
	}
	return dst
}

// parseTxnEntries reads a transaction index. It distrusts it: entries must be of
// version 0, lie behind base, and ascend by last offset. What precedes an error is returned.
func parseTxnEntries(p []byte, base int64) (list []AbortedTxn, err error) {
	for at := 0; at < len(p); at += txnEntrySize {
		if len(p)-at < txnEntrySize {
			return list, damagedFile("transaction index ends inside an entry")
		}
		e := p[at : at+txnEntrySize]
		if v := binary.BigEndian.Uint16(e); v != 0 {
			return list, damagedFile("transaction index entry of version %d", v)
		}
		u := func(i int) int64 { return int64(binary.BigEndian.Uint64(e[i:])) }
		t := AbortedTxn{u(2), u(10), u(18), u(26)}
		if t.ProducerID < 0 || t.LastOffset < base || t.FirstOffset >= t.LastOffset || t.FirstOffset < 0 ||
			(len(list) > 0 && t.LastOffset <= list[len(list)-1].LastOffset) {
			return list, damagedFile("transaction index entry %+v at position %d", t, at)
		}
		list = append(list, t)
	}
	return list, nil
}

// txnIndex is a segment's transaction index. Entries are in memory until flush.
// segment.mu guards it.
type txnIndex struct {
	inFile int // entries in the file, as was recorded if that is known; -1: not looked at yet
	tail   []AbortedTxn
	kept   []AbortedTxn // if not nil: what the file should hold, and cannot be written
}

// maxTxnIndexBytes bounds what is read of one transaction index.
const maxTxnIndexBytes = 64 << 20

func (s *segment) addAborted(t AbortedTxn) {
	s.mu.Lock()
	s.txns.tail = append(s.txns.tail, t)
	s.mu.Unlock()
}

// aborted lists the segment's aborted transactions in the order of their ends. An index
// that is damaged, or lacks entries that were recorded, is built again from the log.
func (s *segment) aborted() ([]AbortedTxn, error) {
	s.mu.RLock()
	list, err := s.abortedLocked()
	s.mu.RUnlock()
	if errors.Is(err, ErrCorrupt) {
		s.l.w.Lock()
		defer s.l.w.Unlock()
		return s.l.readTxns(s)
	}
	return list, err
}

// readTxns gives what is in a segment's transaction index, which is built again if it is
// damaged; w is held. If it cannot be written it is kept in memory.
func (l *Log) readTxns(s *segment) ([]AbortedTxn, error) {
	s.mu.RLock()
	list, why := s.abortedLocked()
	s.mu.RUnlock()
	if !errors.Is(why, ErrCorrupt) {
		return list, why
	}
	segs := *l.segs.Load()
	i := slices.Index(segs, s)
	if i < 0 {
		return nil, errGone
	}
	r := &recovery{l: l, dir: *l.path.Load(), segs: segs, snapshots: l.snapshots}
	list, err := r.abortedIn(s, l.segmentEnd(segs, i), why)
	l.snapshots = r.snapshots
	if err != nil {
		return nil, err
	}
	if err = l.d.Failed(); err == nil {
		err = l.d.fatal(r.writeTxns(s, list))
	}
	s.mu.Lock()
	s.txns = txnIndex{inFile: len(list)}
	if err != nil {
		s.txns.kept = append([]AbortedTxn{}, list...)
	}
	s.mu.Unlock()
	l.mu.Lock()
	l.touch() // so that the number is recorded as it is now
	l.mu.Unlock()
	return list, nil
}

// abortedIn finds the transactions that were aborted in a segment below offset to, by its
// markers and the producers' state before it.
func (r *recovery) abortedIn(s *segment, to int64, why error) ([]AbortedTxn, error) {
	r.l.d.event(IndexRebuilt{Log: r.l.ID(), File: segmentName(s.base, txnIndexSuffix), Err: why})
	before := r.prod
	defer func() { r.prod = before }()
	r.prod = producers{max: before.max}
	if err := r.producersAt(s.base); err != nil {
		return nil, err
	}
	var list []AbortedTxn
	err := r.eachHeader(func(_ *segment, _ header, b record.Batch) {
		if done, ended := r.prod.apply(b, true); ended && done.aborted {
			list = append(list, r.prod.abortedTxn(done))
		}
	}, s.base, to)
	return list, err
}

// writeTxns writes a segment's transaction index anew. If a power cut brings the damaged
// one back, it is met again.
func (r *recovery) writeTxns(s *segment, list []AbortedTxn) error {
	var p []byte
	for _, t := range list {
		p = appendTxnEntry(p, t)
	}
	return replaceSmall(r.l.d.fs, r.dir, segmentName(s.base, txnIndexSuffix), p)
}

func (s *segment) abortedLocked() ([]AbortedTxn, error) {
	if s.txns.kept != nil {
		return slices.Concat(s.txns.kept, s.txns.tail), nil
	}
	var list []AbortedTxn
	if s.txns.inFile != 0 {
		p, err := readSmall(s.l.d.fs, s.path(txnIndexSuffix), maxTxnIndexBytes)
		if s.file.gone.Load() {
			return nil, errGone // the name may be that of another segment's file
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", s.path(txnIndexSuffix), damagedFile("missing"))
		}
		if err != nil {
			return nil, err
		}
		if s.txns.inFile > 0 {
			p = p[:min(len(p), s.txns.inFile*txnEntrySize)]
		}
		if list, err = parseTxnEntries(p, s.base); err != nil {
			return nil, fmt.Errorf("%s: %w", s.path(txnIndexSuffix), err)
		}
		if n := len(list); n < s.txns.inFile {
			return nil, fmt.Errorf("%s: %w", s.path(txnIndexSuffix), missingEntries(n, s.txns.inFile))
		}
	}
	return append(list, s.txns.tail...), nil
}

// lookTxns counts the entries of a transaction index that was found on disk; mu is held.
func (s *segment) lookTxns() error {
	if s.txns.inFile >= 0 {
		return nil
	}
	info, err := s.l.d.fs.Stat(s.path(txnIndexSuffix))
	if err == nil {
		s.txns.inFile = int(info.Size() / txnEntrySize)
	}
	return err
}

// cutTxns keeps the first n entries of a transaction index, durably: what is dropped must
// not come back below a later recovery point.
func cutTxns(fsys env.FS, name string, n int) error {
	f, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = f.Truncate(int64(n) * txnEntrySize); err == nil {
		if err = f.Sync(); err != nil {
			err = syncError{err}
		}
	}
	return errors.Join(err, f.Close())
}

// flushTxns writes the entries in memory to the file, durably but for its name; mu is
// held. They cannot be built again from behind the recovery point, so they must be
// durable before it passes them.
func (s *segment) flushTxns() error {
	if len(s.txns.tail) == 0 {
		return nil
	}
	if err := s.lookTxns(); err != nil {
		return err
	}
	f, err := s.l.d.fs.OpenFile(s.path(txnIndexSuffix), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	var p []byte
	for _, t := range s.txns.tail {
		p = appendTxnEntry(p, t)
	}
	_, err = f.WriteAt(p, int64(s.txns.inFile)*txnEntrySize)
	if err == nil {
		if err = f.Sync(); err != nil {
			err = syncError{err}
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if s.txns.kept != nil {
		s.txns.kept = append(s.txns.kept, s.txns.tail...)
	}
	s.txns.inFile += len(s.txns.tail)
	s.txns.tail = nil
	return nil
}

// AbortedTxns lists the aborted transactions that overlap the offsets from…to-1, in
// the order of their ends: what a reader of committed data must skip.
func (l *Log) AbortedTxns(from, to int64) (found []AbortedTxn, err error) {
	err = l.retryGone(func(list []*segment) error {
		found = nil
		for i := max(find(list, from), 0); i < len(list); i++ {
			all, err := list[i].aborted()
			if err != nil {
				return err
			}
			for _, t := range all {
				if t.LastOffset >= from && t.FirstOffset < to {
					found = append(found, t)
				}
				if t.LastStableOffset >= to {
					return nil
				}
			}
		}
		return nil
	})
	return found, err
}
