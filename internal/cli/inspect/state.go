package inspect

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/leat-stream/leat/internal/cli/out"
)

// The frames of leat.state: length, checksum, payload; the payload's first byte is
// its kind.
const (
	stateHead    = 8
	stateHeader  = 1
	stateLog     = 2
	stateGone    = 3
	stateMissing = 4

	stateVersion1 = "LEAT state 1" // without the numbers of entries
)

type savedLog struct {
	Topic     string         `json:"topic"`
	Partition int32          `json:"partition"`
	TopicID   string         `json:"topic_id"`
	Gone      bool           `json:"gone,omitempty"`
	Missing   bool           `json:"missing,omitempty"`
	Damaged   bool           `json:"damaged,omitempty"`
	Start     int64          `json:"log_start_offset"`
	Point     int64          `json:"recovery_point"`
	Unstable  int64          `json:"first_unstable_offset"`
	Segments  []savedSegment `json:"segments"`
}

type savedSegment struct {
	Base    int64 `json:"base_offset"`
	Bytes   int64 `json:"bytes"`
	MaxTime int64 `json:"max_timestamp"`
	MaxAt   int64 `json:"max_timestamp_offset"`
	// Entries of the offset, time and transaction index; null in version 1.
	Entries *[3]uint32 `json:"index_entries"`
}

// state reads leat.state, the positions from which logs are opened.
func (d *dumper) state(f *os.File, size int64) error {
	b, ok, err := d.whole(f, size)
	if err != nil || !ok {
		return err
	}
	width := 44
	for pos := 0; pos < len(b); {
		rest := b[pos:]
		if len(rest) < stateHead {
			return d.damage(int64(pos), int64(len(rest)), fmt.Sprintf("%d bytes are no frame", len(rest)))
		}
		n := int(binary.BigEndian.Uint32(rest))
		if n < 1 || n > len(rest)-stateHead {
			return d.damage(int64(pos), int64(len(rest)), fmt.Sprintf("a frame of %d bytes, of which %d are there", n, len(rest)-stateHead))
		}
		payload := rest[stateHead : stateHead+n]
		if want, got := binary.BigEndian.Uint32(rest[4:]), crc32.Checksum(payload, castagnoli); want != got {
			err = d.damage(int64(pos), int64(stateHead+n), fmt.Sprintf("the checksum is %08x, the bytes give %08x", want, got))
		} else {
			if payload[0] == stateHeader && string(payload[1:]) == stateVersion1 {
				width = 32
			}
			err = d.stateFrame(int64(pos), payload, width)
		}
		if err != nil {
			return err
		}
		pos += stateHead + n
	}
	return nil
}

// stateFrame writes one frame, in which a segment has width bytes.
func (d *dumper) stateFrame(pos int64, p []byte, width int) error {
	be := binary.BigEndian
	if p[0] == stateHeader {
		return d.emit(item{Position: pos, Kind: "header", Data: string(p[1:])}, fmt.Sprintf("%d %s", pos, out.Printable(string(p[1:]))))
	}
	bad := func(why string) error { return d.damage(pos, int64(len(p)+stateHead), why) }
	if p[0] < stateLog || p[0] > stateMissing || len(p) < 3 {
		return bad(fmt.Sprintf("a frame of kind %d", p[0]))
	}
	n := int(be.Uint16(p[1:]))
	if len(p) < 3+n+20 {
		return bad("a frame without the name of its log")
	}
	s := savedLog{Topic: string(p[3 : 3+n]), Partition: int32(be.Uint32(p[3+n:])), TopicID: fmt.Sprintf("%x", p[7+n:23+n]), Gone: p[0] == stateGone, Missing: p[0] == stateMissing}
	name := out.Printable(fmt.Sprintf("%s-%d", s.Topic, s.Partition))
	if s.Gone {
		return d.emit(item{Position: pos, Kind: "log", Data: s}, fmt.Sprintf("%d log %s: gone", pos, name))
	}
	p = p[23+n:]
	if s.Missing {
		if len(p) != 8 {
			return bad("a frame of missing log " + name + " that is cut short")
		}
		s.Point = int64(be.Uint64(p))
		return d.emit(item{Position: pos, Kind: "log", Data: s}, fmt.Sprintf("%d log %s: missing, its recovery point was %d", pos, name, s.Point))
	}
	if len(p) < 29 || uint64(be.Uint32(p[25:]))*uint64(width) != uint64(len(p)-29) {
		return bad("a frame of log " + name + " that is cut short")
	}
	s.Start, s.Point, s.Unstable = int64(be.Uint64(p[1:])), int64(be.Uint64(p[9:])), int64(be.Uint64(p[17:]))
	s.Damaged = p[0]&2 != 0
	text := fmt.Sprintf("%d log %s: from %d, recovery point %d", pos, name, s.Start, s.Point)
	if s.Damaged {
		text += ", damaged"
	}
	for p = p[29:]; len(p) > 0; p = p[width:] {
		g := savedSegment{Base: int64(be.Uint64(p)), Bytes: int64(be.Uint64(p[8:])), MaxTime: int64(be.Uint64(p[16:])), MaxAt: int64(be.Uint64(p[24:]))}
		text += fmt.Sprintf("\n  segment %d, %d bytes, up to %s", g.Base, g.Bytes, stamp(g.MaxTime))
		if width > 32 {
			g.Entries = &[3]uint32{be.Uint32(p[32:]), be.Uint32(p[36:]), be.Uint32(p[40:])}
			text += fmt.Sprintf(", %d/%d/%d index entries", g.Entries[0], g.Entries[1], g.Entries[2])
		}
		s.Segments = append(s.Segments, g)
	}
	return d.emit(item{Position: pos, Kind: "log", Data: s}, text)
}
