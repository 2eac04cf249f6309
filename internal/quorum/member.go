package quorum

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3"

	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/nodewire"
)

// Member is one member of the group. Its Raft id derives from the node and its
// directory: an empty disk under an old node id is a new member, and is never
// counted as the old one.
type Member struct {
	NodeID      int32
	DirectoryID [16]byte
	// Address is host:port by which others reach its CONTROLLER listener, "" if it is
	// not known. It may change, and is no part of the member's identity.
	Address string
}

// ID is the member's Raft id, never 0 nor one of the library's reserved ids.
func (m Member) ID() uint64 {
	b := binary.BigEndian.AppendUint32([]byte("leat quorum member"), uint32(m.NodeID))
	if mutant.On("quorum/wiped-is-old") {
		m.DirectoryID = [16]byte{}
	}
	sum := sha256.Sum256(append(b, m.DirectoryID[:]...))
	id := binary.BigEndian.Uint64(sum[:])
	if id == raft.None || raft.IsLocalMsgTarget(id) {
		id = binary.BigEndian.Uint64(sum[8:]) | 1
	}
	return id
}

// Identity is the member as requests between nodes name it.
func (m Member) Identity() nodewire.Identity {
	return nodewire.Identity{NodeID: m.NodeID, DirectoryID: m.DirectoryID, Address: m.Address}
}

// MemberOf is the member behind an identity.
func MemberOf(i nodewire.Identity) Member {
	return Member{NodeID: i.NodeID, DirectoryID: i.DirectoryID, Address: i.Address}
}

func byID(a, b Member) int { return cmp.Compare(a.ID(), b.ID()) }

func (m Member) String() string {
	s := fmt.Sprintf("node %d directory %x", m.NodeID, m.DirectoryID)
	if m.Address != "" {
		s += " at " + m.Address
	}
	return s
}

// maxAddress bounds an address on disk.
const maxAddress = 1 << 10

func appendMember(b []byte, m Member) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(m.NodeID))
	b = append(b, m.DirectoryID[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Address)))
	return append(b, m.Address...)
}

// member reads a member; addressed is false for the formats that had no address.
func (f *fields) member(addressed bool) Member {
	m := Member{NodeID: int32(f.u32())}
	copy(m.DirectoryID[:], f.take(16))
	if addressed {
		n := int(f.u16())
		if n > maxAddress {
			f.bad = true
		}
		m.Address = string(f.take(n))
	}
	return m
}

// contextVersion starts the context of a change of membership that names members with
// their addresses. The first format had no version: it began with a node id, which is
// never negative.
const contextVersion = 0x82

func appendContext(m Member) []byte { return appendMember([]byte{contextVersion}, m) }

// parseContext are the members that a change names.
func parseContext(b []byte) (ms []Member, err error) {
	f := fields{b: b}
	addressed := len(b) > 0 && b[0] >= 0x80
	if addressed {
		if v := f.u8(); v != contextVersion {
			return nil, fmt.Errorf("%w %#x of a change of membership", ErrVersion, v)
		}
	}
	for len(f.b) > 0 && !f.bad {
		ms = append(ms, f.member(addressed))
	}
	return ms, f.done("context")
}
