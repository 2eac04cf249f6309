package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/raft/v3/raftpb"
)

// Every file is a run of frames, described in format.md:
//
//	length u32 | crc u32 | body (kind u8, fields)
//
// all big-endian; the checksum (CRC-32C) covers length and body. A length of zero
// ends the run: the space after it is preallocated.
const (
	segmentVersion        = 1
	snapshotFormatVersion = 2 // members have addresses since 2
	frameHead             = 8
	// maxFrame bounds what a damaged length can make us read.
	maxFrame = 64<<20 + 64
	// MaxEntryBytes is the largest data of one entry.
	MaxEntryBytes = 32 << 20
)

type frameKind uint8

const (
	kindSegment        frameKind = 1 // the first frame of a segment
	kindHardState      frameKind = 2
	kindEntry          frameKind = 3
	kindSnapshot       frameKind = 4 // the first frame of a snapshot
	kindSnapshotData   frameKind = 5
	kindSnapshotFooter frameKind = 6
	kindSynced         frameKind = 7
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errFrame marks bytes that are no frame; what that means depends on where they are.
var errFrame = errors.New("no valid frame")

// beginFrame opens a frame at the end of b; endFrame closes it.
func beginFrame(b []byte, k frameKind) (out []byte, start int) {
	start = len(b)
	b = append(b, make([]byte, frameHead)...)
	return append(b, byte(k)), start
}

func endFrame(b []byte, start int) []byte {
	f := b[start:]
	binary.BigEndian.PutUint32(f, uint32(len(f)-frameHead))
	binary.BigEndian.PutUint32(f[4:], frameCRC(f))
	return b
}

func frameCRC(f []byte) uint32 {
	return crc32.Update(crc32.Checksum(f[:4], castagnoli), castagnoli, f[frameHead:])
}

// frame is one decoded frame; body is behind the kind and shares the input.
type frame struct {
	kind frameKind
	body []byte
	size int // in the file
}

// nextFrame reads the frame at the start of b. ok is false at the end of the run,
// an error wraps errFrame.
func nextFrame(b []byte) (f frame, ok bool, err error) {
	if len(b) < 4 {
		return frame{}, false, allZero(b)
	}
	n := binary.BigEndian.Uint32(b)
	switch {
	case n == 0:
		return frame{}, false, nil
	case n > maxFrame, int64(n)+frameHead > int64(len(b)):
		return frame{}, false, fmt.Errorf("%w: length %d with %d bytes left", errFrame, n, len(b))
	}
	f = frame{frameKind(b[frameHead]), b[frameHead+1 : frameHead+n], frameHead + int(n)}
	if got, want := frameCRC(b[:f.size]), binary.BigEndian.Uint32(b[4:]); got != want {
		return f, false, fmt.Errorf("%w: checksum %08x, stored %08x", errFrame, got, want)
	}
	return f, true, nil
}

func allZero(b []byte) error {
	for _, c := range b {
		if c != 0 {
			return fmt.Errorf("%w: %d stray bytes", errFrame, len(b))
		}
	}
	return nil
}

// fields reads a body; the first field that is missing makes it bad.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if n < 0 || n > len(f.b) {
		f.bad = true
		return make([]byte, max(0, min(n, 16)))
	}
	b := f.b[:n]
	f.b = f.b[n:]
	return b
}
func (f *fields) u8() uint8   { return f.take(1)[0] }
func (f *fields) u16() uint16 { return binary.BigEndian.Uint16(f.take(2)) }
func (f *fields) u32() uint32 { return binary.BigEndian.Uint32(f.take(4)) }
func (f *fields) u64() uint64 { return binary.BigEndian.Uint64(f.take(8)) }

// done is an error unless every byte was read and none was missing.
func (f *fields) done(what string) error {
	if f.bad || len(f.b) > 0 {
		return fmt.Errorf("%w: malformed %s", errFrame, what)
	}
	return nil
}

func appendU64s(b []byte, vs ...uint64) []byte {
	for _, v := range vs {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

// segmentHeader starts a segment: whose it is, its number, and where the log stood.
type segmentHeader struct {
	member    uint64
	number    uint64
	previous  uint64 // length of the previous segment, 0 if there is none
	prevIndex uint64 // the log's last entry when the segment was begun
	prevTerm  uint64
}

func appendSegmentHeader(b []byte, h segmentHeader) []byte {
	b, start := beginFrame(b, kindSegment)
	b = binary.BigEndian.AppendUint16(b, segmentVersion)
	b = appendU64s(b, h.member, h.number, h.previous, h.prevIndex, h.prevTerm)
	return endFrame(b, start)
}

func parseSegmentHeader(body []byte) (segmentHeader, error) {
	f := fields{b: body}
	if v := f.u16(); !f.bad && v != segmentVersion {
		return segmentHeader{}, fmt.Errorf("%w %d", ErrVersion, v)
	}
	h := segmentHeader{f.u64(), f.u64(), f.u64(), f.u64(), f.u64()}
	return h, f.done("segment header")
}

// hardState is what a voter must never forget.
type hardState struct{ term, vote, commit uint64 }

func appendHardState(b []byte, h hardState) []byte {
	b, start := beginFrame(b, kindHardState)
	return endFrame(appendU64s(b, h.term, h.vote, h.commit), start)
}

func parseHardState(body []byte) (hardState, error) {
	f := fields{b: body}
	h := hardState{f.u64(), f.u64(), f.u64()}
	return h, f.done("hard state")
}

func appendEntry(b []byte, e *raftpb.Entry) []byte {
	b, start := beginFrame(b, kindEntry)
	b = append(b, byte(e.GetType()))
	b = appendU64s(b, e.GetTerm(), e.GetIndex())
	return endFrame(append(b, e.GetData()...), start)
}

// parseEntry shares body.
func parseEntry(body []byte) (*raftpb.Entry, error) {
	f := fields{b: body}
	typ, term, index := raftpb.EntryType(f.u8()), f.u64(), f.u64()
	if f.bad || term == 0 || index == 0 || typ < raftpb.EntryNormal || typ > raftpb.EntryConfChangeV2 {
		return nil, fmt.Errorf("%w: malformed entry", errFrame)
	}
	e := &raftpb.Entry{Type: &typ, Term: &term, Index: &index}
	if len(f.b) > 0 {
		e.Data = f.b
	}
	return e, nil
}

// synced is the note of how far the newest segment was synced (marker.go).
type synced struct{ counter, segment, bytes uint64 }

func appendSynced(b []byte, s synced) []byte {
	b, start := beginFrame(b, kindSynced)
	return endFrame(appendU64s(b, s.counter, s.segment, s.bytes), start)
}

func parseSynced(body []byte) (synced, error) {
	f := fields{b: body}
	s := synced{f.u64(), f.u64(), f.u64()}
	return s, f.done("synced note")
}
