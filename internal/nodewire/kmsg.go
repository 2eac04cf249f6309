package nodewire

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Keys of the requests.
const (
	FirstKey = KeyHello

	KeyHello    int16 = 20000
	KeyRaft     int16 = 20001
	KeyPull     int16 = 20002
	KeySnapshot int16 = 20003

	KeyLost int16 = 20004
)

// maxVersion is the newest version of every message.
const maxVersion = 0

// Most entries of a message's arrays. Who writes a message keeps to them.
const (
	MaxVoters   = 1 << 10
	MaxListed   = 1 << 10
	MaxMessages = 1 << 16
	MaxEntries  = 1 << 20
	MaxReplicas = 1 << 20
)

// Least bytes of entries.
const (
	minIdentity = 4 + 16 + 2
	minEntry    = 8 + 8 + 1 + 4
)

// RequestForKey is an empty request, as kmsg.RequestForKey for Kafka's keys; nil for a
// key that is not one of this package.
func RequestForKey(key int16) kmsg.Request {
	switch key {
	case KeyHello:
		return &HelloRequest{}
	case KeyRaft:
		return &RaftRequest{}
	case KeyPull:
		return &PullRequest{}
	case KeySnapshot:
		return &SnapshotRequest{}
	case KeyLost:
		return &LostRequest{}
	}
	return nil
}

// NameForKey is the request's name, as kmsg.NameForKey; "" for an unknown key.
func NameForKey(key int16) string {
	switch key {
	case KeyHello:
		return "LeatHello"
	case KeyRaft:
		return "LeatRaft"
	case KeyPull:
		return "LeatPull"
	case KeySnapshot:
		return "LeatSnapshot"
	case KeyLost:
		return "LeatLost"
	}
	return ""
}

// Check tells whether a request's body may be decoded, and how many bytes that
// allocates at most, as wire.Check does for Kafka's keys. The limits on counts and
// lengths are the decoder's own.
func Check(key, version int16, body []byte) (alloc int64, err error) {
	m := RequestForKey(key)
	if m == nil {
		return 0, fmt.Errorf("%w %d", ErrUnknown, key)
	}
	if version < 0 || version > m.MaxVersion() {
		return 0, fmt.Errorf("%w %d of api key %d", ErrVersion, version, key)
	}
	const fixed = 512 // the message itself, and what an error says
	n := int64(len(body))
	if key == KeyRaft { // strings, and a slice for each message
		return fixed + min(n, 2*(2*MaxString)) + 30*min(n/4, MaxMessages), nil
	}
	return fixed + 12*n, nil // an empty string of two bytes is one of sixteen, rounded up
}

// read is ReadFrom of every message.
func read(what string, version int16, src []byte, walk func(*coder)) error {
	if version < 0 || version > maxVersion {
		return fmt.Errorf("%s: %w %d", what, ErrVersion, version)
	}
	c := coder{reading: true, src: src}
	if walk(&c); c.err == nil && len(c.src) > 0 {
		c.fail(ErrInvalid, "bytes behind the message")
	}
	if c.err != nil {
		return fmt.Errorf("%s: %w", what, c.err)
	}
	return nil
}

func write(dst []byte, walk func(*coder)) []byte {
	c := coder{dst: dst}
	walk(&c)
	return c.dst
}

// pieceSize is from which on a field is worth a piece of its own.
const pieceSize = 32 << 10

// Message is any message of this package.
type Message interface{ walk(*coder) }

// Pieces is what AppendTo appends to nothing, in pieces: large fields are the message's
// own memory, not copies, for a vectored write.
func Pieces(m Message) [][]byte {
	c := coder{cut: pieceSize}
	m.walk(&c)
	if len(c.dst) > 0 {
		c.pieces = append(c.pieces, c.dst)
	}
	return c.pieces
}

var (
	_ kmsg.Request  = (*HelloRequest)(nil)
	_ kmsg.Request  = (*RaftRequest)(nil)
	_ kmsg.Request  = (*PullRequest)(nil)
	_ kmsg.Request  = (*SnapshotRequest)(nil)
	_ kmsg.Request  = (*LostRequest)(nil)
	_ kmsg.Response = (*HelloResponse)(nil)
	_ kmsg.Response = (*PullResponse)(nil)
	_ kmsg.Response = (*SnapshotResponse)(nil)
	_ kmsg.Response = (*LostResponse)(nil)
)
