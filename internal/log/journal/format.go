package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	magic       = "LJR1"
	block       = 4096 // frames start on multiples of it
	headerSize  = 64
	dataFixed   = 38 // bytes of a data entry without its name
	forgetFixed = 18

	kindData   = 1
	kindForget = 2
	kindRepeat = 3 // a forget of the frame before

	// maxFrame bounds one frame, and so the memory of reading one and the distance
	// over which a later frame is looked for behind a damaged one.
	maxFrame = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// errFrame is a frame that is not valid: torn, stale, damaged, or never written.
var errFrame = errors.New("no valid frame")

// header is a frame's first 64 bytes.
type header struct {
	salt       uint64
	generation uint64
	sequence   uint64
	firstLive  uint64
	bodyLength uint32
	bodyCRC    uint32
	count      uint32
	table      uint32 // length of the entry table in bytes
}

func (h *header) encode(b []byte) {
	clear(b[:headerSize])
	copy(b, magic)
	binary.BigEndian.PutUint64(b[8:], h.salt)
	binary.BigEndian.PutUint64(b[16:], h.generation)
	binary.BigEndian.PutUint64(b[24:], h.sequence)
	binary.BigEndian.PutUint64(b[32:], h.firstLive)
	binary.BigEndian.PutUint32(b[40:], h.bodyLength)
	binary.BigEndian.PutUint32(b[44:], h.bodyCRC)
	binary.BigEndian.PutUint32(b[48:], h.count)
	binary.BigEndian.PutUint32(b[52:], h.table)
	binary.BigEndian.PutUint32(b[4:], checksum(b[8:headerSize]))
}

func (h *header) decode(b []byte) error {
	if len(b) < headerSize || string(b[:4]) != magic ||
		binary.BigEndian.Uint32(b[4:]) != checksum(b[8:headerSize]) {
		return errFrame
	}
	*h = header{
		salt:       binary.BigEndian.Uint64(b[8:]),
		generation: binary.BigEndian.Uint64(b[16:]),
		sequence:   binary.BigEndian.Uint64(b[24:]),
		firstLive:  binary.BigEndian.Uint64(b[32:]),
		bodyLength: binary.BigEndian.Uint32(b[40:]),
		bodyCRC:    binary.BigEndian.Uint32(b[44:]),
		count:      binary.BigEndian.Uint32(b[48:]),
		table:      binary.BigEndian.Uint32(b[52:]),
	}
	if h.generation == 0 || h.firstLive > h.generation || h.table > h.bodyLength ||
		h.bodyLength > maxFrame-headerSize {
		return errFrame
	}
	return nil
}

// size is the frame's length on disk, padding included.
func (h *header) size() int64 { return padded(headerSize + int64(h.bodyLength)) }

func padded(n int64) int64 { return (n + block - 1) &^ (block - 1) }

// entrySize is an entry's length in the table.
func entrySize(kind byte, log Log) int {
	if kind == kindData {
		return dataFixed + len(log.Dir)
	}
	return forgetFixed + len(log.Dir)
}

// appendEntry adds one entry to a table.
func appendEntry(b []byte, kind byte, e Entry) []byte {
	b = append(b, kind, byte(len(e.Log.Dir)))
	b = append(b, e.Log.TopicID[:]...)
	if kind == kindData {
		b = binary.BigEndian.AppendUint64(b, uint64(e.Base))
		b = binary.BigEndian.AppendUint64(b, uint64(e.Position))
		b = binary.BigEndian.AppendUint32(b, uint32(len(e.Data)))
	}
	return append(b, e.Log.Dir...)
}

// parseBody calls fn for each entry of a body whose checksum is right. It trusts no
// length all the same.
func parseBody(h *header, body []byte, fn func(kind byte, e Entry) error) error {
	if uint64(len(body)) != uint64(h.bodyLength) || h.table > h.bodyLength {
		return errFrame
	}
	table, payload := body[:h.table], body[h.table:]
	for i := range h.count {
		kind, e, length, rest, err := parseEntry(table)
		if err != nil {
			return fmt.Errorf("entry %d of generation %d, frame %d: %w", i, h.generation, h.sequence, err)
		}
		table = rest
		if uint64(length) > uint64(len(payload)) {
			return fmt.Errorf("entry %d of generation %d, frame %d: %w", i, h.generation, h.sequence, errFrame)
		}
		e.Data, payload = payload[:length:length], payload[length:]
		if err := fn(kind, e); err != nil {
			return err
		}
	}
	if len(table) > 0 || len(payload) > 0 {
		return errFrame
	}
	return nil
}

func parseEntry(b []byte) (kind byte, e Entry, length uint32, rest []byte, err error) {
	if len(b) < forgetFixed {
		return 0, e, 0, nil, errFrame
	}
	kind = b[0]
	name := int(b[1])
	copy(e.Log.TopicID[:], b[2:])
	fixed := forgetFixed
	switch kind {
	case kindData:
		fixed = dataFixed
		if len(b) < fixed {
			return 0, e, 0, nil, errFrame
		}
		e.Base = int64(binary.BigEndian.Uint64(b[18:]))
		e.Position = int64(binary.BigEndian.Uint64(b[26:]))
		length = binary.BigEndian.Uint32(b[34:])
	case kindForget, kindRepeat:
	default:
		return 0, e, 0, nil, errFrame
	}
	if len(b) < fixed+name || e.Base < 0 || e.Position < 0 || e.Position+int64(length) < 0 {
		return 0, e, 0, nil, errFrame
	}
	e.Log.Dir = string(b[fixed : fixed+name])
	if !validDir(e.Log.Dir) {
		return 0, e, 0, nil, errFrame
	}
	return kind, e, length, b[fixed+name:], nil
}

// validDir refuses what is not the name of one directory inside the log directory.
func validDir(name string) bool {
	if name == "" || len(name) > 255 || name == "." || name == ".." {
		return false
	}
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return false
		}
	}
	return true
}
