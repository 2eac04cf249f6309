package api

import (
	"bytes"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/replica"
	"github.com/leat-stream/leat/internal/wire"
)

// Server holds the rooms that handlers call.
type Server struct {
	NodeID   int32
	Version  string                // of this software
	Config   func() *config.Config // the settings in force, dynamic ones included
	Clock    env.Clock
	Rand     *rand.Rand // guarded by the caller: only ApiVersions-free paths on one goroutine use it
	Log      *slog.Logger
	Image    func() *metadata.Image // the committed image, never nil
	Replicas *replica.Manager
	// Groups runs the coordinators; its shards are named by GroupShard.
	Groups *machine.Runtime
	// Controller submits a request to the active controller, on this node or another;
	// done is called once.
	Controller func(req any, done func(resp any, err error))
	// ControllerHere submits a request to the controller of this node, and to no other:
	// machine.ErrNotLeader where another node's is the active one. Requests of the
	// controllers' door go by it, so that none is forwarded twice. Where it is nil,
	// Controller is taken.
	ControllerHere func(req any, done func(resp any, err error))
	// Nodes answers the requests between nodes that Kafka has no message for (package
	// nodewire), which come in by the controllers' door only; what it gets is valid until
	// it returns. nil refuses them.
	Nodes func(r *Request, req kmsg.Request)
	// Quorum is the membership of the metadata log; nil where there is none to show.
	Quorum Quorum
	// Endpoint tells the address at which a client of conn reaches a broker.
	Endpoint func(c *Conn, broker *metadata.Broker) (host string, port int32, ok bool)
	// ProducerIDs hands out producer ids; done is called once.
	ProducerIDs func(done func(id int64, err error))
	// Authorize says whether a principal may do op on a resource; nil admits everybody.
	Authorize func(c *Conn, op kmsg.ACLOperation, resource kmsg.ACLResourceType, name string) bool
	// Members bounds the memory of group members.
	Members *Members
	// Complaints takes the warnings that clients cause.
	Complaints *Complaints
	// Budget bounds the memory of requests and answers under way, in bytes.
	Budget *Budget

	sessions  *sessionCache
	creations atomic.Uint64 // CreateTopics that were given a name
}

// Init readies the server's own caches; call it once before Serve.
func (s *Server) Init() {
	if s.Complaints == nil {
		s.Complaints = NewComplaints(s.Log, s.Clock)
	}
	if s.Members == nil {
		s.Members = NewMembers(math.MaxInt64 / 2)
	}
	s.sessions = newSessionCache(int(s.Config().Int(config.MaxIncrementalFetchSessionCacheSlots)), s.Clock)
}

// Verdict says what became of a frame.
type Verdict struct {
	// Handler of the request; nil when the frame was refused.
	Handler *Handler
	// Err says why the frame was refused: the connection closes and the log says so.
	Err error
}

// Serve parses one frame (without its size prefix) into r, finds its handler and
// runs it. done receives the answer once, possibly later. When the verdict has an
// error, done is never called. The frame may be reused as soon as Serve returns.
func (s *Server) Serve(c *Conn, frame []byte, r *Request, done func(Answer)) Verdict {
	h, body, err := wire.ParseHeader(frame)
	if err != nil {
		return Verdict{Err: err}
	}
	handler := handlers[h.Key]
	*r = Request{
		Conn: c, Key: h.Key, Version: h.Version, CorrelationID: h.CorrelationID,
		ClientID: string(h.ClientID), Received: s.Clock.Now(), Body: body, handler: handler, done: done, server: s,
	}
	switch {
	case s.nodesKey(c, h.Key):
		return s.serveNode(r)
	case handler == nil:
		return Verdict{Err: refused{h.Key, h.Version, "the API is not built"}}
	case handler.Doors&c.door() == 0:
		return Verdict{Err: refused{h.Key, h.Version, "the API is not served by this listener"}}
	}
	if r.Version < handler.Min || r.Version > handler.Max {
		if r.Key == kmsg.ApiVersions.Int16() {
			answerUnknownApiVersions(r)
			return Verdict{Handler: handler}
		}
		return Verdict{Err: refused{h.Key, h.Version, "the version is not spoken"}}
	}
	if handler.Raw {
		handler.Handle(s, r)
		return Verdict{Handler: handler}
	}
	alloc, err := wire.Check(r.Key, r.Version, body, wire.Limits{})
	if err != nil {
		return Verdict{Err: err}
	}
	if handler.Forward { // it may be sent on, with unknown tags, after the frame is reused
		alloc += int64(len(body))
	}
	if err := s.charge(r, alloc); err != nil {
		return Verdict{Err: err}
	}
	if handler.Forward {
		body = bytes.Clone(body)
	}
	msg := kmsg.RequestForKey(r.Key)
	msg.SetVersion(r.Version)
	if err := msg.ReadFrom(body); err != nil {
		r.giveBack()
		return Verdict{Err: refused{h.Key, h.Version, err.Error()}}
	}
	r.Msg = msg
	handler.Handle(s, r)
	return Verdict{Handler: handler}
}

// Allowed says whether the request's principal may do op on a resource. Access
// control lists come with the security issue; until then a listener either admits
// everyone or does not open.
func (s *Server) Allowed(r *Request, op kmsg.ACLOperation, resource kmsg.ACLResourceType, name string) bool {
	return s.Authorize == nil || s.Authorize(r.Conn, op, resource, name)
}

// onCluster is Allowed for an operation on the cluster itself.
func (s *Server) onCluster(r *Request, op kmsg.ACLOperation) bool {
	return s.Allowed(r, op, kmsg.ACLResourceTypeCluster, clusterName)
}

// clusterName is the only resource of the cluster type.
const clusterName = "kafka-cluster"

// operations are the bits of those of ops that the principal may do (KIP-430).
func (s *Server) operations(r *Request, resource kmsg.ACLResourceType, name string, ops []kmsg.ACLOperation) int32 {
	bits := int32(0)
	for _, op := range ops {
		if s.Allowed(r, op, resource, name) {
			bits |= 1 << op
		}
	}
	return bits
}
