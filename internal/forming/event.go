package forming

import "github.com/leat-stream/leat/internal/nodewire"

// Event is what happened outside.
type Event interface{ event() }

// Events.
type (
	// Tick is time that has passed; ten a second are enough.
	Tick struct{}
	// Asked: somebody says hello. It is answered by one Answer with the same token, but
	// not before what it says is durable.
	Asked struct {
		Token uint64
		Req   *nodewire.HelloRequest
	}
	// Heard is the outcome of an Ask. It may come late, twice, or never.
	Heard struct {
		Address string
		Resp    *nodewire.HelloResponse // nil after an error
		Err     error                   // ErrNoHello, or why there was no answer
	}
	// Saved: the promise of the last Save is durable.
	Saved struct{}
	// Begun: the log of the last Begin is durable.
	Begun struct{}
	// Controllers is the outcome of AskControllers.
	Controllers struct {
		Addresses []string // of CONTROLLER listeners
		Err       error
	}
	// Taken: the cluster refused to register the node that was told to Join, since its
	// id is in use. Registered: it took it.
	Taken      struct{}
	Registered struct{}
	// Filled: the metadata log, which was empty when the node started, is not any more: a leader
	// found this member before it found its cluster. It goes on as one that had a log.
	Filled struct{}
	// Known is what a node in a cluster tells those who ask; to be sent when it changes.
	Known struct{ Standing }
)

// Standing is what a node in a cluster knows of it.
type Standing struct {
	Leader     nodewire.Identity // NodeID -1: unknown
	Voters     []nodewire.Identity
	FreeNodeID int32
	// Nodes are those that are registered and alive, this one included.
	Nodes []nodewire.Identity
}

// Action is what has to be done.
type Action interface{ action() }

// Actions.
type (
	// Ask says hello to an address; the outcome is Heard.
	Ask struct {
		Address string
		Req     *nodewire.HelloRequest
	}
	// AskControllers asks a listener that is not the controllers' for the addresses of
	// these; the outcome is Controllers.
	AskControllers struct{ Address string }
	// Answer answers an Asked.
	Answer struct {
		Token uint64
		Resp  *nodewire.HelloResponse
	}
	// Save makes the promise durable; then comes Saved. A failure must end the process.
	Save struct{ Promise }
	// Begin creates the log of a new cluster, as one of its first voters; then comes
	// Begun. The data directory gets the cluster's id.
	Begin struct{ nodewire.Founding }
	// Join makes the node part of a cluster that exists, as one without a vote. The
	// data directory gets the cluster's id and the node's.
	Join struct {
		ClusterID string
		NodeID    int32
		Leader    nodewire.Identity // NodeID -1: unknown
		Members   []nodewire.Identity
	}
	// Say is a line for the operator.
	Say struct{ Text string }
	// Refuse ends the start.
	Refuse struct{ *Refusal }
)

func (Tick) event()        {}
func (Asked) event()       {}
func (Heard) event()       {}
func (Saved) event()       {}
func (Begun) event()       {}
func (Controllers) event() {}
func (Taken) event()       {}
func (Registered) event()  {}
func (Filled) event()      {}
func (Known) event()       {}

func (Ask) action()            {}
func (AskControllers) action() {}
func (Answer) action()         {}
func (Save) action()           {}
func (Begin) action()          {}
func (Join) action()           {}
func (Say) action()            {}
func (Refuse) action()         {}
