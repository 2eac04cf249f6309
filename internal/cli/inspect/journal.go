package inspect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"

	"github.com/leat-stream/leat/internal/cli/out"
)

// The journal's format, of internal/log/journal/FORMAT.md.
const (
	journalMagic = "LJR1"
	journalBlock = 4096
	journalHead  = 64
	maxFrame     = 16 << 20
)

type journalFrame struct {
	Generation uint64         `json:"generation"`
	Sequence   uint64         `json:"sequence"`
	FirstLive  uint64         `json:"first_live_generation"`
	Bytes      uint32         `json:"bytes"`
	Entries    []journalEntry `json:"entries"`

	salt           uint64
	bodyCRC, count uint32
	table          uint32
}

type journalEntry struct {
	Kind     string `json:"kind"` // data, forget, repeated forget
	Log      string `json:"log"`
	TopicID  string `json:"topic_id"`
	Base     int64  `json:"segment,omitempty"`
	Position int64  `json:"segment_position,omitempty"`
	Bytes    uint32 `json:"bytes,omitempty"`
}

// parseFrameHead reads a frame's header; ok is false when its checksum is wrong.
func parseFrameHead(b []byte) (h journalFrame, ok bool) {
	be := binary.BigEndian
	if len(b) < journalHead || string(b[:4]) != journalMagic || be.Uint32(b[4:]) != crc32.Checksum(b[8:journalHead], castagnoli) {
		return h, false
	}
	h = journalFrame{salt: be.Uint64(b[8:]), Generation: be.Uint64(b[16:]), Sequence: be.Uint64(b[24:]), FirstLive: be.Uint64(b[32:]),
		Bytes: be.Uint32(b[40:]), bodyCRC: be.Uint32(b[44:]), count: be.Uint32(b[48:]), table: be.Uint32(b[52:])}
	return h, h.Bytes <= maxFrame && h.table <= h.Bytes
}

// journal reads a journal file: the frames of its generation, from the start to the
// first block that holds none of it.
func (d *dumper) journal(f *os.File, size int64) error {
	var first journalFrame
	body := make([]byte, 0, 1<<20)
	head := make([]byte, journalHead)
	end := int64(0) // behind the last frame
	for pos := int64(0); pos < size; {
		n, err := f.ReadAt(head, pos)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		h, ok := parseFrameHead(head[:n])
		if ok && first.salt != 0 && (h.salt != first.salt || h.Generation != first.Generation) {
			ok = false // of an earlier filling
		}
		if !ok {
			pos += journalBlock
			continue
		}
		if first.salt == 0 {
			first = h
		}
		if pos > end {
			if err := d.damage(end, pos-end, fmt.Sprintf("no frame, although frame %d stands behind", h.Sequence)); err != nil {
				return err
			}
		}
		if cap(body) < int(h.Bytes) {
			body = make([]byte, h.Bytes)
		}
		body = body[:h.Bytes]
		if _, err := f.ReadAt(body, pos+journalHead); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := d.frame(pos, h, body); err != nil {
			return err
		}
		pos = (pos + journalHead + int64(h.Bytes) + journalBlock - 1) / journalBlock * journalBlock
		end = pos
	}
	d.bar.Add(size)
	text := fmt.Sprintf("%d no more frames, %d bytes", min(end, size), max(size-end, 0))
	return d.emit(item{Position: min(end, size), Kind: "end", Skipped: max(size-end, 0)}, text)
}

func (d *dumper) frame(pos int64, h journalFrame, body []byte) error {
	if got := crc32.Checksum(body, castagnoli); got != h.bodyCRC {
		return d.damage(pos, int64(len(body)), fmt.Sprintf("frame %d: the checksum is %08x, the bytes give %08x", h.Sequence, h.bodyCRC, got))
	}
	be := binary.BigEndian
	var lines []string
	table := body[:h.table]
	for range h.count {
		if len(table) < 18 {
			return d.damage(pos, 0, fmt.Sprintf("frame %d: the entry table ends too early", h.Sequence))
		}
		e := journalEntry{TopicID: fmt.Sprintf("%x", table[2:18])}
		fixed := 18
		kind, nameLength := table[0], int(table[1])
		switch kind {
		case 1:
			e.Kind, fixed = "data", 38
		case 2:
			e.Kind = "forget"
		case 3:
			e.Kind = "repeated forget"
		default:
			return d.damage(pos, 0, fmt.Sprintf("frame %d: an entry of kind %d", h.Sequence, kind))
		}
		if len(table) < fixed+nameLength {
			return d.damage(pos, 0, fmt.Sprintf("frame %d: the entry table ends too early", h.Sequence))
		}
		if kind == 1 {
			e.Base, e.Position, e.Bytes = int64(be.Uint64(table[18:])), int64(be.Uint64(table[26:])), be.Uint32(table[34:])
		}
		e.Log = string(table[fixed : fixed+nameLength])
		table = table[fixed+nameLength:]
		h.Entries = append(h.Entries, e)
		line := fmt.Sprintf("  %s %s", e.Kind, out.Printable(e.Log))
		if kind == 1 {
			line += fmt.Sprintf(" segment %d at %d, %d bytes", e.Base, e.Position, e.Bytes)
		}
		lines = append(lines, line)
	}
	head := fmt.Sprintf("%d frame %d of generation %d, %d entries, %d bytes, live from generation %d", pos, h.Sequence, h.Generation, h.count, h.Bytes, h.FirstLive)
	return d.emit(item{Position: pos, Kind: "frame", Data: h}, strings.Join(append([]string{head}, lines...), "\n"))
}
