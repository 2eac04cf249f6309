package api

import "time"

// Quorum is the membership of the metadata log as this node knows it. Only the node
// whose member leads may change it; others are asked by Server.Controller.
type Quorum interface {
	// Describe tells the present state. leads says that this node leads the quorum:
	// else Leader, Epoch and the addresses are what it last heard, and lags are unknown.
	Describe() (state QuorumState, leads bool)
	// Change makes one change of the voters; done is called once, when it is committed
	// or refused. A *kerr.Error is told to the client; machine.ErrNotLeader and others
	// make it try again.
	Change(c VoterChange, done func(err error))
}

// QuorumState is the metadata log's membership. Offsets number the entries of the log,
// not the records in them.
type QuorumState struct {
	Leader        int32 // node id, -1 unknown
	Epoch         int32
	HighWatermark int64 // one past the last committed entry
	// Voters and Observers by node id.
	Voters, Observers []QuorumMember
}

// QuorumMember is one member with its lag, as the leader sees it.
type QuorumMember struct {
	NodeID      int32
	DirectoryID [16]byte
	Address     string // host:port of its controllers' listener; "" unknown
	LogEnd      int64  // one past its last entry; -1 unknown
	// LastFetch is when it was last heard from, CaughtUp when it last had everything;
	// zero when unknown. The leader's own are now.
	LastFetch, CaughtUp time.Time
}

// VoterChange is a change of the voters.
type VoterChange struct {
	Kind        VoterChangeKind
	NodeID      int32
	DirectoryID [16]byte
	Address     string // not for RemoveVoter
	// Timeout bounds the wait for a new voter to catch up; 0 is the default.
	Timeout time.Duration
	// Early answers before the change is committed (AddRaftVoter's AckWhenCommitted is false).
	Early bool
}

// VoterChangeKind is what to do with a voter.
type VoterChangeKind int8

// The changes. AddVoter makes a node that follows a voter, once it has caught up.
const (
	AddVoter VoterChangeKind = iota
	RemoveVoter
	UpdateVoter // its address
)

// metadataTopic is the name by which clients know the metadata log.
const metadataTopic = "__cluster_metadata"
