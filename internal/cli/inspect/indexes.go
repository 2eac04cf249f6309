package inspect

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
)

// The formats of Kafka's indexes and producer snapshots; numbers are big-endian.
const (
	offsetEntry   = 4 + 4             // offset behind the base, position in the segment
	timeEntry     = 8 + 4             // timestamp, offset behind the base
	txnEntry      = 2 + 8 + 8 + 8 + 8 // version, producer id, first, last and last stable offset
	producerEntry = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8
	snapshotHead  = 2 + 4 + 4 // version, checksum, count
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// baseOf is the base offset that a file's name says; 0 when it says none.
func baseOf(path string) int64 {
	name := filepath.Base(path)
	if len(name) < 20 {
		return 0
	}
	n, err := strconv.ParseInt(name[:20], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// entries walks a file of entries of one width, up to the zeros that an index is
// preallocated with.
func (d *dumper) entries(f *os.File, size int64, width int, preallocated bool, fn func(pos int64, e []byte) error) error {
	b, ok, err := d.whole(f, size)
	if err != nil || !ok {
		return err
	}
	for pos := 0; pos+width <= len(b); pos += width {
		e := b[pos : pos+width]
		if preallocated && pos > 0 && isZero(b[pos:]) {
			return d.emit(item{Position: int64(pos), Kind: "zeros", Skipped: int64(len(b) - pos)}, fmt.Sprintf("%d zeros to the end, %d bytes", pos, len(b)-pos))
		}
		if err := fn(int64(pos), e); err != nil {
			return err
		}
	}
	if rest := len(b) % width; rest != 0 {
		return d.damage(int64(len(b)-rest), int64(rest), fmt.Sprintf("%d bytes are no entry", rest))
	}
	return nil
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

type offsetIndexEntry struct {
	Offset   int64 `json:"offset"`
	Position int64 `json:"segment_position"`
}

func (d *dumper) offsetIndex(f *os.File, size int64) error {
	base, last := baseOf(d.file), offsetIndexEntry{Offset: -1, Position: -1}
	return d.entries(f, size, offsetEntry, true, func(pos int64, b []byte) error {
		e := offsetIndexEntry{base + int64(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint32(b[4:]))}
		if e.Offset <= last.Offset || e.Position <= last.Position && pos > 0 {
			return d.damage(pos, offsetEntry, fmt.Sprintf("offset %d at %d stands behind offset %d at %d", e.Offset, e.Position, last.Offset, last.Position))
		}
		last = e
		return d.emit(item{Position: pos, Kind: "offset", Data: e}, fmt.Sprintf("%d offset %d at %d", pos, e.Offset, e.Position))
	})
}

type timeIndexEntry struct {
	Timestamp int64 `json:"timestamp"`
	Offset    int64 `json:"offset"`
}

func (d *dumper) timeIndex(f *os.File, size int64) error {
	base, last := baseOf(d.file), timeIndexEntry{Timestamp: -1, Offset: -1}
	return d.entries(f, size, timeEntry, true, func(pos int64, b []byte) error {
		e := timeIndexEntry{int64(binary.BigEndian.Uint64(b)), base + int64(binary.BigEndian.Uint32(b[8:]))}
		if e.Timestamp < last.Timestamp || e.Offset < last.Offset {
			return d.damage(pos, timeEntry, fmt.Sprintf("%s for offset %d stands behind %s for offset %d", stamp(e.Timestamp), e.Offset, stamp(last.Timestamp), last.Offset))
		}
		last = e
		return d.emit(item{Position: pos, Kind: "time", Data: e}, fmt.Sprintf("%d %s offset %d", pos, stamp(e.Timestamp), e.Offset))
	})
}

type abortedTxn struct {
	ProducerID  int64 `json:"producer_id"`
	FirstOffset int64 `json:"first_offset"`
	LastOffset  int64 `json:"last_offset"`
	LastStable  int64 `json:"last_stable_offset"`
}

func (d *dumper) txnIndex(f *os.File, size int64) error {
	return d.entries(f, size, txnEntry, false, func(pos int64, b []byte) error {
		if v := binary.BigEndian.Uint16(b); v != 0 {
			return d.damage(pos, txnEntry, fmt.Sprintf("an entry of version %d", v))
		}
		n := func(at int) int64 { return int64(binary.BigEndian.Uint64(b[at:])) }
		t := abortedTxn{n(2), n(10), n(18), n(26)}
		return d.emit(item{Position: pos, Kind: "aborted", Data: t},
			fmt.Sprintf("%d aborted %d-%d of producer %d, last stable %d", pos, t.FirstOffset, t.LastOffset, t.ProducerID, t.LastStable))
	})
}

type producerState struct {
	ProducerID       int64 `json:"producer_id"`
	Epoch            int16 `json:"epoch"`
	LastSequence     int32 `json:"last_sequence"`
	LastOffset       int64 `json:"last_offset"`
	OffsetDelta      int32 `json:"offset_delta"`
	Timestamp        int64 `json:"timestamp"`
	CoordinatorEpoch int32 `json:"coordinator_epoch"`
	OpenTxnFirst     int64 `json:"open_transaction_first_offset"`
}

// producerSnapshot reads a .snapshot file: Kafka's entries, and behind them what
// Leat adds, of which only the length is told.
func (d *dumper) producerSnapshot(f *os.File, size int64) error {
	b, ok, err := d.whole(f, size)
	if err != nil || !ok {
		return err
	}
	be := binary.BigEndian
	if len(b) < snapshotHead {
		return d.damage(0, int64(len(b)), fmt.Sprintf("%d bytes are no producer snapshot", len(b)))
	}
	if v := be.Uint16(b); v != 1 {
		return d.damage(0, int64(len(b)), fmt.Sprintf("a producer snapshot of version %d", v))
	}
	if want, got := be.Uint32(b[2:]), crc32.Checksum(b[6:], castagnoli); want != got {
		if err := d.damage(0, 0, fmt.Sprintf("the checksum is %08x, the bytes give %08x", want, got)); err != nil {
			return err
		}
	}
	pos := snapshotHead
	for i := uint32(0); i < be.Uint32(b[6:]); i++ {
		if len(b)-pos < producerEntry {
			return d.damage(int64(pos), int64(len(b)-pos), fmt.Sprintf("entry %d of %d is missing", i+1, be.Uint32(b[6:])))
		}
		e := b[pos:]
		p := producerState{int64(be.Uint64(e)), int16(be.Uint16(e[8:])), int32(be.Uint32(e[10:])), int64(be.Uint64(e[14:])), int32(be.Uint32(e[22:])),
			int64(be.Uint64(e[26:])), int32(be.Uint32(e[34:])), int64(be.Uint64(e[38:]))}
		text := fmt.Sprintf("%d producer %d epoch %d, last sequence %d at offset %d, %s", pos, p.ProducerID, p.Epoch, p.LastSequence, p.LastOffset, stamp(p.Timestamp))
		if p.OpenTxnFirst >= 0 {
			text += fmt.Sprintf(", open transaction from %d, coordinator epoch %d", p.OpenTxnFirst, p.CoordinatorEpoch)
		}
		if err := d.emit(item{Position: int64(pos), Kind: "producer", Data: p}, text); err != nil {
			return err
		}
		pos += producerEntry
	}
	if rest := len(b) - pos; rest > 0 {
		return d.emit(item{Position: int64(pos), Kind: "more", Skipped: int64(rest)}, fmt.Sprintf("%d older batches and ended transactions, %d bytes", pos, rest))
	}
	return nil
}
