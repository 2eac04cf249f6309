package wire

import (
	"encoding/binary"
	"fmt"
)

// Keys that the header itself depends on.
const (
	keyControlledShutdown = 7
	keyApiVersions        = 18
)

// Header is a request's header. Its version follows from key and version: 2 (with
// tagged fields) for flexible requests, else 1 (with a client id); 0 exists for
// ControlledShutdown v0 alone.
type Header struct {
	Key, Version  int16
	CorrelationID int32
	// ClientID is a view of the frame; null and absent are nil, and mean "" to Kafka.
	ClientID []byte
}

// ParseHeader reads the header at the start of a frame (without its size) and
// returns what follows it. An unknown key is no error: the body's layout is unknown
// then, and the header is read as version 1. An unknown version of a known key is
// read as its newest version; ApiVersions of the future must be answered (with
// UNSUPPORTED_VERSION and the list of keys) and its header is version 2 for ever.
// Errors are ErrShort, ErrInvalid and ErrLimit.
func ParseHeader(frame []byte) (h Header, body []byte, err error) {
	c := checker{rest: frame, lim: Limits{Tags: MaxTags}}
	if !c.skip(8, "request header") {
		return h, nil, headerError(&c)
	}
	h.Key = int16(binary.BigEndian.Uint16(frame))
	h.Version = int16(binary.BigEndian.Uint16(frame[2:]))
	h.CorrelationID = int32(binary.BigEndian.Uint32(frame[4:]))
	if h.Key == keyControlledShutdown && h.Version == 0 {
		return h, c.rest, nil
	}
	// The client id is never compact, so that the header can be read before the
	// version is judged.
	n, ok := c.length(2, "client id length")
	id := c.rest
	if !ok || !c.skip(max(n, 0), "client id") {
		return h, nil, headerError(&c)
	}
	if n >= 0 {
		h.ClientID = id[:n:n]
	}
	if Flexible(h.Key, h.Version) && !c.tags(nil) {
		return h, nil, headerError(&c)
	}
	return h, c.rest, nil
}

func headerError(c *checker) error {
	return fmt.Errorf("request header: %s: %w", c.what, c.err)
}

// Flexible tells whether a request is in the encoding of KIP-482; false for
// unknown keys. A version above the newest counts as the newest.
func Flexible(key, version int16) bool {
	return key >= 0 && int(key) < len(requests) && requests[key].known && version >= requests[key].flexible
}

// AppendResponseHeader appends the frame's size, to be filled by PatchSize, and the
// response header: version 1 (with an empty set of tagged fields) for flexible
// requests, 0 for others, and always 0 for ApiVersions, since a client that asks
// does not know yet what the broker speaks (KIP-511).
func AppendResponseHeader(dst []byte, key, version int16, correlationID int32) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if key != keyApiVersions && Flexible(key, version) {
		dst = append(dst, 0)
	}
	return dst
}

// PatchSize stores the size of a frame that starts with four bytes for it. extra
// counts bytes of the frame that are not in it (runs of records).
func PatchSize(frame []byte, extra int) {
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4+extra))
}
