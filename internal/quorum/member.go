package quorum

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3"
)

// Member is one member of the group. Its Raft id derives from the node and its
// directory: an empty disk under an old node id is a new member, and is never
// counted as the old one.
type Member struct {
	NodeID      int32
	DirectoryID [16]byte
}

// ID is the member's Raft id, never 0 nor one of the library's reserved ids.
func (m Member) ID() uint64 {
	b := binary.BigEndian.AppendUint32([]byte("leat quorum member"), uint32(m.NodeID))
	sum := sha256.Sum256(append(b, m.DirectoryID[:]...))
	id := binary.BigEndian.Uint64(sum[:])
	if id == raft.None || raft.IsLocalMsgTarget(id) {
		id = binary.BigEndian.Uint64(sum[8:]) | 1
	}
	return id
}

func (m Member) String() string { return fmt.Sprintf("node %d directory %x", m.NodeID, m.DirectoryID) }
