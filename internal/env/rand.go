package env

import (
	crand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
)

// NewRand is a random source whose values follow from seed alone. It is not safe
// for concurrent use.
func NewRand(seed uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
}

// SecureRand is a random source seeded by the operating system, for programs
// rather than simulations. It is not safe for concurrent use.
func SecureRand() *rand.Rand {
	var seed [32]byte
	crand.Read(seed[:]) // never fails: the runtime stops the process instead
	return rand.New(rand.NewChaCha8(seed))
}

// UUID is a random (version 4) UUID drawn from r.
func UUID(r *rand.Rand) [16]byte {
	var u [16]byte
	binary.BigEndian.PutUint64(u[:8], r.Uint64())
	binary.BigEndian.PutUint64(u[8:], r.Uint64())
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}
