// Package peer is how a node calls other nodes.
package peer

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Door is the listener of a node that is called.
type Door int8

const (
	ToController Door = iota // the CONTROLLER listener
	ToBroker                 // the listener for other brokers
)

// Lane is a connection of its own to a node, so that what waits long or is large does
// not hold back the rest. Requests on one lane to one node are sent in order.
type Lane int8

const (
	Control Lane = iota // requests to the controller, hellos
	Fetch               // followers' fetches: to the broker's door, as the only one
	Pull                // long polls for committed metadata
	Raft                // messages of the Raft library
	Bulk                // snapshots
)

// Door is where a lane goes.
func (l Lane) Door() Door {
	if l == Fetch {
		return ToBroker
	}
	return ToController
}

// Target is a node to be called.
type Target struct {
	Node    int32  // -1 while it is not known
	Address string // host:port, where Node is not known
}

// Errors of calls, for errors.Is.
var (
	// ErrUnreachable: no connection, or it broke; the request may have been carried out.
	ErrUnreachable = errors.New("node unreachable")
	// ErrTimeout: no answer in time; the request may have been carried out.
	ErrTimeout = errors.New("no answer from the node in time")
	// ErrClosed: this side is stopping.
	ErrClosed = errors.New("calls to other nodes have ended")
)

// Caller calls other nodes: over sockets (Peers), or over the simulator's network.
type Caller interface {
	// Call sends a request. done is called exactly once, on any goroutine and possibly
	// before Call returns, with the response or an error of the kinds above.
	Call(to Target, lane Lane, req kmsg.Request, timeout time.Duration, done func(kmsg.Response, error))
	// Send sends a request that has no answer. It never blocks, and the request may be lost.
	Send(to Target, lane Lane, req kmsg.Request)
}
