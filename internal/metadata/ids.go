package metadata

import (
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

// reservedUUID tells whether Kafka gives an id a meaning of its own: the first
// hundred (KIP-858).
func reservedUUID(id [16]byte) bool {
	return [15]byte(id[:15]) == [15]byte{} && id[15] < 100
}
