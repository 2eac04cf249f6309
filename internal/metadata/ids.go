package metadata

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// randomUUID draws a version 4 id.
func randomUUID(r *rand.Rand) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], r.Uint64())
	binary.BigEndian.PutUint64(id[8:], r.Uint64())
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// newUUID draws an id whose text does not begin with '-', which command lines
// would take for a flag.
func newUUID(r *rand.Rand) [16]byte {
	for {
		if id := randomUUID(r); UUIDString(id)[0] != '-' {
			return id
		}
	}
}

// creationMark is how many bytes of a topic's id say which request created it. The rest is
// drawn anew each time: the id of a topic that is deleted never comes again.
const creationMark = 6

// mark is the beginning of the id of a topic that a request creates. Its text does not
// begin with '-'.
func mark(creation []byte, name string) (m [creationMark]byte) {
	h := sha256.New()
	h.Write(creation)
	h.Write([]byte(name))
	copy(m[:], h.Sum(nil))
	m[0] &= 0x7f
	return m
}

// newTopicID draws a topic's id; creation is that of Request.
func newTopicID(creation []byte, name string, r *rand.Rand) [16]byte {
	id := newUUID(r)
	if len(creation) > 0 {
		m := mark(creation, name)
		copy(id[:], m[:])
	}
	return id
}

// createdBy tells whether a request has created the topic of an id.
func createdBy(id [16]byte, creation []byte, name string) bool {
	return len(creation) > 0 && [creationMark]byte(id[:creationMark]) == mark(creation, name)
}

// reservedUUID tells whether Kafka gives an id a meaning of its own: the first
// hundred (KIP-858).
func reservedUUID(id [16]byte) bool {
	return [15]byte(id[:15]) == [15]byte{} && id[15] < 100
}
