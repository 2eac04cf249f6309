// Package api answers requests: one file per API key. A handler authorises,
// validates, calls one room (the controller, a coordinator, the replicas) and
// fills the reply; it holds no state of its own.
//
// A handler registers itself with its key, the versions it speaks, what it needs
// to be allowed and whether the next request of the same connection may start
// before this one is answered. Version ranges are those of the newest Kafka
// (decision D1): register takes them from kversion, so a handler states only that
// the key is built.
//
// Handlers run on the connection's reading goroutine and must not block it: work
// that waits (acks=all, long polls, coordinators) keeps the *Request and answers
// later from any goroutine. Answers leave in the order of the requests.
package api

import (
	"fmt"
	"net"
	"sort"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Handler is one API key as this broker serves it.
type Handler struct {
	Key kmsg.Key
	// Doors are the listeners that serve it; none stands for ClientDoor.
	Doors Door
	// Early: the next request on the connection may start before this one is
	// answered (its own effects are in order by the time the handler returns).
	Early bool
	// Forward says that another broker may send it on behalf of its client, in an Envelope.
	Forward bool
	// Needs lists the operations that the handler asks for (Server.Allowed), some
	// instead of others. A test holds it against what is asked.
	Needs []Need
	// NotDone says what of the API is missing, for docs/compatibility.md; empty when whole.
	NotDone string
	// Raw handlers read Request.Body themselves and get no Request.Msg.
	Raw bool
	// Handle answers r now or later, exactly once.
	Handle func(s *Server, r *Request)

	Min, Max int16 // filled by register
}

// Need is one authorisation a handler asks for.
type Need struct {
	Operation kmsg.ACLOperation
	Resource  kmsg.ACLResourceType
}

var handlers = map[int16]*Handler{}

// register adds a handler; it is called from package variables only.
func register(h Handler) struct{} {
	key := h.Key.Int16()
	if handlers[key] != nil {
		panic(fmt.Sprintf("api: %s is registered twice", h.Key.Name()))
	}
	if h.Doors == 0 {
		h.Doors = ClientDoor
	}
	h.Min, h.Max = versionRange(&h)
	handlers[key] = &h
	return struct{}{}
}

// Handlers lists every API that stands at a door, by key; ClientDoor|ControllerDoor
// lists them all.
func Handlers(at Door) []Handler {
	var all []Handler
	for _, h := range handlers {
		if h.Doors&at != 0 {
			all = append(all, *h)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Key < all[j].Key })
	return all
}

// Conn is what a handler may know of a connection.
type Conn struct {
	ID       uint64
	Listener string // listener name, e.g. PLAINTEXT
	// Controller says that it is the listener of the controllers.
	Controller bool
	Local      net.Addr // the address the client connected to
	Remote     net.Addr
	Principal  string // "User:ANONYMOUS" on plaintext
	// Software is what the client said of itself in ApiVersions (KIP-511).
	SoftwareName, SoftwareVersion string
	// Broker is the broker whose heartbeats come by this connection, if Beats. Handlers set
	// it, which run on the goroutine that reads the connection.
	Broker int32
	Beats  bool

	charged int64 // of the budget, which guards it
}

// Request is one request in flight.
type Request struct {
	Conn          *Conn
	Key           int16
	Version       int16
	CorrelationID int32
	ClientID      string // "" when null
	Received      time.Time
	// Msg is the decoded request; nil for Raw handlers.
	Msg kmsg.Request
	// Body is the request after its header. It is valid until Handle returns.
	Body []byte

	handler *Handler
	done    func(Answer)
	cancel  func()
	misled  bool // it is answered that the controller is elsewhere; for Envelope
	// charged is what the request counts towards the budget until its answer is written.
	charged atomic.Int64
	server  *Server
}

// OnCancel says what to do when the connection ends before the answer: a waiting
// request stops waiting. Handlers call it before they return.
func (r *Request) OnCancel(f func()) { r.cancel = f }

// Park says that the request may wait long for what others do: when its connection
// ends it is completed without an answer, and what answers it later is dropped.
// Handlers call it before the wait; answers that hold anything are not for it.
func (r *Request) Park() {
	var over atomic.Bool
	done := r.done
	r.done = func(a Answer) {
		if !over.Swap(true) {
			done(a)
		}
	}
	r.OnCancel(r.ReplyNone)
}

// Cancel tells the handler that nobody waits for the answer any more. The answer is
// still given. It is called on the goroutine that called Serve.
func (r *Request) Cancel() {
	if r.cancel != nil {
		r.cancel()
	}
}

// Answer yields the bytes of an answer when the connection is ready to write them;
// it runs once, on the connection's writing goroutine. A nil Answer writes nothing
// (acks=0).
type Answer func() Output

// Output is an answer on its way out: pieces to be written in order.
type Output struct {
	Pieces []Piece
	// Release gives back what the pieces hold; it may be nil.
	Release func()
	// Close ends the connection after the pieces are written.
	Close bool
}

// Piece is either bytes in memory or a run of bytes in a segment file.
type Piece struct {
	Bytes []byte
	Run   Run
}

// Run is a run of bytes in a file, to be sent by sendfile or read.
type Run interface {
	Len() int
	ReadAt(p []byte, off int64) (int, error)
}

// Reply answers with a kmsg response, whose version is set to the request's.
func (r *Request) Reply(resp kmsg.Response) {
	resp.SetVersion(r.Version)
	r.answer(func() Output { return r.output(resp) })
}

// ReplyLater answers with what build returns when the connection gets to it.
func (r *Request) ReplyLater(build func() kmsg.Response) {
	r.answer(func() Output {
		resp := build()
		resp.SetVersion(r.Version)
		return r.output(resp)
	})
}

// output is an encoded answer. A large one counts towards the budget until it is
// written: nobody may hold it by not reading.
func (r *Request) output(resp kmsg.Response) Output {
	out := Output{Pieces: []Piece{{Bytes: encode(r, resp)}}}
	if n := int64(len(out.Pieces[0].Bytes)); n >= chargeFrom {
		if !r.server.grow(r, n) {
			r.server.sayTooLarge(r)
			return hangup()
		}
		out.Release = r.giveBack
	}
	return out
}

// ReplyRaw answers with pieces of the handler's own making, frame and header included.
func (r *Request) ReplyRaw(a Answer) { r.answer(a) }

// ReplyNone completes a request that gets no answer.
func (r *Request) ReplyNone() { r.answer(nil) }

// Hangup completes a request by closing the connection, as Kafka does where an
// answer is not possible.
func (r *Request) Hangup() { r.answer(hangup) }

func hangup() Output { return Output{Close: true} }

// encode makes the whole frame: size, response header, body.
func encode(r *Request, resp kmsg.Response) []byte {
	b := make([]byte, 4, 256)
	b = appendResponseHeader(b, r, resp.IsFlexible())
	b = resp.AppendTo(b)
	n := uint32(len(b) - 4)
	b[0], b[1], b[2], b[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	return b
}

// appendResponseHeader appends the correlation id and, for flexible responses other
// than ApiVersions, an empty tag section.
func appendResponseHeader(b []byte, r *Request, flexible bool) []byte {
	c := uint32(r.CorrelationID)
	b = append(b, byte(c>>24), byte(c>>16), byte(c>>8), byte(c))
	if flexible && r.Key != kmsg.ApiVersions.Int16() {
		b = append(b, 0)
	}
	return b
}
