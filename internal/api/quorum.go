package api

import (
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

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
	// Leaderless is for how long this node has known of no leader; 0 while it knows one.
	Leaderless time.Duration
}

// leaderlessPatience is longer than an election takes whose voters are there.
const leaderlessPatience = 2 * time.Second

// noLeader is an error of the kind, in words on the quorum, when this node has known of no
// leader for longer than an election takes; else the kind as it is.
func (s *Server) noLeader(kind *kerr.Error) (err *kerr.Error, none bool) {
	if s.Quorum == nil {
		return kind, false
	}
	state, leads := s.Quorum.Describe()
	if leads || state.Leaderless < leaderlessPatience {
		return kind, false
	}
	var voters []string
	for _, v := range state.Voters {
		voters = append(voters, strings.TrimSuffix(strconv.Itoa(int(v.NodeID))+" at "+v.Address, " at "))
	}
	e := *kind
	e.Description = "the metadata quorum has no leader: a majority of the voters (" + strings.Join(voters, ", ") + ") has to run"
	return &e, true
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
