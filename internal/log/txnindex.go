package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
			return list, damaged("transaction index ends inside an entry")
		}
		e := p[at : at+txnEntrySize]
		if v := binary.BigEndian.Uint16(e); v != 0 {
			return list, damaged("transaction index entry of version %d", v)
		}
		u := func(i int) int64 { return int64(binary.BigEndian.Uint64(e[i:])) }
		t := AbortedTxn{u(2), u(10), u(18), u(26)}
		if t.LastOffset < base || t.FirstOffset > t.LastOffset || t.FirstOffset < 0 ||
			(len(list) > 0 && t.LastOffset <= list[len(list)-1].LastOffset) {
			return list, damaged("transaction index entry %+v at position %d", t, at)
		}
		list = append(list, t)
	}
	return list, nil
}

// txnIndex is a segment's transaction index. Entries are in memory until flush.
// segment.mu guards it.
type txnIndex struct {
	inFile int // entries in the file; -1: not looked at yet
	tail   []AbortedTxn
}

// maxTxnIndexBytes bounds what is read of one transaction index.
const maxTxnIndexBytes = 64 << 20

func (s *segment) addAborted(t AbortedTxn) {
	s.mu.Lock()
	s.txns.tail = append(s.txns.tail, t)
	s.mu.Unlock()
}

// aborted lists the segment's aborted transactions in the order of their ends.
func (s *segment) aborted() ([]AbortedTxn, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.abortedLocked()
}

func (s *segment) abortedLocked() ([]AbortedTxn, error) {
	var list []AbortedTxn
	if s.txns.inFile != 0 {
		p, err := readSmall(s.l.d.fs, s.path(txnIndexSuffix), maxTxnIndexBytes)
		if err != nil {
			return nil, err
		}
		if s.txns.inFile > 0 {
			p = p[:min(len(p), s.txns.inFile*txnEntrySize)]
		}
		if list, err = parseTxnEntries(p, s.base); err != nil {
			return nil, fmt.Errorf("%s: %w", s.path(txnIndexSuffix), err)
		}
	}
	return append(list, s.txns.tail...), nil
}

// flushTxns writes the entries in memory to the file, without a sync; mu is held.
func (s *segment) flushTxns() error {
	if len(s.txns.tail) == 0 {
		return nil
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
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	s.txns.inFile += len(s.txns.tail)
	s.txns.tail = nil
	return nil
}

// AbortedTxns lists the aborted transactions that overlap the offsets from…to-1, in
// the order of their ends: what a reader of committed data must skip.
func (l *Log) AbortedTxns(from, to int64) ([]AbortedTxn, error) {
	list, err := l.segments()
	if err != nil {
		return nil, err
	}
	var found []AbortedTxn
	for i := max(find(list, from), 0); i < len(list); i++ {
		all, err := list[i].aborted()
		if errors.Is(err, fs.ErrNotExist) && list[i].file.gone.Load() {
			continue // retention removed it: nobody may read there any more
		}
		if err != nil {
			return nil, storageError("aborted transactions", err)
		}
		for _, t := range all {
			if t.LastOffset >= from && t.FirstOffset < to {
				found = append(found, t)
			}
			if t.LastStableOffset >= to {
				return found, nil
			}
		}
	}
	return found, nil
}
