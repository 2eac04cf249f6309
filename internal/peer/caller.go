// Package peer is how a node calls other nodes: by node id, over lanes, each a
// connection of its own to each node. Connections are made when they are needed and
// closed when they are not; the address is asked for anew at each dial. After a failed
// dial the next one waits for a pause that doubles and has jitter, and calls that come
// meanwhile wait for it, within their time.
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
	Beat                // heartbeats and changes of in-sync sets, which wait behind nothing
	lanes
)

func (l Lane) String() string {
	if l < 0 || l >= lanes {
		return "unknown"
	}
	return [...]string{"control", "fetch", "pull", "raft", "bulk", "beat"}[l]
}

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
	// ErrUnreachable: no connection, or it broke; the request may have been carried out
	// only if the error is ErrBroken too.
	ErrUnreachable = errors.New("node unreachable")
	// ErrBroken: the connection broke after it took the request. It is ErrUnreachable too.
	ErrBroken error = broken{}
	// ErrTimeout: no answer in time; the request may have been carried out.
	ErrTimeout = errors.New("no answer from the node in time")
	// ErrClosed: this side is stopping.
	ErrClosed = errors.New("calls to other nodes have ended")
)

type broken struct{}

func (broken) Error() string        { return "connection to the node broke" }
func (broken) Is(target error) bool { return target == ErrUnreachable }

// Caller calls other nodes: over sockets (Peers), or over the simulator's network.
type Caller interface {
	// Call sends a request. done is called exactly once, on any goroutine and possibly
	// before Call returns, with the response or an error of the kinds above; it must not
	// wait. The request may be used again when Call returns, only large []byte fields of
	// nodewire's messages must not change any more. The records in the response of a Fetch
	// may be used until done returns.
	Call(to Target, lane Lane, req kmsg.Request, timeout time.Duration, done func(kmsg.Response, error))
	// Send sends a request that has no answer. It never blocks, and the request may be lost:
	// new ones press out old ones that wait.
	Send(to Target, lane Lane, req kmsg.Request)
}
