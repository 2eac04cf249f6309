package nodewire

// Identity is a node as others know it.
type Identity struct {
	NodeID      int32
	DirectoryID [16]byte
	// Address is host:port of the CONTROLLER listener as others reach it; "" is none.
	Address string
}

// Founding is the beginning of a cluster: its id and its first voters.
type Founding struct {
	ClusterID string
	Voters    []Identity
}

// Ballot numbers the attempts to found a cluster: by round, then by the directory of who
// makes the attempt.
type Ballot struct {
	Round uint64 // 0: no attempt
	By    [16]byte
}

// HelloRequest says who is there and asks the same.
type HelloRequest struct {
	Version int16

	From      Identity
	ClusterID string // "" while the node is in no cluster; with Found: that founding is decided
	Voter     bool   // the node may vote
	// Applied is the last entry of the metadata log that the node has taken in.
	Applied uint64
	Listed  []string
	Ballot  Ballot    // asks to take part in no earlier attempt
	Found   *Founding // asks to take part in this founding
}

// HelloResponse answers a HelloRequest.
type HelloResponse struct {
	Version int16

	ErrorCode    int16
	ErrorMessage *string
	From         Identity
	ClusterID    string
	HasLog       bool
	Founding     *Founding // that the node has promised to, or began by
	Accepted     bool      // the founding that was asked for
	Promised     Ballot    // the node takes part in no earlier attempt
	AcceptedAt   Ballot    // the attempt by which it promised to Founding
	Leader       Identity  // NodeID -1 when unknown
	Voters       []Identity
	FreeNodeID   int32
	Software     string
}

// RaftRequest carries messages of the Raft library, each marshalled, from one member to
// another. It goes one way: there is no response, and it may be lost.
type RaftRequest struct {
	Version int16

	ClusterID string
	From      Identity
	To        uint64 // the Raft id that is meant; the node may be another by now
	Messages  [][]byte
}

// PullRequest asks for committed entries of the metadata log from From on. It is a
// long poll: the answer waits up to MaxWaitMs for one.
type PullRequest struct {
	Version int16

	ClusterID string
	NodeID    int32
	From      uint64 // the first index that is wanted
	MaxBytes  int32
	MaxWaitMs int32
}

// PullEntry is a committed entry of the metadata log.
type PullEntry struct {
	Index, Term uint64
	Type        int8
	Data        []byte
}

// PullResponse answers a PullRequest.
type PullResponse struct {
	Version int16

	ErrorCode     int16
	Leader        Identity // NodeID -1 when unknown
	Term          uint64
	SnapshotIndex uint64 // non-zero: take this snapshot first
	Commit        uint64
	Entries       []PullEntry
}

// SnapshotRequest asks for a part of the snapshot of an index.
type SnapshotRequest struct {
	Version int16

	ClusterID string
	Index     uint64
	Position  int64
	MaxBytes  int32
}

// SnapshotResponse answers a SnapshotRequest.
type SnapshotResponse struct {
	Version int16

	ErrorCode int16
	Index     uint64
	Size      int64 // of the whole snapshot
	Data      []byte
}

func (m *Identity) walk(c *coder) {
	number(c, &m.NodeID)
	c.id(&m.DirectoryID)
	c.str(&m.Address)
}

func (m *Ballot) walk(c *coder) {
	number(c, &m.Round)
	c.id(&m.By)
}

func (m *Founding) walk(c *coder) {
	c.str(&m.ClusterID)
	array(c, &m.Voters, MaxVoters, minIdentity, (*Identity).walk)
}

func (m *HelloRequest) walk(c *coder) {
	m.From.walk(c)
	c.str(&m.ClusterID)
	c.boolean(&m.Voter)
	number(c, &m.Applied)
	array(c, &m.Listed, MaxListed, 2, func(s *string, c *coder) { c.str(s) })
	m.Ballot.walk(c)
	optional(c, &m.Found, (*Founding).walk)
}

func (m *HelloResponse) walk(c *coder) {
	number(c, &m.ErrorCode)
	c.nullable(&m.ErrorMessage)
	m.From.walk(c)
	c.str(&m.ClusterID)
	c.boolean(&m.HasLog)
	optional(c, &m.Founding, (*Founding).walk)
	c.boolean(&m.Accepted)
	m.Promised.walk(c)
	m.AcceptedAt.walk(c)
	m.Leader.walk(c)
	array(c, &m.Voters, MaxVoters, minIdentity, (*Identity).walk)
	number(c, &m.FreeNodeID)
	c.str(&m.Software)
}

func (m *RaftRequest) walk(c *coder) {
	c.str(&m.ClusterID)
	m.From.walk(c)
	number(c, &m.To)
	array(c, &m.Messages, MaxMessages, 4, func(b *[]byte, c *coder) { c.bytes(b) })
}

func (m *PullRequest) walk(c *coder) {
	c.str(&m.ClusterID)
	number(c, &m.NodeID)
	number(c, &m.From)
	number(c, &m.MaxBytes)
	number(c, &m.MaxWaitMs)
}

func (m *PullEntry) walk(c *coder) {
	number(c, &m.Index)
	number(c, &m.Term)
	number(c, &m.Type)
	c.bytes(&m.Data)
}

func (m *PullResponse) walk(c *coder) {
	number(c, &m.ErrorCode)
	m.Leader.walk(c)
	number(c, &m.Term)
	number(c, &m.SnapshotIndex)
	number(c, &m.Commit)
	array(c, &m.Entries, MaxEntries, minEntry, (*PullEntry).walk)
}

func (m *SnapshotRequest) walk(c *coder) {
	c.str(&m.ClusterID)
	number(c, &m.Index)
	number(c, &m.Position)
	number(c, &m.MaxBytes)
}

func (m *SnapshotResponse) walk(c *coder) {
	number(c, &m.ErrorCode)
	number(c, &m.Index)
	number(c, &m.Size)
	c.bytes(&m.Data)
}
